"""Every kind of BSON, and what it becomes alone and beside others."""

from __future__ import annotations

import base64
import struct

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from engine.mapping.model import ColumnType, Kind
from tests.corpus.case import (
    FIRST_DATE,
    LAST_DATE,
    OID,
    SNOW,
    UUID,
    Case,
    Reject,
    element,
    inner,
    raw,
    text,
    value,
)
from tests.corpus.everything import EVERYTHING, EXTENDED, PLAIN


def vector(content: str) -> Binary:
    """A binary of subtype 9: type of the elements, bits that do not count, elements."""
    return Binary(bytes.fromhex(content), 9)


KINDS = [
    value("objectId", OID, str(OID), "text"),
    value("objectId as bytea", OID, f"\\x{OID}", "bytea", objectid="bytea"),
    value("string", SNOW, SNOW, "text"),
    value("empty string", "", "", "text"),
    value("string with quotes and controls", 'a"\\\n\x01', 'a"\\\n\x01', "text"),
    value("long string", "é" * 3000, "é" * 3000, "text"),
    value("smallest int32", -(2**31), "-2147483648", "integer"),
    value("largest int32", 2**31 - 1, "2147483647", "integer"),
    value("int64", Int64(-(2**63)), "-9223372036854775808", "bigint"),
    value("int32 among int64", -5, "-5", "bigint", Int64(1)),
    value("double", 0.1, "0.1", "double precision"),
    value("NaN", float("nan"), "NaN", "double precision"),
    value("infinity", float("inf"), "Infinity", "double precision"),
    value("negative infinity", float("-inf"), "-Infinity", "double precision"),
    value("negative zero", -0.0, "-0", "double precision"),
    value("smallest double", 5e-324, "5e-324", "double precision"),
    value("int32 among doubles", 3, "3", "double precision", 0.5),
    value("int64 of 53 bits among doubles", Int64(-(2**53)), "-9.007199254740992e+15", "double precision", 0.5),
    value("int64 beyond 53 bits among doubles", Int64(2**53 + 1), "9007199254740993", "numeric", 0.5),
    value("double among integers beyond 53 bits", 0.1, "0.1", "numeric", Int64(2**53 + 1)),
    value("huge double as numeric", 1e22, "1" + 22 * "0", "numeric", Decimal128("1")),
    value("double of 2**60 as numeric", 2.0**60, str(2**60), "numeric", Decimal128("1")),
    value("double that no power of ten is near as numeric", -1e23, "-99999999999999991611392", "numeric", Int64(2**60)),
    value("largest double as numeric", 1.7976931348623157e308, str(2**1024 - 2**971), "numeric", Decimal128("1")),
    value("double of 16 digits as numeric", 9999999999999998.0, "9999999999999998.0", "numeric", Decimal128("1")),
    value(
        "numeric array of int64 and the doubles beside them",
        [Int64(2**60), 2.0**60, Int64(2**60 + 1), -(2.0**63), 1e16],
        f"{{{2**60},{2**60},{2**60 + 1},-{2**63},{10**16}}}",
        "numeric[]",
        arrays="native",
    ),
    value("tiny double as numeric", -2.5e-10, "-0.00000000025", "numeric", Decimal128("1")),
    value("NaN as numeric", float("nan"), "NaN", "numeric", Decimal128("1")),
    value("infinity as numeric", float("-inf"), "-Infinity", "numeric", Decimal128("1")),
    value("int64 as numeric", Int64(-(2**63)), "-9223372036854775808", "numeric", Decimal128("1")),
    value("int32 zero as numeric", 0, "0", "numeric", Decimal128("1")),
    value("int32 of full groups as numeric", 100_000_000, "100000000", "numeric", Decimal128("1")),
    value("decimal128 with its zeros", Decimal128("1.50"), "1.50", "numeric"),
    value(
        "decimal128 of all digits",
        Decimal128("-1234567890123456789012345678901.234"),
        "-1234567890123456789012345678901.234",
        "numeric",
    ),
    value("decimal128 with an exponent", Decimal128("12E+3"), "12000", "numeric"),
    value("decimal128 below one", Decimal128("0.00012"), "0.00012", "numeric"),
    value(
        "decimal128 largest", Decimal128("9.999999999999999999999999999999999E+6144"), "9" * 34 + "0" * 6111, "numeric"
    ),
    value("decimal128 smallest", Decimal128("-1E-6176"), "-0." + "0" * 6175 + "1", "numeric"),
    value("decimal128 zero with places", Decimal128("0E-3"), "0.000", "numeric"),
    value("decimal128 negative zero", Decimal128("-0"), "0", "numeric"),
    value("decimal128 NaN", Decimal128("NaN"), "NaN", "numeric"),
    value("decimal128 signalling NaN", Decimal128("-sNaN"), "NaN", "numeric"),
    value("decimal128 infinity", Decimal128("Infinity"), "Infinity", "numeric"),
    value("decimal128 negative infinity", Decimal128("-Infinity"), "-Infinity", "numeric"),
    Case(
        "decimal128 beyond 34 digits counts as zero",
        raw(element(0x13, "v", struct.pack("<QQ", 2**64 - 1, (6176 << 49) | (2**49 - 1)))),
        {"v": "0"},
    ),
    Case(
        "decimal128 of the long form counts as zero",
        raw(element(0x13, "v", struct.pack("<QQ", 1, (0b11 << 61) | (6174 << 47)))),
        {"v": "0.00"},
    ),
    value("true", True, "true", "boolean"),
    value("false", False, "false", "boolean"),
    value("date", DatetimeMS(1_704_164_645_678), "2024-01-02 03:04:05.678+00", "timestamptz"),
    value("date before 1970", DatetimeMS(-1), "1969-12-31 23:59:59.999+00", "timestamptz"),
    value("first date", DatetimeMS(FIRST_DATE), "4714-11-24 00:00:00+00 BC", "timestamptz"),
    value("last date", DatetimeMS(LAST_DATE), "294276-12-31 23:59:59.999+00", "timestamptz"),
    value("uuid", Binary.from_uuid(UUID), str(UUID), "uuid"),
    value("legacy uuid", Binary(UUID.bytes, 3), f"\\x{UUID.hex}", "bytea"),
    value("legacy uuid among binaries", Binary(UUID.bytes, 3), f"\\x{UUID.hex}", "bytea", Binary(b"", 0)),
    value("legacy uuid of Python", Binary.from_uuid(UUID, 3), str(UUID), "uuid", uuid_legacy="python"),
    value("legacy uuid of Java", Binary.from_uuid(UUID, 5), str(UUID), "uuid", uuid_legacy="java"),
    value("legacy uuid of C#", Binary.from_uuid(UUID, 6), str(UUID), "uuid", uuid_legacy="csharp"),
    value("binary of subtype 4 that is no uuid", Binary(b"\1\2", 4), "\\x0102", "bytea"),
    value("binary", Binary(b"\0\xff", 0), "\\x00ff", "bytea"),
    value("empty binary", Binary(b"", 128), "\\x", "bytea"),
    value("old binary", Binary(b"\1\2\3", 2), "\\x010203", "bytea"),
    value("vector of floats", vector("27 00 6666ff42 6666f6c0"), "{127.7,-7.7}", "real[]"),
    value("vector of infinities", vector("27 00 000080ff 00000080 0000807f"), "{-Infinity,-0,Infinity}", "real[]"),
    value("empty vector of floats", vector("27 00"), "{}", "real[]"),
    value("vector of int8", vector("03 00 7f 80 ff"), "{127,-128,-1}", "smallint[]"),
    value("empty vector of int8", vector("03 00"), "{}", "smallint[]"),
    value("vector of bits", vector("10 00 7f 07"), "0111111100000111", "bit varying"),
    value("vector of bits of which some do not count", vector("10 03 7f 08"), "0111111100001", "bit varying"),
    value("empty vector of bits", vector("10 00"), "", "bit varying"),
    *(
        Case(
            f"broken vector: {what}",
            {"v": vector(content)},
            {"_extra": f'{{"v": "{base64.b64encode(vector(content)).decode()}"}}'},
            seen=({"v": vector(sound)},),
            hits={"overflow": 1},
        )
        for what, content, sound in (
            ("floats with padding", "27 03 0000fe42", "27 00"),
            ("part of a float", "27 00 0000fe42 00", "27 00"),
            ("int8 with padding", "03 01 7f", "03 00"),
            ("padding of no bits", "10 01", "10 00"),
            ("padding of eight bits", "10 08 00", "10 00"),
            ("a bit that does not count is set", "10 03 7f 0c", "10 00"),
            ("another type", "28 00 01", "27 00"),
            ("nothing", "", "03 00"),
            ("no padding", "27", "27 00"),
            ("int8 among floats", "03 00 7f", "27 00"),
        )
    ),
    value("broken vector alone", vector("27 03 01"), "\\x270301", "bytea"),
    value("vectors of several types", vector("03 00 7f"), "\\x03007f", "bytea", vector("27 00"), b"x"),
    value("vector inside a document", {"a": vector("03 00 7f")}, '{"a": "AwB/"}', "jsonb"),
    value("document", {"b": 1, "a": {"c": None}}, '{"a": {"c": null}, "b": 1}', "jsonb"),
    value("empty document", {}, "{}", "jsonb"),
    value("array", [1, "a", None], '[1, "a", null]', "jsonb"),
    value("empty array", [], "[]", "jsonb"),
    value("null", None, None, "integer", 1),
    value("only null", None, None, "text"),
    value("regex", Regex("^a/b", "ix"), "/^a/b/ix", "text"),
    Case(
        "regex of options in another order",
        raw(element(0x0B, "v", b"a/\0xmi\0"), element(0x04, "w", inner(element(0x0B, "0", b"b\0sm\0")))),
        {"v": "/a//imx", "w": '["/b/ms"]'},
    ),
    Case(
        "regex of options in another order as Extended JSON",
        raw(element(0x04, "w", inner(element(0x0B, "0", b"b\0sm\0")))),
        {"w": '[{"$regularExpression": {"options": "ms", "pattern": "b"}}]'},
        options={"json_values": "extended"},
    ),
    value("timestamp", Timestamp(1, 2), '{"i": 2, "t": 1}', "jsonb"),
    value("javascript", Code("f()"), "f()", "text"),
    Case("symbol", raw(element(0x0E, "v", text("sym"))), {"v": "sym"}, types={"v": "text"}),
    value("minKey", MinKey(), '{"$minKey": 1}', "jsonb"),
    value("maxKey", MaxKey(), '{"$maxKey": 1}', "jsonb"),
    Case("undefined", raw(element(0x06, "v")), {"v": '{"$undefined": true}'}, types={"v": "jsonb"}),
    Case(
        "dbPointer",
        raw(element(0x0C, "v", text("d.c") + OID.binary)),
        {"v": '{"$dbPointer": {"$id": {"$oid": "0123456789abcdef01234567"}, "$ref": "d.c"}}'},
        types={"v": "jsonb"},
    ),
    value("code with scope", Code("f()", {"a": 1}), '{"$code": "f()", "$scope": {"a": {"$numberInt": "1"}}}', "jsonb"),
    Case("missing field", {}, {"v": None}, seen=({"v": 1},)),
    value("string in a mixed field", "a", '"a"', "jsonb", 1),
    value("int32 in a mixed field", 1, "1", "jsonb", "a"),
    value("null in a mixed field", None, None, "jsonb", "a", 1),
    value("objectId in a mixed field", OID, f'"{OID}"', "jsonb", 1),
    value("every kind as plain JSON", EVERYTHING, PLAIN, "json", documents="json"),
    value("every kind as Extended JSON", EVERYTHING, EXTENDED, "json", documents="json", json_values="extended"),
    value(
        "uuid of Java inside JSON", {"u": Binary.from_uuid(UUID, 5)}, f'{{"u": "{UUID}"}}', "jsonb", uuid_legacy="java"
    ),
    value("json keeps order and -0.0", {"b": -0.0, "a": 1}, '{"b":-0.0,"a":1}', "json", documents="json"),
    value(
        "dates of all years inside JSON",
        [
            DatetimeMS(ms)
            for ms in (
                -62_167_219_200_000,
                -62_167_219_200_001,
                253_402_300_799_999,
                253_402_300_800_000,
                -(2**63),
                2**63 - 1,
                LAST_DATE + 1,
            )
        ],
        '["0000-01-01T00:00:00.000Z", "-000001-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z", '
        '"+010000-01-01T00:00:00.000Z", "-292275055-05-16T16:47:04.192Z", "+292278994-08-17T07:12:55.807Z", '
        '"+294277-01-01T00:00:00.000Z"]',
        "jsonb",
    ),
    value(
        "doubles that are whole are exact inside jsonb",
        {"a": [2.0**60, [{"b": -(2.0**63)}]], "i": Int64(2**60), "n": 1e23, "p": 1e22, "q": 1.2345678901234568e17},
        f'{{"a": [{2**60}, [{{"b": -{2**63}}}]], "i": {2**60}, "n": 99999999999999991611392, "p": 1{22 * "0"},'
        ' "q": 123456789012345680}',
        "jsonb",
    ),
    value("largest double inside jsonb", [1.7976931348623157e308], f"[{2**1024 - 2**971}]", "jsonb"),
    value("double of 2**60 in a mixed field", 2.0**60, str(2**60), "jsonb", "a"),
    value(
        "doubles that are whole are exact in json",
        {"a": 2.0**60, "b": 1e22, "c": 1e25, "d": 2e16, "e": 10000000000000002.0, "f": 5e-324, "g": -0.0, "h": 1e15},
        f'{{"a":{2**60},"b":1e+22,"c":10000000000000000905969664,"d":2e+16,"e":10000000000000002,"f":5e-324,"g":-0.0,'
        '"h":1000000000000000.0}',
        "json",
        documents="json",
    ),
    value(
        "Extended JSON has the shortest digits of a double",
        {"a": 2.0**60, "b": 1e23},
        '{"a": {"$numberDouble": "1.152921504606847e+18"}, "b": {"$numberDouble": "1e+23"}}',
        "jsonb",
        json_values="extended",
    ),
    Case(
        "double of 2**60 in a text column",
        {"v": 2.0**60, "w": -1e22, "x": 0.5},
        {"v": str(2**60), "w": "-1" + 22 * "0", "x": "0.5"},
        changes={key: {"type": ColumnType.TEXT} for key in "vwx"},
    ),
    Case(
        "doubles planned as bigint",
        {"v": 5.0, "w": -(2.0**63), "x": 0.5, "y": 2.0**63, "z": float("nan"), "zero": -0.0},
        {"v": "5", "w": str(-(2**63)), "_extra": f'{{"x": 0.5, "y": {2**63}, "z": "NaN"}}', "zero": "0"},
        changes={
            key: {"type": ColumnType.BIGINT, "kinds": frozenset({Kind.DOUBLE})}
            for key in ("v", "w", "x", "y", "z", "zero")
        },
        hits={"overflow": 3},
    ),
    Case(
        "doubles planned as integer beside int32",
        {"v": -2147483648.0, "w": 2147483648.0, "x": 7},
        {"v": "-2147483648", "_extra": '{"w": 2147483648.0}', "x": "7"},
        changes={
            key: {"type": ColumnType.INTEGER, "kinds": frozenset({Kind.DOUBLE, Kind.INT32})} for key in ("v", "w", "x")
        },
        hits={"overflow": 1},
    ),
    Case(
        "array of doubles planned as bigint[]",
        {"v": [1.0, 2, Int64(3), None], "w": [1.0, 0.5]},
        {"v": "{1,2,3,NULL}", "_extra": '{"w": [1.0, 0.5]}'},
        options={"arrays": "native"},
        changes={
            key: {"type": ColumnType.BIGINT, "kinds": frozenset({Kind.DOUBLE, Kind.INT32, Kind.INT64})}
            for key in ("v", "w")
        },
        hits={"overflow": 1},
    ),
    Case(
        "doubles planned as bigint where nothing may overflow",
        {"v": 1.5},
        Reject("overflow", "v"),
        options={"overflow": "reject"},
        changes={"v": {"type": ColumnType.BIGINT, "kinds": frozenset({Kind.DOUBLE})}},
    ),
    value(
        "decimals inside jsonb are exact",
        [Decimal128("1E+400"), Decimal128("0.10")],
        "[1" + "0" * 400 + ", 0.10]",
        "jsonb",
    ),
]
