"""What policies changed is told by everything that tells of a run, counted once; and problems have a sentence on stderr."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import DatetimeMS, Int64
from bson.raw_bson import RawBSONDocument

from engine import protocol
from engine.protocol import CutOver, ListRuns, RetryReport, RunState
from tests.engine.front_end import FrontEnd
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

N = 300
POLICIES = {
    "MONGOPG_MAPPING_NUL": "strip",
    "MONGOPG_MAPPING_UTF8": "replace",
    "MONGOPG_MAPPING_DATE_RANGE": "clamp",
}
ALTERED = {"nul.strip": 3, "utf8.replace": 3, "date_range.clamp": 1, "overflow": 5, "duplicate_key": 3}
"""Of `add_unusual`."""


def add_usual(source: Source) -> None:
    """Documents that decide the columns."""
    source.db.orders.insert_many(
        [{"_id": n, "name": f"n{n}", "at": DatetimeMS(n), "n": n, "data": {"a": 1}} for n in range(N)]
    )


def add_unusual(source: Source) -> None:
    """Documents of which something is changed."""
    for number, document in enumerate(
        [
            raw({"name": "a\0b\0"}),
            raw({"name": "\0", "data": {"x": ["c\0"]}}),
            raw({"at": DatetimeMS(2**62)}),
            raw({"name": "a\uffff"}),
            raw({"data": {"k": "\uffff\uffff", "\uffff": 1}}),
            raw({"n": "many"}),
            raw({"n": Int64(2**40)}),
            raw({"late": 1, "later": {"inner": 2}}),
            raw({"n": 1, "new": 1}),
            raw({"name": "first"}, {"name": "last"}),
            raw({"data": RawBSONDocument(raw({"k": 1}, {"k": 2}, {"k": 3}))}),
        ]
    ):
        source.db.orders.insert_one(RawBSONDocument(raw({"_id": N + number}, document)))


def raw(*parts: dict[str, Any] | bytes) -> bytes:
    """The elements of all parts in one document; for U+FFFF bytes that are no UTF-8."""
    encoded = [part if isinstance(part, bytes) else bson.encode(part) for part in parts]
    body = b"".join(part[4:-1] for part in encoded).replace("\uffff".encode(), b"a\xffb")
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


# --- told -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_policies_changed_is_told_by_run_runs_and_verify(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    add_usual(source)
    plan = str(front_end.folder / "plan.toml")
    assert front_end.do("plan", "--save", plan, **POLICIES).code == 0
    add_unusual(source)

    made = front_end.do("run", "--json", "--plan", plan)

    assert made.code == 0, made.err
    assert (made.last["altered"], made.last["rejected"]) == (ALTERED, 0)
    [counts] = made.last["tables"].values()
    assert counts["altered"] == ALTERED
    [kept] = front_end.do("runs", "--json").last["runs"]
    assert kept["altered"] == ALTERED
    heading, row = front_end.do("runs").out.splitlines()[:2]
    assert heading.split()[-2:] == ["altered", "outcome"]
    assert str(sum(ALTERED.values())) in row.split()
    verified = front_end.do("verify", "--level", "full", "--json")
    assert verified.code == 0, verified.out
    assert verified.last["tables"][0]["altered"] == ALTERED
    assert "nul.strip 3" in front_end.do("verify").out

    target.execute("DROP TABLE orders")
    told = front_end.do("run", "--headless", "--plan", plan)
    assert told.code == 0
    assert "nul.strip 3 (texts without their NULs), overflow 5 (values kept in _extra)" in told.out
    table = next(line for line in told.out.splitlines() if line.startswith("collection"))
    assert "altered" in table.split()


def test_problems_have_a_sentence_on_stderr_beside_json(front_end: FrontEnd, source: Source, target: Target) -> None:
    source.db.orders.insert_many([{"_id": n, "n": n % 10, "wide": "x" * n} for n in range(50)])
    source.db.orders.insert_one({"_id": 99, "n": "text", "wide": 3})
    source.db.orders.create_index("n", name="once", unique=False)
    target.execute(
        "CREATE TABLE orders (_id bigint PRIMARY KEY, n jsonb, wide text, _extra jsonb);"
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER nothing BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW._id = 7) EXECUTE FUNCTION nothing()"
    )

    made = front_end.do("run", "--json", "--mode", "append", "--indexes")

    assert (made.code, made.last["verification"]) == (4, "mismatch"), made.err
    told = [line for line in made.err.splitlines() if line.startswith(("problem:", "warning:"))]
    assert any("51 read are not 50 written + 0 rejected" in line for line in told), made.err
    assert [line.split()[0] for line in told if "Index once" in line] == ["problem:"], made.err
    assert any(line.startswith("warning:") and "Field wide also holds int32" in line for line in told), made.err
    assert all(json.loads(line)["event"] in ("progress", "finished") for line in made.out.splitlines())
    assert "51 read are not 50 written" in front_end.do("verify", "--json").err


async def test_what_is_changed_in_changes_that_are_applied_is_counted(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.orders.insert_many([{"_id": n, "name": "a\0" if n == 0 else "b", "n": n} for n in range(10)])
    engine = await engines.launch(engines.settings("orders", mapping={"nul": "strip"}))
    await engine.start(follow=True)
    await engine.until(lambda now: now.follow is not None and now.follow.ready, "ready")
    target.execute("ALTER TABLE orders ADD CHECK (n <> 7) NOT VALID")
    source.db.orders.insert_many([{"_id": 10, "name": "c\0", "n": "many"}, {"_id": 11, "name": "d\0", "n": 7}])
    source.db.orders.update_one({"_id": 1}, {"$set": {"name": "e\0\0"}})
    await engine.client.call(CutOver())
    end = await engine.finished()

    # Of the row that the table refused nothing was changed.
    assert (end["state"], end["rejected"], end["altered"]) == ("completed", 1, {"nul.strip": 3, "overflow": 1})
    assert [table["altered"] for table in end["tables"].values()] == [end["altered"]]
    (run,) = (await engine.client.call(ListRuns()))["runs"]
    assert run["altered"] == end["altered"]


# --- counted once -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_what_was_changed_is_counted_once_through_kills_and_resumes(
    source: Source, target: Target, engines: Engines
) -> None:
    n = 12_000
    source.db.orders.insert_many([{"_id": each, "name": "a\0" if each % 3 == 0 else "b"} for each in range(n)])
    settings = engines.settings("orders", mapping={"nul": "strip"}, run={"page_size": 100, "cluster_size": 2})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.set("throttle", 4_000)
    await engine.until_written(500)
    await engine.strike()
    await engine.until_written(2_500)
    await engine.cancel(now=True)
    await engine.finished()

    resumed = await engines.launch(settings)
    await resumed.start(resume="")
    end = await resumed.finished()

    assert end["state"] == RunState.COMPLETED.value
    assert (end["written"], end["altered"]) == (n, {"nul.strip": n // 3})
    [problem] = [each for each in resumed.snapshot.problems if each.code == "nul.strip"]
    assert problem.count == n // 3
    assert target.value("SELECT count(*) FROM orders WHERE name = 'a'") == n // 3


@pytest.mark.slow
async def test_rows_that_the_table_refuses_were_not_changed_and_those_written_later_were(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute(
        "CREATE TABLE orders (_id bigint PRIMARY KEY, name text, n integer CHECK (n % 10 <> 0), _extra jsonb)"
    )
    source.db.orders.insert_many([{"_id": n, "name": "a\0b\0" if n % 4 == 0 else "c", "n": n} for n in range(100)])
    settings = engines.settings("orders", mapping={"nul": "strip"}, run={"mode": "append"})
    _, end = await engines.run(settings)
    assert (end["rejected"], end["altered"]) == (10, {"nul.strip": 20}), end

    target.execute("ALTER TABLE orders DROP CONSTRAINT orders_n_check, ADD CHECK (n <> 20)")
    retrying = await engines.launch(engines.settings("orders", mapping={"nul": "replace"}))
    report = await retrying.client.ask(RetryReport, protocol.RetryRejects())

    assert (report.written, report.left, report.altered) == (9, 1, {"nul.replace": 4})
    [listed] = (await retrying.client.call(protocol.ListRuns()))["runs"]
    assert listed["altered"] == {"nul.strip": 20, "nul.replace": 4}
    assert Counter(row[0] for row in target.rows("SELECT name FROM orders"))["ab"] == 20
