"""Two runs side by side, from what the ledger keeps of them."""

from __future__ import annotations

from textual.content import Content

from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, THROTTLE
from engine.protocol import Recording, Snapshot
from tui.cockpit.signs import MUTED, sign_of
from tui.words.format import duration, number, rate
from tui.words.knobs import value_text
from tui.words.run_status import run_seconds
from tui.words.safe import safe

_LABEL = 14
_COLUMN = 26


def comparison_text(one: Recording, other: Recording) -> Content:
    """A line for each fact; those that differ are marked."""
    lines = [
        _line(what, safe(first, _COLUMN), safe(second, _COLUMN))
        for (what, first), (_, second) in zip(_facts(one), _facts(other), strict=True)
    ]
    own, others = one.run.collections, other.run.collections
    for words, names in (("only the first", set(own) - set(others)), ("only the second", set(others) - set(own))):
        if names:
            lines.append(Content.assemble((f"  {words:<{_LABEL}}  ", MUTED), safe(", ".join(sorted(names)), 400)))
    speed, before = _pace(one.frames[-1]), _pace(other.frames[-1])
    if speed and before:
        lines += [
            Content(""),
            Content(f"The first wrote {speed / before:.2f} times as many rows a second as the second."),
        ]
    return Content("\n").join(lines)


def _facts(recording: Recording) -> list[tuple[str, str]]:
    run, end = recording.run, recording.frames[-1]
    return [
        ("run", run.run_id),
        ("outcome", sign_of(run).word),
        ("mode", run.mode),
        ("collections", number(len(run.collections))),
        ("read", number(run.read)),
        ("written", number(run.written)),
        ("rejected", number(run.rejected)),
        ("time", duration(run_seconds(run))),
        ("rows/s", rate(_pace(end))),
        ("workers", value_text(CLUSTER_SIZE, end.cluster_size)),
        ("page size", value_text(PAGE_SIZE, end.page_size)),
        ("throttle", value_text(THROTTLE, end.throttle)),
    ]


def _pace(end: Snapshot) -> float:
    return end.rows_per_s_mean


def _line(what: str, first: str, second: str) -> Content:
    differs = first != second
    words = f"{first:<{_COLUMN}}  {second:<{_COLUMN}}"
    return Content.assemble(
        (f"{'≠' if differs else ' '} {what:<{_LABEL}}  ", MUTED), (words, "bold" if differs else "")
    )
