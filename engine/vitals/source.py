"""What MongoDB says of itself, as the vitals that people see. Pure.

Names of figures differ from version to version: all are tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engine.cluster.meter import Window
from engine.mongo.grants import grant_command
from engine.mongo_uri import MongoUri
from engine.protocol import SourceVitals, StandbyView, Unseen

RATE_S = 10.0
"""Evictions are told as a rate over the last seconds."""
_PRIMARY, _SECONDARY = 1, 2
"""`state` of a member."""
_EVICTED = ("pages evicted by application threads", "application threads page evictions")
"""What versions call them."""
TICKETS, CACHE, LAG, OPLOG = "read tickets", "cache pressure", "replica lag", "oplog window"
_SERVER_STATUS = (TICKETS, CACHE, OPLOG)
_NOT_A_MEMBER = "It is not a member of a replica set."
_NOT_YET = "The server does not know yet when its oplog begins."
_ROUTER = "It is a mongos: the members of each shard have it."


class SourceReading:
    """Makes vitals of what one server says, time after time: some of them are differences."""

    def __init__(self) -> None:
        self._evicted = Window(RATE_S)
        self._members: list[StandbyView] | None = None
        self._members_unseen: list[Unseen] = []

    def read_members(self, status: Mapping[str, Any]) -> None:
        """Keep what `replSetGetStatus` says."""
        self._members, self._members_unseen = members_of(status), []

    def miss_members(self, why: str, remedy: str = "") -> None:
        """`replSetGetStatus` was refused."""
        self._members = None
        self._members_unseen = [Unseen(what=LAG, why=why, remedy=remedy)]

    def read(self, status: Mapping[str, Any], now: float) -> SourceVitals:
        """The vitals.

        Args:
            status: what `serverStatus` says.
            now: seconds of the caller's clock.
        """
        engine = _section(status, "wiredTiger")
        cache = _section(engine, "cache")
        used, tickets = _tickets(status)
        window_s = _oplog_window(_section(status, "oplog"))
        maximum = _int(cache, "maximum bytes configured")
        is_router = status.get("process") == "mongos"
        unseen = []
        if tickets is None:
            unseen.append(Unseen(what=TICKETS, why=_ROUTER if is_router else "This server does not tell them."))
        if maximum is None:
            unseen.append(Unseen(what=CACHE, why=_ROUTER if is_router else "This server does not tell it."))
        if window_s is None:
            why = _NOT_YET if _section(status, "oplog") else _ROUTER if is_router else _NOT_A_MEMBER
            unseen.append(Unseen(what=OPLOG, why=why))
        return SourceVitals(
            host=str(status.get("host", ""))[:100],
            read_tickets_used=used,
            read_tickets=tickets,
            reads_queued=_queued(status, "read"),
            writes_queued=_queued(status, "write"),
            cache_bytes=_int(cache, "bytes currently in the cache"),
            cache_max_bytes=maximum,
            cache_dirty_bytes=_int(cache, "tracked dirty bytes in the cache"),
            app_evictions_per_s=self._evictions(cache, now),
            flow_control=_section(status, "flowControl").get("isLagged"),
            members=self._members,
            oplog_window_s=window_s,
            unseen=[*unseen, *self._members_unseen],
        )

    def _evictions(self, cache: Mapping[str, Any], now: float) -> float | None:
        evicted = next((found for name in _EVICTED if (found := _int(cache, name)) is not None), None)
        if evicted is None:
            return None
        self._evicted.add(now, evicted)
        return self._evicted.rate()


def refused(uri: MongoUri) -> list[Unseen]:
    """What a user cannot see who may not ask for `serverStatus`, and the command that changes that."""
    remedy = monitor_grant(uri)
    why = f"The user {uri.user or 'of source.uri'} may not ask for serverStatus."
    return [Unseen(what=what, why=why, remedy=remedy) for what in (*_SERVER_STATUS, LAG)]


def monitor_grant(uri: MongoUri) -> str:
    """What an administrator runs so that the user sees the server's statistics; empty where there is no user."""
    if not uri.user:
        return ""
    return grant_command(uri.user, uri.options.get("authsource", uri.database or "admin"), "clusterMonitor", ["admin"])


def members_of(status: Mapping[str, Any]) -> list[StandbyView]:
    """The secondaries of a replica set, each with how far it is behind the primary, or, without one, behind the newest."""
    members = [each for each in status.get("members", ()) if isinstance(each, Mapping)]
    primary = [at for each in members if each.get("state") == _PRIMARY and (at := _applied(each)) is not None]
    newest = max(primary or [at for each in members if (at := _applied(each)) is not None], default=None)
    found = []
    for each in members:
        if each.get("state") == _PRIMARY or each.get("stateStr") == "ARBITER":
            continue
        at = _applied(each) if each.get("state") == _SECONDARY else None
        lag_s = max(0.0, (newest - at).total_seconds()) if newest is not None and at is not None else None
        name, state = str(each.get("name", ""))[:100], str(each.get("stateStr", ""))[:40]
        found.append(StandbyView(name=name, state=state, lag_s=lag_s))
    return found


def _applied(member: Mapping[str, Any]) -> datetime | None:
    at = member.get("optimeDate")
    return at if isinstance(at, datetime) else None


def _tickets(status: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Reads that have a ticket, and all tickets: `queues.execution` from 8.0 on, `wiredTiger.concurrentTransactions` before."""
    for section in (
        _section(_section(status, "queues"), "execution"),
        _section(_section(status, "wiredTiger"), "concurrentTransactions"),
    ):
        read = _section(section, "read")
        used, total, free = _int(read, "out"), _int(read, "totalTickets"), _int(read, "available")
        if used is not None and total is None and free is not None:
            total = used + free
        if used is not None and total is not None:
            return used, total
    return None, None


def _queued(status: Mapping[str, Any], what: str) -> int | None:
    """Operations that wait for a turn to `read` or to `write`."""
    turns = _section(_section(_section(status, "queues"), "execution"), what)
    queued = _int(_section(turns, "normalPriority"), "queueLength")
    before = _section(_section(status, "globalLock"), "currentQueue")
    return queued if queued is not None else _int(before, {"read": "readers", "write": "writers"}[what])


def _oplog_window(oplog: Mapping[str, Any]) -> float | None:
    earliest, latest = (getattr(oplog.get(name), "time", None) for name in ("earliestOptime", "latestOptime"))
    return float(latest - earliest) if earliest and latest else None


def _section(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = found.get(name)
    return section if isinstance(section, Mapping) else {}


def _int(section: Mapping[str, Any], name: str) -> int | None:
    value = section.get(name)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
