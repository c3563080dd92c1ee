"""From a key to the screen, while a run keeps every core busy."""

from __future__ import annotations

import random
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.bench.cockpit.limits import judged_keys, p95
from tests.bench.cockpit.stage import Stage, drain, is_over, read
from tests.tui.terminal import Terminal

BETWEEN_PRESSES_S = 0.2
SHOWN_WITHIN_S = 10.0
PAGE_SIZE = 3_777
"""No other number on the screen is this one or its double."""
ESCAPE = "\x1b"
GONE_S = 1.0
"""What a key showed is gone so long after the key that takes it back: nothing left on the screen tells when."""
TO_HOSTS, ON_A_HOST = "c", r"[▷▼]›"
"""The key that brings the cursor from the collections to the hosts, and what then stands at the first one."""

_IN_FULL = ", all of it"
_FREE = ", less its waits for a processor"
"""Of a press: what it would have taken where the cockpit had a processor whenever it wanted one."""


@dataclass(frozen=True, slots=True)
class Press:
    """A key, and what tells that it was followed."""

    name: str
    key: str
    shown: re.Pattern[str]
    """Found in what the program writes after the key, and in nothing that it writes without it."""
    back: str = ""
    """The key that takes it back; none where another press does."""
    in_full: re.Pattern[str] | None = None
    """Found when all of it is there, where something is shown before that."""


def presses_of(workers: int, *, has_hosts: bool = False) -> list[list[Press]]:
    """All keys that show something while a run copies; those of one list follow each other.

    Args:
        has_hosts: workers are folded below the lines of their hosts, and the cursor is on one of those, where Enter shows them.
    """

    def knob(key: str, label: str, keys: str, value: int) -> Press:
        return Press(key, key, re.compile(rf"{label} +{re.escape(keys)} +(?:[\d,]+ → )?{value:,}(?! →)\b"))

    def other(name: str, shown: str, back: str = ESCAPE, key: str = "") -> list[Press]:
        return [Press(name, key or name, re.compile(shown), back)]

    def screen(key: str, in_full: str) -> list[Press]:
        """The header is written when another tab is lit, and when the state of the run changes."""
        return [Press(key, key, re.compile("mongopg-tui +1 Setup +2 Plan"), "3", re.compile(in_full))]

    return [
        [knob("]", "Page size", "[ ]", PAGE_SIZE * 2), knob("[", "Page size", "[ ]", PAGE_SIZE)],
        [knob("+", "Workers", "- +", workers + 1), knob("-", "Workers", "- +", workers)],
        other("t", "Tune the run"),
        other("x", r"Stop the run\?"),
        # The worker in full; of a collection, its workers.
        other("enter", "▼", back="\r", key="\r") if has_hosts else other("enter", 'last progress|matching "', key="\r"),
        other("?", "Help: Run"),
        other("ctrl+p", "Search for commands", key="\x10"),
        other("l", "─ Events", back="l"),
        other("z", "Display frozen", back="z"),
        other("/", "type to filter"),
        other("S", ", reversed", back="S"),
        screen("1", "Existing tables"),
        screen("2", "─ Preview"),
        screen("4", "Both sides"),
        screen("5", "─ Runs"),
    ]


def key_delays(
    stage: Stage, workers: int, presses: int, names: Sequence[str] = ()
) -> tuple[dict[str, list[float]], float]:
    """Milliseconds from a key to the bytes that show it, by name, and to those that end it; over as many runs as it takes.

    Beside each stands what is left of it without the time in which the cockpit waited for a processor.

    A key whose effect does not show within `SHOWN_WITHIN_S`, while the run goes on, counts with that time, and the screen is
    told as it is then. The second value is the share of the cores' time that something used meanwhile.

    Args:
        names: only lists with one of these keys.
    """
    known = presses_of(workers, has_hosts=stage.is_on_dask)
    chosen = [group for group in known if not names or {press.name for press in group} & {*names}]
    delays: dict[str, list[float]] = defaultdict(list)
    used = whole = 0.0
    for seed in count():
        if _n_presses(delays) >= presses:
            return dict(delays), used / whole
        before = _n_presses(delays)
        # Elsewhere the workers keep every core busy; members of several hosts on one machine would only be in each other's way.
        throttle = stage.slow(workers) if stage.is_on_dask else 0
        with stage.running(workers, page_size=PAGE_SIZE, throttle=throttle) as terminal:
            if stage.is_on_dask:  # from the collections, where Enter would leave a filter behind
                terminal.press(TO_HOSTS)
                terminal.wait_until(ON_A_HOST)
            used_before, whole_before = used_now, whole_now = _cores()
            for press in _mixed(chosen, seed):
                measured = _delays(terminal, press)
                if not measured or _n_presses(delays) >= presses:
                    break
                for name, delay in measured.items():
                    delays[name].append(delay * 1_000)
                used_now, whole_now = _cores()
                if is_over(_take_back(terminal, press)):
                    break
            used, whole = used + used_now - used_before, whole + whole_now - whole_before
        if _n_presses(delays) == before:
            raise RuntimeError("The run is over before a key can be pressed: take more documents.")
    raise AssertionError("unreachable")


def _n_presses(delays: Mapping[str, Sequence[float]]) -> int:
    return sum(len(of_key) for name, of_key in delays.items() if not name.endswith(_FREE))


def words(delays: dict[str, list[float]], busy: float) -> list[str]:
    """How busy the cores were; a line for all keys, one for each, and one for each of what goes on after its first sign."""

    def of_all(is_one: Callable[[str], bool]) -> list[float]:
        return [delay for name, of_key in delays.items() if is_one(name) for delay in of_key]

    free = of_all(lambda name: name.endswith(_FREE) and _IN_FULL not in name)
    return [
        f"cores busy: {busy:.0%}",
        _line("key to screen", of_all(lambda name: not name.endswith((_IN_FULL, _FREE)))),
        *([_line(f"key to screen{_FREE}", free)] if free else []),
        *(_line(f"  {name}", of_key) for name, of_key in delays.items()),
    ]


def _line(name: str, delays: list[float]) -> str:
    median = statistics.median(delays)
    figures = f"{name}, {len(delays)} presses: p50 {median:.0f} ms, p95 {p95(delays):.0f} ms"
    return judged_keys(f"{figures}, longest {max(delays):.0f} ms", delays)


def _mixed(groups: Sequence[Sequence[Press]], seed: int) -> Iterator[Press]:
    """Again and again all of them, each time in another order: no key always comes early in a run."""
    lot = random.Random(seed)
    while True:
        for group in lot.sample(groups, len(groups)):
            yield from group


def _cores() -> tuple[float, float]:
    """Time that the cores have worked, and all of it, since the machine was started; proc(5), /proc/stat."""
    ticks = [float(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _waited_s(pid: int) -> float:
    """How long the main thread of a process has waited for a processor; proc(5), schedstat."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _take_back(terminal: Terminal, press: Press) -> str:
    """What the program writes while it does: History writes of other runs' ends before."""
    written = drain(terminal, BETWEEN_PRESSES_S)
    if not press.back:
        return written
    terminal.press(press.back)
    return drain(terminal, GONE_S)


def _delays(terminal: Terminal, press: Press) -> dict[str, float]:
    """Seconds until what the key does is in what the program writes, and until all of it is; none when the run is over."""
    pid = terminal.process.pid
    before = terminal.screen()
    waited, pressed = _waited_s(pid), time.perf_counter()
    terminal.press(press.key)
    awaited = {press.name: press.shown} | ({press.name + _IN_FULL: press.in_full} if press.in_full else {})
    found: dict[str, float] = {}
    written = ""
    while len(found) < 2 * len(awaited):
        seconds = time.perf_counter() - pressed
        for name, pattern in awaited.items():
            if name not in found and (pattern.search(written) or seconds > SHOWN_WITHIN_S):
                found[name] = min(seconds, SHOWN_WITHIN_S)
                found[name + _FREE] = max(0.0, found[name] - (_waited_s(pid) - waited))
        if is_over(written) and not found:
            return {}
        written += read(terminal, 0.01)
    if found[press.name] >= SHOWN_WITHIN_S:
        print(
            f"{press.name} showed nothing; the screen before it:\n{before}\nand now:\n{terminal.screen()}",
            file=sys.stderr,
        )
    return found
