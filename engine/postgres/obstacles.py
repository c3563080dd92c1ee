"""What keeps rows from being written into a table that is there, looked at before the first of them: row security, rules,
partitions, publications, and keys that PostgreSQL takes for equal where MongoDB does not.

Rights on the table are looked at in `engine.postgres.requirements`, columns in `engine.postgres.tables`.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from engine.errors import UsageError
from engine.mapping.equal_keys import may_share_rows
from engine.mapping.model import Kind, Mapping
from engine.mapping.names import TableName, quote_identifier
from engine.postgres.ddl import create_unique_index, fitted
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import describe, one_line
from engine.postgres.tables import ExistingColumn, describe_table, has_unique

UNIQUE_SUFFIX = "__id_key"
"""Of the unique index that an upsert makes where there is none."""
_PUBLISHES_NAMESPACES = 15
"""Since this version of PostgreSQL a publication may take all tables of a schema."""
_TABLE = """
    SELECT c.oid, c.relkind::text AS kind, c.relpersistence::text AS persistence,
           pg_has_role(c.relowner, 'USAGE') AS is_owner, row_security_active(c.oid) AS has_row_security,
           current_setting('row_security')::boolean AS may_filter,
           CASE WHEN c.relkind = 'p'
                THEN (SELECT count(*) FROM pg_partition_tree(c.oid) WHERE isleaf AND level > 0) END AS n_partitions,
           (SELECT array_agg(a.attname) FROM pg_partitioned_table p
            LEFT JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY(p.partattrs)
            WHERE p.partrelid = c.oid) AS partitioned_by
    FROM pg_class c WHERE c.oid = to_regclass($1)
"""
_RULES = """
    SELECT rulename, ev_type::text AS event FROM pg_rewrite
    WHERE ev_class = $1 AND ev_type IN ('2', '3') AND (ev_enabled <> 'D' OR ev_type = '2') ORDER BY rulename
"""
"""On UPDATE (2), of which the server counts those that are switched off too, and on INSERT (3)."""
_POLICIES = """
    SELECT polname AS name, polcmd::text AS command, polpermissive AS is_permissive,
           coalesce(pg_get_expr(polqual, polrelid) = 'true', false) AS sees_all,
           coalesce(pg_get_expr(coalesce(polwithcheck, polqual), polrelid) = 'true', false) AS takes_all
    FROM pg_policy WHERE polrelid = $1 AND EXISTS (
        SELECT FROM unnest(polroles) r (role) WHERE role = 0 OR pg_has_role(current_user, role, 'USAGE')
    ) ORDER BY polname
"""
"""Those that are for our role: what is not given by WITH CHECK is what USING says."""
_PUBLISHED = """
    SELECT p.pubname FROM pg_publication p WHERE p.pubupdate AND (
        p.puballtables
        OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = ANY($1)){namespaces}
    ) ORDER BY p.pubname
"""
_NAMESPACES = """
        OR EXISTS (SELECT FROM pg_publication_namespace n JOIN pg_class c ON c.relnamespace = n.pnnspid
                   WHERE n.pnpubid = p.oid AND c.oid = ANY($1))"""
_WITHOUT_IDENTITY = """
    SELECT c.oid::regclass::text AS name FROM pg_class c
    WHERE c.oid = ANY($1) AND c.relkind IN ('r', 'p') AND c.relreplident <> 'f' AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
        AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)
    ) ORDER BY 1 LIMIT 1
"""
_FAMILY = """
    SELECT coalesce(
               (SELECT array_agg(relid::oid) FROM pg_partition_ancestors($1::oid::regclass)), ARRAY[$1::oid]
           ) AS above,
           coalesce(
               (SELECT array_agg(relid::oid) FROM pg_partition_tree($1::oid::regclass) WHERE isleaf), ARRAY[$1::oid]
           ) AS leaves
"""
"""The tables that a publication of may be one of this, and those that have the rows."""
_CONSTRAINTS = """
    SELECT 'unique index ' || i.indexrelid::regclass::text AS name FROM pg_index i
    WHERE i.indrelid = to_regclass($1) AND i.indisunique AND NOT (
        i.indnkeyatts = 1 AND EXISTS (SELECT FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = $2))
    UNION ALL
    SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND to_regclass($1) IN (conrelid, confrelid)
    UNION ALL
    SELECT 'exclusion constraint ' || conname FROM pg_constraint WHERE contype = 'x' AND conrelid = to_regclass($1)
    ORDER BY 1
"""
_KEY_INDEXES = """
    SELECT i.indexrelid::regclass::text AS name, c.collname AS collation, NOT coalesce(c.collisdeterministic, true) AS folds
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    LEFT JOIN pg_collation c ON c.oid = i.indcollation[0]
    WHERE i.indrelid = $1 AND a.attname = $2 AND i.indnkeyatts = 1 AND i.indisunique AND i.indimmediate
      AND i.indpred IS NULL ORDER BY 1
"""
"""Unique indexes over the key alone: ON CONFLICT takes every one of them, whatever its collation."""
_DEFERRABLE = """
    SELECT c.conname AS name FROM pg_constraint c JOIN pg_index i ON i.indexrelid = c.conindid
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE c.conrelid = $1 AND c.contype IN ('p', 'u') AND c.condeferrable AND i.indnkeyatts = 1 AND a.attname = $2
    ORDER BY 1
"""
"""ON CONFLICT takes these, too, and fails of them, also beside a key that would do."""
_TRIGGERS = """
    SELECT t.tgname AS name, t.tgfoid::regproc::text AS function, t.tgtype & 3 = 3 AS is_before_row
    FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & $2 <> 0
    AND t.tgrelid IN (SELECT to_regclass($1) UNION SELECT relid FROM pg_partition_tree(to_regclass($1)))
    ORDER BY 1
"""
"""Bits of a trigger's type: for each row 1, before 2, at INSERT 4, at DELETE 8, at UPDATE 16."""
_AT_ANY_CHANGE = 4 | 8 | 16


async def require_writable(connection: asyncpg.Connection, table: TableName, mode: str, mapping: Mapping) -> None:
    """Make sure that rows can be added to a table that is there.

    Raises:
        UsageError: they cannot; everything that is in the way is named.
    """
    found = await obstacles(connection, table, mode, mapping)
    if found:
        raise UsageError(f"Table {table} cannot be written to in mode {mode}: {' '.join(found)}", code="table_closed")


async def obstacles(connection: asyncpg.Connection, table: TableName, mode: str, mapping: Mapping) -> list[str]:
    """What keeps rows from being added to a table, a sentence each; empty where nothing does, or where there is no table.

    Args:
        connection: in no transaction.
        table: the target.
        mode: `append` or `upsert`.
        mapping: of the rows.
    """
    facts = await connection.fetchrow(_TABLE, table.sql)
    if facts is None:
        return []
    found = []
    if facts["has_row_security"]:
        found += await _row_security(connection, facts, mode)
    if facts["n_partitions"] == 0:
        found.append("It is partitioned and has no partition that could take a row.")
    if mode == "upsert":
        found += await _rules(connection, facts["oid"])
        found += await _keys(connection, table, facts, mapping)
        if len(mapping.columns) > 1 or may_share_rows(
            mapping, mode, is_view=False
        ):  # otherwise nothing is ever updated
            found += await _publications(connection, table, facts, mapping)
    return found


async def remarks(connection: asyncpg.Connection, table: TableName, mode: str) -> list[str]:
    """What there is to know of a table that rows are added to, though nothing is in the way; a sentence each."""
    if mode != "append":
        return []
    oid = await connection.fetchval("SELECT to_regclass($1)::oid", table.sql)
    if oid is None:
        return []
    names = [one_line(row["rulename"]) for row in await connection.fetch(_RULES, oid) if row["event"] == "3"]
    if not names:
        return []
    return [
        f"Table {table} has rules on INSERT ({', '.join(names)}), which COPY does not follow: all rows go into the table."
    ]


async def remarks_on_following(connection: asyncpg.Connection, table: TableName, key: str) -> list[str]:
    """What there is to know of a table that is there when changes are applied to it, a sentence each.

    Args:
        key: its column of the documents' `_id`.
    """
    found = []
    rows = await connection.fetch(_TRIGGERS, table.sql, _AT_ANY_CHANGE)
    if triggers := list(dict.fromkeys(one_line(row["name"]) for row in rows)):
        found.append(
            f"Triggers of {table} fire for every change that is applied: {', '.join(triggers)}. Disable what must not."
        )
    if others := await constraints(connection, table, key):
        found.append(
            f"Changes that are applied to {table} may be refused because of other rows ({', '.join(others)}): a foreign key "
            "keeps rows from being deleted that others refer to."
        )
    return found


async def triggers_of(connection: asyncpg.Connection, table: TableName, mode: str) -> list[str]:
    """The triggers that may leave rows out or change them, as text: those before each row, or else all others."""
    events = 4 | (16 if mode == "upsert" else 0)
    rows = await connection.fetch(_TRIGGERS, table.sql, events)
    chosen = [row for row in rows if row["is_before_row"]] or rows
    return list(dict.fromkeys(f"{one_line(row['name'])} (function {one_line(row['function'])})" for row in chosen))


async def _row_security(connection: asyncpg.Connection, facts: asyncpg.Record, mode: str) -> list[str]:
    role = one_line(await connection.fetchval("SELECT quote_ident(current_user)"))
    if mode == "append":
        return [
            f"Row security is active for the role {role}, and PostgreSQL takes no COPY then: connect as its owner or a role "
            "with BYPASSRLS, or use mode upsert under policies that let all rows through."
        ]
    if not facts["may_filter"]:
        return [f"Row security is active for the role {role}, whose setting row_security = off makes it an error."]
    closed = _closed_commands(await connection.fetch(_POLICIES, facts["oid"]))
    if not closed:
        return []
    return [
        f"Row security is active for the role {role}, and its policies do not let all rows through at {', '.join(closed)}: "
        "connect as its owner or a role with BYPASSRLS, or give it policies with USING (true) and WITH CHECK (true)."
    ]


def _closed_commands(policies: Sequence[asyncpg.Record]) -> list[str]:
    """The commands of an upsert at which some row may be hidden or refused.

    One permissive policy has to let all rows through, and so has every restrictive one (CREATE POLICY, "Application of
    Multiple Policies").
    """
    closed = []
    for command, word, sides in (
        ("r", "SELECT", ("sees_all",)), ("a", "INSERT", ("takes_all",)), ("w", "UPDATE", ("sees_all", "takes_all"))
    ):  # fmt: skip
        ours = [policy for policy in policies if policy["command"] in (command, "*")]
        for side in sides:
            is_open = any(policy[side] for policy in ours if policy["is_permissive"])
            is_narrowed = any(not policy[side] for policy in ours if not policy["is_permissive"])
            if not is_open or is_narrowed:
                closed.append(word)
                break
    return closed


async def _rules(connection: asyncpg.Connection, oid: int) -> list[str]:
    names = [one_line(row["rulename"]) for row in await connection.fetch(_RULES, oid)]
    if not names:
        return []
    return [
        f"It has rules ({', '.join(names)}), and PostgreSQL takes no INSERT with ON CONFLICT then: use mode append."
    ]


async def _keys(connection: asyncpg.Connection, table: TableName, facts: asyncpg.Record, mapping: Mapping) -> list[str]:
    """What is wrong with the key: it takes for equal what MongoDB keeps apart, or there can be none."""
    key = mapping.id_column
    found = next((each for each in await describe_table(connection, table) if each.name == key.name), None)
    if found is None:
        return []
    name = one_line(key.name)
    problems = list(_merging(found, mapping))
    for index in await connection.fetch(_KEY_INDEXES, facts["oid"], key.name):
        if index["folds"] and not found.folds:
            problems.append(
                f"The unique index {one_line(index['name'])} of the key column {name} has the collation "
                f"{one_line(index['collation'])}, {_MERGES}"
            )
    for constraint in await connection.fetch(_DEFERRABLE, facts["oid"], key.name):
        problems.append(
            f"The constraint {one_line(constraint['name'])} of the key column {name} is deferrable, and PostgreSQL takes no "
            "INSERT with ON CONFLICT then: make one that is not in its place, or use mode append."
        )
    if not await has_unique(connection, table, key.name):
        others = [each for each in facts["partitioned_by"] or () if each != key.name]
        if others:
            shown = ", ".join("an expression" if each is None else one_line(each) for each in others)
            problems.append(
                f"It is partitioned by {shown}, so the key column {name} alone cannot be unique, which mode upsert needs: "
                "use mode append."
            )
        elif not facts["is_owner"]:
            index_name = fitted(table.table, UNIQUE_SUFFIX)
            problems.append(
                f"The key column {name} has no unique index, which mode upsert needs: as its owner, run "
                f"{create_unique_index(table, key.name, index_name)};"
            )
    return problems


_MERGES = "which takes keys for one that MongoDB keeps apart: in mode upsert one document would replace the other."


def _merging(found: ExistingColumn, mapping: Mapping) -> Sequence[str]:
    key = mapping.id_column
    name = f"The key column {one_line(key.name)}"
    if found.folds:
        return [f"{name} has a collation that is not deterministic, {_MERGES}"]
    if found.base == "citext" and key.kinds != {Kind.OBJECT_ID}:  # hex digits are all small
        return [f"{name} is {one_line(found.type)}, {_MERGES}"]
    return []


async def _publications(
    connection: asyncpg.Connection, table: TableName, facts: asyncpg.Record, mapping: Mapping
) -> list[str]:
    """Why the server would not update rows that it has to publish.

    https://www.postgresql.org/docs/current/logical-replication-publication.html#LOGICAL-REPLICATION-PUBLICATION-REPLICA-IDENTITY
    """
    if facts["persistence"] != "p":
        return []
    family = await one_row(connection, _FAMILY, facts["oid"])
    namespaces = _NAMESPACES if connection.get_server_version().major >= _PUBLISHES_NAMESPACES else ""
    names = [
        one_line(row["pubname"])
        for row in await connection.fetch(_PUBLISHED.format(namespaces=namespaces), family["above"])
    ]
    if not names:
        return []
    lacking = await connection.fetchval(_WITHOUT_IDENTITY, family["leaves"])
    if lacking is not None:
        return [
            f"The publication {', '.join(names)} publishes its updates, and {one_line(lacking)} has no replica identity, such "
            "as a primary key, so PostgreSQL refuses to update a row: give it one (ALTER TABLE ... REPLICA IDENTITY), or use "
            "mode append."
        ]
    if facts["kind"] != "r":
        return []
    key = quote_identifier(mapping.id_column.name)
    try:  # nothing is executed: the server looks at filters and column lists of publications when it begins
        await connection.execute(f"EXPLAIN UPDATE {table.sql} SET {key} = {key} WHERE false")  # noqa: S608 - quoted names
    except asyncpg.InsufficientPrivilegeError:
        return []  # named elsewhere
    except (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.InvalidColumnReferenceError) as error:
        return [
            f"The publication {', '.join(names)} publishes its updates, and PostgreSQL refuses them: {describe(error)[1]}"
        ]
    except asyncpg.PostgresError:
        return []  # not about publications, and found by whatever is at fault
    return []


async def constraints(connection: asyncpg.Connection, table: TableName, key: str) -> list[str]:
    """What of a table looks at more rows than the one that is written: unique indexes but that of its key, foreign keys on both
    sides, exclusion constraints; each by its name. A table that is not there has none."""
    return [one_line(row["name"]) for row in await connection.fetch(_CONSTRAINTS, table.sql, key)]
