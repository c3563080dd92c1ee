"""The limits that the project has set itself, and whether what was measured keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from engine.knobs import PAGE_SIZE
from tests.bench.parts import BAD, CLEAN, FLOOR, WITH, WITHOUT, Contest, Entry, Options, own_name

FLOOR_RATIO = 1.15
"""Most seconds of a run, in those of the floor;"""
EXTRA_S, EXTRA_BELOW = 1.0, 5_000_000
"""and what plan, ANALYZE and counts may take beside it while there are fewer documents than so many."""
PEER_RATIOS = {"ingestr": 3.0, "sling": 7.0}
"""How many times as fast we have to be, by a run's own `seconds`; the ratio of whole commands, with the start of our processes,
stands beside it."""
PLAIN_ROWS_PER_S = 35_000
"""Of users, with the plain converter."""
FLATNESS = 0.9
"""Rows per second with ten times the documents, at least this share."""
MEMORY_MB = {"worker": 120, "engine": 80}
"""Proportional set size at the default page size."""
MANY_WORKERS, MANY_UP_S, MANY_RATIO = 90, 3.0, 1.5
"""The original project's default cluster: all at work after so long, and at most so many times the best one's seconds."""
SEEDING_RATIO = 0.75
"""Of the rate at which ready-made documents are inserted."""
CHECKSUM_RATIO = 1.05
"""Most CPU seconds of a run with checksums, in those of one without: they tell more than a time that other things sway."""
REJECTS_RATIO = 1.3
"""Most seconds of a run with one bad document in a hundred, in those of one without."""
COMMAND_EXTRA_S = 1.0
"""Of the whole command beyond its run."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that has to be reached, and what was found."""

    what: str
    wanted: str
    found: str
    kept: bool


def limits(contests: Sequence[Contest], options: Options) -> list[Limit]:
    """Every limit that what was measured says something about."""
    found: list[Limit] = []
    for contest in contests:
        if contest.part == "seeding":
            found += _seeding(contest)
            continue
        if contest.part == "rejects":
            found += _rejects(contest)
            continue
        if contest.part == "checksums":
            found += _checksums(contest)
            continue
        ours = own_name(options.converters[0], options.processes)
        if ours in contest.results and contest.part != "pages":
            found += _speed(contest, ours)
        if contest.part == "users":
            found += _plain(contest, own_name("plain", options.processes))
        found += _memory(contest)
        for entry in contest.own:
            if entry.workers == MANY_WORKERS:
                found += _many_workers(contest, entry)
    return [*found, *_flatness(contests)]


def _where(contest: Contest) -> str:
    return f"{contest.shape.name}, {contest.documents:,}"


def _speed(contest: Contest, ours: str) -> Iterator[Limit]:
    where, seconds = _where(contest), contest.median_s(ours)
    if FLOOR in contest.results:
        extra_s = EXTRA_S if contest.documents < EXTRA_BELOW else 0.0
        most = FLOOR_RATIO * contest.median_s(FLOOR) + extra_s
        wanted = f"<= {FLOOR_RATIO} x floor{f' + {extra_s:.0f} s' if extra_s else ''} = {most:.2f} s"
        yield Limit(f"{where}: {ours}", wanted, f"{seconds:.2f} s", seconds <= most)
    for peer, times in PEER_RATIOS.items():
        faster, as_commands = contest.ratio(peer, ours), contest.wall_ratio(peer, ours)
        if faster is not None and as_commands is not None:
            found = f"{faster:.2f} x (whole commands {as_commands:.2f} x)"
            yield Limit(f"{where}: {ours}, {peer}", f">= {times:.0f} x as fast", found, faster >= times)
    beyond_s = median(each.ran.wall_s - each.ran.seconds for each in contest.results[ours])
    wanted = f"<= {COMMAND_EXTRA_S:.0f} s"
    yield Limit(f"{where}: command beyond its run", wanted, f"{beyond_s:.2f} s", beyond_s <= COMMAND_EXTRA_S)


def _plain(contest: Contest, plain: str) -> Iterator[Limit]:
    if plain in contest.results:
        rate = contest.documents / contest.median_s(plain)
        wanted = f">= {PLAIN_ROWS_PER_S:,} rows/s"
        yield Limit(f"{_where(contest)}: {plain}", wanted, f"{rate:,.0f} rows/s", rate >= PLAIN_ROWS_PER_S)


def _memory(contest: Contest) -> Iterator[Limit]:
    for role, most in MEMORY_MB.items():
        own = {entry.name: contest.peak_mb(entry.name) for entry in contest.own if entry.page_size == PAGE_SIZE.default}
        sizes = {name: peaks[role] for name, peaks in own.items() if role in peaks}
        if sizes:
            largest = max(sizes, key=lambda name: sizes[name])
            what = f"{_where(contest)}: {role}, {largest.removeprefix('ours, ')}"
            yield Limit(what, f"<= {most} MB", f"{sizes[largest]:.0f} MB", sizes[largest] <= most)


def _many_workers(contest: Contest, many: Entry) -> Iterator[Limit]:
    what = f"{_where(contest)}: {many.name}, all at work"
    details = [each.ran.details for each in contest.results[many.name]]
    if all(each["all_at_work_s"] is not None for each in details):
        typical = median(each["all_at_work_s"] for each in details)
        yield Limit(what, f"<= {MANY_UP_S:.0f} s", f"{typical:.2f} s", typical <= MANY_UP_S)
    else:
        fewest = min(each["at_work"] for each in details)
        yield Limit(what, f"<= {MANY_UP_S:.0f} s", f"only {fewest} at the end", kept=False)
    rivals = [entry.name for entry in contest.own if entry.converter == many.converter and entry is not many]
    if rivals:
        times = contest.ratio(many.name, min(rivals, key=contest.median_s))
        if times is not None:
            wanted = f"<= {MANY_RATIO} x the best cluster"
            yield Limit(f"{_where(contest)}: {many.name}", wanted, f"{times:.2f} x", times <= MANY_RATIO)


def _seeding(contest: Contest) -> Iterator[Limit]:
    share = contest.ratio(FLOOR, contest.reference)
    if share is not None:
        wanted = f">= {SEEDING_RATIO} of plain inserts"
        yield Limit(f"seeding, {contest.documents:,}", wanted, f"{share:.2f}", share >= SEEDING_RATIO)


def _checksums(contest: Contest) -> Iterator[Limit]:
    times = contest.cpu_ratio(WITH, WITHOUT)
    if times is not None:
        wanted = f"<= {CHECKSUM_RATIO} x CPU without"
        yield Limit(f"checksums, {contest.documents:,}", wanted, f"{times:.3f} x", times <= CHECKSUM_RATIO)


def _rejects(contest: Contest) -> Iterator[Limit]:
    times = contest.ratio(BAD, CLEAN)
    if times is not None:
        yield Limit(
            f"rejects, {contest.documents:,}", f"<= {REJECTS_RATIO} x clean", f"{times:.2f} x", times <= REJECTS_RATIO
        )


def _flatness(contests: Sequence[Contest]) -> Iterator[Limit]:
    rates = {
        contest.documents: contest.documents / contest.median_s(contest.reference)
        for contest in contests
        if contest.part == "sizes" and contest.reference
    }
    largest = sorted(rates)[-2:]
    if len(largest) == 2:
        few, many = largest
        share = rates[many] / rates[few]
        yield Limit(f"rows/s at {many:,}, of those at {few:,}", f">= {FLATNESS}", f"{share:.2f}", share >= FLATNESS)
