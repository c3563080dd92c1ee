"""A run whose cockpit is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.tui.terminal import ROOT

if TYPE_CHECKING:
    from tests.conftest import Target

ROWS = 20_000
"""Of the slow run."""
WAIT_S = 60.0
POLL_S = 0.1


def rows_of(target: Target) -> int:
    """What the slow run has committed."""
    exists = target.value("SELECT to_regclass('public.orders') IS NOT NULL")
    return int(target.value("SELECT count(*) FROM public.orders")) if exists else 0


def goes_on(slow_run: dict[str, str], target: Target) -> None:
    """It commits more by itself; from then on without its throttle, to the last row."""
    before = rows_of(target)
    _until(lambda: rows_of(target) > before, "the run stands still")
    subprocess.run(
        [sys.executable, "-m", "tui", "ctl", "set", "throttle=off"], env=os.environ | slow_run, cwd=ROOT, check=True
    )
    _until(lambda: rows_of(target) == ROWS, "rows are missing")


def goes_on_to_its_end(slow_run: dict[str, str], target: Target) -> None:
    """Its engine ends, too.

    Until it has, keys and counts are still to come: with its database gone it would wait for it, longer than the session.
    """
    goes_on(slow_run, target)
    _until(lambda: not list(Path(slow_run["XDG_RUNTIME_DIR"]).rglob("*.sock")), "the engine does not end")


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(POLL_S)
