"""How fast copies were, and what follows from it: which sizes to try, which to recommend, and how to show it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from engine.notation import written_namespace
from tui.words.format import counted, number
from tui.words.tables import text_table

WORTH = 1.05
"""A larger size is worth its processes and memory when it copies this much faster; less is also within the noise."""
FRUITLESS_STEPS = 2
"""Larger clusters in a row that were not worth it before the series ends: a single one may be bad luck."""
PAGE_SIZES = (500, 2_000, 8_000, 32_000)
BAR_CELLS = 28
FIRST_DOCUMENTS = 200_000
MOST_DOCUMENTS = 5_000_000
"""Where the number is not set: as many as take one worker `STEADY_S`, between these."""
STEADY_S = 5.0
"""One worker's copy that takes so long is not at the mercy of a busy moment."""
NEARLY = 0.8
"""Of `STEADY_S`: an estimate that comes so close needs no better one."""
SHORT_S = 2.0
"""A copy that takes less is made `REPEATS` times, and the one in the middle counts."""
REPEATS = 3
GROWTH = 10
"""Times as many documents as before, at most: the first copies find cold caches and say little."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One copy."""

    cluster_size: int
    page_size: int
    rows: int
    """Committed."""
    seconds: float
    """Of copying alone, from all workers being ready to the last commit: planning, keys and counts cost the same
    whatever the sizes."""

    @property
    def rows_per_s(self) -> float:
        """The rate of the whole cluster."""
        return self.rows / max(self.seconds, 1e-3)


@dataclass(frozen=True, slots=True)
class Results:
    """What a bench has found so far."""

    clusters: tuple[Measurement, ...] = ()
    """By cluster size, ascending from 1."""
    pages: tuple[Measurement, ...] = ()
    """By page size, ascending, all at one cluster size."""

    @property
    def sequential(self) -> Measurement:
        """The copy with one worker; there must be one."""
        return self.clusters[0]

    @property
    def recommended(self) -> Measurement:
        """The sizes to use: the smallest that are as good as any."""
        return smallest_good(self.pages or self.clusters)

    def speed_up(self, measurement: Measurement) -> float:
        """How many times as fast as one worker; 0 when that one wrote nothing.

        Each series is measured against itself, since minutes later the same copy may be faster or slower: a page size against
        the copy of its own series with the page size of the other one.
        """
        alone = self.sequential.rows_per_s
        same = next((each for each in self.pages if each.page_size == self.sequential.page_size), None)
        if same is not None and same.rows_per_s and measurement in self.pages:
            alone *= same.rows_per_s / self._of_cluster(same.cluster_size).rows_per_s
        return measurement.rows_per_s / alone if alone else 0.0

    def _of_cluster(self, size: int) -> Measurement:
        return next((each for each in self.clusters if each.cluster_size == size), self.sequential)


def cluster_sizes(most: int) -> Iterator[int]:
    """1, 2, 4, 8, ... and `most` itself."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def is_worth_more(clusters: Sequence[Measurement]) -> bool:
    """Whether a yet larger cluster should be tried: one of the last few was clearly faster than all before it."""
    if len(clusters) <= FRUITLESS_STEPS:
        return True
    best_before = max(each.rows_per_s for each in clusters[:-FRUITLESS_STEPS])
    best_now = max(each.rows_per_s for each in clusters[-FRUITLESS_STEPS:])
    return best_now > 0 and best_now >= best_before * WORTH


def smallest_good(measured: Sequence[Measurement]) -> Measurement:
    """The smallest of the sizes, in ascending order, that no other beats clearly."""
    best = max(each.rows_per_s for each in measured)
    return next(each for each in measured if each.rows_per_s * WORTH >= best)


def more_documents(copied: int, seconds: float, most: int) -> int:
    """How many documents to copy next, at most `most`, when one worker took `seconds` for those it `copied`; 0: no more."""
    if seconds >= STEADY_S * NEARLY or copied >= most:
        return 0
    times = min(GROWTH, STEADY_S / max(seconds, 1e-3))
    return min(most, ceil(copied * times / FIRST_DOCUMENTS) * FIRST_DOCUMENTS)


def median(measured: Sequence[Measurement]) -> Measurement:
    """The one in the middle by its rate, the slower of two."""
    return sorted(measured, key=lambda each: each.rows_per_s)[(len(measured) - 1) // 2]


def page_sizes(rows: int, measured: int) -> list[int]:
    """Page sizes to compare, ascending: not larger than all `rows` together, and the one `measured` with before."""
    return sorted({measured, *(size for size in PAGE_SIZES if size <= rows)})


def results_text(results: Results, *, ascii_only: bool) -> str:
    """Two tables with bars on one scale, so that all their lengths compare."""
    fastest = max(1e-3, *(each.rows_per_s for each in (*results.clusters, *results.pages)))
    block = "#" if ascii_only else "█"

    def rows(measured: Sequence[Measurement]) -> list[list[str]]:
        return [
            [
                str(each.cluster_size), number(each.page_size), f"{each.seconds:.2f}", number(each.rows_per_s),
                f"{results.speed_up(each):.2f}x", block * max(1, round(BAR_CELLS * each.rows_per_s / fastest)),
            ]
            for each in measured
        ]  # fmt: skip

    tables = [rows(measured) for measured in (results.clusters, results.pages) if measured]
    return "\n\n".join(text_table(_HEADINGS, cells, right={0, 1, 2, 3, 4}) for cells in tables)


def workers_words(cluster_size: int) -> str:
    """ "1 worker", "2 workers"."""
    return counted(cluster_size, "worker")


def recommendation(results: Results, namespace: str) -> str:
    """How to run with the sizes to use; those sizes are the last line.

    Args:
        namespace: of the collection that was measured.
    """
    best = results.recommended
    if best.cluster_size > 1:
        gain = f"{results.speed_up(best):.2f} times one worker"
    else:
        gain = "with one worker; more of them are not clearly faster here"
    collection = shlex.quote(written_namespace(namespace))
    return (
        f"{number(best.rows_per_s)} rows/s, {gain}:\n"
        f"  mongopg-tui run --collection {collection} --cluster-size {best.cluster_size} --page-size {best.page_size}\n"
        f"Recommended here: cluster size {best.cluster_size}, page size {number(best.page_size)}"
    )


def time_words(clusters: int, pages: int, seconds: float, *, is_short: bool) -> str:
    """How long a bench will take, from here on: "about 1 to 3 min".

    Args:
        clusters: cluster sizes at most; the series may end after three.
        seconds: of one whole copy, with its start and its cleaning up.
        is_short: each is made several times.
    """
    each = seconds * (REPEATS if is_short else 1)
    least, most = (min(clusters, FRUITLESS_STEPS + 1) + pages) * each, (clusters + pages) * each
    low, high = (max(1, round(time / 60)) for time in (least, most))
    return f"about {low} min" if low == high else f"about {low} to {high} min"


def results_record(results: Results, *, is_whole: bool) -> dict[str, Any]:
    """The same for scripts; half a series recommends nothing."""
    record: dict[str, Any] = {
        "clusters": [_record(results, each) for each in results.clusters],
        "pages": [_record(results, each) for each in results.pages],
    }
    if results.clusters and is_whole:
        record["recommended"] = _record(results, results.recommended)
    return record


def _record(results: Results, each: Measurement) -> dict[str, Any]:
    return {
        "cluster_size": each.cluster_size,
        "page_size": each.page_size,
        "rows": each.rows,
        "seconds": round(each.seconds, 3),
        "rows_per_s": round(each.rows_per_s),
        "speed_up": round(results.speed_up(each), 3),
    }


_HEADINGS = ["workers", "page size", "seconds", "rows/s", "speed-up", ""]
