"""`_id` of every kind."""

from __future__ import annotations

from bson import Binary, Decimal128, Int64
from bson.datetime_ms import DatetimeMS

from tests.corpus.case import (
    OID,
    UUID,
    Case,
    Reject,
    element,
    inner,
)

IDS = [
    Case("_id of int32", {"_id": 5}, {"_id": "5"}, types={"_id": "bigint"}),
    Case(
        "_id of int64 and int32",
        {"_id": Int64(2**40)},
        {"_id": "1099511627776"},
        seen=({"_id": 1}, {"_id": Int64(2)}),
        types={"_id": "bigint"},
    ),
    Case("_id of int64 where int32 was found", {"_id": Int64(2**40)}, {"_id": "1099511627776"}, seen=({"_id": 1},)),
    Case("_id of string", {"_id": "a"}, {"_id": "a"}, types={"_id": "text"}),
    Case("_id of double", {"_id": 0.5}, {"_id": "0.5"}, types={"_id": "double precision"}),
    Case("_id of decimal128", {"_id": Decimal128("1.0")}, {"_id": "1.0"}, types={"_id": "numeric"}),
    Case("_id of date", {"_id": DatetimeMS(0)}, {"_id": "1970-01-01 00:00:00+00"}, types={"_id": "timestamptz"}),
    Case("_id of uuid", {"_id": Binary.from_uuid(UUID)}, {"_id": str(UUID)}, types={"_id": "uuid"}),
    Case("_id of a vector", {"_id": Binary(b"\x03\0\1", 9)}, {"_id": "\\x030001"}, types={"_id": "bytea"}),
    Case("_id of binary", {"_id": b"\1"}, {"_id": "\\x01"}, types={"_id": "bytea"}),
    Case("_id of bool", {"_id": True}, {"_id": "true"}, types={"_id": "boolean"}),
    Case("_id of document", {"_id": {"a": 1}}, {"_id": '{"a": 1}'}, types={"_id": "jsonb"}),
    Case(
        "_id of document with json columns",
        {"_id": {"a": 1}},
        {"_id": '{"a": 1}'},
        options={"documents": "json"},
        types={"_id": "jsonb"},
    ),
    Case("_id of null", {"_id": None}, {"_id": "null"}, types={"_id": "jsonb"}),
    Case(
        "_id of objectId among others",
        {"_id": OID},
        {"_id": f'"{OID}"'},
        seen=({"_id": OID}, {"_id": 1}),
        types={"_id": "jsonb"},
    ),
    Case(
        "_id of double among integers",
        {"_id": 0.5},
        {"_id": "0.5"},
        seen=({"_id": 0.5}, {"_id": 1}),
        types={"_id": "jsonb"},
    ),
    Case(
        "_id of a double beyond 53 bits among integers, which is no other integer's",
        {"_id": 2.0**60},
        {"_id": str(2**60)},
        seen=({"_id": 2.0**60}, {"_id": Int64(1_152_921_504_606_847_000)}),
        types={"_id": "jsonb"},
    ),
    Case(
        "_id of document with a double beyond 53 bits",
        {"_id": {"a": [2.0**60]}},
        {"_id": f'{{"a": [{2**60}]}}'},
        types={"_id": "jsonb"},
    ),
    Case("_id of another kind", {"_id": "a"}, Reject("id_kind", "_id"), seen=({"_id": 1},)),
    Case("_id null where objectIds were found", {"_id": None}, Reject("id_kind", "_id"), seen=({"_id": OID},)),
    Case("no _id", inner(element(8, "v", b"\1")), Reject("id_kind", "_id"), seen=({"v": True},)),
    Case("no _id in a view", inner(element(8, "v", b"\1")), {"_id": None, "v": "true"}),
    Case("longest _id", {"_id": "a" * 2600}, {"_id": "a" * 2600}),
    Case("_id too long", {"_id": "a" * 2601}, Reject("id_too_long", "_id")),
    Case("_id too long in bytes", {"_id": "é" * 1301}, Reject("id_too_long", "_id")),
    Case("_id too long as jsonb", {"_id": {"a": [1] * 300}}, Reject("id_too_long", "_id")),
]
