"""What a plan says of MongoDB's indexes in SQL: PostgreSQL takes it, and ordinary queries use it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from engine.errors import EXIT_DONE
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.mongo.indexes import SourceIndex, index_of
from engine.plan.indexes import propose_indexes
from engine.postgres.ddl import create_table
from engine.postgres.indexes import create_index
from engine.protocol import MakePlan, PlanView
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

ORDERS = TableName("public", "orders")
OID = "65a000000000000000000001"
UUID_TEXT = "6a2f41a3-c54c-fce8-32d2-0324e1c32e22"


def column(name: str, column_type: ColumnType, *kinds: Kind, **more: Any) -> Column:
    return Column(name=name, type=column_type, **({"path": (name,)} | more), kinds=frozenset(kinds))


MAPPING = Mapping(
    columns=(
        column("_id", ColumnType.BIGINT, Kind.INT32, Kind.INT64, role=Role.ID, nullable=False),
        column("name", ColumnType.TEXT, Kind.STRING),
        column("amount", ColumnType.INTEGER, Kind.INT32, Kind.INT64),
        column("big", ColumnType.BIGINT, Kind.INT32, Kind.INT64),
        column("price", ColumnType.DOUBLE, Kind.DOUBLE, Kind.INT32, Kind.INT64),
        column("exact", ColumnType.NUMERIC, Kind.DECIMAL128),
        column("customer", ColumnType.TEXT, Kind.OBJECT_ID),
        column("short", ColumnType.BYTEA, Kind.OBJECT_ID),
        column("hash", ColumnType.BYTEA, Kind.BINARY),
        column("token", ColumnType.UUID, Kind.UUID),
        column("at", ColumnType.TIMESTAMPTZ, Kind.DATE),
        column("active", ColumnType.BOOLEAN, Kind.BOOL),
        column("items", ColumnType.JSONB, Kind.ARRAY),
        column("address", ColumnType.JSONB, Kind.DOCUMENT),
        column("raw", ColumnType.JSON, Kind.DOCUMENT),
        column("mixed", ColumnType.JSONB, Kind.STRING, Kind.INT32),
        column("tags", ColumnType.TEXT, Kind.STRING, array=True),
        column("_extra", ColumnType.JSONB, role=Role.EXTRA, path=()),
    )
)

FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"name": "it's"}, "name = 'it''s'"),
    ({"name": {"$eq": "a\\b"}}, r"name = 'a\b'"),
    ({"name": {"$in": ["a", "b"]}}, "name IN ('a', 'b')"),
    ({"name": {"$in": ["a", "b"]}}, "name = 'b'"),
    ({"name": {"$in": ["only"]}}, "name = 'only'"),
    ({"name": {"$gt": "m"}}, "name > 'm'"),
    ({"name": {"$gte": "m", "$lt": "p"}}, "name >= 'm' AND name < 'p'"),
    ({"name": {"$exists": True}}, "name = 'x'"),
    ({"name": {"$type": "string"}}, "name IS NOT NULL"),
    ({"amount": 5}, "amount = 5"),
    ({"amount": {"$gt": 5.0}}, "amount > 5"),
    ({"amount": {"$gte": Int64(-5), "$lt": 10}}, "amount >= -5 AND amount < 10"),
    ({"amount": {"$lte": 1.5}}, "amount <= 1.5"),
    ({"amount": {"$lt": Decimal128("2.0")}}, "amount < 2"),
    ({"amount": {"$in": [1, 2.0, Int64(3)]}}, "amount = 3"),
    ({"big": {"$gt": Int64(2**40)}}, f"big > {2**40}"),
    ({"big": {"$lt": 1e22}}, "big < 10000000000000000000000"),
    ({"price": {"$gt": 1.5}}, "price > 1.5"),
    ({"price": {"$gt": 100}}, "price > 100"),
    ({"price": {"$lte": Decimal128("1.50")}}, "price <= 1.5"),
    ({"price": 1e300}, "price = 1e300"),
    ({"exact": {"$gt": Decimal128("1.50")}}, "exact > 1.5"),
    ({"exact": {"$gt": 0.1}}, "exact > 0.1"),
    ({"exact": 7}, "exact = 7"),
    ({"active": True}, "active"),
    ({"active": True}, "active = true"),
    ({"active": {"$eq": False}}, "NOT active"),
    ({"active": {"$in": [True]}}, "active = true"),
    ({"at": {"$gt": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)}}, "at > '2024-01-02 03:04:05+00'"),
    ({"at": {"$gte": DatetimeMS(-62_200_000_000_000)}}, "at >= '0003-12-17 14:13:20+00 BC'"),
    ({"at": {"$lt": DatetimeMS(400_000_000_000_123)}}, "at < '14645-06-30 15:06:40.123+00'"),
    ({"customer": ObjectId(OID)}, f"customer = '{OID}'"),
    ({"short": ObjectId(OID)}, rf"short = '\x{OID}'"),
    ({"hash": b"\0\xff"}, r"hash = '\x00ff'"),
    ({"token": Binary(bytes.fromhex(UUID_TEXT.replace("-", "")), 4)}, f"token = '{UUID_TEXT}'"),
    ({"$and": [{"active": True}, {"name": "x"}]}, "active AND name = 'x'"),
    ({"$or": [{"active": True}, {"amount": 1}]}, "amount = 1"),
    ({"$or": [{"name": "x"}, {"$and": [{"active": True}, {"amount": {"$gt": 3}}]}]}, "active AND amount > 7"),
    ({"active": True, "amount": {"$gte": 18}}, "active AND amount >= 18"),
]


async def test_an_ordinary_query_uses_a_partial_index_of_the_same_words(target: Target) -> None:
    connection = await asyncpg.connect(target.uri)
    missed = []
    try:
        await connection.execute(create_table(ORDERS, MAPPING))
        await connection.execute("SET enable_seqscan TO off; SET timezone TO 'UTC'")
        for partial, query in FILTERS:
            source = SourceIndex(name="theirs", keys=(("_id", False),), partial=partial)
            proposal = propose_indexes([source], ORDERS, MAPPING, "shop.orders")
            assert not proposal.left, (partial, proposal.left)
            (index,) = proposal.indexes
            await connection.execute(create_index(index, ORDERS))
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN SELECT * FROM orders WHERE {query}"))
            if index.name not in plan:
                missed.append((partial, query, index.where, plan))
            await connection.execute(f'DROP INDEX "{index.name}"')
    finally:
        await connection.close()
    assert not missed


LEFT: list[dict[str, Any]] = [
    {"key": {"items": 1}},
    {"key": {"items.sku": 1, "name": -1}, "unique": True},
    {"key": {"address.city": 1}, "unique": True},
    {"key": {"raw.a.b": -1, "mixed": 1}},
    {"key": {"raw": 1}},
    {"key": {"tags": 1}},
    {"key": {"gone": 1}},
    {"key": {'it\'s \\ "odd"\r\n; DROP TABLE orders': 1}},
    {"key": {"name": "hashed"}},
    {"key": {"raw": "hashed"}},
    {"key": {"_fts": "text", "_ftsx": 1}, "weights": {"name": 1, "items": 2, "gone": 1, "tags": 1}},
    {"key": {"_fts": "text", "_ftsx": 1}, "weights": {"$**": 1}},
    {"key": {"items": "2d"}},
    {"key": {"$**": 1}},
    {"key": {"address.$**": 1}},
    {"key": {"name": 1, "amount": 1}, "collation": {"locale": "de", "strength": 2, "numericOrdering": True}},
    {"key": {"name": 1}, "collation": {"locale": "en_US", "strength": 1, "caseLevel": True, "alternate": "shifted"}},
    {"key": {"name": 1}, "collation": {"locale": "fr_CA", "backwards": True, "caseFirst": "upper"}},
    {"key": {"name": 1}, "hidden": True, "unique": True},
    {"key": {"name": 1}, "partialFilterExpression": {"amount": {"$type": "int"}, "active": True}, "unique": True},
    {"key": {"name": 1}, "partialFilterExpression": {"name": None}},
    {"key": {f"gone{number}": 1 for number in range(40)}},
    {"key": {"$**": "columnstore"}},
]


async def test_postgresql_takes_the_sql_for_indexes_that_are_left(target: Target) -> None:
    connection = await asyncpg.connect(target.uri)
    try:
        await connection.execute(create_table(ORDERS, MAPPING))
        for entry in LEFT:
            proposal = propose_indexes([index_of(entry | {"name": "theirs"})], ORDERS, MAPPING, "shop.orders")
            assert not proposal.indexes
            (statements,) = proposal.by_hand
            if not statements:
                assert "columnstore" in str(entry)
                continue
            assert all(line.startswith("CREATE ") for line in statements.strip().split("\n"))
            # The tests' server is built without ICU.
            lines = [line for line in statements.split("\n") if not line.startswith("CREATE COLLATION")]
            await connection.execute(re.sub(r'COLLATE "mongo_[^"]+"', 'COLLATE "C"', "\n".join(lines)))
    finally:
        await connection.close()
    assert target.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'") >= len(LEFT)


async def test_odd_directions_and_values_beyond_everything_end_neither_plan_nor_run(
    source: Source, target: Target, engines: Engines
) -> None:
    documents = source.db.odd
    huge = Decimal128("1E+6144")
    documents.insert_many([
        {"_id": Decimal128("9E+6144"), "n": huge, "at": 5, "list": [huge], "deep": {"n": huge}},
        {"_id": Decimal128("-1E-6176"), "n": Decimal128("-1E-6176"), "at": 6, "list": [Decimal128("NaN")]},
    ])  # fmt: skip
    late = {"at": {"$gt": DatetimeMS(2**62)}}
    source.db.command("createIndexes", "odd", indexes=[
        {"key": {"n": Decimal128("-1")}, "name": "falling"},
        {"key": {"n": Decimal128("1E+6144"), "at": float("-inf")}, "name": "both"},
        {"key": {"at": 1}, "name": "late", "partialFilterExpression": late},
        {"key": {"at": -2.5}, "name": "none", "partialFilterExpression": {"at": {"$in": []}}},
    ])  # fmt: skip
    engine = await engines.launch(engines.settings("odd", run={"indexes": True}, mapping={"arrays": "native"}))
    plan = await engine.client.ask(PlanView, MakePlan())
    (table,) = plan.tables
    assert [index.sql.partition(" ON ")[2] for index in table.indexes] == [
        '"public"."odd" ("n" DESC)', '"public"."odd" ("n", "at" DESC)', '"public"."odd" ("at" DESC) WHERE false',
    ]  # fmt: skip
    assert "-- Index late of" in table.ddl
    assert '--     CREATE INDEX ON "public"."odd" ("at");' in table.ddl
    shown = {row.id: row.values for row in table.preview}
    assert any(value == "1" + "0" * 198 + "…" for values in shown.values() for value in values)
    await engine.start()
    end = await engine.finished()
    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified")
    assert target.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'odd'") == 4
