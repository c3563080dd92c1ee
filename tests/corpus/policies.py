"""Values that PostgreSQL cannot take, and values that their column was not made for."""

from __future__ import annotations

from bson import Binary, Code, Int64
from bson.datetime_ms import DatetimeMS

from engine.mapping.model import ColumnType
from tests.corpus.case import (
    FIRST_DATE,
    LAST_DATE,
    UUID,
    Case,
    Reject,
    element,
    inner,
    raw,
    text,
)

POLICIES = [
    Case("NUL", {"v": "a\0b"}, Reject("nul", "v")),
    Case("NUL stripped", {"v": "a\0b\0"}, {"v": "ab"}, options={"nul": "strip"}, hits={"nul.strip": 1}),
    Case("NUL replaced", {"v": "a\0b\0"}, {"v": "a�b�"}, options={"nul": "replace"}, hits={"nul.replace": 1}),
    Case("NUL in JSON", {"v": {"a": ["x", "a\0b"]}}, Reject("nul", "v.a.1")),
    Case(
        "NUL in JSON stripped",
        {"v": {"a": ["a\0b"]}},
        {"v": '{"a": ["ab"]}'},
        options={"nul": "strip"},
        hits={"nul.strip": 1},
    ),
    Case(
        "NUL in a field of its own policy",
        {"v": "a\0b", "w": "c"},
        {"v": "ab", "w": "c"},
        changes={"v": {"nul": "strip"}},
        hits={"nul.strip": 1},
    ),
    Case("NUL in an unknown field", {"w": "a\0b"}, Reject("nul", "w"), seen=({},)),
    Case("NUL in _id is never changed", {"_id": "a\0b"}, Reject("nul", "_id"), options={"nul": "strip"}),
    Case("NUL in javascript", {"v": Code("a\0b")}, Reject("nul", "v")),
    Case("early date", {"v": DatetimeMS(FIRST_DATE - 1)}, Reject("date_range", "v")),
    Case("late date", {"v": DatetimeMS(LAST_DATE + 1)}, Reject("date_range", "v")),
    Case(
        "late date made null",
        {"v": DatetimeMS(LAST_DATE + 1)},
        {"v": None},
        options={"date_range": "null"},
        hits={"date_range.null": 1},
    ),
    Case(
        "early date clamped",
        {"v": DatetimeMS(-(2**63))},
        {"v": "4714-11-24 00:00:00+00 BC"},
        options={"date_range": "clamp"},
        hits={"date_range.clamp": 1},
    ),
    Case(
        "late date clamped",
        {"v": DatetimeMS(2**63 - 1)},
        {"v": "294276-12-31 23:59:59.999+00"},
        options={"date_range": "clamp"},
        hits={"date_range.clamp": 1},
    ),
    Case(
        "early date infinite",
        {"v": DatetimeMS(FIRST_DATE - 1)},
        {"v": "-infinity"},
        options={"date_range": "infinity"},
        hits={"date_range.infinity": 1},
    ),
    Case(
        "late date infinite",
        {"v": DatetimeMS(LAST_DATE + 1)},
        {"v": "infinity"},
        options={"date_range": "infinity"},
        hits={"date_range.infinity": 1},
    ),
    Case(
        "early date as _id",
        {"_id": DatetimeMS(FIRST_DATE - 1)},
        Reject("date_range", "_id"),
        options={"date_range": "clamp"},
    ),
    Case("invalid UTF-8", raw(element(2, "v", text(b"a\xffb"))), Reject("utf8", "v")),
    Case("lone surrogate", raw(element(2, "v", text(b"\xed\xa0\x80"))), Reject("utf8", "v")),
    Case(
        "invalid UTF-8 replaced",
        raw(element(2, "v", text(b"a\xf0\x9f\x98b\xff"))),
        {"v": "a�b�"},
        options={"utf8": "replace"},
        hits={"utf8.replace": 1},
    ),
    Case(
        "invalid UTF-8 and NUL", raw(element(2, "v", text(b"\xff\0"))), Reject("nul", "v"), options={"utf8": "replace"}
    ),
    Case("invalid UTF-8 in JSON", raw(element(3, "v", inner(element(2, "a", text(b"\xff"))))), Reject("utf8", "v.a")),
    Case(
        "invalid UTF-8 in a key of JSON", raw(element(3, "v", inner(element(8, b"\xff", b"\1")))), Reject("utf8", "v.�")
    ),
    Case(
        "invalid UTF-8 in a key of JSON replaced",
        raw(element(3, "v", inner(element(8, b"\xff", b"\1")))),
        {"v": '{"�": true}'},
        options={"utf8": "replace"},
        hits={"utf8.replace": 1},
    ),
    Case("invalid UTF-8 in a field's name", raw(element(8, b"\xff", b"\1")), Reject("utf8", "�")),
    Case(
        "invalid UTF-8 in a field's name replaced",
        raw(element(8, b"\xff", b"\1")),
        {"_extra": '{"�": true}'},
        options={"utf8": "replace"},
        hits={"utf8.replace": 1, "overflow": 1},
    ),
    Case("invalid UTF-8 in a regex", raw(element(0x0B, "v", b"\xff\0i\0")), Reject("utf8", "v")),
]

DRIFT = [
    Case("late int64 that fits", {"v": Int64(7)}, {"v": "7"}, seen=({"v": 1},), types={"v": "integer"}),
    Case(
        "late int64 beyond integer",
        {"v": Int64(2**31)},
        {"_extra": '{"v": 2147483648}'},
        seen=({"v": 1},),
        hits={"overflow": 1},
    ),
    Case(
        "late int64 beyond integer rejected",
        {"v": Int64(2**31)},
        Reject("overflow", "v"),
        seen=({"v": 1},),
        options={"overflow": "reject"},
    ),
    Case(
        "late int64 beyond 53 bits among doubles",
        {"v": Int64(2**53 + 1)},
        {"_extra": '{"v": 9007199254740993}'},
        seen=({"v": 0.5},),
        hits={"overflow": 1},
    ),
    Case("late double among integers", {"v": 5.0}, {"_extra": '{"v": 5.0}'}, seen=({"v": 1},), hits={"overflow": 1}),
    Case(
        "late double of 2**60 among integers",
        {"v": 2.0**60},
        {"_extra": f'{{"v": {2**60}}}'},
        seen=({"v": 1},),
        hits={"overflow": 1},
    ),
    Case("late string", {"v": "a"}, {"_extra": '{"v": "a"}'}, seen=({"v": 1},), hits={"overflow": 1}),
    Case(
        "late string in a field of its own policy",
        {"v": "a"},
        Reject("overflow", "v"),
        seen=({"v": 1},),
        changes={"v": {"overflow": "reject"}},
    ),
    Case(
        "late uuid among binaries",
        {"v": Binary.from_uuid(UUID)},
        {"_extra": f'{{"v": "{UUID}"}}'},
        seen=({"v": b""},),
        hits={"overflow": 1},
    ),
    Case("late kind in a jsonb field", {"v": "a"}, {"v": '"a"'}, seen=({"v": {}},)),
    Case(
        "unknown fields", {"b": [1], "a": None}, {"_extra": '{"a": null, "b": [1]}'}, seen=({},), hits={"overflow": 2}
    ),
    Case("unknown field rejected", {"a.b": 1}, Reject("overflow", "a.b"), seen=({},), options={"overflow": "reject"}),
    Case(
        "unknown field as Extended JSON",
        {"a": 1},
        {"_extra": '{"a": {"$numberInt": "1"}}'},
        seen=({},),
        options={"json_values": "extended"},
        hits={"overflow": 1},
    ),
    Case("ignored field", {"v": 1, "w": 2}, {"w": "2"}, ignored=(("v",),)),
    Case("retyped to text", {"v": 5}, {"v": "5"}, changes={"v": {"type": ColumnType.TEXT}}),
    Case("document retyped to text", {"v": {"a": 1}}, {"v": '{"a":1}'}, changes={"v": {"type": ColumnType.TEXT}}),
]

BOUNDS = [
    Case("as long as varchar(n)", {"v": "é☃a"}, {"v": "é☃a"}, changes={"v": {"length": 3}}),
    Case("longer than varchar(n)", {"v": "é☃ab"}, Reject("too_long", "v"), changes={"v": {"length": 3}}),
    Case("too many blanks for varchar(n)", {"v": "abc "}, Reject("too_long", "v"), changes={"v": {"length": 3}}),
    Case("_id longer than varchar(n)", {"_id": "abcd"}, Reject("too_long", "_id"), changes={"_id": {"length": 3}}),
    Case(
        "null in NOT NULL", {"v": None}, Reject("not_null", "v"), seen=({"v": 1},), changes={"v": {"nullable": False}}
    ),
    Case("missing in NOT NULL", {}, Reject("not_null", "v"), seen=({"v": 1},), changes={"v": {"nullable": False}}),
    Case(
        "what overflows is missing in NOT NULL",
        {"v": "a"},
        Reject("not_null", "v"),
        seen=({"v": 1},),
        changes={"v": {"nullable": False}},
    ),
    Case(
        "flattened, missing in NOT NULL",
        {"a": {"c": 2}},
        Reject("not_null", "a.b"),
        seen=({"a": {"b": 1, "c": 2}},),
        options={"flatten": 1},
        changes={"a_b": {"nullable": False}},
    ),
    Case(
        "several wrong: the document's own come before the table's",
        {"v": None, "w": "a\0b"},
        Reject("nul", "w"),
        seen=({"v": 1, "w": "x"},),
        changes={"v": {"nullable": False}},
    ),
    Case(
        "several bounds: the first column's",
        {"w": "abcd"},
        Reject("not_null", "v"),
        seen=({"v": 1, "w": "x"},),
        changes={"v": {"nullable": False}, "w": {"length": 3}},
    ),
]
"""What the columns of a table that is there already refuse."""
