"""What a run may not leave behind, whatever happened to it: found out by code of the tests' own, in words."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.conftest import Target

CANARY = "canary-7f3a9"
"""Password in the target's connection string; nothing may ever show it."""
SHARED_MEMORY = Path("/dev/shm")
GONE_S = 20.0
"""How long servers may take to notice that their clients are gone."""
POLL_S = 0.05

_RUNS_TABLES = """
SELECT schema_name || '.' || table_name FROM mongopg.table_load
UNION ALL
SELECT schema_name || '.' || staging_table FROM mongopg.table_load JOIN mongopg.run USING (run_id)
WHERE staging_table IS NOT NULL AND state <> 'completed'
"""


def with_canary(uri: str) -> str:
    """The target's connection string with a password, for which its server does not ask."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.replace("@", f":{CANARY}@", 1)).geturl()


# --- at the target ----------------------------------------------------------------------------------------------------


def sessions(target: Target) -> list[str]:
    """Sessions of any engine or worker in the target database, in words."""
    rows = target.rows(
        "SELECT pid, application_name, state, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'mongopg-tui')"
    )
    return [" ".join(map(str, row)) for row in rows]


def advisory_locks(target: Target) -> list[str]:
    """Advisory locks in the target database, in words."""
    rows = target.rows(
        "SELECT l.pid, l.objid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
    )
    return [f"lock {row['objid']} of {row['pid']}" for row in rows]


def tables_of_runs(target: Target) -> set[str]:
    """Tables, each with its schema, that the ledger's runs write to; staging tables only of those that may be resumed."""
    if target.value("SELECT to_regclass('mongopg.table_load') IS NULL"):
        return set()
    return {row[0] for row in target.rows(_RUNS_TABLES)}


def other_tables(target: Target, expected: Iterable[str]) -> list[str]:
    """Tables beside those expected, each with its schema, and beside the ledger's: temporary and staging ones, say."""
    rows = target.rows(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'mongopg')"
        " AND n.nspname !~ '^pg_toast'"
    )
    return sorted({row[0] for row in rows} - set(expected))


def shown_in_ledger(target: Target) -> list[str]:
    """Tables of the ledger that hold the password."""
    rows = target.rows("SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('mongopg') AND relkind = 'r'")
    tables = [row[0] for row in rows]
    return [
        table
        for table in tables
        if target.value(f'SELECT EXISTS (SELECT FROM mongopg."{table}" t WHERE strpos(t::text, $1) > 0)', CANARY)
    ]


def remains_at(target: Target, expected: Iterable[str] | None = None) -> list[str]:
    """What is left at the target, which may take a moment to notice that its clients are gone.

    Args:
        expected: tables that are meant to be there, each with its schema; those of the ledger's runs by default.
    """
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline and (sessions(target) or advisory_locks(target)):
        time.sleep(POLL_S)
    found = {
        "sessions": sessions(target),
        "advisory locks": advisory_locks(target),
        "tables": other_tables(target, tables_of_runs(target) if expected is None else expected),
        "the password in the ledger": shown_in_ledger(target),
    }
    return [f"{what} left: {which}" for what, which in found.items() if which]


# --- on this machine --------------------------------------------------------------------------------------------------


def text_of(log: Path) -> str:
    """An engine's log; one that had nothing to say leaves none."""
    return log.read_text(errors="replace") if log.exists() else ""


def remains_here(pids: Iterable[int], log: Path) -> list[str]:
    """What engines and workers that have ended left on this machine: shared memory, the password in the log."""
    names = tuple(f"pym-{pid}-" for pid in pids)
    memory = [path.name for path in SHARED_MEMORY.glob("pym-*") if path.name.startswith(names)]
    found = [f"shared memory left: {memory}"] if memory else []
    if CANARY in text_of(log):
        found.append(f"the password is in {log}")
    return found
