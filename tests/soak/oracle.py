"""What must hold after each run found out by code of the tests' own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any

from engine.postgres.ddl import STAGING_MARK
from tests.remains import other_tables, remains_at, remains_here, text_of
from tests.running import EXAMPLES, Engine, differences

if TYPE_CHECKING:
    from tests.conftest import Source, Target

NUL = "\0"
"""A string with it is rejected."""
ORPHAN = ".mongopg_look_"
"""In the name of a temporary table that a session keeps from one transaction to the next."""
_COLUMNS = "_id, username, email, name, age, company, active, balance, registered_at, address::text, tags::text"


@dataclass(slots=True)
class Findings:
    """What does not hold, in words; empty when everything does."""

    problems: list[str] = field(default_factory=list)
    lost: int = 0
    duplicated: int = 0

    def require(self, holds: object, problem: Callable[[], str]) -> None:
        """Note a problem unless it holds."""
        if not holds:
            self.problems.append(problem())


def documents_of(source: Source, collection: str) -> tuple[dict[str, Any], int]:
    """Every document of the source that can be written, by key; and how many cannot."""
    found, rejects = {}, 0
    for user in source.db[collection].find():
        if NUL in user["username"]:
            rejects += 1
            continue
        found[str(user["_id"])] = (
            user["username"], user["email"], user["name"], user["age"], user["company"], user["active"], user["balance"],
            user["registeredAt"].replace(tzinfo=UTC), user["address"], user["tags"],
        )  # fmt: skip
    return found, rejects


def rows_of(target: Target, table: str) -> list[tuple[str, Any]]:
    """Every row of the target, with its key."""
    return [
        (row[0], (*tuple(row)[1:9], json.loads(row[9]), json.loads(row[10])))
        for row in target.rows(f"SELECT {_COLUMNS} FROM {table}")
    ]


def look_at_data(found: Findings, source: Source, target: Target, collection: str, table: str) -> int:
    """O1: the rows are the documents minus the rejects; returns how many documents are rejects."""
    documents, rejects = documents_of(source, collection)
    rows = rows_of(target, table)
    wrong = differences(documents, rows)
    found.lost += len(wrong.get("missing", []))
    found.duplicated += len(wrong.get("twice", []))
    for what, which in wrong.items():
        found.problems.append(f"{len(which)} of {len(documents)} documents {what} in {table}: {which[:EXAMPLES]}")
    return rejects


def look_at_ledger(found: Findings, target: Target, run_id: str, *, documents: int, rejects: int) -> None:
    """O2: the ledger's counts hold in each slice and together, and it knows the run's end."""
    sums = target.rows(
        "SELECT sum(n_read)::bigint AS read, sum(n_written)::bigint AS written, sum(n_rejected)::bigint AS rejected,"
        " count(*) FILTER (WHERE n_read <> n_written + n_rejected) AS wrong FROM mongopg.slice WHERE run_id = $1",
        run_id,
    )[0]
    expected = (documents, documents - rejects, rejects, 0)
    found.require(tuple(sums) == expected, lambda: f"slices say {dict(sums)}, expected {expected}")
    kept = target.value("SELECT count(*) FROM mongopg.reject WHERE run_id = $1", run_id)
    found.require(kept == rejects, lambda: f"{kept} rejects are kept, {rejects} expected")
    unsealed = target.rows(
        "SELECT partition_id FROM mongopg.partition p JOIN mongopg.table_load t USING (run_id, task_id)"
        " WHERE p.run_id = $1 AND p.generation >= t.first_generation AND 1 <> (SELECT count(*) FROM mongopg.slice s"
        " WHERE s.run_id = p.run_id AND s.partition_id = p.partition_id AND s.final)",
        run_id,
    )
    found.require(not unsealed, lambda: f"partitions without one end: {[row[0] for row in unsealed]}")
    state = target.rows("SELECT state, verification, ended_at IS NOT NULL FROM mongopg.run WHERE run_id = $1", run_id)[
        0
    ]
    found.require(tuple(state) == ("completed", "verified", True), lambda: f"the ledger's run is {tuple(state)}")


def look_at_report(found: Findings, end: dict[str, Any], *, documents: int, rejects: int) -> None:
    """O6: the report and the exit code say what happened."""
    said = {name: end[name] for name in ("state", "verification", "exit_code", "read", "written", "rejected")}
    expected = {
        "state": "completed",
        "verification": "verified",
        "exit_code": 4 if rejects else 0,
        "read": documents,
        "written": documents - rejects,
        "rejected": rejects,
    }
    found.require(said == expected, lambda: f"the report says {said}, expected {expected}")


def look_for_remains(found: Findings, target: Target, tables: set[str], *, may_stage: bool = False) -> None:
    """O3: no session, no lock, no temporary table, no table but those that are meant to be there; O5: no secret.

    Args:
        may_stage: the run goes on later: what it has staged beside the table stays.
    """
    expected = {f"public.{table}" for table in tables}
    if may_stage:
        expected |= {
            table for table in other_tables(target, ()) if table.startswith("public.") and STAGING_MARK in table
        }
    # A session's own tables are gone with it, but for a crash of the server, which removes them itself later.
    expected |= {table for table in other_tables(target, ()) if table.startswith("pg_temp_") and ORPHAN in table}
    found.problems += remains_at(target, expected)


def look_at_processes(found: Findings, engine: Engine, pids: set[int]) -> None:
    """O3: none of its processes lives, and none left shared memory behind; O5: its log shows no secret."""
    alive = engine.processes()
    found.require(not alive, lambda: f"processes are left: {alive}")
    found.problems += remains_here(pids | engine.pids, engine.process.log)
    log = text_of(engine.process.log)
    found.require("a lease failed" not in log, lambda: f"a worker met a bug: {log[-3000:]}")
