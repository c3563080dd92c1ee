"""A scripted engine for each test of the screens, and surroundings for the real program."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Source, Target
from tests.tui.scripted_engine import ScriptedEngine


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    """An idle engine."""
    with ScriptedEngine() as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def cockpits_forgotten() -> Iterator[None]:
    """A cockpit that has begun keeps what is there from being looked at for garbage: those of a thousand tests took 2.6 GB."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def steady_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No animation, and neither colour setting nor time zone of the machine that runs the tests."""
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """No configuration but the test's; logs and sockets of its own.

    A socket's path is short: one in pytest's folder may be too long, and the folder that is taken then is shared by all users.
    """
    with tempfile.TemporaryDirectory(prefix="mongopg-run-", dir="/tmp") as runtime:
        yield {
            "LC_ALL": "C.UTF-8",
            "XDG_CONFIG_HOME": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_RUNTIME_DIR": runtime,
        }


@pytest.fixture
def slow_run(source: Source, target: Target, home: dict[str, str]) -> dict[str, str]:
    """The environment of a run that takes half a minute, for what else a machine may do: 20,000 documents, 700 rows/s."""
    source.db["orders"].insert_many([{"_id": number, "total": number * 1.5} for number in range(20_000)])
    return {
        **home,
        "MONGOPG_SOURCE_URI": source.uri,
        "MONGOPG_TARGET_URI": target.uri,
        "MONGOPG_RUN_THROTTLE": "700",
        "MONGOPG_RUN_PAGE_SIZE": "500",
        "MONGOPG_RUN_CLUSTER_SIZE": "2",
    }
