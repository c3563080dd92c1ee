"""`mongopg-tui bench` on real servers: it measures whole copies and leaves nothing behind."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_SIGTERM, EXIT_USAGE
from tests.running import add_users

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

USERS = 6_000
DOCUMENTS = 4_000
TABLES = "SELECT count(*) FROM pg_class WHERE relname LIKE 'mongopg_bench%'"


def assert_nothing_left(target: Target) -> None:
    """Neither a scratch table nor a row of the ledger."""
    assert target.value(TABLES) == 0
    assert target.value("SELECT count(*) FROM mongopg.run") == 0
    assert target.value("SELECT count(*) FROM mongopg.slice") == 0


def test_a_bench_compares_sizes_and_leaves_nothing_behind(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, USERS)
    source.db.small.insert_many([{"_id": number} for number in range(50)])
    outcome = front_end.do("bench", "--json", "--documents", f"{DOCUMENTS:,}", "--page-size", "1000")
    assert outcome.code == EXIT_DONE, outcome.err
    (record,) = outcome.lines
    assert (record["event"], record["state"], record["rejected"]) == ("bench", "completed", 0)
    assert record["collection"] == f"{source.database}.users"
    assert record["converter"] in ("native", "plain")
    sizes = [each["cluster_size"] for each in record["clusters"]]
    assert sizes[:3] == [1, 2, 4]
    assert sizes == sorted(sizes)
    assert [each["page_size"] for each in record["pages"]] == [500, 1_000, 2_000]
    everything = [*record["clusters"], *record["pages"]]
    assert all(each["rows"] == DOCUMENTS for each in everything)
    assert all(each["seconds"] > 0 for each in everything)
    assert record["clusters"][0]["speed_up"] == 1.0
    assert record["recommended"] in record["pages"]
    assert "1 worker, page size 1,000: 4,000 rows in" in outcome.err
    assert_nothing_left(target)


def test_a_bench_prints_tables_bars_and_a_recommendation(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, 2_000)
    source.db.larger.insert_many([{"_id": number, "text": "x" * 2_000} for number in range(1_000)])
    collection = f"{source.database}.users"
    outcome = front_end.do("bench", "--collection", collection, "--documents", "2000", "--ascii")
    assert outcome.code == EXIT_DONE, outcome.err
    assert outcome.out.isascii()
    first, *lines = outcome.out.splitlines()
    assert first.startswith(f"{collection}, ")
    assert any(line.split()[:2] == ["1", "8,000"] and "1.00x  #" in line for line in lines)
    assert lines[-2].startswith("Recommended here: ")
    assert lines[-1].startswith("mongopg-tui run --cluster-size ")
    assert "give steadier figures" in outcome.err
    assert_nothing_left(target)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, EXIT_CANCELLED), (signal.SIGTERM, EXIT_SIGTERM)], ids=["ctrl-c", "terminated"]
)
def test_a_bench_that_is_interrupted_drops_its_table(
    front_end: FrontEnd, source: Source, target: Target, number: signal.Signals, code: int
) -> None:
    add_users(source, 60_000)
    command = front_end.start("bench", "--json", "--documents", "0")
    command.until(lambda: target.value(TABLES))
    command.send(number)
    outcome = command.outcome(20)
    assert outcome.code == code, outcome.err
    assert outcome.last["state"] == "cancelled"
    assert "Stopping: the scratch table is being dropped." in outcome.err
    assert_nothing_left(target)


def test_a_bench_that_cannot_begin_says_why_in_one_sentence(front_end: FrontEnd, source: Source) -> None:
    outcome = front_end.do("bench", "--json", "--documents", "many")
    assert (outcome.code, outcome.last["error"]["code"]) == (EXIT_USAGE, "usage")
    assert outcome.err == "Error: --documents must be a whole number between 0 and 1,000,000,000, not 'many'.\n"
    empty = front_end.do("bench")
    assert empty.code == EXIT_USAGE
    assert empty.err == "Error: The source has no collection to measure with: name one with --collection.\n"
    missing = front_end.do("bench", "--collection", f"{source.database}.oders")
    assert missing.code == EXIT_USAGE
    assert f"{source.database}.oders" in missing.err
