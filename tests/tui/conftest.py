"""A scripted engine for each test of the screens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tui.scripted_engine import ScriptedEngine


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    """An idle engine."""
    with ScriptedEngine() as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def steady_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No animation, and no colour setting of the machine that runs the tests."""
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
