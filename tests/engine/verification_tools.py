"""Tools of the tests about verification: ask for one, and read its report."""

from __future__ import annotations

from typing import Any

from engine import protocol
from engine.protocol import DifferenceView, TableCounts, VerifyReport
from tests.running import Engine

USERS = 3_000
MANY = 60_000
"""So many that a verification is still going on when something is done to it."""


async def verified(engine: Engine, **command: Any) -> VerifyReport:
    """A full verification of the newest run."""
    return await engine.client.ask(VerifyReport, protocol.Verify(level="full", **command))


def only(report: VerifyReport) -> TableCounts:
    """The report's one table."""
    [table] = report.tables
    return table


def found(report: VerifyReport) -> dict[str, DifferenceView]:
    """The one difference of each kind."""
    assert len({each.kind for each in report.differences}) == len(report.differences), report.differences
    return {each.kind: each for each in report.differences}


def oid(text: str) -> str:
    """An ObjectId as the report shows it."""
    return f'{{"$oid": "{text}"}}'
