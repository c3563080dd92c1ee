"""From a key to the screen, while a run keeps every core busy."""

from __future__ import annotations

import re
import statistics
import time
from collections import defaultdict
from itertools import cycle

from tests.bench.cockpit.limits import judged_keys, p95
from tests.bench.cockpit.stage import Stage, drain, is_over, read
from tests.tui.terminal import Terminal

BETWEEN_PRESSES_S = 0.2
SHOWN_WITHIN_S = 10.0
PAGE_SIZE = 3_777
"""No other number on the screen is this one or its double."""
DIALOG = "t"
"""The key that opens one."""
ESCAPE = "\x1b"
CLOSED_S = 1.0
"""A dialog is gone after so long: nothing that it leaves behind on the screen tells when."""


def key_delays(stage: Stage, workers: int, presses: int) -> dict[str, list[float]]:
    """Milliseconds from a key to the bytes that show it, by key; over as many whole runs as it takes.

    A key whose effect does not show within `SHOWN_WITHIN_S`, while the run goes on, counts with that time.
    """
    delays: dict[str, list[float]] = defaultdict(list)
    while sum(map(len, delays.values())) < presses:
        before = sum(map(len, delays.values()))
        with stage.running(workers, page_size=PAGE_SIZE, throttle=0) as terminal:
            for key, shown in cycle(_presses(workers)):
                delay = _delay(terminal, key, shown)
                if delay is None or sum(map(len, delays.values())) == presses:
                    break
                delays[key].append(delay * 1_000)
                if is_over(drain(terminal, BETWEEN_PRESSES_S) + (_close(terminal) if key == DIALOG else "")):
                    break
        if sum(map(len, delays.values())) == before:
            raise RuntimeError("The run is over before a key can be pressed: take more documents.")
    return dict(delays)


def words(delays: dict[str, list[float]]) -> list[str]:
    """One line for the keys that turn a knob, one for each of them, one for that which opens a dialog."""
    every = [delay for key, of_key in delays.items() if key != DIALOG for delay in of_key]
    return [_line("key to screen", every), *(_line(f"  {key}", of_key) for key, of_key in delays.items())]


def _line(name: str, delays: list[float]) -> str:
    median = statistics.median(delays)
    figures = f"{name}, {len(delays)} presses: p50 {median:.0f} ms, p95 {p95(delays):.0f} ms"
    return judged_keys(f"{figures}, longest {max(delays):.0f} ms", delays)


def _presses(workers: int) -> list[tuple[str, re.Pattern[str]]]:
    """Keys of the knobs, in an order that comes back to where it began, and what the screen says after each."""

    def knob(label: str, keys: str, value: int) -> re.Pattern[str]:
        return re.compile(rf"{label} +{re.escape(keys)} +(?:[\d,]+ → )?{value:,}(?! →)\b")

    return [
        ("]", knob("Page size", "[ ]", PAGE_SIZE * 2)),
        ("+", knob("Workers", "- +", workers + 1)),
        ("[", knob("Page size", "[ ]", PAGE_SIZE)),
        ("-", knob("Workers", "- +", workers)),
        (DIALOG, re.compile("Tune the run")),
    ]


def _close(terminal: Terminal) -> str:
    terminal.press(ESCAPE)
    return drain(terminal, CLOSED_S)


def _delay(terminal: Terminal, key: str, shown: re.Pattern[str]) -> float | None:
    """Seconds until what the key does is in what the program writes; None when the run is over instead."""
    pressed = time.perf_counter()
    terminal.press(key)
    written = ""
    while not shown.search(written):
        if is_over(written):
            return None
        if time.perf_counter() > pressed + SHOWN_WITHIN_S:
            return SHOWN_WITHIN_S
        written += read(terminal, 0.01)
    return time.perf_counter() - pressed
