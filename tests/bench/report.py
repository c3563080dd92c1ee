"""What the figures say, as tables and as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tests.bench.limits import Limit
from tests.bench.parts import FLOOR, Contest, Options
from tui.words.tables import text_table

_HEADINGS = [
    "medians", "seconds", "min", "max", "command s", "rows/s", "x floor", "x ours", "client CPU s", "mongod", "postgres",
    "worker MB", "engine MB", "all MB",
]  # fmt: skip


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


def _row(contest: Contest, name: str) -> list[str]:
    figures = contest.results[name]
    seconds = [each.ran.seconds for each in figures]
    peaks = contest.peak_mb(name)
    servers = [median(each.server_cpu_s[server] for each in figures) for server in ("mongod", "postgres")]
    return [
        name,
        f"{median(seconds):.2f}",
        f"{min(seconds):.2f}",
        f"{max(seconds):.2f}",
        f"{median(each.ran.wall_s for each in figures):.2f}",
        f"{contest.documents / median(seconds):,.0f}",
        _times(contest.ratio(name, FLOOR)),
        _times(contest.ratio(name, contest.reference)),
        f"{median(each.ran.cost.cpu_s for each in figures):.1f}",
        *(f"{cpu_s:.1f}" for cpu_s in servers),
        *(f"{peaks[role]:.0f}" if role in peaks else "" for role in ("worker", "engine", "all")),
    ]


def _times(found: float | None) -> str:
    return "" if found is None else f"{found:.2f}"


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
        "contests": [_contest_record(contest) for contest in contests],
        "limits": [asdict(limit) for limit in found],
    }


def _contest_record(contest: Contest) -> dict[str, Any]:
    contestants = {
        name: {
            "median_s": contest.median_s(name),
            "rows_per_s": contest.documents / contest.median_s(name),
            "times_floor": contest.ratio(name, FLOOR),
            "times_ours": contest.ratio(name, contest.reference),
            "peak_mb": contest.peak_mb(name),
            "runs": [asdict(each) for each in figures],
        }
        for name, figures in contest.results.items()
    }
    return {
        "part": contest.part,
        "shape": contest.shape.name,
        "documents": contest.documents,
        "contestants": contestants,
        "failures": contest.failures,
    }
