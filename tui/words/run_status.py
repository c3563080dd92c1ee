"""Runs of the ledger: whether they go on, and how they ended, as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from engine.protocol import RESUME_UNTIL, ReplacedTables, RunInfo, RunState, Snapshot, TableCounts, Verification
from tui.words.format import NO_NUMBER, duration, moment, number, time_of_day
from tui.words.replaced import replaced_mark
from tui.words.safe import safe

SILENT_S = 30.0
"""Seconds without a sign of life after which an engine counts as gone."""
_STATE_WORDS = {RunState.CANCELLING.value: "stopping", RunState.CANCELLED.value: "stopped"}
"""What people read for the states that JSON calls otherwise."""
_ACTIVE = frozenset(state.value for state in RunState if state.is_active)


def state_words(state: str) -> str:
    """A run's state, or a phase that begins with one, for people: what JSON calls `cancelled` is stopped."""
    first, colon, rest = state.partition(":")
    return _STATE_WORDS.get(first, first) + colon + rest


def stopped_words(snapshot: Snapshot) -> str:
    """What stopped a run, and what became of the pages in hand; empty when nothing did."""
    if not snapshot.stopped_by or snapshot.state is not RunState.CANCELLED:
        return ""
    pages = "pages in hand were rolled back" if snapshot.has_rolled_back else "pages in hand were finished"
    return f"Stopped by {safe(snapshot.stopped_by, 120)}: {pages}, and what is committed stays."


def resume_until(snapshot: Snapshot) -> str:
    """Until when a run that followed and was stopped can be resumed, in a sentence; empty of others."""
    if snapshot.state is not RunState.CANCELLED:
        return ""
    return next((safe(each.message, 500) for each in snapshot.problems if each.code == RESUME_UNTIL), "")


def worked_s(snapshot: Snapshot) -> float:
    """Seconds that engines have worked on a run, earlier ones too: the time of its overall rate."""
    return (snapshot.seconds or snapshot.elapsed) + snapshot.seconds_before


def goes_on(run: RunInfo, now: Callable[[], float] = time.time) -> bool:
    """An engine is working on it."""
    return run.state in _ACTIVE and now() - run.heartbeat_unix <= SILENT_S


def is_interrupted(run: RunInfo, now: Callable[[], float] = time.time) -> bool:
    """Its engine is gone, and the run had not ended."""
    return run.state in _ACTIVE and not goes_on(run, now)


def overall_rate(run: RunInfo) -> float | None:
    """Its rows over all the time that engines have worked on it; None when that is not known."""
    return run.rows_per_s_overall or (run.written / run.seconds if run.seconds else None)


def verification_words(
    verification: str,
    level: str,
    rejected: int = 0,
    *,
    before_retry: bool = False,
    replaced: ReplacedTables | None = None,
) -> str:
    """What was done to compare both sides: `counts match, 132 rejected`; `verified` only after a full comparison.

    Args:
        before_retry: every document was compared, and a retry of rejects has written rows since.
        replaced: tables that are not any more what was compared.
    """
    words = {
        Verification.NONE.value: "not verified",
        Verification.VERIFIED.value: "verified" if level == "full" else "counts match",
    }.get(verification, verification)
    has_result = verification in (Verification.VERIFIED.value, Verification.MISMATCH.value)
    words = f"{words}, {number(rejected)} rejected" if rejected and has_result else words
    words = f"{words}, retried since" if before_retry and has_result else words
    return f"{words}, {replaced_mark(replaced)}" if replaced is not None and has_result else words


RETRIED_SINCE = "Compared in full once; a retry of rejects has written rows since, which nothing has compared."
"""Why a run that was verified has only counts that match."""


def result_word(table: TableCounts) -> str:
    """`match`: every row was compared; `counts match`: nothing but the counts were; else `mismatch`."""
    if not table.ok:
        return "mismatch"
    return "match" if table.level == "full" else "counts match"


def rates_words(overall: float | None, copying: float | None) -> str:
    """Both rates of a run by their names; the second is left out where it was not measured."""
    words = f"{rate_words(overall)} rows/s overall"
    return f"{words}, {rate_words(copying)} while copying" if copying else words


def rate_words(rows_per_s: float | None) -> str:
    """A rate without its unit; of a run of less than a second as well."""
    if rows_per_s is None:
        return NO_NUMBER
    return f"{rows_per_s:.1f}" if 0 < rows_per_s < 10 else number(rows_per_s)


def times_words(run: RunInfo) -> str:
    """When it was started and ended, by the clock, and how long engines have worked on it."""
    began = moment(run.started_unix)
    if run.ended_unix is None:
        return f"{began} – · {duration(run.seconds)}"
    is_same_day = time.localtime(run.started_unix)[:3] == time.localtime(run.ended_unix)[:3]
    ended = time_of_day(run.ended_unix, seconds=True) if is_same_day else moment(run.ended_unix)
    whole = run.ended_unix - run.started_unix
    at_work = f"{duration(run.seconds)} at work" if whole > run.seconds * 1.05 + 5 else duration(run.seconds)
    return f"{began} – {ended} · {at_work}"


def collections_words(namespaces: Sequence[str], most: int = 4) -> str:
    """Collections by their databases: `shop: customers, orders, … (2 more)`."""
    names: dict[str, list[str]] = {}
    for namespace in namespaces[:most]:
        database, _, collection = namespace.partition(".")
        names.setdefault(database, []).append(collection)
    words = "; ".join(f"{database}: {', '.join(collections)}" for database, collections in names.items())
    return words + (f", … ({len(namespaces) - most} more)" if len(namespaces) > most else "")


def outcome_words(run: RunInfo, now: Callable[[], float] = time.time) -> str:
    """`completed, counts match`; `interrupted, resumable, source blocked`; the state alone while it goes on."""
    if goes_on(run, now):
        return state_words(run.state)
    state = "interrupted" if is_interrupted(run, now) else state_words(run.state)
    checked = verification_words(
        run.verification, run.verification_level, run.rejected, before_retry=run.verified_before_retry,
        replaced=run.replaced_since,
    )  # fmt: skip
    blocked = ", source blocked" if run.writes_blocked else ""
    resumable = replaced_mark(run.replaced_since) or "resumable"
    return f"{state}, {resumable if run.resumable else checked}{blocked}"
