"""A cut-over ends with one transaction: before it following can go on, behind it everything is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from engine.errors import UsageError
from engine.postgres import connect as postgres
from engine.protocol import CALLED_OFF, CallOff, CutOver
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import fill, settings_of, values
from tests.running import Engine, Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target


@asynccontextmanager
async def target_read(target: Target) -> AsyncIterator[None]:
    """A session reads the table, in a transaction that does not end."""
    connection = await postgres.connect(target.uri)
    async with connection.transaction():
        await connection.execute("SELECT count(*) FROM things")
        yield
    await connection.close()


async def why_not(engine: Engine) -> str:
    """Ask for the cut-over: why it is refused, or called off."""
    try:
        await engine.client.call(CutOver())
    except UsageError as refusal:
        return refusal.message
    off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    return str(off.facts["message"])


async def test_it_can_be_called_off_while_the_swap_waits_and_is_one_with_the_word_that_it_is_done(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer); INSERT INTO things VALUES (99, 9)")
    engine = await following(engines, settings_of(engines, mode="replace"))
    await ready(engine)
    async with target_read(target):
        await engine.client.call(CutOver())
        await engine.until(lambda now: now.phase == "swapping tables", "the swap")
        await engine.client.call(CallOff())
        off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
        assert "asked for it" in off.facts["message"]
        assert values(target) == {99: 9}
        assert target.value("SELECT phase FROM mongopg.follow") == "following"
        assert target.value("SELECT target_count FROM mongopg.table_load") is None, "what was counted is no end"
    source.db.things.insert_one({"_id": 50, "n": 5})
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"], end["written"]) == ("completed", "verified", 51)
    assert values(target) == dict.fromkeys(range(50), 0) | {50: 5}
    assert end["follow"]["write_stop_s"] == pytest.approx(
        target.value("SELECT write_stop_s FROM mongopg.follow"), abs=0.001
    )
    assert end["follow"]["write_stop_s"] > 0


async def test_an_engine_that_ends_behind_that_transaction_has_its_last_word_said_by_the_next_one(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines, mode="replace"))
    await ready(engine)
    source.db.things.update_many({"_id": {"$lt": 7}}, {"$set": {"n": 1}})
    await engine.client.call(CutOver())
    before = await engine.finished()
    await engine.leave()
    await engine.until_gone()  # it writes the run's end behind telling it
    target.execute("UPDATE mongopg.run SET state = 'finishing', ended_at = NULL, verification = 'none'")
    target.execute("UPDATE things SET n = 2 WHERE _id = 40")  # the application has begun
    again = await engines.launch(settings_of(engines, mode="replace"))
    await again.start(resume=engine.run_id)
    end = await again.finished()
    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0), end
    assert end["follow"] == before["follow"]
    assert end["follow"]["updated"] == 7
    assert values(target)[40] == 2
    _, end = await engines.run(settings_of(engines, mode="replace"), resume=engine.run_id)
    assert (end["state"], end["follow"]) == ("completed", before["follow"]), "nothing was left to do"


async def test_what_refers_to_a_table_is_told_before_the_cut_over_and_looked_for_again_in_it(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer)")
    engine = await following(engines, settings_of(engines, mode="replace"))
    await ready(engine)
    target.execute("CREATE TABLE others (thing integer REFERENCES things)")
    await engine.until(
        lambda now: now.follow is not None and [each.code for each in now.follow.reasons] == ["dependants"], "its look"
    )
    with pytest.raises(UsageError, match=r"not ready to be cut over: .*others_thing_fkey.* depend on it"):
        await engine.client.call(CutOver())
    target.execute("ALTER TABLE others DROP CONSTRAINT others_thing_fkey")
    await ready(engine)
    target.execute("ALTER TABLE others ADD FOREIGN KEY (thing) REFERENCES things")
    assert "others_thing_fkey" in await why_not(engine)
    target.execute("DROP TABLE others")
    await ready(engine)
    await engine.client.call(CutOver())
    assert (await engine.finished())["state"] == "completed"


async def test_sequences_of_written_columns_go_on_behind_what_is_there_and_ttl_indexes_are_told(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    source.db.things.create_index("at", expireAfterSeconds=86_400)
    target.execute(
        "CREATE TABLE things (_id serial PRIMARY KEY, n bigint GENERATED BY DEFAULT AS IDENTITY, other serial);"
        "SELECT setval('things_n_seq', 1000)"
    )
    engine = await following(engines, settings_of(engines, mode="upsert"))
    await ready(engine)
    assert engine.snapshot.follow is not None
    notes = [note.message for note in engine.snapshot.follow.notes if note.code == "ttl"]
    assert len(notes) == 1
    assert notes[0].startswith(f"documents of {source.database}.things are deleted by a TTL index")
    source.db.things.insert_one({"_id": 70, "n": 3})
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("completed", 0), end
    assert engine.facts_of("cut_over")[0]["sequences"] == ["things__id_seq = 70"]
    assert target.value("SELECT nextval('things__id_seq')") == 71
    assert target.value("SELECT nextval('things_n_seq')") == 1_001, "it was behind nothing"
