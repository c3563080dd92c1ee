"""SQL text for target tables: from a mapping to CREATE TABLE, keys, ANALYZE and the swap of mode `replace`.

Nothing here talks to a server. Every identifier goes through `quote_identifier`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from engine.mapping.model import Column, Mapping
from engine.mapping.names import MAX_NAME_BYTES, TableName, quote_identifier

LEDGER_SCHEMA = "mongopg"
"""The schema in the target database that holds the ledger (`engine.ledger`)."""
STAGING_MARK = "__mongopg_"
"""Between the table's name and the run's in the name of a staging table."""
OLD_MARK = "__mongopg_old_"
"""The same for the table that a swap replaces, for the moment between rename and drop."""
KEY_SUFFIX = "_pkey"
"""What PostgreSQL itself calls a primary key."""
KEY_TAKEN_MARK = "mongopg key taken: "
"""Begins the text in the error of a row whose key this run has given to another one; the key follows."""
_LATER_TRANSACTIONS = 1_000_000
"""What was written since a transaction began has a negative age, down to this. One that is far below is that of a row which was
written more than two thousand million transactions ago: a VACUUM that freezes rows leaves their `xmin` as it was."""
_HASH_DIGITS = 8


def fitted(name: str, suffix: str) -> str:
    """`name` + `suffix` within 63 bytes; a hash stands for what is cut off, so that different names stay different."""
    if len((name + suffix).encode()) <= MAX_NAME_BYTES:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    room = MAX_NAME_BYTES - len(suffix.encode()) - _HASH_DIGITS - 1
    return f"{name.encode()[:room].decode(errors='ignore')}_{digest}{suffix}"


def staging_name(target: TableName, run_id: str) -> TableName:
    """Where mode `replace` loads before the swap."""
    return TableName(target.schema, fitted(target.table, STAGING_MARK + run_id))


def old_name(target: TableName, run_id: str) -> TableName:
    """What the replaced table is called until it is dropped."""
    return TableName(target.schema, fitted(target.table, OLD_MARK + run_id))


def key_name(table: TableName) -> str:
    """Name of a table's primary key."""
    return fitted(table.table, KEY_SUFFIX)


def create_schema(schema: str) -> str:
    """CREATE SCHEMA; look for the schema first, since IF NOT EXISTS wants the right to create it either way."""
    return f"CREATE SCHEMA {quote_identifier(schema)}"


def create_table(table: TableName, mapping: Mapping) -> str:
    """CREATE TABLE with the mapping's columns; an `_id` that all have is NOT NULL, so the key later needs no scan for it."""
    lines = ",\n".join(f"    {_column(column)}" for column in mapping.columns)
    return f"CREATE TABLE {table.sql} (\n{lines}\n)"


def add_primary_key(table: TableName, column: str, name: str) -> str:
    """ALTER TABLE that builds the primary key called `name`."""
    return f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote_identifier(name)} PRIMARY KEY ({quote_identifier(column)})"


def create_unique_index(table: TableName, column: str, name: str) -> str:
    """A unique index over one column: what mode `upsert` needs on a table that has other keys already."""
    return f"CREATE UNIQUE INDEX {quote_identifier(name)} ON {table.sql} ({quote_identifier(column)})"


def analyze(table: TableName, columns: Sequence[str] = ()) -> str:
    """ANALYZE, so that the first queries are planned with what is in the table; without columns, of all of them."""
    return f"ANALYZE {table.sql}" + (f" ({', '.join(map(quote_identifier, columns))})" if columns else "")


def drop_table(table: TableName) -> str:
    """DROP TABLE without CASCADE: whatever depends on it stays, and so does the table."""
    return f"DROP TABLE IF EXISTS {table.sql}"


def rename_table(table: TableName, name: str) -> str:
    """ALTER TABLE RENAME within the schema."""
    return f"ALTER TABLE {table.sql} RENAME TO {quote_identifier(name)}"


def rename_constraint(table: TableName, old: str, new: str) -> str:
    """ALTER TABLE RENAME CONSTRAINT; the index behind a key is renamed with it."""
    return f"ALTER TABLE {table.sql} RENAME CONSTRAINT {quote_identifier(old)} TO {quote_identifier(new)}"


def upsert(
    target: TableName,
    source: TableName,
    columns: Sequence[str],
    key: str,
    identities: Sequence[str] = (),
    written_since: str = "",
) -> str:
    """INSERT of all rows of `source`, where a row whose `key` exists takes the new values.

    Args:
        identities: columns that are GENERATED ALWAYS AS IDENTITY: new rows bring their own values, as with COPY. No UPDATE can
            change one, so a row that would is refused, with an error of its own (a text that is no boolean).
        written_since: SQL of an age of transactions: a row that a younger one wrote takes no other values. One that would give
            it some is refused in the same way, by a text with `KEY_TAKEN_MARK` and the key.
    """
    names = ", ".join(quote_identifier(column) for column in columns)
    changed = [column for column in columns if column != key and column not in identities]
    is_key_alone = not changed and bool(written_since) and key not in identities
    if is_key_alone:
        changed = [key]  # there is nothing to change, but whose row it is has to be looked at
    changes = ", ".join(f"{quote_identifier(column)} = EXCLUDED.{quote_identifier(column)}" for column in changed)
    action = f"DO UPDATE SET {changes}" if changes else "DO NOTHING"
    kept = [quote_identifier(column) for column in columns if column in identities and column != key]
    row = target.sql
    cases = ""
    if written_since and changes:
        taken = f"('{KEY_TAKEN_MARK}' || EXCLUDED.{quote_identifier(key)}::text)::boolean"
        cases += f" WHEN age({row}.xmin) BETWEEN -{_LATER_TRANSACTIONS} AND ({written_since}) - 1 THEN {taken}"
    if kept and changes:
        unchanged = " AND ".join(f"{row}.{column} IS NOT DISTINCT FROM EXCLUDED.{column}" for column in kept)
        values = " || ' ' || ".join(f"EXCLUDED.{column}" for column in kept)
        message = f"('no UPDATE changes an identity column: ' || {values})::boolean"
        cases += f" WHEN {unchanged} THEN true ELSE {message}"
    elif cases:
        cases += f" ELSE {'false' if is_key_alone else 'true'}"
    if cases:
        action += f" WHERE CASE{cases} END"
    overriding = "OVERRIDING SYSTEM VALUE " if identities else ""
    rows = f"SELECT {names} FROM {source.sql}"  # noqa: S608 - quoted names
    return f"INSERT INTO {target.sql} ({names}) {overriding}{rows} ON CONFLICT ({quote_identifier(key)}) {action}"


def _column(column: Column) -> str:
    required = "" if column.nullable else " NOT NULL"
    return f"{quote_identifier(column.name)} {column.sql_type}{required}"
