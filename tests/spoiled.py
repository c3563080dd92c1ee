"""People of whom some are bad in one of twelve ways, the table they go to, and what has to become of each.

A person's index says everything: whether it is bad, in which way, its BSON, and the row it becomes. So a comparison needs
neither the source nor the engine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
from bson import Decimal128, Int64, encode
from bson.datetime_ms import DatetimeMS

TABLE_SQL = """
    CREATE TABLE {} (
        _id text, number integer, name text, code varchar(8), age integer, balance double precision CHECK (balance >= 0),
        seen timestamptz, address jsonb, tags jsonb, active boolean NOT NULL, price numeric
    )
"""
"""An existing table, with constraints of its own."""
OPTIONS = {"overflow": "reject"}
"""Of the mapping."""
_FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
_CITIES = ("Zürich", "Oslo", "São Paulo", "東京", "Nairobi")
_TO_BREAK = b"#broken#"

Person = dict[str, Any]
Reject = tuple[str, str, str]
"""Reason, field, SQLSTATE."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of being bad."""

    reason: str
    field: str
    sqlstate: str
    spoil: Callable[[Person], Person]

    @property
    def reject(self) -> Reject:
        """What `mongopg.reject` has to say."""
        return self.reason, self.field, self.sqlstate


WAYS: Mapping[str, Way] = {
    "NUL in text": Way("nul", "name", "", lambda good: good | {"name": "a\0b"}),
    "NUL inside jsonb": Way(
        "nul", "address.city", "", lambda good: good | {"address": good["address"] | {"city": "a\0b"}}
    ),
    "lone surrogate": Way("utf8", "tags.0", "", lambda good: good | {"tags": [_TO_BREAK.decode()]}),
    "date out of range": Way("date_range", "seen", "", lambda good: good | {"seen": DatetimeMS(2**62)}),
    "another kind": Way("overflow", "age", "", lambda good: good | {"age": "forty"}),
    "int64 beyond integer": Way("overflow", "number", "", lambda good: good | {"number": Int64(2**40)}),
    "unknown field": Way("overflow", "nickname", "", lambda good: good | {"nickname": "Joe"}),
    "_id of another kind": Way("id_kind", "_id", "", lambda good: good | {"_id": good["number"]}),
    "_id too long": Way("id_too_long", "_id", "", lambda good: good | {"_id": good["_id"] * 300}),
    "longer than varchar": Way("too_long", "code", "", lambda good: good | {"code": "abcdefgh "}),
    "missing in NOT NULL": Way("not_null", "active", "", lambda good: {k: v for k, v in good.items() if k != "active"}),
    "refused by a CHECK": Way("check_violation", "", "23514", lambda good: good | {"balance": -1.0}),
}
SERVER_WAY = "refused by a CHECK"
"""The one that only PostgreSQL can find."""
_NAMES = tuple(WAYS)


def way_of(index: int, bad_every: int, ways: tuple[str, ...] = _NAMES) -> Way | None:
    """How a person is bad; None for a good one. The last of each `bad_every` is bad, in each way in turn."""
    number, place = divmod(index, bad_every)
    return WAYS[ways[number % len(ways)]] if place == bad_every - 1 else None


def good(index: int) -> Person:
    """A person as it should be."""
    return {
        "_id": f"{index:012d}",
        "number": index,
        "name": f"Åsa {index}",
        "code": f"c{index % 10_000}é",
        "age": index % 90,
        "balance": index * 0.37,
        "seen": _FIRST_DAY + timedelta(seconds=index, milliseconds=index % 1000),
        "address": {"city": _CITIES[index % len(_CITIES)], "zip": f"{index % 99_991:05}", "at": [index * 1e-5, -0.5]},
        "tags": ["new", "vip", "press"][: index % 4],
        "active": index % 3 == 0,
        "price": Decimal128(f"{index}E-2"),
    }


def document(index: int, way: Way | None) -> bytes:
    """A person as BSON, spoiled in a way."""
    if way is None:
        return encode(good(index))
    return encode(way.spoil(good(index))).replace(_TO_BREAK, b"\xed\xa0\x80" + _TO_BREAK[3:])


def row(index: int) -> tuple[Any, ...]:
    """The row of a good person, as `rows` gives it."""
    person = good(index)
    person["price"] = person["price"].to_decimal()
    return tuple(person.values())


async def rows(connection: asyncpg.Connection, table: str) -> AsyncIterator[tuple[Any, ...]]:
    """The rows of the table in order of `_id`."""
    async with connection.transaction():
        async for record in connection.cursor(f'SELECT * FROM {table} ORDER BY _id COLLATE "C"', prefetch=10_000):
            values = dict(record)
            for name in ("address", "tags"):
                values[name] = json.loads(values[name])
            assert isinstance(values["price"], Decimal)
            yield tuple(values.values())


async def differences(
    connection: asyncpg.Connection, table: str, run_id: str, count: int, bad_every: int, ways: tuple[str, ...] = _NAMES
) -> list[str]:
    """What is wrong after a run: good people without their row, rows too many, rejects without their reason; 10 at most."""
    found: list[str] = []
    ways_of = {index: way_of(index, bad_every, ways) for index in range(count)}
    wanted = iter([row(index) for index, way in ways_of.items() if way is None])
    async for stored in rows(connection, table):
        expected = next(wanted, None)
        if stored != expected:
            found.append(f"expected {expected}, found {stored}")
            if len(found) == 10:
                return found
    found += [f"missing: {expected}" for expected in wanted][:10]
    rejects = {document(index, way): way.reject for index, way in ways_of.items() if way is not None}
    for record in await connection.fetch(
        "SELECT raw, reason, field, sqlstate FROM mongopg.reject WHERE run_id = $1", run_id
    ):
        kept = tuple(record)[1:]
        expected_reject = rejects.pop(record["raw"], None)
        if kept != expected_reject:
            found.append(f"reject expected {expected_reject}, found {kept}")
    found += [f"no reject: {reject}" for reject in rejects.values()]
    return found[:10]
