"""MongoDB's indexes as SQL of PostgreSQL, or the reason why not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import MAX_NAME_BYTES, TableName
from engine.mongo.indexes import SourceIndex, index_of
from engine.plan.indexes import IndexProposal, propose_indexes
from engine.postgres.indexes import build_by_hand, create_index

ORDERS = TableName("crm", "orders")


def column(name: str, column_type: ColumnType, *kinds: Kind, **more: Any) -> Column:
    return Column(name=name, type=column_type, **({"path": (name,)} | more), kinds=frozenset(kinds))


MAPPING = Mapping(
    columns=(
        column("_id", ColumnType.TEXT, Kind.OBJECT_ID, role=Role.ID),
        column("email", ColumnType.TEXT, Kind.STRING),
        column("amount", ColumnType.INTEGER, Kind.INT32, Kind.INT64, path=("total",)),
        column("price", ColumnType.DOUBLE, Kind.DOUBLE, Kind.INT32, Kind.INT64),
        column("customer", ColumnType.TEXT, Kind.OBJECT_ID),
        column("at", ColumnType.TIMESTAMPTZ, Kind.DATE),
        column("active", ColumnType.BOOLEAN, Kind.BOOL),
        column("address_city", ColumnType.TEXT, Kind.STRING, path=("address", "city")),
        column("items", ColumnType.JSONB, Kind.ARRAY),
        column("tags", ColumnType.TEXT, Kind.STRING, array=True),
        column('say "hi"', ColumnType.TEXT, Kind.STRING, path=("hi",)),
    )
)


def index(*keys: str, **more: Any) -> SourceIndex:
    """An index over fields, those with a minus before them descending."""
    return SourceIndex(name="theirs", keys=tuple((key.lstrip("-"), key.startswith("-")) for key in keys), **more)


def proposal(*found: SourceIndex) -> IndexProposal:
    return propose_indexes(found, ORDERS, MAPPING, "shop.orders")


def sql(found: SourceIndex) -> str:
    (proposed,) = proposal(found).indexes
    return create_index(proposed, ORDERS)


def where(partial: dict[str, Any]) -> str:
    return sql(index("email", partial=partial)).partition(" WHERE ")[2]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (index("email"), 'CREATE INDEX "orders_email_idx" ON "crm"."orders" ("email")'),
        (index("total", unique=True), 'CREATE UNIQUE INDEX "orders_amount_key" ON "crm"."orders" ("amount")'),
        (
            index("address.city", "-at", "_id"),
            'CREATE INDEX "orders_address_city_at_desc__id_idx" ON "crm"."orders" ("address_city", "at" DESC, "_id")',
        ),
        (
            index("email", sparse=True, unique=True),
            'CREATE UNIQUE INDEX "orders_email_key" ON "crm"."orders" ("email") WHERE "email" IS NOT NULL',
        ),
        (
            index("email", "at", sparse=True, partial={"active": True}),
            'CREATE INDEX "orders_email_at_idx" ON "crm"."orders" ("email", "at")'
            ' WHERE "active" = true AND ("email" IS NOT NULL OR "at" IS NOT NULL)',
        ),
        (index("hi"), 'CREATE INDEX "orders_say ""hi""_idx" ON "crm"."orders" ("say ""hi""")'),
    ],
)
def test_ordered_indexes_become_b_trees(found: SourceIndex, expected: str) -> None:
    assert sql(found) == expected


@pytest.mark.parametrize(
    ("partial", "expected"),
    [
        ({"total": {"$gt": 5}}, '"amount" > 5'),
        ({"total": {"$gte": Int64(-5), "$lt": 10}}, '"amount" >= (-5) AND "amount" < 10'),
        ({"price": {"$lte": 1.5}}, "\"price\" <= '1.5'::double precision"),
        ({"price": Decimal128("1.50")}, "\"price\" = '1.50'::numeric"),
        ({"email": "it's"}, "\"email\" = 'it''s'::text"),
        ({"email": "a\\'b"}, "\"email\" = E'a\\\\''b'::text"),
        ({"active": {"$eq": False}, "email": {"$exists": True}}, '"active" = false AND "email" IS NOT NULL'),
        ({"email": {"$in": ["a", "b"]}}, "\"email\" IN ('a'::text, 'b'::text)"),
        ({"email": {"$type": "string"}}, '"email" IS NOT NULL'),
        ({"total": {"$type": ["int", "long"]}}, '"amount" IS NOT NULL'),
        ({"total": {"$type": "number"}}, '"amount" IS NOT NULL'),
        ({"$or": [{"active": True}, {"total": 1}]}, '(("active" = true) OR ("amount" = 1))'),
        ({"customer": ObjectId("65a000000000000000000001")}, "\"customer\" = '65a000000000000000000001'::text"),
        ({"at": {"$gt": datetime(2024, 1, 2, 3, 4, 5)}}, "\"at\" > '2024-01-02T03:04:05Z'::timestamptz"),
    ],
)  # fmt: skip
def test_partial_indexes_where_their_filter_is_about_plain_columns(partial: dict[str, Any], expected: str) -> None:
    assert where(partial) == expected


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (index(kind="text"), "full-text search works differently"),
        (index(kind="2dsphere"), "it needs the PostGIS extension"),
        (index(kind="hashed"), "it serves sharding"),
        (index(kind="wildcard"), "it covers fields that it does not name"),
        (index(kind="zebra"), "PostgreSQL has no indexes of kind zebra"),
        (index("items"), "the column items of its field items is jsonb"),
        (index("items.sku"), "its field items.sku is inside the jsonb column items; flatten items"),
        (index("tags"), "its field tags holds arrays"),
        (index("email", "gone"), "its field gone has no column"),
        (index("email", has_collation=True), "it has a collation"),
        (index("email", hidden=True), "it is hidden in MongoDB"),
        (index("email", partial={"total": {"$type": "int"}}), "its filter asks $type of total"),
        (index("email", partial={"items": 5}), "the column items of its field items is jsonb"),
        (index("email", partial={"total": "5"}), "its filter compares total with something that is no finite number"),
        (index("email", partial={"total": float("nan")}), "its filter compares total with something that is no"),
        (
            index("email", partial={"email": 5}),
            "its filter compares email with a value that its text column cannot hold",
        ),
        (index("email", partial={"customer": "65a"}), "its filter compares customer with a value that its text column"),
        (index("email", partial={"email": None}), "its filter compares email with a value that its text column"),
        (index("email", partial={"email": {"$exists": False}}), "its filter asks $exists of email"),
        (index("email", partial={"$nor": [{"email": "a"}]}), "its filter uses $nor"),
    ],
)
def test_others_are_left_with_the_reason(found: SourceIndex, reason: str) -> None:
    outcome = proposal(found)
    (sentence,) = outcome.left
    assert not outcome.indexes
    assert sentence.startswith(f"Index theirs of shop.orders will not be created: {reason}")
    assert sentence.endswith(".")


def test_an_index_that_makes_documents_expire_is_carried_over_with_a_warning() -> None:
    outcome = proposal(index("at", expires=True))
    assert len(outcome.indexes) == 1
    assert outcome.remarks == [
        "Index theirs of shop.orders makes MongoDB delete old documents; PostgreSQL keeps the rows."
    ]


def test_names_are_different_and_short_enough() -> None:
    fields = tuple(column(f"{'ü' * 20}{number}", ColumnType.INTEGER, Kind.INT32) for number in range(2))
    wide = Mapping(columns=(*MAPPING.columns, *fields))
    twice = [index(*(field.path[0] for field in fields)), index("email"), index("email", sparse=True)]
    names = [each.name for each in propose_indexes(twice * 2, ORDERS, wide, "shop.orders").indexes]
    assert len(set(names)) == 6
    assert all(len(name.encode()) <= MAX_NAME_BYTES for name in names)
    assert names[1:3] == ["orders_email_idx", "orders_email_2_idx"]


def test_what_to_do_by_hand_finds_the_rows_that_are_twice() -> None:
    (unique,) = proposal(index("email", unique=True, partial={"active": True})).indexes
    assert build_by_hand(unique, ORDERS) == (
        'Rows that share a key: SELECT "email", count(*) FROM "crm"."orders" WHERE ("active" = true) AND "email" IS NOT NULL'
        ' GROUP BY "email" HAVING count(*) > 1; settle them, then: '
        'CREATE UNIQUE INDEX "orders_email_key" ON "crm"."orders" ("email") WHERE "active" = true;'
    )


# --- what servers of any age may list ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        (1, False), (-1, True), (Int64(-7), True), (0, False), (-0.5, True), (-0.0, False), (float("-inf"), True),
        (float("nan"), False), (Decimal128("1"), False), (Decimal128("-1"), True), (Decimal128("-Infinity"), True),
        (Decimal128("NaN"), False), (Decimal128("-0"), False), (Decimal128("-1E-6176"), True), (None, False),
        (True, False), (False, False), ({"a": -1}, False), ([-1], False), (ObjectId(), False), (Binary(b"x"), False),
        (DatetimeMS(-(2**62)), False), (Regex("-1"), False), (MinKey(), False), (Timestamp(1, 1), False), ("", False),
        (Code("-1"), False),
    ],
)  # fmt: skip
def test_a_direction_of_any_kind_is_read_as_the_server_reads_it(direction: Any, expected: bool) -> None:
    assert index_of({"key": {"a": direction}, "name": "odd"}).keys == (("a", expected),)


@pytest.mark.parametrize(
    "entry",
    [
        {"key": {"a": 1}, "name": "n", "partialFilterExpression": 5},
        {"key": {"a": 1}, "name": "n", "partialFilterExpression": [{"a": 1}]},
        {"key": {"a": 1}, "name": "n", "partialFilterExpression": {"$and": 5}},
        {"key": {"a": 1}, "name": "n", "partialFilterExpression": {"$or": [None]}},
        {"key": {"email": 1}, "name": "n", "partialFilterExpression": {"email": {"$in": 5}}},
        {"key": {"email": 1}, "name": "n", "partialFilterExpression": {"total": {"$type": [float("nan"), None, {}]}}},
        {"key": {"email": 1}, "name": "n", "partialFilterExpression": {"total": Decimal128("1E+6144")}},
        {"key": {"email": 1}, "name": "n", "partialFilterExpression": {"at": DatetimeMS(2**62)}},
        {"key": {"email": 1}, "name": "n", "collation": {}},
        {"key": {}, "name": "n"},
        {"key": {"gone": 1}, "name": 5},
        {"key": {"_fts": "text"}, "name": "n", "weights": None},
        {"key": {"$**": "columnstore"}, "name": None},
        {"key": {"email": 1}, "name": "n", "collation": {"locale": 5, "strength": "x"}},
    ],
)
def test_no_description_of_an_index_ends_a_plan(entry: dict[str, Any]) -> None:
    found = proposal(index_of(entry))
    assert not found.indexes
    assert len(found.left) == len(found.by_hand) == 1
    assert "will not be created: " in found.left[0]


@pytest.mark.parametrize(
    ("partial", "expected"),
    [
        ({"email": {"$in": []}}, "false"),
        ({"$or": [{"email": {"$in": []}}, {"total": 5}]}, '((false) OR ("amount" = 5))'),
        ({"email": {"$in": ["a", "a"]}}, "\"email\" IN ('a'::text)"),
        ({"email": {"$gte": "m"}}, "\"email\" >= 'm'::text"),
        ({"total": {"$gt": 5.0}}, '"amount" > 5'),
        ({"total": {"$lt": Decimal128("1.5")}}, "\"amount\" < '1.5'::numeric"),
        ({"total": {"$exists": "yes"}}, '"amount" IS NOT NULL'),
        ({"total": {"$type": [16.0, Decimal128("18")]}}, '"amount" IS NOT NULL'),
        ({"at": {"$lt": DatetimeMS(-62_200_000_000_000)}}, "\"at\" < '0003-12-17T14:13:20Z BC'::timestamptz"),
        ({"at": {"$lt": DatetimeMS(400_000_000_000_123)}}, "\"at\" < '14645-06-30T15:06:40.123Z'::timestamptz"),
        ({"$comment": "why", "active": True}, '"active" = true'),
        ({"$and": [{}, {"active": True}]}, '((true) AND ("active" = true))'),
    ],
)
def test_every_operator_makes_a_condition_that_postgresql_takes(partial: dict[str, Any], expected: str) -> None:
    assert where(partial) == expected


def test_a_unique_index_has_exactly_the_rows_that_mongodb_has_in_it() -> None:
    found = sql(index("email", unique=True, partial={"email": {"$gt": "m"}}))
    assert found.partition(" WHERE ")[2] == '"email" COLLATE "C" > \'m\'::text'
    assert sql(index("email", partial={"$comment": "all of them"})).partition(" WHERE ")[2] == ""


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (index("items"), ['USING gin ("items")']),
        (index("items.sku", "email"), ['("email")', 'USING gin ("items")']),
        (index("tags"), ['USING gin ("tags")']),
        (index("gone.deep", "-email"), []),
        (index(kind="hashed", fields=("email",)), ['USING hash ("email")']),
        (index(kind="text", fields=("email", "items")), [
            "USING gin (to_tsvector('simple', coalesce(\"email\", '') || ' ' || coalesce(\"items\"::text, '')))"]),
        (index(kind="wildcard", fields=("",)), ['USING gin ("items")']),
        (index("email", hidden=True, unique=True), ['("email")']),
        (index("email", partial={"total": {"$type": "int"}, "active": True}), ['("email") WHERE "active" = true']),
    ],
)  # fmt: skip
def test_those_that_are_left_come_with_sql_that_would_do(found: SourceIndex, expected: list[str]) -> None:
    (statements,) = proposal(found).by_hand
    lines = statements.splitlines()
    assert [line.partition(' ON "crm"."orders" ')[2].rstrip(";") for line in lines] == expected
    assert all(line.startswith("CREATE UNIQUE INDEX") == found.unique for line in lines)


def test_a_collation_is_made_of_icu() -> None:
    german = index("email", has_collation=True, collation={"locale": "de@collation=phonebook", "strength": 1})
    assert proposal(german).by_hand == [
        'CREATE COLLATION IF NOT EXISTS "mongo_de-u-co-phonebk-ks-level1" (provider = icu, '
        "locale = 'de-u-co-phonebk-ks-level1', deterministic = false);\n"
        'CREATE INDEX ON "crm"."orders" ("email" COLLATE "mongo_de-u-co-phonebk-ks-level1");\n'
    ]
