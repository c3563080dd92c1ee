"""The ledger's tables: schema `mongopg` in the target database, made here.

The ledger, not memory, says what is committed. A slice's row is written in the transaction of the slice's rows, so it is
there exactly when they are. Checksums are unsigned 64-bit sums as two's complement. Bounds are BSON, `{"_id": value}`, or in
natural order (`table_load.read_order`) `{"_id": value, "$recordId": int64}`, of the member and the file beside it. Partitions
of a later generation are read when the table has its key, for documents that have no row yet; those before
`first_generation` have no part any more in what a complete copy needs.

Times are the source's cluster time, seconds since 1970 in the upper 32 bits. `run.start_time` was taken before anything was
read: what changes from then on is in the oplog, which began at `oplog_from` then. Where `cannot_follow` says something,
reads need not be as new as that. `source_set` names the replica set. A reject's `key` is `{"_id": value}`; NULL where its
document has none that can be read.

`run.generation` is the number of the engine that drives the run (`engine.ledger.taking`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from engine.errors import UsageError
from engine.mongo.bounds import key_or_none
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import one_line

LOCK_CLASS = 0x6D677067
"""First key of all our advisory locks: "mgpg" in ASCII."""
SCHEMA_LOCK = 0
"""Second key of the lock under which the ledger is made."""

VERSION = 14
"""Of the ledger that is made here."""
OLDEST = 9
"""No release had a lower one; from here on, each has statements that lead to the next (`_STEPS`)."""
LOCK_TIMEOUT_S = 30
"""A ledger that is changed waits so long for transactions of runs."""
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
        taken_at      timestamptz DEFAULT clock_timestamp(),
        start_time    bigint,
        oplog_from    bigint,
        source_set    jsonb NOT NULL DEFAULT '{}',
        cannot_follow text NOT NULL DEFAULT '',
        generation    integer NOT NULL DEFAULT 1
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
        read_order       text NOT NULL DEFAULT 'id',
        member           text NOT NULL DEFAULT '',
        collection_file  text NOT NULL DEFAULT '',
        last_record      bytea,
        first_generation integer NOT NULL DEFAULT 0,
        PRIMARY KEY (run_id, task_id)
    );
    CREATE TABLE mongopg.partition (
        run_id          text NOT NULL,
        partition_id    integer NOT NULL,
        task_id         integer NOT NULL,
        lower           bytea,
        lower_inclusive boolean NOT NULL DEFAULT true,
        upper           bytea,
        generation      integer NOT NULL DEFAULT 0,
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
        partition_id integer,
        slice_no     integer,
        reject_no    integer,
        collection   text NOT NULL,
        id           text NOT NULL,
        field        text NOT NULL,
        reason       text NOT NULL,
        sqlstate     text NOT NULL,
        detail       text NOT NULL,
        raw          bytea NOT NULL,
        rejected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        reject_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task_id      integer,
        key          bytea,
        FOREIGN KEY (run_id, partition_id, slice_no) REFERENCES mongopg.slice ON DELETE CASCADE,
        FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
    );
    CREATE UNIQUE INDEX reject_place ON mongopg.reject (run_id, partition_id, slice_no, reject_no);
    CREATE INDEX reject_key ON mongopg.reject (run_id, task_id, sha256(key));
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
_FOLLOW = """
    CREATE TABLE mongopg.follow (
        run_id    text PRIMARY KEY REFERENCES mongopg.run ON DELETE CASCADE,
        phase     text NOT NULL,
        lanes     integer NOT NULL,
        mark_time bigint,
        marked_at timestamptz,
        write_stop_s float8,
        write_block boolean NOT NULL DEFAULT false,
        seen_time bigint NOT NULL DEFAULT 0
    );
    CREATE TABLE mongopg.stream (
        run_id    text NOT NULL REFERENCES mongopg.follow ON DELETE CASCADE,
        stream_id integer NOT NULL,
        database  text NOT NULL,
        PRIMARY KEY (run_id, stream_id)
    );
    CREATE TABLE mongopg.stream_slice (
        run_id       text NOT NULL,
        stream_id    integer NOT NULL,
        slice_no     bigint NOT NULL,
        token        bytea NOT NULL,
        token_time   bigint NOT NULL,
        n_insert     bigint NOT NULL,
        n_update     bigint NOT NULL,
        n_replace    bigint NOT NULL,
        n_delete     bigint NOT NULL,
        n_keys       bigint NOT NULL,
        backend_pid  integer NOT NULL,
        committed_at timestamptz NOT NULL,
        PRIMARY KEY (run_id, stream_id, slice_no),
        FOREIGN KEY (run_id, stream_id) REFERENCES mongopg.stream ON DELETE CASCADE
    );
    CREATE TABLE mongopg.dirty (
        run_id   text NOT NULL,
        task_id  integer NOT NULL,
        lane     integer NOT NULL,
        key_hash bytea NOT NULL,
        key      bytea NOT NULL,
        gen      bigint NOT NULL,
        blocked  text NOT NULL DEFAULT '',
        PRIMARY KEY (run_id, task_id, lane, key_hash)
    ) WITH (fillfactor = 70);
    CREATE INDEX dirty_blocked ON mongopg.dirty (run_id, task_id, lane) WHERE blocked <> '';
    CREATE TABLE mongopg.applied (
        run_id       text NOT NULL,
        task_id      integer NOT NULL,
        lane         integer NOT NULL,
        batch_no     bigint NOT NULL,
        n_upserted   bigint NOT NULL DEFAULT 0,
        n_deleted    bigint NOT NULL DEFAULT 0,
        n_rejected   bigint NOT NULL DEFAULT 0,
        n_keys       bigint NOT NULL DEFAULT 0,
        worker       integer NOT NULL,
        backend_pid  integer NOT NULL,
        committed_at timestamptz,
        PRIMARY KEY (run_id, task_id, lane, batch_no),
        FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
    );
    CREATE TABLE mongopg.halt (
        run_id       text NOT NULL REFERENCES mongopg.follow ON DELETE CASCADE,
        task_id      integer NOT NULL,
        namespace    text NOT NULL,
        code         text NOT NULL,
        message      text NOT NULL,
        at_time      bigint NOT NULL,
        choice       text NOT NULL DEFAULT '',
        is_done      boolean NOT NULL DEFAULT false,
        settled_time bigint NOT NULL DEFAULT 0,
        uuid         text NOT NULL DEFAULT '',
        PRIMARY KEY (run_id, task_id)
    );
"""
"""A run that follows its source. Keys of `dirty` are those of documents that changed in the slice of their stream that `gen`
numbers; a foreign key would be looked at for each of them. `blocked` names the constraint that refused the row of one.
`marked_at` is when the first mark of the cut-over in hand, or of the one that was done, was set; writers stood still for
`write_stop_s` from then on. `write_block` is set before MongoDB's block of all writes is, and unset when that is lifted. `halt`
has the last thing that became of a collection, or as task 0 of the whole source, and what an operator chose."""
_CHECKED = """
    ALTER TABLE mongopg.table_load ADD COLUMN writes_then bigint;
    CREATE TABLE mongopg.changed (
        run_id     text NOT NULL,
        task_id    integer NOT NULL,
        lane       integer NOT NULL,
        changed_id bigint GENERATED ALWAYS AS IDENTITY,
        since      bigint NOT NULL,
        at         bigint NOT NULL,
        suspect    boolean NOT NULL DEFAULT false,
        n_keys     integer NOT NULL,
        keys       bytea NOT NULL,
        PRIMARY KEY (run_id, task_id, lane, changed_id),
        FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
    );
    CREATE TABLE mongopg.difference (
        run_id    text NOT NULL,
        task_id   integer NOT NULL,
        lane      integer NOT NULL,
        key_hash  bytea NOT NULL,
        key       bytea NOT NULL,
        n_found   integer NOT NULL DEFAULT 1,
        found_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        mended_at timestamptz,
        PRIMARY KEY (run_id, task_id, key_hash),
        FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
    );
"""
"""Changes that are applied are compared with the source afterwards. A row of `changed` has the keys of a batch of a lane, one
after the other, of changes behind `since`; they are compared when the stream is at `at`. A row of `difference` is a document
that was found to differ from its row, and is written again. `table_load.writes_then` is how many rows of the table PostgreSQL
had counted as inserted, updated or deleted when the run was complete."""
_ALTERED = "ALTER TABLE mongopg.applied ADD COLUMN altered jsonb;"
"""Values that policies changed in rows of changes: as in `slice`."""


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
        await connection.execute(_TABLES + _FOLLOW + _CHECKED + _ALTERED)
        await connection.execute("INSERT INTO mongopg.version VALUES ($1)", VERSION)
    await _upgrade(connection)
    await check_version(connection)


async def _upgrade(connection: asyncpg.Connection) -> None:
    """Lead a ledger of an earlier version to this one, step by step, in the transaction in hand."""
    found = int(await connection.fetchval("SELECT version FROM mongopg.version"))
    if not OLDEST <= found < VERSION:
        return
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    for version in range(found, VERSION):
        await _STEPS[version](connection)
    await connection.execute("UPDATE mongopg.version SET version = $1", VERSION)


async def check_version(connection: asyncpg.Connection) -> None:
    """Raise UsageError where another version of this program made the ledger that is there."""
    version = await connection.fetchval("SELECT version FROM mongopg.version")
    if version > VERSION:
        raise UsageError(
            f"The ledger in the target has version {version}, this program knows {VERSION}: use the newer program that "
            "wrote it."
        )
    if OLDEST <= version < VERSION:
        raise UsageError(
            f"The ledger in the target (schema mongopg) has version {version}, this program knows {VERSION}: the next command "
            "that reads or writes it brings it up to date."
        )
    if version < OLDEST:
        raise UsageError(
            f"The ledger in the target (schema mongopg) has version {version}, which is from before the first release, "
            f"and this program knows {VERSION}: finish its runs with the program that wrote it, then run DROP SCHEMA "
            "mongopg CASCADE, which leaves copied tables as they are."
        )


async def _to_10(connection: asyncpg.Connection) -> None:
    """A run knows from which time on its source can be followed; rejects know the key of their document."""
    await connection.execute("""
        ALTER TABLE mongopg.run ADD COLUMN start_time bigint, ADD COLUMN oplog_from bigint,
            ADD COLUMN source_set jsonb NOT NULL DEFAULT '{}', ADD COLUMN cannot_follow text NOT NULL DEFAULT '';
        UPDATE mongopg.run SET cannot_follow = 'an earlier version of this program copied it';
        ALTER TABLE mongopg.reject DROP CONSTRAINT reject_pkey;
        ALTER TABLE mongopg.reject
            ADD COLUMN reject_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            ADD COLUMN task_id integer, ADD COLUMN key bytea,
            ADD FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE,
            ALTER COLUMN partition_id DROP NOT NULL, ALTER COLUMN slice_no DROP NOT NULL,
            ALTER COLUMN reject_no DROP NOT NULL;
        UPDATE mongopg.reject r SET task_id = p.task_id FROM mongopg.partition p
            WHERE p.run_id = r.run_id AND p.partition_id = r.partition_id;
        CREATE UNIQUE INDEX reject_place ON mongopg.reject (run_id, partition_id, slice_no, reject_no);
    """)
    last = 0
    while rows := await connection.fetch(
        "SELECT reject_id, raw FROM mongopg.reject WHERE reject_id > $1 ORDER BY reject_id LIMIT $2",
        last,
        _KEYS_AT_ONCE,
    ):
        last = rows[-1]["reject_id"]
        await connection.executemany(
            "UPDATE mongopg.reject SET key = $2 WHERE reject_id = $1",
            [(row["reject_id"], key_or_none(row["raw"])) for row in rows],
        )
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await connection.execute("CREATE INDEX reject_key ON mongopg.reject (run_id, task_id, sha256(key))")


async def _to_11(connection: asyncpg.Connection) -> None:
    """A run can follow its source."""
    await connection.execute(_FOLLOW)


async def _to_12(connection: asyncpg.Connection) -> None:
    """Each engine that takes a run up has a number."""
    await connection.execute("ALTER TABLE mongopg.run ADD COLUMN generation integer NOT NULL DEFAULT 1")


async def _to_13(connection: asyncpg.Connection) -> None:
    """What is applied of a source that is followed is compared with it."""
    await connection.execute(_CHECKED)


async def _to_14(connection: asyncpg.Connection) -> None:
    """Values that policies change are counted in applied changes, too."""
    await connection.execute(_ALTERED)


_KEYS_AT_ONCE = 200
"""Documents may have 16 MB."""
_STEPS: dict[int, Callable[[asyncpg.Connection], Awaitable[None]]] = {
    9: _to_10,
    10: _to_11,
    11: _to_12,
    12: _to_13,
    13: _to_14,
}
"""What leads from a version to the next one."""
