"""Engines for the tests of this folder, what is planted into them, and what is looked for after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import Target
from tests.faults.planting import CrashPoints
from tests.faults.proxy import Proxy, proxy_to
from tests.remains import remains_at, with_canary
from tests.running import Engines
from tests.running import engines as engines


@pytest.fixture
def target(target: Target) -> Iterator[Target]:
    """The same database, whose connection string has a password that nothing may show; nothing may be left in it."""
    target = replace(target, uri=with_canary(target.uri))
    yield target
    left = remains_at(target)
    assert not left, left


@pytest.fixture(params=["id", pytest.param("natural", marks=pytest.mark.slow)])
def both_orders(request: pytest.FixtureRequest, engines: Engines) -> None:
    """The test once with collections read by `_id`, and once in natural order."""
    engines.order = request.param


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrashPoints:
    """Crash points in every engine that is launched from now on; none is armed."""
    points = CrashPoints(tmp_path)
    for name, value in points.environment().items():
        monkeypatch.setenv(name, value)
    return points


@pytest_asyncio.fixture
async def target_proxy(target: Target) -> AsyncIterator[Proxy]:
    """Between the engine and PostgreSQL."""
    async with proxy_to(target.uri) as proxy:
        yield proxy
