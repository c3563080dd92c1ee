"""Documents that are bad in twelve ways, among good ones, into a table with constraints: each arrives or is kept."""

from __future__ import annotations

import asyncpg
import pytest
from bson.raw_bson import RawBSONDocument

from engine import protocol
from engine.convert import Preference, built_converters
from engine.protocol import Verification, VerifyReport
from tests import spoiled
from tests.conftest import Source, Target
from tests.running import Engines, assert_ledger

PEOPLE = 6_000
BAD_EVERY = 10
BAD = PEOPLE // BAD_EVERY


async def saved_plan(engines: Engines, source: Source) -> str:
    """The plan that good people lead to."""
    source.db.people.insert_many([spoiled.good(index) for index in range(100)])
    engine = await engines.launch(engines.settings("people", run={"mode": "append"}, mapping=spoiled.OPTIONS))
    view = await engine.client.ask(protocol.PlanView, protocol.MakePlan())
    await engine.leave()
    source.db.people.drop()
    return view.toml


@pytest.mark.parametrize(
    "converter",
    [pytest.param(each, marks=[pytest.mark.slow] if number else []) for number, each in enumerate(built_converters())],
)
async def test_every_good_value_arrives_and_every_bad_document_is_kept_with_its_reason(
    source: Source, target: Target, engines: Engines, converter: Preference
) -> None:
    plan = await saved_plan(engines, source)
    target.execute(spoiled.TABLE_SQL.format("people"))
    source.db.people.insert_many(
        RawBSONDocument(spoiled.document(index, spoiled.way_of(index, BAD_EVERY))) for index in range(PEOPLE)
    )

    engine, end = await engines.run(engines.settings("people", run={"converter": converter}), plan=plan)

    assert (end["exit_code"], end["written"], end["rejected"]) == (4, PEOPLE - BAD, BAD)
    assert_ledger(target, engine.run_id, rows=PEOPLE - BAD, rejected=BAD)
    connection = await asyncpg.connect(target.uri)
    try:
        assert await spoiled.differences(connection, "people", engine.run_id, PEOPLE, BAD_EVERY) == []
    finally:
        await connection.close()
    report = await engine.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert (report.result, report.tables[0].equal) == (Verification.VERIFIED, PEOPLE - BAD)
