"""What the figures say: medians, ratios, limits that are kept or missed; as tables and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from engine.knobs import PAGE_SIZE
from tests.bench.parts import FLOOR, Contest, Figures, Options, own_name, own_seed_name
from tui.tables import text_table

MANY_WORKERS = 90
"""The original project's default."""
FLOOR_RATIO, FLOOR_EXTRA_S = 1.15, 1.0
"""Most seconds of a run: so many times the floor, and so much for plan, ANALYZE and counts up to `LARGE` documents."""
LARGE = 5_000_000
PEER_RATIOS = {"ingestr": 3.0, "sling": 7.0}
"""How many times as fast we have to be."""
PLAIN_ROWS_PER_S = 35_000
FLATNESS = 0.9
"""Rows per second with ten times the documents, at least this share."""
WORKER_MB, ENGINE_MB = 120, 80
MANY_UP_S, MANY_RATIO = 3.0, 1.5
SEEDING_RATIO = 0.75
COMMAND_EXTRA_S = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that has to be reached, and what was found."""

    what: str
    wanted: str
    found: str
    kept: bool


def tables(contests: Sequence[Contest]) -> str:
    """A table a contest."""
    blocks = []
    for contest in contests:
        title = f"{contest.part}: {contest.documents:,} documents ({contest.shape.what})"
        rows = [_row(contest, entry.name) for entry in contest.entries if entry.name in contest.results]
        failed = [f"{name}: FAILED, {reason}" for name, reason in contest.failures.items()]
        table = text_table(_HEADINGS, rows, right=set(range(1, len(_HEADINGS))))
        blocks.append("\n".join([title, table, *failed]))
    return "\n\n".join(blocks)


_HEADINGS = [
    "median of whole runs", "seconds", "min", "max", "rows/s", "x floor", "x ours", "client CPU s", "mongod", "postgres",
    "worker MB", "engine MB", "all MB",
]  # fmt: skip


def _row(contest: Contest, name: str) -> list[str]:
    figures = contest.results[name]
    seconds = [each.ran.seconds for each in figures]
    peaks = _peaks(figures)
    cpu = {server: median(each.server_cpu_s[server] for each in figures) for server in figures[0].server_cpu_s}
    return [
        name,
        f"{median(seconds):.2f}",
        f"{min(seconds):.2f}",
        f"{max(seconds):.2f}",
        f"{contest.documents / median(seconds):,.0f}",
        _times(ratio(contest, name, FLOOR)),
        _times(ratio(contest, name, reference(contest))),
        f"{median(each.ran.cost.cpu_s for each in figures):.1f}",
        *(f"{cpu[server]:.1f}" for server in ("mongod", "postgres")),
        *(f"{peaks[role]:.0f}" if role in peaks else "" for role in ("worker", "engine", "all")),
    ]


def _peaks(figures: Sequence[Figures]) -> dict[str, float]:
    roles = {role for each in figures for role in each.ran.cost.peak_mb}
    return {role: max(each.ran.cost.peak_mb.get(role, 0.0) for each in figures) for role in roles}


def _times(found: float | None) -> str:
    return "" if found is None else f"{found:.2f}"


def reference(contest: Contest) -> str:
    """Our run that others are compared with: the fastest of those measured."""
    own = [name for name in contest.results if name.startswith("ours")]
    return min(own, key=lambda name: _median(contest, name), default="")


def ratio(contest: Contest, name: str, other: str) -> float | None:
    """Seconds of one in those of the other, the median of all rounds; None when one of them was not measured."""
    pairs = list(zip(contest.results.get(name, ()), contest.results.get(other, ()), strict=False))
    return median(one.ran.seconds / two.ran.seconds for one, two in pairs) if pairs else None


def _median(contest: Contest, name: str) -> float:
    return median(each.ran.seconds for each in contest.results[name])


# --- limits -----------------------------------------------------------------------------------------------------------


def limits(contests: Sequence[Contest], options: Options) -> list[Limit]:
    """Every limit that what was measured says something about."""
    found: list[Limit] = []
    for contest in contests:
        if contest.part == "seeding":
            found += _seeding_limits(contest, options)
        else:
            found += _speed_limits(contest, options)
            found += _memory_limits(contest)
            found += _many_workers_limits(contest)
    return found + _flatness(contests)


def _speed_limits(contest: Contest, options: Options) -> Iterator[Limit]:
    where = f"{contest.shape.name}, {contest.documents:,}"
    ours = own_name(options.converters[0], options.processes, PAGE_SIZE.default)
    if contest.part == "pages" or ours not in contest.results:
        return
    seconds = _median(contest, ours)
    if FLOOR in contest.results:
        extra_s = FLOOR_EXTRA_S if contest.documents < LARGE else 0.0
        most = FLOOR_RATIO * _median(contest, FLOOR) + extra_s
        plus = f" + {extra_s:.0f} s" if extra_s else ""
        yield Limit(
            f"{where}: {ours}", f"<= {FLOOR_RATIO} x floor{plus} = {most:.2f} s", f"{seconds:.2f} s", seconds <= most
        )
    for peer, times in PEER_RATIOS.items():
        faster = ratio(contest, peer, ours)
        if faster is not None:
            yield Limit(f"{where}: faster than {peer}", f">= {times:.0f} times", f"{faster:.2f} times", faster >= times)
    plain = own_name("plain", options.processes, PAGE_SIZE.default)
    if contest.part == "users" and plain in contest.results:
        rate = contest.documents / _median(contest, plain)
        wanted = f">= {PLAIN_ROWS_PER_S:,} rows/s"
        yield Limit(f"{where}: {plain}", wanted, f"{rate:,.0f} rows/s", rate >= PLAIN_ROWS_PER_S)
    beyond_s = median(each.ran.wall_s - each.ran.seconds for each in contest.results[ours])
    wanted = f"<= {COMMAND_EXTRA_S:.0f} s"
    yield Limit(f"{where}: the command beyond its run", wanted, f"{beyond_s:.2f} s", beyond_s <= COMMAND_EXTRA_S)


def _memory_limits(contest: Contest) -> Iterator[Limit]:
    own = {name: _peaks(figures) for name, figures in contest.results.items() if name.startswith("ours")}
    for role, most in (("worker", WORKER_MB), ("engine", ENGINE_MB)):
        sized = {name: peaks[role] for name, peaks in own.items() if role in peaks and "page size" not in name}
        if sized:
            name = max(sized, key=lambda each: sized[each])
            what = f"{contest.shape.name}, {contest.documents:,}: largest {role} ({name})"
            yield Limit(what, f"<= {most} MB", f"{sized[name]:.0f} MB", sized[name] <= most)


def _many_workers_limits(contest: Contest) -> Iterator[Limit]:
    own = [name for name in contest.results if name.startswith("ours")]
    for name in own:
        if f", {MANY_WORKERS} workers" not in name:
            continue
        up = [each.ran.details["all_up_s"] for each in contest.results[name]]
        measured = [each for each in up if each is not None]
        if measured:
            slowest = median(measured)
            what = f"{contest.shape.name}: {name}, all at work after"
            yield Limit(what, f"<= {MANY_UP_S:.0f} s", f"{slowest:.2f} s", slowest <= MANY_UP_S)
        converter = name.split(", ")[1]
        best = min((each for each in own if each.split(", ")[1] == converter), key=lambda each: _median(contest, each))
        times = ratio(contest, name, best)
        if times is not None and best != name:
            what = f"{contest.shape.name}: {name}, of the best cluster's time"
            yield Limit(what, f"<= {MANY_RATIO} times", f"{times:.2f} times", times <= MANY_RATIO)


def _seeding_limits(contest: Contest, options: Options) -> Iterator[Limit]:
    inverse = ratio(contest, FLOOR, own_seed_name(options.processes))
    if inverse is not None:
        wanted = f">= {SEEDING_RATIO} of the rate of inserts"
        yield Limit("seeding", wanted, f"{inverse:.2f}", inverse >= SEEDING_RATIO)


def _flatness(contests: Sequence[Contest]) -> Iterator[Limit]:
    rates: dict[int, float] = {}
    for contest in contests:
        if contest.part == "sizes" and reference(contest):
            rates[contest.documents] = contest.documents / _median(contest, reference(contest))
    sizes = sorted(rates)[-2:]
    if len(sizes) == 2:
        share = rates[sizes[1]] / rates[sizes[0]]
        what = f"rows/s with {sizes[1]:,} documents, of those with {sizes[0]:,}"
        yield Limit(what, f">= {FLATNESS}", f"{share:.2f}", share >= FLATNESS)


def limits_text(found: Sequence[Limit]) -> str:
    """A line for each limit."""
    rows = [[limit.what, limit.wanted, limit.found, "kept" if limit.kept else "MISSED"] for limit in found]
    return text_table(["limit", "wanted", "found", ""], rows)


def record(
    contests: Sequence[Contest], found: Sequence[Limit], options: Options, described: dict[str, Any]
) -> dict[str, Any]:
    """Everything, each run included."""
    return {
        "machine": described,
        "options": asdict(options),
        "contests": [
            {
                "part": contest.part,
                "shape": contest.shape.name,
                "documents": contest.documents,
                "contestants": {
                    name: {
                        "median_s": _median(contest, name),
                        "rows_per_s": contest.documents / _median(contest, name),
                        "times_floor": ratio(contest, name, FLOOR),
                        "times_ours": ratio(contest, name, reference(contest)),
                        "runs": [asdict(each) for each in figures],
                    }
                    for name, figures in contest.results.items()
                },
                "failures": contest.failures,
            }
            for contest in contests
        ],
        "limits": [asdict(limit) for limit in found],
    }
