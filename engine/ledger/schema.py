"""The ledger's tables: schema `mongopg` in the target database, made here.

The ledger, not memory, says what is committed. A slice's row is written in the transaction of the slice's rows, so it is
there exactly when they are. Bounds are BSON, `{"_id": value}`; checksums are unsigned 64-bit sums as two's complement.
"""

from __future__ import annotations

import asyncpg

from engine.errors import UsageError
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import one_line

LOCK_CLASS = 0x6D677067
"""First key of all our advisory locks: "mgpg" in ASCII."""
SCHEMA_LOCK = 0
"""Second key of the lock under which the ledger is made."""

VERSION = 8
"""Of the ledger that is made here. No release had a lower one; the first release with a higher one brings the statements that
lead from this one to its own."""
_TABLES = """
    CREATE TABLE mongopg.version (version integer PRIMARY KEY);
    CREATE TABLE mongopg.run (
        run_id        text PRIMARY KEY,
        fingerprint   text NOT NULL,
        state         text NOT NULL,
        mode          text NOT NULL,
        source        text NOT NULL,
        target        text NOT NULL,
        plan          jsonb NOT NULL,
        verification  text NOT NULL DEFAULT 'none',
        error         text NOT NULL DEFAULT '',
        seconds       double precision NOT NULL DEFAULT 0,
        engine_host   text NOT NULL,
        engine_pid    integer NOT NULL,
        started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
        heartbeat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at      timestamptz,
        snapshot_time bigint,
        taken_at      timestamptz DEFAULT clock_timestamp()
    );
    CREATE TABLE mongopg.table_load (
        run_id        text NOT NULL REFERENCES mongopg.run ON DELETE CASCADE,
        task_id       integer NOT NULL,
        namespace     text NOT NULL,
        schema_name   text NOT NULL,
        table_name    text NOT NULL,
        staging_table text,
        table_oid     oid NOT NULL,
        mapping       jsonb NOT NULL,
        total         bigint NOT NULL,
        count_before  bigint NOT NULL,
        made          boolean NOT NULL,
        source_count  bigint,
        target_count  bigint,
        PRIMARY KEY (run_id, task_id)
    );
    CREATE TABLE mongopg.partition (
        run_id          text NOT NULL,
        partition_id    integer NOT NULL,
        task_id         integer NOT NULL,
        lower           bytea,
        lower_inclusive boolean NOT NULL DEFAULT true,
        upper           bytea,
        PRIMARY KEY (run_id, partition_id),
        FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
    );
    CREATE INDEX ON mongopg.partition (run_id, task_id);
    CREATE TABLE mongopg.slice (
        run_id          text NOT NULL,
        partition_id    integer NOT NULL,
        slice_no        integer NOT NULL,
        lower           bytea,
        lower_inclusive boolean NOT NULL,
        upto            bytea,
        final           boolean NOT NULL DEFAULT false,
        worker          integer NOT NULL,
        backend_pid     integer NOT NULL,
        n_read          bigint NOT NULL DEFAULT 0,
        n_written       bigint NOT NULL DEFAULT 0,
        n_rejected      bigint NOT NULL DEFAULT 0,
        bytes           bigint NOT NULL DEFAULT 0,
        checksum        bigint,
        committed_at    timestamptz,
        altered         jsonb,
        PRIMARY KEY (run_id, partition_id, slice_no),
        FOREIGN KEY (run_id, partition_id) REFERENCES mongopg.partition ON DELETE CASCADE
    );
    CREATE TABLE mongopg.reject (
        run_id       text NOT NULL,
        partition_id integer NOT NULL,
        slice_no     integer NOT NULL,
        reject_no    integer NOT NULL,
        collection   text NOT NULL,
        id           text NOT NULL,
        field        text NOT NULL,
        reason       text NOT NULL,
        sqlstate     text NOT NULL,
        detail       text NOT NULL,
        raw          bytea NOT NULL,
        rejected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, partition_id, slice_no, reject_no),
        FOREIGN KEY (run_id, partition_id, slice_no) REFERENCES mongopg.slice ON DELETE CASCADE
    );
    CREATE TABLE mongopg.event (
        run_id text NOT NULL REFERENCES mongopg.run ON DELETE CASCADE,
        seq    bigint NOT NULL,
        at     double precision NOT NULL,
        kind   text NOT NULL,
        facts  jsonb NOT NULL,
        PRIMARY KEY (run_id, seq)
    );
    CREATE TABLE mongopg.retry (
        run_id     text NOT NULL,
        task_id    integer NOT NULL,
        retry_no   integer NOT NULL,
        mapping    jsonb NOT NULL,
        n_written  bigint NOT NULL DEFAULT 0,
        retried_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, task_id, retry_no),
        FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
    );
    CREATE TABLE mongopg.former_load (
        run_id    text NOT NULL,
        load_no   integer NOT NULL,
        table_oid oid NOT NULL,
        namespace text NOT NULL,
        mapping   jsonb NOT NULL,
        began_at  timestamptz NOT NULL,
        PRIMARY KEY (run_id, load_no)
    );
    CREATE INDEX ON mongopg.former_load (table_oid);
"""


async def ensure_schema(connection: asyncpg.Connection) -> None:
    """Make the ledger where there is none.

    Raises:
        UsageError: the role may not create it, or another version of this program made it.
    """
    try:
        async with connection.transaction():
            # CREATE ... IF NOT EXISTS wants the right to create even when there is nothing to do, and two of them race.
            await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK_CLASS, SCHEMA_LOCK)
            await _make(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        role, database = await one_row(connection, "SELECT quote_ident(current_user), quote_ident(current_database())")
        raise UsageError(
            f"The target does not let {role} keep the ledger ({one_line(str(error.args[0]))}): "
            f"as an administrator, run CREATE SCHEMA mongopg AUTHORIZATION {role} in database {database}."
        ) from error


async def ledger_exists(connection: asyncpg.Connection) -> bool:
    """The target database has a ledger: no run was made into it otherwise."""
    return bool(await connection.fetchval("SELECT to_regclass('mongopg.version') IS NOT NULL"))


async def _make(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("SELECT to_regnamespace('mongopg') IS NULL"):
        await connection.execute("CREATE SCHEMA mongopg")
    if not await ledger_exists(connection):
        await connection.execute(_TABLES)
        await connection.execute("INSERT INTO mongopg.version VALUES ($1)", VERSION)
    version = await connection.fetchval("SELECT version FROM mongopg.version")
    if version > VERSION:
        raise UsageError(
            f"The ledger in the target has version {version}, this program knows {VERSION}: use the newer program that "
            "wrote it."
        )
    if version < VERSION:
        raise UsageError(
            f"The ledger in the target (schema mongopg) has version {version}, which is from before the first release, "
            f"and this program knows {VERSION}: finish its runs with the program that wrote it, then run DROP SCHEMA "
            "mongopg CASCADE, which leaves copied tables as they are."
        )
