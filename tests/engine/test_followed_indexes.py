"""MongoDB's secondary indexes of a run that follows: unique ones while it follows, or in the cut-over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.protocol import CALLED_OFF, CallOff, CutOver
from tests.engine.test_cut_over import target_read
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import settings_of
from tests.running import Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target


def fill(source: Source) -> None:
    things = source.db.things
    things.insert_many([{"_id": number, "n": number, "kind": "ab"[number % 2]} for number in range(50)])
    things.create_index("n", unique=True)
    things.create_index("kind")


def indexes(target: Target) -> dict[str, bool]:
    """Valid ones, and whether they are unique."""
    rows = target.rows(
        "SELECT c.relname, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_class t ON t.oid = i.indrelid WHERE t.relname LIKE '%things%' AND i.indisvalid AND NOT i.indisprimary"
    )
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("mode", ["create", pytest.param("replace", marks=pytest.mark.slow)])
async def test_unique_indexes_are_built_while_it_follows(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines, mode=mode, indexes=True))
    await ready(engine)
    assert sorted(indexes(target).values()) == [False, True]
    assert [table.state for table in engine.snapshot.tables] == ["following"]
    with source.client.start_session() as session, session.start_transaction():  # values go round
        source.db.things.update_one({"_id": 1}, {"$set": {"n": 100}}, session=session)
        source.db.things.update_one({"_id": 2}, {"$set": {"n": 1}}, session=session)
        source.db.things.update_one({"_id": 1}, {"$set": {"n": 2}}, session=session)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0), end
    assert indexes(target) == {"things_n_key": True, "things_kind_idx": False}
    assert next(iter(end["tables"].values()))["indexes"] == {"built": 2, "failed": 0}
    assert [tuple(row) for row in target.rows("SELECT _id, n FROM things WHERE _id IN (1, 2) ORDER BY 1")] == [
        (1, 2),
        (2, 1),
    ]


async def test_with_after_they_are_built_in_the_cut_over_and_dropped_when_that_is_called_off(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY)")
    settings = settings_of(engines, mode="replace", indexes=True, unique="after")
    engine = await following(engines, settings)
    await ready(engine)
    follow = engine.snapshot.follow
    assert follow is not None
    assert [(note.code, "things_n_key" in note.message) for note in follow.notes] == [("indexes_after", True)]
    assert list(indexes(target).values()) == [False]
    async with target_read(target):
        await engine.client.call(CutOver())
        await eventually(lambda: True in indexes(target).values(), 30.0, engine.account)
        await engine.client.call(CallOff())
        await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
        await eventually(lambda: list(indexes(target).values()) == [False], 30.0, engine.account)
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("completed", 0), end
    assert indexes(target) == {"things_n_key": True, "things_kind_idx": False}


async def test_one_that_cannot_be_built_costs_that_index_and_exit_code_0(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines, indexes=True, unique="after"))
    await ready(engine)
    target.execute("UPDATE things SET n = 1 WHERE _id = 2")  # by another program
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("completed", 4), end
    assert indexes(target) == {"things_kind_idx": False}
    problem = next(facts for facts in engine.facts_of("problem") if facts["code"] == "index")
    assert "things_n_key" in problem["message"]
    assert "several rows have the same n" in problem["message"]
