"""The BSON corpus and vectors of the drivers' specifications, through both converters and PostgreSQL, in all sets of options.

What should come out is read from each document's canonical Extended JSON, by code that knows nothing of BSON's bytes or of our
converters; what broken BSON comes to is a reject, or a batch that is refused, and never a row.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from engine.convert import built_converters, make_converter
from engine.convert.numbers import NumberReader
from engine.demo import start_servers
from engine.mapping.census import Census
from engine.mapping.model import Mapping
from engine.mapping.names import quote_identifier
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from engine.rows import COPY_HEADER, COPY_TRAILER, Converted
from tests.engine.expectation import Refused, expected_row
from tests.engine.independent_reader import UNDEFINED, DbPointer, Document, Symbol, read, select
from tests.specs.outcome import Outcome

ONE_BY_ONE: list[dict[str, Any]] = [
    {},
    {"objectid": "bytea"},
    *({"uuid_legacy": order} for order in ("python", "java", "csharp")),
    {"flatten": 1},
    {"flatten": 2, "missing": "track"},
    {"arrays": "native"},
    {"naming": "preserve"},
    {"nul": "strip"},
    {"nul": "replace", "utf8": "replace"},
    *({"date_range": choice} for choice in ("null", "clamp", "infinity")),
    {"overflow": "reject"},
]
TOGETHER = [
    {"json_values": values, "documents": documents, "layout": layout, "uuid_legacy": order}
    for values, documents, layout, order in product(
        ("plain", "extended"), ("jsonb", "json"), ("columns", "document"), ("", "csharp")
    )
]
OPTIONS = [
    *ONE_BY_ONE,
    *TOGETHER,
    {"flatten": 2, "arrays": "native", "missing": "track", "objectid": "bytea", "documents": "json", "nul": "replace"},
]
UNALTERED = [options for options in OPTIONS if options.get("utf8") != "replace"]


def check(folder: Path) -> Iterator[Outcome]:
    """What came of each file of the corpus below `folder`."""
    files = [(path, corpus) for path in sorted(folder.rglob("*.json")) if (corpus := _corpus(path))]
    if not files:
        return
    with start_servers() as servers, asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(servers.target_uri))
        runner.run(connection.execute("SET timezone = 'UTC'"))
        for path, corpus in files:
            outcome = Outcome(str(path.relative_to(folder)))
            for case in corpus.get("valid", []):
                for kind in ("canonical_bson", "degenerate_bson"):
                    if kind in case:
                        wrong = runner.run(_wrong_with(connection, with_id(bytes.fromhex(case[kind])), case))
                        outcome.add(f"{case['description']} ({kind})", wrong)
            for case in corpus.get("decodeErrors", []):
                outcome.add(case["description"], _accepted(bytes.fromhex(case["bson"])))
            for case in corpus.get("tests", []):
                if "canonical_bson" in case:
                    outcome.add(case["description"], runner.run(_wrong_with_vector(connection, case)))
            yield outcome
        runner.run(connection.close())


def _corpus(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError:
        return {}
    is_ours = isinstance(found, dict) and ("bson_type" in found or "dtype_hex" in (found.get("tests") or [{}])[0])
    return found if is_ours else {}


def with_id(document: bytes) -> bytes:
    """The document with an `_id` of 1 if it has none at its beginning."""
    if document[5:9] == b"_id\0":
        return document
    content = b"\x10_id\0\1\0\0\0" + document[4:]
    return struct.pack("<i", len(content) + 4) + content


async def _wrong_with(connection: asyncpg.Connection, document: bytes, case: dict[str, Any]) -> str:
    """In which set of options the document does not become what its Extended JSON says; empty when in none."""
    members = json.loads(case["canonical_extjson"])
    values = Document()
    if "_id" not in members:
        values["_id"] = 1
    values.update({key: value(inner) for key, inner in members.items()})
    for options in OPTIONS:
        for seen in ([document], []):
            mapping = _mapping(seen, MappingOptions(**options))
            wrong = await _wrong_under(connection, mapping, document, values)
            if wrong:
                return f"{options}{'' if seen else ', not seen before'}: {wrong}"
    return ""


async def _wrong_with_vector(connection: asyncpg.Connection, case: dict[str, Any]) -> str:
    """In what a vector differs from its numbers; a broken one must be kept, byte for byte, beside what it was meant for."""
    document = with_id(bytes.fromhex(case["canonical_bson"]))
    payload = document[document.index(b"vector\0") + len(b"vector\0") + 5 : -1]
    sound = with_id(bson.encode({"vector": Binary(bytes((payload[0], 0)), 9)}))
    for options in OPTIONS:
        mapping = _mapping([sound], MappingOptions(**options))
        results = [make_converter(mapping, name).convert(document, 0, 1) for name in built_converters()]
        if any(_facts(each) != _facts(results[0]) for each in results):
            return "the converters disagree"
        if options.get("layout") == "document":
            continue
        if results[0].rejects:
            if case["valid"] or options.get("overflow") != "reject":
                return f"{options}: {results[0].rejects}"
            continue
        row = await _stored(connection, mapping, results[0])
        wanted = _numbers_of(case) if case["valid"] else None
        if row["vector"] != wanted or (wanted is None and base64.b64encode(payload).decode() not in str(row["_extra"])):
            return f"{options}: {row}, not {wanted}"
    return ""


def _numbers_of(case: dict[str, Any]) -> Any:
    """A vector's numbers, as its column has them."""
    numbers = [value(each) for each in case["vector"]]
    match case["dtype_hex"]:
        case "0x27":
            return [struct.pack(">f", each).hex() for each in numbers]
        case "0x10":
            bits = "".join(f"{each:08b}" for each in numbers)
            return bits[: len(bits) - case["padding"]]
    return numbers


def _mapping(seen: list[bytes], options: MappingOptions) -> Mapping:
    census = Census(options.flatten)
    for document in seen:
        census.add(document)
    key = Census()
    for document in seen or [with_id(b"\5\0\0\0\0")]:
        key.add(document)
    return propose(census, key.id_kinds, options).mapping


async def _wrong_under(connection: asyncpg.Connection, mapping: Mapping, document: bytes, values: Document) -> str:
    results = [make_converter(mapping, name).convert(document, 0, 1) for name in built_converters()]
    first = results[0]
    if any(_facts(each) != _facts(first) for each in results):
        return "the converters disagree"
    try:
        expected: dict[str, Any] | str = expected_row(values, mapping)
    except Refused as refused:
        expected = refused.reason
    if isinstance(expected, str) or first.rejects:
        reasons = [reject.reason for reject in first.rejects]
        return "" if reasons == [expected] else f"rejected for {reasons}, not for {expected}"
    for native in (False, True):
        numbers = NumberReader(mapping, native=native).check(document, first)
        if numbers:
            return f"verification finds {numbers}"
    found = await _stored(connection, mapping, first)
    return "" if found == expected else f"{found}, not {expected}"


def _facts(converted: Converted) -> tuple[Any, ...]:
    return bytes(converted.copy), list(converted.row_ends), converted.rejects, converted.policy_hits, converted.checksum


async def _stored(connection: asyncpg.Connection, mapping: Mapping, converted: Converted) -> dict[str, Any]:
    """The row as PostgreSQL has it; the same bytes for the same columns are asked once."""
    quoted = {column.name: quote_identifier(column.name) for column in mapping.columns}
    definitions = ", ".join(f"{quoted[column.name]} {column.sql_type}" for column in mapping.columns)
    shown = ", ".join(f"{select(column, quoted[column.name])} AS {quoted[column.name]}" for column in mapping.columns)
    asked = definitions, bytes(converted.copy)

    async def chunks() -> AsyncIterator[bytes]:
        yield COPY_HEADER + bytes(converted.copy) + COPY_TRAILER

    if asked not in _FOUND:
        if definitions not in _TABLES:
            _TABLES[definitions] = f"t{len(_TABLES)}"
            await connection.execute(
                f"CREATE TEMPORARY TABLE {_TABLES[definitions]} ({definitions}) ON COMMIT DELETE ROWS"
            )
        table = _TABLES[definitions]
        async with connection.transaction():
            await connection.copy_to_table(table, source=chunks(), columns=list(quoted), format="binary")
            record = await connection.fetchrow(f"SELECT {shown} FROM {table}")
        assert record is not None
        _FOUND[asked] = {column.name: read(column, record[column.name]) for column in mapping.columns}
    return _FOUND[asked]


_TABLES: dict[str, str] = {}
"""Columns -> the temporary table that has them."""
_FOUND: dict[tuple[str, bytes], dict[str, Any]] = {}


def _accepted(broken: bytes) -> str:
    """How broken BSON became a row; empty when it became none."""
    documents = [broken] if broken[4:9] == b"" else [broken, _around(broken)]
    for document, options in product(documents, UNALTERED):
        for seen in ([document], []):
            try:
                mapping = _mapping(seen, MappingOptions(**options))
            except ValueError:
                continue  # no document at all: a batch that breaks
            results = []
            for name in built_converters():
                try:
                    converted = make_converter(mapping, name).convert(document, 0, 10)  # what follows is looked at, too
                except ValueError as error:
                    results.append(str(error))
                    continue
                if not converted.rejects:
                    return f"{options}: a row"
                results.append(str(converted.rejects))
            if len(set(results)) > 1:
                return f"{options}: {results}"
    return ""


def _around(broken: bytes) -> bytes:
    """The broken document as a field of a sound one: its own length stays what it claims."""
    content = b"\x10_id\0\1\0\0\0\x03v\0" + broken + b"\0"
    return struct.pack("<i", len(content) + 4) + content


# --- canonical Extended JSON ------------------------------------------------------------------------------------------


def value(node: Any) -> Any:
    """A value of canonical Extended JSON, by the classes that pymongo has for BSON's."""
    if isinstance(node, list):
        return [value(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    known = _READERS.get(frozenset(node))
    if known is not None:
        return known(node)
    document = Document()
    document.update({key: value(inner) for key, inner in node.items()})
    return document


def _date(node: dict[str, Any]) -> DatetimeMS:
    return DatetimeMS(int(node["$date"]["$numberLong"]))


def _binary(node: dict[str, Any]) -> Any:
    payload, subtype = base64.b64decode(node["$binary"]["base64"]), int(node["$binary"]["subType"], 16)
    return payload if subtype == 0 else Binary(payload, subtype)


def _regex(node: dict[str, Any]) -> Regex[str]:
    return Regex(node["$regularExpression"]["pattern"], node["$regularExpression"]["options"])


def _pointer(node: dict[str, Any]) -> DbPointer:
    return DbPointer(node["$dbPointer"]["$ref"], ObjectId(node["$dbPointer"]["$id"]["$oid"]))


_READERS: dict[frozenset[str], Any] = {
    frozenset(names.split()): reader
    for names, reader in {
        "$oid": lambda node: ObjectId(node["$oid"]),
        "$symbol": lambda node: Symbol(node["$symbol"]),
        "$numberInt": lambda node: int(node["$numberInt"]),
        "$numberLong": lambda node: Int64(node["$numberLong"]),
        "$numberDouble": lambda node: float(node["$numberDouble"]),
        "$numberDecimal": lambda node: Decimal128(node["$numberDecimal"]),
        "$binary": _binary,
        "$code": lambda node: Code(node["$code"]),
        "$code $scope": lambda node: Code(node["$code"], value(node["$scope"])),
        "$timestamp": lambda node: Timestamp(node["$timestamp"]["t"], node["$timestamp"]["i"]),
        "$regularExpression": _regex,
        "$dbPointer": _pointer,
        "$date": _date,
        "$minKey": lambda node: MinKey(),
        "$maxKey": lambda node: MaxKey(),
        "$undefined": lambda node: UNDEFINED,
    }.items()
}
