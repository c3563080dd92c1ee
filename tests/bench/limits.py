"""The limits that the project has set itself, and whether what was measured keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from engine.knobs import PAGE_SIZE
from tests.bench.parts import (
    AUTO,
    BAD,
    CLEAN,
    COLLECTING,
    FLOOR,
    FOLLOWS,
    LOCAL,
    MANY_FLOOR,
    MANY_WORKERS,
    NATURAL,
    NOT_COLLECTING,
    ON_DASK,
    SMALL_COLLECTIONS,
    SMALL_DOCUMENTS,
    WITH,
    WITHOUT,
    Contest,
    Entry,
    Options,
    own_name,
)

FLOOR_RATIO, SLIM_RATIO = 1.15, 1.10
"""Most seconds of a run, in those of the floor; of users, whose `_id`s grow with time, the second;"""
EXTRA_S, SLIM_EXTRA_S, EXTRA_BELOW = 1.0, 0.5, 5_000_000
"""and what plan, ANALYZE and counts may take beside it while there are fewer documents than so many."""
SLIM = frozenset({"users", "three_fields"})
"""Shapes of which the second of both holds."""
PEER_RATIOS = {"ingestr": 3.0, "sling": 7.0}
"""How many times as fast we have to be, by a run's own `seconds`; the ratio of whole commands, with the start of our processes,
stands beside it."""
PLAIN_ROWS_PER_S = 35_000
"""Of users, with the plain converter."""
FLATNESS = 0.9
"""Rows per second with ten times the documents, at least this share."""
MEMORY_MB = {"worker": 120, "engine": 80}
"""Proportional set size at the default page size."""
MANY_UP_S, MANY_RATIO = 3.0, 1.5
"""The original project's default cluster: all of them up after so long, and at most so many times the best one's seconds, or
`FLOOR_RATIO` times those of as many processes that convert nothing."""
SEEDING_RATIO = 0.75
"""Of the rate at which ready-made documents are inserted."""
CHECKSUM_RATIO = 1.05
"""Most CPU seconds of a run with checksums, in those of one without: they tell more than a time that other things sway."""
REJECTS_RATIO = 1.3
"""Most seconds of a run with one bad document in a hundred, in those of one without."""
RANDOM_IDS_RATIO = 1.25
"""Most seconds of a run whose documents lie in no order of their `_id`s, in those of the floor."""
SMALL_COLLECTION_S = 0.008
"""Most seconds of a run for each of its small collections."""
AUTO_RATIO = 1.1
"""Most seconds of a run that looks for its cluster size, in those of the best of the fixed ones."""
ON_DASK_SHARE = 0.95
"""Of the rows per second of workers on this host, at least this with as many on a Dask cluster of one host."""
EVENTS_PER_S = 15_000
"""Of changes that wait in the oplog."""
BEHIND_S, WRITE_STOP_S = 1.0, 5.0
"""How far a run may be behind its writers, 95 times of 100; how long they may have to stand still."""
MERGED = 0.05
"""Where more changes than this share are one with another of their document, fewer were applied than were counted."""
COLLECTING_RATIO = 1.1
"""Most seconds of a copy that collects changes, in those of one that does not."""
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
        if contest.part == "tuning":
            found += _tuning(contest)
            continue
        if contest.part == "random_ids":
            found += _random_ids(contest)
            continue
        if contest.part == "hosts":
            found += _hosts(contest)
            continue
        if contest.part == "checksums":
            found += _checksums(contest)
            continue
        if contest.part in ("follow", "collecting"):
            found += _following(contest)
            continue
        if contest.part == "small_collections":
            found += [*_small_collections(contest), *_memory(contest)]
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


def _tuning(contest: Contest) -> Iterator[Limit]:
    """A run that looks for its size, search included, against the best of the fixed ones."""
    fixed = [entry.name for entry in contest.own if entry.name != AUTO]
    if fixed and AUTO in contest.results:
        best = min(fixed, key=contest.median_s)
        ratio = contest.ratio(AUTO, best)
        assert ratio is not None
        what = f"{_where(contest)}: size auto, {best.removeprefix('ours, ')}"
        yield Limit(what, f"<= {AUTO_RATIO} x", f"{ratio:.2f} x", ratio <= AUTO_RATIO)


def _where(contest: Contest) -> str:
    return f"{contest.shape.name}, {contest.documents:,}"


def _speed(contest: Contest, ours: str) -> Iterator[Limit]:
    where, seconds = _where(contest), contest.median_s(ours)
    if FLOOR in contest.results:
        ratio, extra_s = (SLIM_RATIO, SLIM_EXTRA_S) if contest.shape.name in SLIM else (FLOOR_RATIO, EXTRA_S)
        if contest.documents >= EXTRA_BELOW:
            ratio, extra_s = FLOOR_RATIO, 0.0
        most = ratio * contest.median_s(FLOOR) + extra_s
        wanted = f"<= {ratio:.2f} x floor{f' + {extra_s:g} s' if extra_s else ''} = {most:.2f} s"
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
    what = f"{_where(contest)}: {many.name}, all up"
    details = [each.ran.details for each in contest.results[many.name]]
    if all(each["all_up_s"] is not None for each in details):
        typical = median(each["all_up_s"] for each in details)
        yield Limit(what, f"<= {MANY_UP_S:.0f} s", f"{typical:.2f} s", typical <= MANY_UP_S)
    else:
        fewest = min(each["up"] for each in details)
        yield Limit(what, f"<= {MANY_UP_S:.0f} s", f"only {fewest} at the end", kept=False)
    rivals = [entry.name for entry in contest.own if entry.converter == many.converter and entry is not many]
    best = min(rivals, key=contest.median_s, default="")
    judged = [
        (f"<= {most} x {name}", times, most)
        for name, other, most in (("the best cluster", best, MANY_RATIO), (MANY_FLOOR, MANY_FLOOR, FLOOR_RATIO))
        if (times := contest.ratio(many.name, other)) is not None
    ]
    if judged:
        wanted = " or ".join(words for words, _, _ in judged)
        found = ", ".join(f"{times:.2f} x" for _, times, _ in judged)
        kept = any(times <= most for _, times, most in judged)
        yield Limit(f"{_where(contest)}: {many.name}", wanted, found, kept)


def _seeding(contest: Contest) -> Iterator[Limit]:
    share = contest.ratio(FLOOR, contest.reference)
    if share is not None:
        wanted = f">= {SEEDING_RATIO} of plain inserts"
        yield Limit(f"seeding, {contest.documents:,}", wanted, f"{share:.2f}", share >= SEEDING_RATIO)


def _random_ids(contest: Contest) -> Iterator[Limit]:
    times = contest.ratio(NATURAL, FLOOR)
    if times is not None:
        wanted = f"<= {RANDOM_IDS_RATIO} x floor"
        yield Limit(_where(contest), wanted, f"{times:.2f} x", times <= RANDOM_IDS_RATIO)
    faster, allowed = contest.ratio("ingestr", NATURAL), contest.ratio("ingestr", FLOOR)
    if faster is not None and allowed is not None:
        most = min(PEER_RATIOS["ingestr"], allowed / RANDOM_IDS_RATIO)
        wanted = f">= {most:.2f} x as fast (the floor is {allowed:.2f} x)"
        yield Limit(f"{_where(contest)}: ingestr", wanted, f"{faster:.2f} x", faster >= most)


def _hosts(contest: Contest) -> Iterator[Limit]:
    share = contest.ratio(LOCAL, ON_DASK)
    if share is not None:
        pairs = zip(contest.results[ON_DASK], contest.results[LOCAL], strict=False)
        rates = [tuple(each.ran.details.get("copying_rows_per_s") for each in pair) for pair in pairs]
        copying = [there / here for there, here in rates if there and here]
        found = f"{share:.3f} x" + (f" ({median(copying):.3f} x without the start)" if copying else "")
        yield Limit(f"{_where(contest)}: on Dask", f">= {ON_DASK_SHARE} x the rows/s", found, share >= ON_DASK_SHARE)


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


def _following(contest: Contest) -> Iterator[Limit]:
    times = contest.ratio(COLLECTING, NOT_COLLECTING)
    if times is not None:
        wanted = f"<= {COLLECTING_RATIO} x one that does not"
        yield Limit(f"{_where(contest)}: {COLLECTING}", wanted, f"{times:.2f} x", times <= COLLECTING_RATIO)
    details = [each.ran.details for each in contest.results.get(FOLLOWS, ())]
    if not details:
        return
    rate = median(each["events_per_s"] for each in details)
    merged = max(each["merged"] for each in details)
    what = f"{_where(contest)}: catching up"
    yield Limit(what, f">= {EVENTS_PER_S:,} events/s", f"{rate:,.0f} events/s", rate >= EVENTS_PER_S)
    yield Limit(f"{what}, merged", f"< {MERGED:.0%}", f"{merged:.1%}", merged < MERGED)
    if all("behind_s" in each for each in details):
        behind = median(each["behind_s"]["p95"] for each in details)
        yield Limit(f"{_where(contest)}: behind, p95", f"< {BEHIND_S:.0f} s", f"{behind:.2f} s", behind < BEHIND_S)
    stop = median(each["write_stop_s"] for each in details)
    yield Limit(f"{_where(contest)}: write stop", f"< {WRITE_STOP_S:.0f} s", f"{stop:.2f} s", stop < WRITE_STOP_S)


def _small_collections(contest: Contest) -> Iterator[Limit]:
    if contest.reference:
        each_s = contest.median_s(contest.reference) / SMALL_COLLECTIONS
        what = f"{SMALL_COLLECTIONS} collections of {SMALL_DOCUMENTS}, each"
        wanted = f"<= {SMALL_COLLECTION_S * 1000:.0f} ms"
        yield Limit(what, wanted, f"{each_s * 1000:.1f} ms", each_s <= SMALL_COLLECTION_S)


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
