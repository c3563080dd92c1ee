"""What an operator should know of a source that is followed: its oplog is getting short, it has new collections, a run that
was stopped can be resumed until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import UTC, datetime

from engine.protocol import RESUME_UNTIL, ProblemReported

LITTLE, LEAST = 0.5, 0.2
"""With less of the oplog left than this, of all that it holds, it is told; it is urgent with the next one."""
ENOUGH = 0.6
"""With more than this an alarm is over."""
BEHIND_S = 30.0
"""What is read closer behind the source than this is no alarm, however young the oplog is."""
NEW_COLLECTION = "new_collection"
"""Code of the news that a collection is not followed, since it was made after the plan."""
NEW_TOLD = 20
"""New collections that are told one by one, at most."""
_TEMPORARY = ("system.", "tmp.agg_out.")
"""Beginnings of names of collections that are none of an application's."""


class OplogAlarm:
    """Tells once, and once more when it is urgent, that changes may be lost; before that, that they are not read."""

    def __init__(self) -> None:
        """There is no alarm."""
        self._told = 0

    def look(self, behind_s: float, left_s: float, why: str = "") -> ProblemReported | None:
        """The alarm that is due, if any.

        Args:
            behind_s: how far what is read of the changes is behind the source.
            left_s: how much older the oplog's beginning is than that.
            why: what keeps them from being read, as a sentence; empty where nothing is known to.
        """
        held = max(0.0, left_s) + behind_s
        left = max(0.0, left_s) / held if held else 1.0
        if behind_s < BEHIND_S:
            self._told = 0
            return None
        level = 3 if left < LEAST else 2 if left < LITTLE else 1 if why else 0
        if left >= ENOUGH:
            self._told = min(self._told, 1)
        if level <= self._told:
            return None
        self._told = level
        if level == 1:
            message = (
                f"Changes of the source were not read for {behind_s:,.0f} s: {why.rstrip('.')}. They are read on when that is "
                f"over; the source's oplog keeps them, and reaches {max(0.0, left_s):,.0f} s further back."
            )
            return ProblemReported(code="oplog_waits", message=message, retry=True)
        only = "Only " if level > 2 else ""
        message = (
            f"{only}{left:.0%} of the source's oplog is left, {max(0.0, left_s):,.0f} s, before changes that are not read yet "
            f"are lost{': ' + why.rstrip('.') if why else ''}."
        )
        advice = "Enlarge the oplog (replSetResizeOplog), or see why they are not read."
        return ProblemReported(code="oplog_urgent" if level > 2 else "oplog_short", message=message, advice=advice)


def resumable_until(read: int, now: int | None, oplog_from: int | None) -> ProblemReported:
    """Until when a run that was stopped finds what it has not read in the oplog.

    Args:
        read: its changes are read up to that time of the source.
        now: of the source; None where that is not known.
        oplog_from: the oldest time in the oplog, likewise.
    """
    message = f"The source's changes are read up to {_moment(read >> 32)}"
    if now is None or oplog_from is None:
        message += ". How long its oplog has those that follow is not known: resume the run soon."
    else:
        left_s = max(0, (read >> 32) - (oplog_from >> 32))
        message += (
            f", and its oplog has those that follow until about {_moment((now >> 32) + left_s)}, as long as no more is "
            "written than before: resume the run by then."
        )
    return ProblemReported(code=RESUME_UNTIL, message=message)


def _moment(unix: int) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M:%S} UTC"


class NewCollections:
    """Tells of collections that were made since the first look."""

    def __init__(self) -> None:
        """None are known."""
        self._known: set[tuple[str, str]] = set()
        self._is_first = True
        self._n_told = 0

    def look(self, found: Mapping[str, Set[str]]) -> list[ProblemReported]:
        """News of those that are there now, by database."""
        names = {
            (database, name) for database, some in found.items() for name in some if not name.startswith(_TEMPORARY)
        }
        new = [] if self._is_first else sorted(names - self._known)
        self._known |= names
        self._is_first = False
        room = max(0, NEW_TOLD - self._n_told)
        self._n_told += len(new)
        news = [
            ProblemReported(
                code=NEW_COLLECTION,
                message=f"{database}.{name} appeared in the source: it is not in the plan, and is not followed.",
                namespace=f"{database}.{name}",
            )
            for database, name in new[:room]
        ]
        if len(new) > room and room:
            message = f"More collections appeared in the source ({len(new) - room:,} now): none of them is followed."
            news.append(ProblemReported(code=NEW_COLLECTION, message=message))
        return news
