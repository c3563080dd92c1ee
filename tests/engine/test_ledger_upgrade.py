"""A ledger that an earlier version of this program made is brought up to date, with what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bson

from engine.ledger import rejects, runs, schema
from engine.postgres import connect as postgres
from tests.engine.target_tools import key

if TYPE_CHECKING:
    from tests.conftest import Target

OLD = Path(__file__).with_name("ledger_9.sql").read_text()
RUNS = """
    INSERT INTO mongopg.run (run_id, fingerprint, state, mode, source, target, plan, engine_host, engine_pid)
        VALUES ('old', 'f', 'completed', 'create', 's', 't', '{}', 'h', 1);
    INSERT INTO mongopg.table_load
        (run_id, task_id, namespace, schema_name, table_name, table_oid, mapping, total, count_before, made)
        VALUES ('old', 3, 'shop.users', 'public', 'users', 1, '{}', 4, 0, true);
    INSERT INTO mongopg.partition (run_id, partition_id, task_id) VALUES ('old', 7, 3);
    INSERT INTO mongopg.slice (run_id, partition_id, slice_no, lower_inclusive, worker, backend_pid, final)
        VALUES ('old', 7, 0, true, 1, 1, true);
"""
SHAPES = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity FROM information_schema.columns"
    " WHERE table_schema = 'mongopg' ORDER BY 1, 2",
    "SELECT conrelid::regclass::text, contype::text, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'mongopg'::regnamespace ORDER BY 1, 2, 3",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'mongopg' ORDER BY 1",
)


async def test_a_ledger_of_version_9_becomes_one_as_it_is_made_today(target: Target) -> None:
    documents = [
        bson.encode({"_id": 5, "name": "a\0b"}),
        bson.encode({"name": "first", "_id": {"a": 1}}),
        bson.encode({"name": "without"}),
        b"\x20\0\0\0\x10_i\0",
    ]
    target.execute(OLD + RUNS)
    for number, raw in enumerate(documents):
        target.execute(
            "INSERT INTO mongopg.reject VALUES ('old', 7, 0, $1, 'shop.users', '', '', 'nul', '', '', $2)", number, raw
        )
    connection = await postgres.connect(target.uri)
    await schema.ensure_schema(connection)
    upgraded = [[tuple(row) for row in target.rows(sql)] for sql in SHAPES]
    kept = target.rows("SELECT task_id, key, raw FROM mongopg.reject ORDER BY reject_no")
    assert [row["task_id"] for row in kept] == [3] * 4
    assert [row["key"] for row in kept] == [key(5), key({"a": 1}), None, None]
    assert [row["raw"] for row in kept] == documents
    assert await rejects.count_rejects(connection, "old") == 4
    (run,) = await runs.list_runs(connection)
    assert (run.start_time, run.cannot_follow) == (None, "an earlier version of this program copied it")

    target.execute("DROP SCHEMA mongopg CASCADE")
    await schema.ensure_schema(connection)
    assert upgraded == [[tuple(row) for row in target.rows(sql)] for sql in SHAPES]
    await connection.close()
