"""What the cockpit's process takes: its share of a core, its memory over time, its share of a run's seconds."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from tests.bench.cockpit.stage import Stage, drain, is_over, read
from tests.bench.measure import cpu_by_role_now, cpu_s, proportional_kb, resident_kb

SETTLED_S = 5.0
"""Time for a screen to come to rest before its cost is counted."""
BETWEEN_KEYS_S = 2.0
TOUR = ["1", "2", "3", "4", "5", "3", "l", "?", "\x1b", "s", "t", "\x1b", "]", "[", "3"]
"""Keys that open every screen, some dialogs, and turn a knob forth and back."""
PAIR_WITHIN_S = 3_600.0


def share_of_a_core(stage: Stage, workers: int, seconds: float) -> tuple[float, float, dict[str, float]]:
    """CPU seconds of the cockpit in a second of a throttled run, MiB that it grew, and the seconds of other processes.

    The last ones are by role, as in `tests.bench.measure`, over all processes of a role together.
    """
    with stage.running(workers, throttle=stage.slow(workers)) as terminal:
        drain(terminal, SETTLED_S)
        pid = terminal.process.pid
        before = cpu_by_role_now(stage.mark)
        cpu, resident, began = cpu_s(pid, with_children=False), resident_kb(pid), time.monotonic()
        if is_over(drain(terminal, seconds)):
            raise RuntimeError("The run is over before its time: take more documents.")
        took = time.monotonic() - began
        spent = (cpu_s(pid, with_children=False) - cpu) / took
        now = cpu_by_role_now(stage.mark)
        roles = {role: (now[role] - before.get(role, 0.0)) / took for role in sorted(now) if role != "command"}
        return spent, (resident_kb(pid) - resident) / 1024, roles


def memory(stage: Stage, workers: int, minutes: float, say: Callable[[str], None]) -> list[float]:
    """Tell the size of the cockpit's process every minute, while a throttled run goes on and its screens are walked through.

    Returns:
        MiB resident, every minute from the beginning.
    """
    throttle = max(1, int(stage.documents / (minutes * 60 + 120)))
    with stage.running(workers, throttle=throttle) as terminal:
        drain(terminal, SETTLED_S)
        pid = terminal.process.pid
        began = time.monotonic()
        minute, pressed = 0, 0
        resident: list[float] = []
        while True:
            if time.monotonic() >= began + minute * 60:
                resident.append(resident_kb(pid) / 1024)
                say(f"{minute:>3} min: RSS {resident[-1]:.1f} MiB, PSS {proportional_kb(pid) / 1024:.1f} MiB, "
                    f"{pressed} keys")  # fmt: skip
                if minute >= minutes:
                    return resident
                minute += 1
            terminal.press(TOUR[pressed % len(TOUR)])
            pressed += 1
            drain(terminal, BETWEEN_KEYS_S)


def share_of_a_run(stage: Stage, workers: int, pairs: int, say: Callable[[str], None]) -> float:
    """How much longer a run takes with the cockpit than headless: the median of the pairs' ratios, less 1.

    Within a pair the order is drawn, so that neither is always the first.
    """
    ratios = []
    for pair in range(1, pairs + 1):
        seconds: dict[bool, float] = {}
        for has_cockpit in random.sample([True, False], 2):
            (_run_in_cockpit if has_cockpit else _run_headless)(stage, workers)
            seconds[has_cockpit] = stage.seconds_of_the_newest_run()
        ratios.append(seconds[True] / seconds[False] - 1)
        say(f"  pair {pair}: headless {seconds[False]:.2f} s, cockpit {seconds[True]:.2f} s, {ratios[-1]:+.1%}")
    return statistics.median(ratios)


def _run_headless(stage: Stage, workers: int) -> None:
    stage.run(["run", "--json"], workers)


def _run_in_cockpit(stage: Stage, workers: int) -> None:
    with stage.cockpit("run", workers=workers) as terminal:
        deadline = time.monotonic() + PAIR_WITHIN_S
        written = ""
        while "✓ counts match" not in written:
            if time.monotonic() > deadline or terminal.process.poll() is not None:
                raise RuntimeError(f"The run did not end well:\n{written}")
            written = written[-1_000:] + read(terminal, 0.1)
        terminal.press("q")
        code = terminal.wait_for_end()
        if code:
            raise RuntimeError(f"The cockpit left with exit code {code}.")
