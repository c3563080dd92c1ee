"""The corpus through both converters in every mode, each case a table of its own, read back through SQL.

What a run does with its tables is done here without its processes: prepare, claim, COPY, rejects, checkpoint, key, swap.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from engine.convert import Preference, built_converters, make_converter
from engine.ledger import partitions, runs, schema
from engine.ledger.earlier_runs import mappings_of
from engine.ledger.runs import NewRun
from engine.ledger.slices import SliceWriter
from engine.mapping.model import Column, Mapping, Role
from engine.mapping.names import TableName, quote_identifier
from engine.mapping.options import MappingOptions
from engine.postgres import connect as postgres
from engine.postgres import finish, prepare
from engine.postgres.page import CopyTarget, Page
from engine.postgres.rows import RowSender
from engine.rows import Converted, Piece, TableLoad
from tests.corpus import CASES, Case, Reject, encode
from tests.engine.expectation import Values
from tests.engine.independent_reader import decode
from tests.engine.target_tools import RUN, pieces

if TYPE_CHECKING:
    from tests.conftest import Target

NAMESPACE = "corpus.{}"
MODES = ("create", "append", "replace", "upsert")
WHOLE = [
    replace(case, options={"layout": "document"}, seen=(), changes={}, ignored=())
    for case in CASES
    if isinstance(case.document, dict) and not case.options
]
"""Cases that can be read as whole documents, too."""


def existing_table(table: TableName, mapping: Mapping, *, has_key: bool) -> str:
    """DDL of an existing table that the mapping fits, with the bounds that the mapping knows of."""

    def column(each: Column) -> str:
        sql_type = f"varchar({each.length})" if each.length else each.sql_type
        return f"{quote_identifier(each.name)} {sql_type}{'' if each.nullable else ' NOT NULL'}"

    key = f", PRIMARY KEY ({quote_identifier(mapping.id_column.name)})" if has_key else ""
    return f"CREATE TABLE {table.sql} ({', '.join(map(column, mapping.columns))}{key})"


class CorpusRun:
    """A run of one mode with a table for each case."""

    def __init__(self, connection: asyncpg.Connection, mode: str, converter: Preference, cases: Sequence[Case]) -> None:
        self.connection = connection
        self.mode = mode
        self.cases = cases
        self.documents = [encode(case.document) for case in cases]
        self.mappings = [case.mapping() for case in cases]
        self.converted = [
            make_converter(mapping, converter).convert(document, 0, 1)
            for mapping, document in zip(self.mappings, self.documents, strict=True)
        ]

    def table(self, number: int) -> TableName:
        """Of a case."""
        return TableName("public", f"case {number}")

    def has_key(self, number: int) -> bool:
        """As in a plan."""
        return not self.mappings[number].id_column.nullable

    async def run(self) -> None:
        """All of it."""
        await schema.ensure_schema(self.connection)
        for number in range(len(self.cases)):
            await self._make_existing(number)
        wanted = [
            (number, NAMESPACE.format(number), self.table(number), mapping, 1, self.has_key(number))
            for number, mapping in enumerate(self.mappings)
        ]
        loads, statements = await prepare.prepare(self.connection, RUN, self.mode, wanted, mappings_of)
        # The bounds of existing tables have been found out, and are those that the case has.
        assert [Mapping.model_validate_json(load.mapping) for load in loads] == self.mappings
        run = NewRun(RUN, "f", self.mode, "mongodb://localhost/corpus", "postgresql://localhost/x", "{}", "here")
        await runs.create_run_and_tables(self.connection, run, loads, statements)
        await partitions.add_partitions(
            self.connection,
            RUN,
            [partitions.Partition(number, number, None, None) for number in range(len(self.cases))],
        )
        loads = await runs.table_loads(self.connection, RUN)
        for number, load in enumerate(loads):
            await self._write(number, load)
            await finish.build_key(self.connection, load, self.mappings[number], has_key=self.has_key(number))
        await finish.swap(self.connection, RUN, loads, mappings_of)

    async def _make_existing(self, number: int) -> None:
        table, mapping = self.table(number), self.mappings[number]
        if self.mode == "replace":
            await self.connection.execute(f"CREATE TABLE {table.sql} (old text)")
        elif self.mode in ("append", "upsert"):
            is_upsert = self.mode == "upsert"
            has_key = is_upsert and self.has_key(number)
            await self.connection.execute(existing_table(table, mapping, has_key=has_key))
            if has_key:
                await self._add_older_row(number)

    async def _add_older_row(self, number: int) -> None:
        """A row of the same `_id` with nothing else in it, as far as it may."""
        columns = self.mappings[number].columns
        if not self.converted[number].row_ends:
            return
        sender = RowSender(self.connection, self._target(self.table(number), number, ""))
        async with self.connection.transaction():
            await sender.send(Page(), pieces(self._piece(number)))
            emptied = [column for column in columns if column.nullable and column.role is not Role.ID]
            if emptied:
                changes = ", ".join(f"{quote_identifier(column.name)} = NULL" for column in emptied)
                await self.connection.execute(f"UPDATE {self.table(number).sql} SET {changes}")

    async def _write(self, number: int, load: TableLoad) -> None:
        key = self.mappings[number].id_column.name if self.mode == "upsert" else ""
        writer = SliceWriter(self.connection, RUN, self._target(load.loads_into, number, key), 1)
        await writer.begin(number, 0, None, True)
        await writer.write_page(pieces(self._piece(number)))
        await writer.commit(None, True)

    def _target(self, table: TableName, number: int, upsert_key: str) -> CopyTarget:
        columns = tuple(column.name for column in self.mappings[number].columns)
        return CopyTarget(table, columns, NAMESPACE.format(number), upsert_key)

    def _piece(self, number: int) -> Piece:
        converted: Converted = self.converted[number]
        return Piece(self.documents[number], converted)

    async def rows(self, number: int) -> list[dict[str, str | None]]:
        """What a case's table shows."""
        names = [quote_identifier(column.name) for column in self.mappings[number].columns]
        texts = ", ".join(f"{name}::text" for name in names)
        return [dict(row) for row in await self.connection.fetch(f"SELECT {texts} FROM {self.table(number).sql}")]

    async def rejects(self) -> dict[int, tuple[Reject, bytes]]:
        """The rejects of all cases, by the case's number."""
        found = await self.connection.fetch("SELECT partition_id, reason, field, raw FROM mongopg.reject")
        assert len({row["partition_id"] for row in found}) == len(found)
        return {row["partition_id"]: (Reject(row["reason"], row["field"]), row["raw"]) for row in found}

    async def difference(self, number: int, reject: tuple[Reject, bytes] | None) -> Any:
        """What is not as the case has it; None when all is."""
        case, rows = self.cases[number], await self.rows(number)
        if isinstance(case.expected, Reject):
            wanted = (case.expected, self.documents[number])
            return None if (rows, reject) == ([], wanted) else (wanted, reject, rows)
        if reject is not None or len(rows) != 1:
            return reject, rows
        (row,) = rows
        expected = {column.name: case.expected.get(column.name) for column in self.mappings[number].columns}
        if "_id" not in case.expected:
            expected["_id"] = row["_id"]
        if row == expected and case.expected.keys() <= row.keys():
            return None
        return {name: (row[name], expected[name]) for name in row if row[name] != expected[name]}


async def connected(uri: str) -> asyncpg.Connection:
    connection = await postgres.connect(uri)
    await connection.execute("SET timezone = 'UTC'")
    return connection


@pytest.mark.parametrize(
    ("converter", "mode"),
    [
        pytest.param(
            converter, mode, marks=[pytest.mark.slow] if (number and mode != "create") or mode == "append" else []
        )
        for number, converter in enumerate(built_converters())
        for mode in MODES
    ],
)
async def test_every_case_has_its_outcome_in_every_mode(target: Target, mode: str, converter: Preference) -> None:
    connection = await connected(target.uri)
    try:
        run = CorpusRun(connection, mode, converter, CASES)
        await run.run()
        rejects = await run.rejects()
        found = {
            case.name: difference
            for number, case in enumerate(CASES)
            if (difference := await run.difference(number, rejects.get(number))) is not None
        }
        assert found == {}
        assert await connection.fetchval("SELECT sum(n_written) FROM mongopg.slice") == len(CASES) - len(rejects)
    finally:
        await connection.close()


@pytest.mark.parametrize("converter", built_converters())
async def test_every_document_arrives_whole_in_one_column(target: Target, converter: Preference) -> None:
    connection = await connected(target.uri)
    try:
        run = CorpusRun(connection, "create", converter, WHOLE)
        await run.run()
        rejects = await run.rejects()
        assert 0 < len(rejects) < len(WHOLE) / 4
        for number, case in enumerate(WHOLE):
            document = decode(run.documents[number])
            document.pop("_id", None)
            if number in rejects:
                assert rejects[number][0].reason in ("nul", "id_too_long", "date_range"), case.name
                continue
            ((_, shown),) = [row.values() for row in await run.rows(number)]
            assert shown is not None
            stored = json.loads(shown, parse_int=Decimal, parse_float=Decimal)
            assert stored == Values(MappingOptions()).plain(document), case.name
    finally:
        await connection.close()
