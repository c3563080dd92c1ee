"""Rejects on real servers: written again exactly once, and limits that end a run early."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from engine.config import Settings
from engine.control import protocol
from engine.control.protocol import RetryReport, Verification, VerifyReport
from tests.running import Engine, Engines, add_users, assert_ledger, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

DOCUMENTS = 2_000
BAD = 40
"""Every fiftieth has a NUL in its name."""


def add_people(source: Source, count: int = DOCUMENTS, *, bad_every: int = DOCUMENTS // BAD) -> None:
    """People of whom some have a NUL in their names."""
    source.db.people.insert_many(
        [{"_id": number, "name": f"n\0{number}" if number % bad_every == 0 else f"n{number}"} for number in range(count)]
    )


async def retried(engines: Engines, **mapping: str) -> RetryReport:
    """Another engine writes the newest run's rejects again under these policies."""
    engine = await engines.launch(engines.settings("people", mapping=mapping))
    return await engine.client.ask(RetryReport, protocol.RetryRejects())


async def test_rejects_are_written_again_under_another_policy(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source)
    engine, end = await engines.run(engines.settings("people"))
    assert (end["rejected"], end["exit_code"]) == (BAD, 4)

    report = await retried(engines, nul="strip")

    assert (report.tried, report.written, report.already_there, report.left) == (BAD, BAD, 0, 0)
    assert committed(target, "people") == DOCUMENTS
    assert target.value("SELECT name FROM people WHERE _id = 50") == "n50"
    assert_ledger(target, engine.run_id, rows=DOCUMENTS)
    again = await retried(engines, nul="strip")
    assert (again.tried, again.written) == (0, 0)
    verified = await engine.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert verified.result is Verification.VERIFIED
