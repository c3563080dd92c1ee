"""From starting the program to the first thing that it shows."""

from __future__ import annotations

import re
import statistics
import subprocess
import time

from tests.bench.cockpit.stage import PROGRAM, Stage, read

WITHIN_S = 30.0
_ALTERNATE = "\x1b[?1049h"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?<>=]*[A-Za-z]|[P\]_].*?(?:\x07|\x1b\\)|[=>()78][B0]?)", re.DOTALL)


def first_paints(stage: Stage, times: int) -> list[float]:
    """Seconds from starting `mongopg-tui` to the first text on its screen."""
    return [_first_paint(stage) for _ in range(times)]


def helps(times: int) -> list[float]:
    """Seconds that `mongopg-tui --help` takes."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return found


def words(name: str, seconds: list[float]) -> str:
    """One line."""
    return f"{name}, {len(seconds)} times: median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"


def _first_paint(stage: Stage) -> float:
    began = time.perf_counter()
    with stage.cockpit(workers=1) as terminal:
        written = ""
        while not _SEQUENCE.sub("", written.partition(_ALTERNATE)[2]).strip():
            if time.perf_counter() > began + WITHIN_S:
                raise RuntimeError(f"Nothing is on the screen:\n{written}")
            written += read(terminal, 0.01)
        painted = time.perf_counter() - began
        terminal.wait_for("Source: MongoDB")
        return painted
