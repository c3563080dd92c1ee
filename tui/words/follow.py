"""How far a run is with following its source, in words, and whether it can be cut over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.protocol import FollowableReport, FollowReason, FollowView, RunCutOver, SourceHalt
from tui.words.format import about, counted, duration, number, percent, time_of_day
from tui.words.safe import safe

SHORTEST_LAG_S = 1.0
"""Clocks of servers count seconds: less is not told."""
LONG_LAG_S = 60.0
"""From here on it is told in minutes."""
LITTLE_OPLOG = 0.5
"""With less of the oplog left than this, of all that it holds, it is told; it is urgent with the next one."""
LEAST_OPLOG = 0.2
BEFORE = ("copying", "comparing", "closing")
"""Phases in which nothing is applied yet."""
CHOICES = {
    "ignore": "rows stay, later changes are applied",
    "empty": "the table becomes what the collection is now",
    "stop": "it is followed no longer, the table stays as it is",
    "resync": "everything is compared with what it is now",
}
"""What `ctl resolve` does, by its word."""
LIFT = "db.adminCommand({setUserWriteBlockMode: 1, global: false})"
LIFT_WORDS = f"MongoDB goes on refusing writes: {LIFT} lifts that"
_REFUSES = "For its cut-over MongoDB was made to refuse all writes"
LEFT_BLOCKED = f"{_REFUSES}: resuming the run lifts that, and so does {LIFT} in the source."
"""Of a run whose cut-over is not done."""
BLOCKED_FOR_EVER = f"{_REFUSES}, which no resume lifts any more: {LIFT} in the source lifts it."
"""Of one that is deleted."""
_KINDS = {"insert": "inserted", "update": "updated", "replace": "replaced", "delete": "deleted"}


def follow_words(follow: FollowView | None) -> list[str]:
    """Lag, what waits, what comes, and whether it can be cut over; nothing for a run that does not follow."""
    if follow is None:
        return []
    words = [halt_words(halt) for halt in follow.halted_by]
    words += position_words(follow)
    in_all = f" ({number(follow.applied)} since the copy)" if follow.applied else ""
    words.append(f"{number(follow.events_per_s)} changes/s, {number(follow.applied_per_s)} keys/s applied{in_all}")
    if oplog := oplog_words(follow):
        words.append(oplog)
    if verified := verified_words(follow):
        words.append(verified)
    if approach := approach_words(follow):
        words.append(approach)
    if follow.phase in ("catching_up", "following") and not follow.halted_by:
        reasons = "; ".join(safe(reason.message) for reason in follow.reasons)
        words.append("ready to be cut over" if follow.ready else f"not ready to be cut over: {reasons}")
        words += note_words(follow)
    return words


def has_counts_of_the_copy(follow: FollowView | None) -> bool:
    """The rows that are told are those of the copy: changes are applied to the tables that are not in them."""
    return follow is not None and follow.phase != "done"


def since_copy_words(follow: FollowView | None) -> str:
    """`in the copy, 12,345 keys applied since`; empty where the counts are those of the end."""
    if follow is None or not has_counts_of_the_copy(follow):
        return ""
    return f"in the copy, {counted(follow.applied, 'key')} applied since" if follow.applied else "in the copy"


def cut_over_words(event: RunCutOver) -> str:
    """`Followed until the cut-over: 210 inserted, 990 updated, 40 deleted; the writers stood still for 2.3 s.`"""
    kinds = f"{number(event.inserted)} inserted, {number(event.updated)} updated, {number(event.deleted)} deleted"
    stopped = f"; the writers stood still for {event.write_stop_s:.1f} s" if event.write_stop_s is not None else ""
    return f"Followed until the cut-over: {kinds}{stopped}."


def choice_words(choice: str) -> str:
    """What a choice does; the word itself where it is not known here."""
    return CHOICES.get(choice, safe(choice, 30))


def halt_words(halt: SourceHalt) -> str:
    """What became of the source, and how an operator decides."""
    return f"! halted: {safe(halt.message, 300)} Decide: {resolve_words(halt)}"


def resolve_words(halt: SourceHalt) -> str:
    """The command that decides."""
    if not halt.namespace:
        return "ctl resolve --resync"
    return f"ctl resolve {safe(halt.namespace)} {'|'.join(safe(choice, 30) for choice in halt.choices)}"


def position_words(follow: FollowView) -> list[str]:
    """Lag, and what waits."""
    if follow.phase == "comparing":
        return [f"comparing with the source, {counted(follow.waiting, 'key')} to apply so far"]
    if follow.phase in BEFORE:
        return [f"collecting changes, {counted(follow.waiting, 'key')} so far"]
    words = [
        "lag unknown" if follow.lag_s is None else f"lag {lag_words(follow.lag_s)}",
        f"{counted(follow.waiting, 'key')} waiting",
    ]
    return [*words, f"{number(follow.blocked)} blocked"] if follow.blocked else words


def note_words(follow: FollowView) -> list[str]:
    """What to know before a cut-over, each with `!`."""
    return [f"! {safe(note.message, 300)}" for note in follow.notes]


def lag_words(lag_s: float) -> str:
    """Such as "3 s", "under 1 s", "2m 10s"."""
    if lag_s < SHORTEST_LAG_S:
        return f"under {SHORTEST_LAG_S:.0f} s"
    return f"{lag_s:.0f} s" if lag_s < LONG_LAG_S else duration(lag_s)


def kinds_words(follow: FollowView) -> str:
    """`inserted 210, updated 950`: what was read since the engine began; empty before there is any."""
    return ", ".join(f"{word} {number(count)}" for kind, word in _KINDS.items() if (count := follow.by_kind.get(kind)))


def verified_words(follow: FollowView) -> str:
    """`verified up to 14:40:03`: what was applied until then is as in the source; empty before anything is compared."""
    if follow.phase in BEFORE or follow.verified_unix is None:
        return ""
    words = f"verified up to {time_of_day(follow.verified_unix, seconds=True)}"
    if follow.to_compare:
        words += f", {number(follow.to_compare)} to compare"
    if follow.mended:
        words += f", {number(follow.mended)} mended"
    return f"! {counted(follow.differences, 'row differs', 'rows differ')}, {words}" if follow.differences else words


def live_words(report: FollowableReport) -> list[str]:
    """What it means to follow a run whose tables may be in use, in lines."""
    lines = [
        f"Run {safe(report.run_id)} is {safe(report.state)}. Its tables may be in use: rows of documents that changed are "
        "overwritten or deleted, whatever others wrote to them."
    ]
    for table in report.tables:
        written = "not known" if table.written_since is None else number(table.written_since)
        lines.append(f"  {safe(table.table)}: rows written since the run, by PostgreSQL's statistics: {written}")
    return [*lines, *map(safe, report.remarks)]


# --- the oplog --------------------------------------------------------------------------------------------------------


def oplog_left(follow: FollowView) -> float | None:
    """How much of the oplog is older than what was read of it, of all that it holds; None where that is not known."""
    if follow.oplog_left_s is None or follow.read_lag_s is None:
        return None
    held = max(0.0, follow.oplog_left_s) + follow.read_lag_s
    return max(0.0, follow.oplog_left_s) / held if held else 1.0


def oplog_words(follow: FollowView) -> str:
    """How long what is read may be behind, with `!` where that is getting short; empty where it is not known."""
    if follow.oplog_left_s is None:
        return ""
    words = f"oplog reaches back {duration(max(0.0, follow.oplog_left_s))} more"
    left = oplog_left(follow)
    if left is None or left >= LITTLE_OPLOG:
        return words
    if left >= LEAST_OPLOG:
        return f"! {words}, {percent(left)} of it is left"
    return f"! {words}, only {percent(left)} of it is left: enlarge the oplog now, or the run cannot follow any more"


# --- ready? -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold before a run is cut over."""

    name: str
    """In two or three words."""
    words: str
    holds: bool
    advice: str = ""
    """What to do where it does not hold."""


_CHECKS: Sequence[tuple[Sequence[str], str, str, str]] = (
    (("copying",), "copied", "every table is copied and has its key", "wait: what changes meanwhile is kept"),
    (("paused",), "not paused", "changes are applied", "resume the run"),
    (
        ("lag", "unknown_lag"),
        "close behind",
        "little is left to apply",
        "wait, add workers, or have less written to the source",
    ),
    (
        ("unverified", "differences"),
        "verified",
        "what was applied is as in the source",
        "wait, or see what else writes to the tables",
    ),
    (
        ("stream",),
        "source read",
        "the source tells its changes",
        "see whether the source can be reached; it is tried again",
    ),
)
"""Codes of reasons against a cut-over: what holds without them, in short and in full, and what to do."""


_SOMETIMES = {
    "indexes": ("unique indexes", "wait: they are built while the run follows"),
    "dependants": ("replaceable", "do that now: it is looked at again in the cut-over"),
    "halted": ("halted", ""),
    "comparing": ("comparing", "wait until all tables are compared"),
}
"""Codes of reasons that not every run can have: what they are about, and what to do."""


def checklist(follow: FollowView, decide: str = "decide what is done: ctl resolve") -> list[Check]:
    """What has to hold; reasons that are not known here come as they are.

    Args:
        decide: what to do about a run that is halted.
    """
    open_reasons = {reason.code: reason for reason in follow.reasons}
    found = []
    for codes, name, words, advice in _CHECKS:
        against = [open_reasons.pop(code) for code in codes if code in open_reasons]
        told = "; ".join(map(_told, against))
        found.append(Check(name, f"{words}: {told}" if told else words, not against, advice if against else ""))
    for code, reason in open_reasons.items():
        name, advice = _SOMETIMES.get(code, (safe(code, 30), ""))
        found.append(Check(name, _told(reason), holds=False, advice=decide if code == "halted" else advice))
    return found


def _told(reason: FollowReason) -> str:
    return safe(reason.message, 300)


def approach_words(follow: FollowView) -> str:
    """`catching up ×6.3: ready in about 2m 00s`, or that it never is; empty for a run that is ready, or does not try."""
    if follow.ready or follow.phase != "catching_up" or any(each.code == "paused" for each in follow.reasons):
        return ""
    if follow.never:
        return "! never ready at this speed: add workers, or have less written to the source"
    if follow.ready_in_s is None:
        return "catching up: calculating…"
    speed = f" ×{follow.speed:,.1f}" if follow.speed is not None else ""
    return f"catching up{speed}: ready in {about(follow.ready_in_s)}"
