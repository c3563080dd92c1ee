"""Thousands of collections: neither the lock table of the server nor the engine's memory grows with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_DONE
from engine.ledger.partitions import Partition
from engine.ledger.slice_groups import SliceGroup
from engine.ledger.slices import SliceBegin, SliceEnd
from engine.ledger.table_locks import hold_tables
from engine.mapping.names import TableName
from engine.postgres.page import CopyTarget
from engine.run.copy_job import BUNDLED
from tests.bench.measure import resident_kb
from tests.engine.target_tools import RUN, bench, piece, pieces
from tests.engine.test_small_collections import whole_database
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

MANY = 5_000
ENGINE_MB = 250
"""Resident, of an engine that has copied so many."""
WORKER_MB = 120
GROUP_LOCKS = 2 * BUNDLED + 10
"""A table of a group with its TOAST table; the ledger's tables, and the transaction."""


async def test_the_tables_of_a_run_take_few_locks_however_many_they_are(target: Target) -> None:
    async with bench(target.uri) as made:
        await hold_tables(made.connection, [TableName("public", f"t{number}") for number in range(MANY)])
        assert target.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 1


async def test_a_group_of_slices_takes_few_locks(target: Target) -> None:
    parts = [Partition(number, 0, None, None) for number in range(BUNDLED)]
    async with bench(target.uri, parts=parts) as made:
        tables = [TableName("public", f"t{number}") for number in range(BUNDLED)]
        for each in tables:
            target.execute(f"CREATE TABLE {each.sql} (_id text, n integer)")
        group = SliceGroup(made.connection, RUN, 1)
        begins = [SliceBegin(part.partition_id, 0, None, True) for part in parts]
        await group.begin(begins, [CopyTarget(each, ("_id", "n"), "shop.users") for each in tables])
        for number in range(BUNDLED):
            await group.write_page(number, pieces(piece([("x" * 100_000, 1)])))
        taken = target.value(f"SELECT count(*) FROM pg_locks WHERE pid = {made.connection.get_server_pid()}")
        assert BUNDLED < taken <= GROUP_LOCKS
        await group.commit([SliceEnd(None, True)] * BUNDLED)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_thousands_of_collections_are_copied(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.running.WAIT_S", 600.0)
    for number in range(MANY):
        source.db[f"many{number:04}"].insert_many([{"_id": 1, "name": "one"}, {"_id": 2, "name": None}])
    engine = await engines.launch(whole_database(source, target))
    await engine.start()
    now = await engine.until(lambda now: now.written > MANY, "half of the rows")
    workers = [resident_kb(worker.pid) for worker in now.workers if worker.pid]
    assert max(workers) < WORKER_MB * 1000
    facts = await engine.finished()
    assert resident_kb(engine.pid) < ENGINE_MB * 1000
    assert (facts["exit_code"], facts["verification"], facts["written"]) == (EXIT_DONE, "verified", 2 * MANY)
    assert target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conname LIKE 'many%'") == MANY
    assert target.value("SELECT count(DISTINCT xmin::text) FROM mongopg.slice") < MANY / 5
