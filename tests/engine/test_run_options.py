"""Options of the mapping in real runs, looked at by SQL and by a full verification."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from bson import Binary, Decimal128, ObjectId

from engine import protocol
from engine.protocol import Verification, VerifyReport
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

OID = ObjectId("0123456789abcdef01234567")
UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
THING = {
    "_id": OID,
    "givenName": "Åsa",
    "address": {"homeCity": "Oslo", "geo": {"lat": 59.9, "tags": ["a", "b"]}},
    "scores": [1, 2, None],
    "legacy": Binary.from_uuid(UUID, 5),
    "price": Decimal128("1.50"),
    "owner": OID,
    "zero": {"b": -0.0, "a": 1},
}
OUTCOMES: list[Any] = [
    # What is slow here is written and compared with others by the tests of a full verification, too.
    pytest.param({"objectid": "bytea"}, {"_id": f"\\x{OID}", "owner": f"\\x{OID}"}, marks=pytest.mark.slow),
    pytest.param({"uuid_legacy": "java"}, {"legacy": str(UUID)}, marks=pytest.mark.slow),
    (
        {"flatten": 2},
        {"address_home_city": "Oslo", "address_geo_lat": "59.9", "address_geo_tags": '["a", "b"]', "zero_a": "1"},
    ),
    pytest.param(
        {"flatten": 1},
        {"address_home_city": "Oslo", "address_geo": '{"lat": 59.9, "tags": ["a", "b"]}'},
        marks=pytest.mark.slow,
    ),
    ({"arrays": "native"}, {"scores": "{1,2,NULL}"}),
    pytest.param({"documents": "json"}, {"zero": '{"b":-0.0,"a":1}', "scores": "[1,2,null]"}, marks=pytest.mark.slow),
    (
        {"json_values": "extended"},
        {"zero": '{"a": {"$numberInt": "1"}, "b": {"$numberDouble": "-0.0"}}', "givenName": "", "given_name": "Åsa"},
    ),
    ({"missing": "track"}, {"_missing": "{}", "given_name": "Åsa"}),
    ({"naming": "preserve"}, {"givenName": "Åsa", "price": "1.50"}),
    (
        {"layout": "document", "json_values": "extended"},
        {"_id": str(OID), "givenName": ""},
    ),
]


@pytest.mark.parametrize(("options", "shown"), OUTCOMES, ids=lambda value: "-".join(map(str, value.values()))[:30])
async def test_an_option_does_what_it_says(
    source: Source, target: Target, engines: Engines, options: dict[str, Any], shown: dict[str, str]
) -> None:
    source.db.things.insert_many([THING, {"_id": ObjectId(), "givenName": "Bo"}])

    engine, end = await engines.run(engines.settings("things", mapping=options))

    assert (end["exit_code"], end["written"]) == (0, 2)
    columns = [
        row[0]
        for row in target.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'things'::regclass AND attnum > 0")
    ]
    key = "_id = decode('{}', 'hex')" if options.get("objectid") == "bytea" else "_id = '{}'"
    texts = ", ".join(f'"{name}"::text' for name in columns)
    (row,) = target.rows(f"SELECT {texts} FROM things WHERE {key.format(OID)}")
    found = dict(zip(columns, row, strict=True))
    assert {name: found[name] for name, text in shown.items() if text} == {n: text for n, text in shown.items() if text}
    assert not {name for name, text in shown.items() if not text} & set(columns)
    if options.get("layout") == "document":
        assert columns == ["_id", "doc"]
        assert json.loads(found["doc"])["address"]["geo"]["lat"] == {"$numberDouble": "59.9"}
    report = await engine.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert (report.result, report.tables[0].equal) == (Verification.VERIFIED, 2)


async def test_missing_fields_are_named(source: Source, target: Target, engines: Engines) -> None:
    source.db.things.insert_many([{"_id": 1, "aB": 1, "c": None}, {"_id": 2, "c": 5}, {"_id": 3}])

    await engines.run(engines.settings("things", mapping={"missing": "track"}))

    rows = target.rows("SELECT _id, _missing FROM things ORDER BY _id")
    assert [tuple(row) for row in rows] == [(1, []), (2, ["aB"]), (3, ["aB", "c"])]


async def test_the_rarest_of_too_many_fields_go_to_extra(source: Source, target: Target, engines: Engines) -> None:
    fields = {f"f{number}": number for number in range(1_700)}
    source.db.wide.insert_many([{"_id": 1, **fields}, {"_id": 2, **dict(list(fields.items())[:1_600])}])

    engine, end = await engines.run(engines.settings("wide"))

    assert (end["exit_code"], end["written"]) == (0, 2)
    assert target.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 'wide'::regclass AND attnum > 0") == 1_600
    assert target.value("SELECT array_agg(f1597 ORDER BY _id) FROM wide") == [1597, 1597]
    extra = [json.loads(row[0]) for row in target.rows("SELECT _extra::text FROM wide ORDER BY _id")]
    assert extra == [{f"f{n}": n for n in range(1_598, 1_700)}, {"f1598": 1598, "f1599": 1599}]
    report = await engine.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert report.result is Verification.VERIFIED


async def test_a_row_too_long_for_a_page_is_announced_and_kept(
    source: Source, target: Target, engines: Engines
) -> None:
    fields = {f"f{number}": f"some words {number}" for number in range(700)}
    source.db.wide.insert_many([{"_id": 1, **fields}, {"_id": 2, **fields}])

    engine = await engines.launch(engines.settings("wide"))
    view = await engine.client.ask(protocol.PlanView, protocol.MakePlan())
    await engine.start()
    end = await engine.finished()

    assert view.tables[0].warnings[0].startswith("Rows would have about 10,390 bytes without what PostgreSQL stores")
    assert (end["exit_code"], end["rejected"]) == (4, 2)
    reasons = target.rows("SELECT DISTINCT reason, sqlstate FROM mongopg.reject")
    assert [tuple(row) for row in reasons] == [("program_limit_exceeded", "54000")]
