"""The table of keys that a comparison makes: what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres import keys

if TYPE_CHECKING:
    from tests.conftest import Target

MAPPING = Mapping(
    columns=(Column(name="_id", type=ColumnType.INTEGER, role=Role.ID, kinds=frozenset({Kind.INT32}), nullable=False),)
)


async def test_a_table_of_keys_knows_that_a_crash_of_the_server_has_emptied_it(target: Target) -> None:
    target.execute("CREATE SCHEMA IF NOT EXISTS mongopg; CREATE TABLE things (_id integer PRIMARY KEY)")
    target.execute("INSERT INTO things VALUES (1), (2)")
    connection = await asyncpg.connect(target.uri)
    try:
        await keys.create(connection, "verify_x", TableName("public", "things"), MAPPING)
        await connection.execute("INSERT INTO mongopg.verify_x VALUES (1)")
        extra = await keys.find_extra(connection, TableName("public", "things"), "verify_x", MAPPING, None, 5)
        assert (extra.count, [each.key for each in extra.rows]) == (1, ["2"])
        assert await keys.is_whole(connection, "verify_x", MAPPING)
        await connection.execute("TRUNCATE mongopg.verify_x")  # as crash recovery does with tables that are not logged
        assert not await keys.is_whole(connection, "verify_x", MAPPING)
    finally:
        await connection.close()
