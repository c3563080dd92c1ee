"""What PostgreSQL says of itself, as the vitals that people see. Pure, but for a look at the free space of a local disk."""

from __future__ import annotations

import re
import shutil
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.cluster.meter import Window
from engine.postgres.sqlstates import one_line
from engine.postgres.statistics import Files
from engine.protocol import (
    BlockedView,
    Blocker,
    CopyingView,
    SlotView,
    StandbyView,
    StepView,
    TargetVitals,
    Unseen,
    WaitView,
)

BLOCKED_S = 1.0
"""Who blocks a session is asked when it has waited for a lock for so long: the answer takes locks of the server's own."""
MOST_OTHERS = 20
"""Of so many sessions of others it is asked whom they wait for, those that have waited longest: the answer takes locks of the
server's own."""
RATE_S = 10.0
"""WAL is told as a rate over the last seconds."""
POSITIONS = 3_600
"""Looks at the WAL that are kept, to tell how long ago the server was where a standby is now."""
SAME_START_S = 10.0
"""A server has written its start into its data directory within this."""
_NAMES = {
    "sessions": "waits of the run's sessions",
    "blocked": "who blocks the run's sessions",
    "others": "sessions that wait for the run",
    "wal": "WAL rate",
    "checkpoints": "checkpoints",
    "standbys": "replica lag",
    "slots": "replication slots",
    "room": "free connections",
    "steps": "progress of keys and indexes",
    "copying": "progress of COPY",
}
"""Parts of the statistics, for people."""
_INDEX = re.compile(r'\s*CREATE (?:UNIQUE )?INDEX "((?:[^"]|"")*)"')
_KEY = re.compile(r"\s*ALTER TABLE ", re.IGNORECASE)


class TargetReading:
    """Makes vitals of what one server says, time after time: some of them are differences."""

    def __init__(self) -> None:
        self._waits: dict[int, float] = {}
        """Since when a session of the run was seen to wait for a lock, by pid; likewise those of others."""
        self._waits_of_others: dict[int, float] = {}
        self._wal = Window(RATE_S)
        self._positions: deque[tuple[float, int]] = deque(maxlen=POSITIONS)
        """Where the server was in its WAL, by time."""
        self._first_checkpoints: tuple[int, int] | None = None

    def waiting(self, now: float) -> list[int]:
        """Sessions whose blockers ought to be named by now."""
        return [*_long(self._waits, now), *_long(self._waits_of_others, now)[:MOST_OTHERS]]

    def read(
        self,
        found: Mapping[str, Any],
        now: float,
        refused: Mapping[str, str],
        files: Files,
        namespaces: Mapping[str, str],
    ) -> TargetVitals:
        """The vitals.

        Args:
            found: what the server says, by part.
            now: seconds of the caller's clock.
            refused: parts that it refuses, each with a sentence.
            files: where its files are.
            namespaces: the run's tables, `schema.table`, each with the collection that it is filled from.
        """
        unseen = [Unseen(what=_NAMES.get(part, part), why=why) for part, why in refused.items()]
        wal_bytes_per_s = self._wal_rate(found.get("wal"), now)
        standbys, hidden = self._standbys(found.get("standbys"), now, files.role)
        free_bytes, unknown = _disk(files)
        checkpoints, requested = self._checkpoints(found.get("checkpoints"))
        room = found.get("room") or {}
        sessions = found.get("sessions")
        if sessions and all(state is None for _, state, _, _ in sessions):
            why = f"The role that the sessions play may not see what sessions of {files.role} do."
            hidden.append(Unseen(what=_NAMES["sessions"], why=why, remedy=monitor_grant(files.role)))
            sessions = None
        return TargetVitals(
            sessions=None if sessions is None else len(sessions),
            waits=None if sessions is None else _waits(sessions),
            blocked=self._blocked(sessions, found.get("blocked"), now),
            blocking=self._blocking(found.get("others"), found.get("blocked"), now),
            wal_bytes_per_s=wal_bytes_per_s,
            checkpoints=checkpoints,
            checkpoints_requested=requested,
            max_wal_size=str((found.get("checkpoints") or {}).get("max_wal_size", "")),
            standbys=standbys,
            slots=_slots(found.get("slots")),
            free_connections=_least(room.get("limits")),
            max_connections=room.get("max"),
            disk_free_bytes=free_bytes,
            steps=_steps(found.get("steps"), namespaces),
            copying=_copying(found.get("copying")),
            unseen=[*unseen, *hidden, *unknown],
        )

    def _blocked(
        self, sessions: Sequence[Sequence[Any]] | None, blocked: Sequence[Mapping[str, Any]] | None, now: float
    ) -> list[BlockedView] | None:
        """Those that have waited long enough to be told of; how long is by our own looks."""
        if sessions is None:
            return None
        waiting = {pid for pid, _, kind, _ in sessions if kind == "Lock"}
        asked = self.waiting(now)
        self._waits = {pid: self._waits.get(pid, now) for pid in sorted(waiting)}
        named = {each["pid"]: each for each in blocked or ()}
        return [_blocked_view(named.get(pid, {}), pid, now - self._waits[pid]) for pid in asked if pid in waiting]

    def _blocking(
        self, others: Sequence[Sequence[Any]] | None, blocked: Sequence[Mapping[str, Any]] | None, now: float
    ) -> list[BlockedView] | None:
        """Those of others that have waited long enough, and wait for a session of the run."""
        if others is None:
            return None
        waiting = {pid: (user, application) for pid, user, application in others}
        asked = _long(self._waits_of_others, now)[:MOST_OTHERS]
        self._waits_of_others = {pid: self._waits_of_others.get(pid, now) for pid in sorted(waiting)}
        views = []
        for each in blocked or ():
            pid = each["pid"]
            ours = [by for by in each.get("by", ()) if by.get("ours")]
            if pid in asked and pid in waiting and ours:
                user, application = (one_line(text or "", 80) for text in waiting[pid])
                view = _blocked_view(dict(each) | {"by": ours}, pid, now - self._waits_of_others[pid])
                views.append(view.model_copy(update={"user": user, "application": application}))
        return views

    def _wal_rate(self, wal: Mapping[str, Any] | None, now: float) -> float | None:
        if wal is None:
            return None
        self._wal.add(now, int(wal["bytes"]))
        self._positions.append((now, int(wal["bytes"])))
        return self._wal.rate()

    def _checkpoints(self, found: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
        """All of them and the requested ones, since the first look."""
        if found is None:
            return None, None
        timed, requested = int(found["timed"]), int(found["requested"])
        first = self._first_checkpoints
        if first is None or timed < first[0] or requested < first[1]:  # the statistics were reset
            first = self._first_checkpoints = (timed, requested)
        return timed - first[0] + requested - first[1], requested - first[1]

    def _standbys(
        self, found: Mapping[str, Any] | None, now: float, role: str
    ) -> tuple[list[StandbyView] | None, list[Unseen]]:
        """The standbys; None, and why, where there are some whose lag may not be seen."""
        if found is None:
            return None, []
        rows = found["list"]
        if rows and not found["may"]:
            why = f"The role {role} may not see the state of the {len(rows)} that there are."
            return None, [Unseen(what=_NAMES["standbys"], why=why, remedy=monitor_grant(role))]
        return [
            StandbyView(
                name=one_line(each["name"] or "", 80),
                state=each["state"] or "",
                lag_s=self._lag(each["lag_s"], each["lag_bytes"], now),
                lag_bytes=each["lag_bytes"],
            )
            for each in rows
        ], []

    def _lag(self, told_s: float | None, n_bytes: int | None, now: float) -> float | None:
        """How long ago the server was where the standby is now.

        What the server tells is the delay of what was replayed last: it stays small while a standby does not replay at all.
        """
        if n_bytes is None or not self._positions:
            return told_s
        if n_bytes == 0:
            return 0.0
        replayed = self._positions[-1][1] - n_bytes
        since = next((at for at, position in reversed(self._positions) if position <= replayed), self._positions[0][0])
        return round(max(told_s or 0.0, now - since), 1)


def monitor_grant(role: str) -> str:
    """What an administrator runs so that the role sees the server's statistics."""
    return f"GRANT pg_monitor TO {role};"


def _long(waits: Mapping[int, float], now: float) -> list[int]:
    """Sessions that have waited long enough to be told of, the longest first."""
    long = [(since, pid) for pid, since in waits.items() if now - since >= BLOCKED_S]
    return [pid for _, pid in sorted(long)]


def _waits(sessions: Sequence[Sequence[Any]]) -> list[WaitView]:
    """By wait event, of sessions that have a statement or a transaction."""
    counts = Counter((kind or "", event or "") for _, state, kind, event in sessions if state not in (None, "idle"))
    return [WaitView(kind=kind, event=event, sessions=n) for (kind, event), n in counts.most_common()]


def _blocked_view(found: Mapping[str, Any], pid: int, waiting_s: float) -> BlockedView:
    return BlockedView(
        pid=pid,
        waiting_s=round(waiting_s, 1),
        lock=found.get("lock") or "",
        table=_label(found),
        by=[
            Blocker(
                pid=each["pid"],
                user=one_line(each.get("user") or "", 80),
                application=one_line(each.get("application") or "", 80),
                state=each.get("state") or "",
                since_s=each.get("since"),
            )
            for each in found.get("by", ())
        ],
    )


def _label(found: Mapping[str, Any]) -> str:
    """`schema.table`; empty for no table."""
    schema, table = found.get("schema"), found.get("table")
    return one_line(f"{schema}.{table}", 130) if schema and table else ""


def _least(limits: Sequence[int | None] | None) -> int | None:
    """How many connections are free by the strictest limit."""
    known = [limit for limit in limits or () if limit is not None]
    return max(0, min(known)) if known else None


def _disk(files: Files) -> tuple[int | None, list[Unseen]]:
    """Free bytes where the server's files are; None, and why, where that cannot be seen."""
    what = "free disk space"
    if files.folder is None:
        why = f"The role {files.role} may not know where the server's files are."
        return None, [Unseen(what=what, why=why, remedy=monitor_grant(files.role))]
    with suppress(OSError, ValueError, IndexError):
        # Its own start in it tells the server's folder from one of the same name on this machine.
        started = int(Path(files.folder, "postmaster.pid").read_text().splitlines()[2])
        if abs(started - files.started_unix) < SAME_START_S:
            return shutil.disk_usage(files.folder).free, []
    why = (
        "PostgreSQL does not tell it; it is seen where the server runs on this machine, under the user of this program."
    )
    return None, [Unseen(what=what, why=why)]


def _slots(found: Sequence[Mapping[str, Any]] | None) -> list[SlotView] | None:
    if found is None:
        return None
    return [
        SlotView(
            name=one_line(each["name"], 80),
            status=each["status"] or "",
            held_bytes=None if each["held"] is None else int(each["held"]),
            safe_bytes=each["safe"],
            active=bool(each["active"]),
        )
        for each in found
    ]


def _steps(found: Sequence[Mapping[str, Any]] | None, namespaces: Mapping[str, str]) -> list[StepView] | None:
    if found is None:
        return None
    return [_step(each, namespaces) for each in found]


def _step(found: Mapping[str, Any], namespaces: Mapping[str, str]) -> StepView:
    what, query, phase = found["what"], found.get("query") or "", found.get("phase") or ""
    named = _INDEX.match(query)
    if what == "index" and named is None and _KEY.match(query):
        what = "key"
    table = _label(found)
    return StepView(
        what=what,
        table=table,
        namespace=namespaces.get(table, ""),
        name=one_line(named[1].replace('""', '"'), 80) if named is not None else "",
        phase=phase,
        fraction=_fraction(what, phase, _part(found["blocks"]), _part(found["tuples"])),
    )


def _fraction(what: str, phase: str, blocks: float | None, tuples: float | None) -> float | None:
    """How much is done. A B-tree is built in two passes, over the table and then into the tree; PostgreSQL counts each."""
    if what == "statistics":
        return blocks
    if "loading" in phase:
        return 0.5 + (tuples or 0.0) / 2
    if "sorting" in phase:
        return 0.5
    return blocks / 2 if blocks is not None else None


def _part(counts: Sequence[int | None]) -> float | None:
    done, total = counts
    return min(1.0, done / total) if done is not None and total else None


def _copying(found: Sequence[Mapping[str, Any]] | None) -> list[CopyingView] | None:
    if found is None:
        return None
    return [
        CopyingView(table=_label(each), sessions=each["sessions"], rows=int(each["rows"]), bytes=int(each["bytes"]))
        for each in found
    ]
