"""`mongopg-tui bench` on real servers: it measures whole copies and leaves nothing behind."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_FAILED, EXIT_SIGTERM, EXIT_USAGE
from tests.running import add_users

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd, Outcome

USERS = 6_000
DOCUMENTS = 4_000
MEASURE_S = 240.0
"""For all the runs of one bench, on a machine with much else to do."""
TABLES = "SELECT count(*) FROM pg_class WHERE relname LIKE 'mongopg_bench%'"


def measure(front_end: FrontEnd, *words: str) -> Outcome:
    """A whole bench."""
    return front_end.start("bench", *words).outcome(MEASURE_S)


def assert_nothing_left(target: Target) -> None:
    """Neither a scratch table nor a row of the ledger."""
    assert target.value(TABLES) == 0
    assert target.value("SELECT count(*) FROM mongopg.run") == 0
    assert target.value("SELECT count(*) FROM mongopg.slice") == 0


def test_a_bench_compares_sizes_and_leaves_nothing_behind(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, USERS)
    source.db.small.insert_many([{"_id": number} for number in range(50)])
    outcome = measure(front_end, "--json", "--documents", f"{DOCUMENTS:,}", "--page-size", "1000")
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
    assert list(record)[-1] == "recommended"
    assert "1 worker, page size 1,000: 4,000 rows in" in outcome.err
    assert ", the median of 3, " in outcome.err
    assert_nothing_left(target)


def test_a_bench_prints_tables_bars_and_a_recommendation(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, 2_000)
    source.db.larger.insert_many([{"_id": number, "text": "x" * 2_000} for number in range(1_000)])
    collection = f"{source.database}.users"
    outcome = measure(front_end, "--collection", collection, "--documents", "2000", "--ascii")
    assert outcome.code == EXIT_DONE, outcome.err
    assert outcome.out.isascii()
    first, *lines = outcome.out.splitlines()
    assert first.startswith(f"{collection}, ")
    assert any(line.split()[:2] == ["1", "8,000"] and "1.00x  #" in line for line in lines)
    assert lines[-2].startswith(f"  mongopg-tui run --collection {collection} --cluster-size ")
    intention, _, estimate = outcome.err.partition("\n")
    assert intention.startswith(f"Copying the first 2,000 documents of {collection} again and again, with 1 to ")
    assert "It takes about " in estimate
    assert re.fullmatch(r"Recommended here: cluster size \d+, page size [\d,]+", lines[-1])
    assert_nothing_left(target)


def test_a_bench_whose_number_is_not_given_takes_what_there_is(front_end: FrontEnd, source: Source) -> None:
    add_users(source, 3_000)
    outcome = measure(front_end, "--json")
    assert outcome.code == EXIT_DONE, outcome.err
    assert {each["rows"] for each in outcome.last["clusters"]} == {3_000}
    assert "Warming up" not in outcome.err


REFUSE_LATER_TABLES = """
CREATE SEQUENCE public.n_copies;
CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE '%mongopg\\_bench%')
        AND nextval('public.n_copies') > 4
    THEN RAISE 'no more tables today'; END IF;
END $$;
CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.refuse();
"""
"""The copy that warms up, and three short ones by one worker, are let through."""


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_a_failure_at_a_later_size_leaves_the_table_measured_so_far(
    front_end: FrontEnd, source: Source, target: Target, *, as_json: bool
) -> None:
    add_users(source, 2_000)
    target.execute(REFUSE_LATER_TABLES)
    outcome = measure(front_end, "--ascii", *(["--json"] if as_json else []))
    assert outcome.code == EXIT_FAILED, outcome.err
    assert outcome.err.splitlines()[-1].startswith("Error: ")
    assert "no more tables today" in outcome.err.splitlines()[-1]
    if as_json:
        record, error = outcome.lines
        assert (record["event"], record["state"]) == ("bench", "failed")
        assert [each["cluster_size"] for each in record["clusters"]] == [1]
        assert "recommended" not in record
        assert "no more tables today" in error["error"]["message"]
    else:
        assert outcome.out.splitlines()[-1].split()[:2] == ["1", "8,000"]
        assert "Recommended" not in outcome.out
    assert_nothing_left(target)


def test_a_bench_that_writes_nothing_is_refused_in_one_sentence(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    source.db.create_collection("empty")
    empty = front_end.do("bench", "--json", "--collection", f"{source.database}.empty")
    assert (empty.code, empty.last["error"]["code"]) == (EXIT_USAGE, "nothing_written")
    assert empty.err.splitlines()[-1] == (
        f"Error: The collection {source.database}.empty is empty: name another with --collection."
    )
    source.db.bad.insert_many([{"_id": number, "text": "a\0b"} for number in range(20)])
    rejected = front_end.do("bench", "--collection", f"{source.database}.bad")
    assert (rejected.code, rejected.out) == (EXIT_USAGE, "")
    assert rejected.err.splitlines()[-1] == (
        f"Error: All 20 documents read of {source.database}.bad were rejected, so there is nothing to measure: see "
        "`mongopg-tui plan`, or name another with --collection."
    )
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
