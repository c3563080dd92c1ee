"""Engines for the tests of this folder, and what is planted into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.planting import CrashPoints
from tests.running import engines as engines


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrashPoints:
    """Crash points in every engine that is launched from now on; none is armed."""
    points = CrashPoints(tmp_path)
    for name, value in points.environment().items():
        monkeypatch.setenv(name, value)
    return points
