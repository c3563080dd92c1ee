"""What the servers are doing, as text: a line each for the Run screen and `ctl status`, and all of it with advice.

Every text that comes out of here is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.protocol import (
    BlockedView,
    Blocker,
    RunState,
    SlotView,
    Snapshot,
    SourceVitals,
    StandbyView,
    StepView,
    TargetVitals,
    Unseen,
    VitalsView,
    WaitView,
)
from tui.words.format import bytes_size, counted, number
from tui.words.safe import safe

STALE_S = 5.0
"""What is older is said to be."""
LAG_S = 10.0
"""A replica that is further behind is worth a word."""
MOST = 0.5
"""What half of the sessions wait for limits the run."""
FEW_CONNECTIONS = 5
LITTLE_DISK = 5 * 1024**3
FULL_CACHE, DIRTY_CACHE = 0.95, 0.15
"""From here on operations have to evict pages themselves."""
SHOWN = 3
"""Of a list, in a line."""
_GAP = " · "

_STEP = {"key": "building key of", "index": "building index", "statistics": "gathering statistics of"}
_EVENTS = {
    ("Client", "ClientRead"): "rows from this program",
    ("Client", "ClientWrite"): "this program to read",
    ("LWLock", "WALWrite"): "others to write WAL",
    ("LWLock", "WALInsert"): "room in the WAL buffers",
    ("IO", "WALWrite"): "WAL to be written",
    ("IO", "WALSync"): "WAL to reach the disk",
    ("IO", "WalSync"): "WAL to reach the disk",
    ("IO", "DataFileRead"): "reads of tables from disk",
    ("IO", "DataFileWrite"): "writes of tables to disk",
    ("IO", "DataFileExtend"): "tables to grow",
    ("Lock", "extend"): "each other to make a table larger",
    ("Lock", "relation"): "a lock on a table",
    ("Lock", "transactionid"): "another transaction to end",
}
"""What the commonest wait events mean."""


@dataclass(frozen=True, slots=True)
class Vital:
    """One thing that a server is doing."""

    label: str
    words: str
    advice: str = ""
    """What to do about it; empty where all is well."""
    is_bad: bool = False
    """Worth a look."""


# --- keys and indexes -------------------------------------------------------------------------------------------------


def step_words(step: StepView) -> str:
    """`building key of shop.orders 43%`; `building index total_1 of shop.orders 12%`."""
    name = f" {safe(step.name, 40)} of" if step.name else ("" if step.what != "index" else " of")
    share = "" if step.fraction is None else f" {step.fraction:.0%}"
    return f"{_STEP[step.what]}{name} {safe(step.namespace or step.table, 60)}{share}"


def steps_words(snapshot: Snapshot) -> str:
    """What is being built now, after all rows are written: `building key of shop.orders 43%, …`; empty for nothing."""
    steps = _steps(snapshot)
    more = f" and {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
    return ", ".join(map(step_words, steps[:SHOWN])) + more


def step_fraction(snapshot: Snapshot) -> float | None:
    """How much is built of what is behind most; None where there is no telling."""
    known = [step.fraction for step in _steps(snapshot) if step.fraction is not None]
    return min(known) if known else None


def _steps(snapshot: Snapshot) -> Sequence[StepView]:
    target = snapshot.vitals.target if snapshot.vitals is not None else None
    if snapshot.state is not RunState.FINISHING or target is None or is_old(target):
        return ()
    return target.steps or ()


# --- one line a server ------------------------------------------------------------------------------------------------


def is_old(server: TargetVitals | SourceVitals) -> bool:
    """It was not looked at for a while, or never."""
    return server.age_s is None or server.age_s > STALE_S


def target_line(target: TargetVitals) -> str:
    """`5 of 8 sessions wait for WAL to reach the disk · WAL 82.1 MiB/s · 88 connections free`."""
    return _line(target, _target_parts(target))


def source_line(source: SourceVitals) -> str:
    """`read tickets 12/128 · cache 78%, 3% dirty · oplog 26 h`."""
    return _line(source, _source_parts(source))


def vitals_lines(view: VitalsView | None) -> dict[str, str]:
    """A line a server, by `target` and `source`; none where the engine does not look."""
    if view is None:
        return {}
    lines = {"target": target_line(view.target)} if view.target is not None else {}
    return lines | ({"source": source_line(view.source)} if view.source is not None else {})


def _line(server: TargetVitals | SourceVitals, parts: Sequence[str]) -> str:
    if server.age_s is None:
        return safe(server.problem, 200) or "not looked at yet"
    if server.problem or is_old(server):
        why = f": {safe(server.problem, 200)}" if server.problem else ""
        return f"seen {server.age_s:.0f} s ago{why}" + (_GAP + _GAP.join(parts) if parts else "")
    hidden = f"cannot see {', '.join(safe(each.what, 40) for each in server.unseen)}" if server.unseen else ""
    return _GAP.join(filter(None, [*parts, hidden]))


def _target_parts(target: TargetVitals) -> list[str]:
    parts = [f"! {blocked_words(each)}" for each in (target.blocked or ())[:1]]
    parts += [f"! {blocking_words(each)}" for each in (target.blocking or ())[:1]]
    if target.waits:
        parts.append(_most_wait(target.waits))
    if target.wal_bytes_per_s is not None:
        parts.append(f"WAL {bytes_size(target.wal_bytes_per_s)}/s")
    if target.checkpoints_requested:
        parts.append(f"checkpoints {target.checkpoints_requested} of {target.checkpoints} requested")
    parts += _lag_parts(target.standbys, "standby")
    if target.free_connections is not None:
        parts.append(f"{counted(target.free_connections, 'connection')} free")
    if target.disk_free_bytes is not None:
        parts.append(f"{bytes_size(target.disk_free_bytes)} disk free")
    return parts


def _source_parts(source: SourceVitals) -> list[str]:
    parts = []
    if source.read_tickets is not None:
        parts.append(f"read tickets {source.read_tickets_used}/{source.read_tickets}")
    if source.reads_queued:
        parts.append(f"{counted(source.reads_queued, 'read')} queued")
    if (cache := _shares(source)) is not None:
        parts.append(f"cache {cache[0]:.0%} full, {cache[1]:.0%} dirty")
    parts += _lag_parts(source.members, "secondary")
    if source.flow_control:
        parts.append("flow control slows writes")
    if source.oplog_window_s is not None:
        parts.append(f"oplog {span(source.oplog_window_s)}")
    return parts


def _most_wait(waits: Sequence[WaitView]) -> str:
    """`5 of 8 sessions wait for WAL to reach the disk`."""
    first, total = waits[0], sum(each.sessions for each in waits)
    return f"{first.sessions} of {counted(total, 'session')} {wait_words(first)}"


def wait_words(wait: WaitView, *, in_full: bool = False) -> str:
    """`wait for WAL to reach the disk`; `compute`.

    Args:
        in_full: with PostgreSQL's own name for it.
    """
    s = "s" if wait.sessions == 1 else ""
    if not wait.kind:
        return f"compute{s}"
    meaning, event = _EVENTS.get((wait.kind, wait.event)), safe(f"{wait.kind}:{wait.event}", 60)
    if meaning is None:
        return f"wait{s} for {event}"
    return f"wait{s} for {meaning}" + (f" ({event})" if in_full else "")


def _lag_parts(standbys: Sequence[StandbyView] | None, word: str) -> list[str]:
    """The one that is furthest behind."""
    behind = [each for each in standbys or () if each.lag_s is not None or each.lag_bytes]
    if not behind:
        return []
    last = max(behind, key=lambda each: (each.lag_s or 0.0, each.lag_bytes or 0))
    return [f"{word} {safe(last.name, 40)} {_lag(last)}"]


def _lag(standby: StandbyView) -> str:
    words = []
    if standby.lag_s is not None:
        words.append(span(standby.lag_s))
    if standby.lag_bytes:
        words.append(bytes_size(standby.lag_bytes))
    return f"{', '.join(words)} behind" if words else (safe(standby.state, 40) or "lag not known")


def span(seconds: float) -> str:
    """`0.4 s`, `14 s`, `26 h`, `3 d`."""
    for unit, size, digits in (("s", 1.0, 1 if seconds < 10 else 0), ("min", 60.0, 0), ("h", 3_600.0, 0)):
        limit = {"s": 120.0, "min": 7_200.0, "h": 172_800.0}[unit]
        if seconds < limit:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def blocked_words(blocked: BlockedView) -> str:
    """`session 4240 has waited 5 s for public.orders: session 4711 (psql, user app) holds it, idle in transaction for 40 s`."""
    what = safe(blocked.table, 80) or f"a lock ({safe(blocked.lock, 30) or 'of another session'})"
    holders = "; ".join(_holder(each) for each in blocked.by[:SHOWN])
    more = f"; and {len(blocked.by) - SHOWN} more" if len(blocked.by) > SHOWN else ""
    said = f": {holders}{more}" if holders else ""
    return f"session {blocked.pid} has waited {span(blocked.waiting_s)} for {what}{said}"


def blocking_words(blocked: BlockedView) -> str:
    """`session 4711 (psql, user app) has waited 5 s for public.orders, which the run holds`."""
    what = safe(blocked.table, 80) or f"a lock ({safe(blocked.lock, 30) or 'of the run'})"
    names = ", ".join(
        filter(None, [safe(blocked.application, 40), f"user {safe(blocked.user, 40)}" if blocked.user else ""])
    )
    who = f"session {blocked.pid}" + (f" ({names})" if names else "")
    return f"{who} has waited {span(blocked.waiting_s)} for {what}, which the run holds"


def slot_words(slot: SlotView) -> str:
    """`slot1: unreserved, holds back 12.0 GiB of WAL, in use`."""
    held = f"holds back {bytes_size(slot.held_bytes)} of WAL" if slot.held_bytes is not None else ""
    used = "in use" if slot.active else "not in use"
    return f"{safe(slot.name, 60)}: {', '.join(filter(None, [safe(slot.status, 40), held, used]))}"


def _holder(blocker: Blocker) -> str:
    if not blocker.pid:
        return "a prepared transaction (pg_prepared_xacts) holds it"
    names = ", ".join(
        filter(None, [safe(blocker.application, 40), f"user {safe(blocker.user, 40)}" if blocker.user else ""])
    )
    who = f"session {blocker.pid}" + (f" ({names})" if names else "")
    since = (
        f", {safe(blocker.state, 40)} for {span(blocker.since_s)}"
        if blocker.state and blocker.since_s is not None
        else ""
    )
    return f"{who} holds it{since}"


# --- all of it --------------------------------------------------------------------------------------------------------


def target_vitals(target: TargetVitals) -> list[Vital]:
    """Everything that is known of PostgreSQL, with advice."""
    return [*_age(target), *_target_vitals(target), *_unseen(target.unseen)]


def source_vitals(source: SourceVitals) -> list[Vital]:
    """Everything that is known of MongoDB, with advice."""
    return [*_age(source), *_source_vitals(source), *_unseen(source.unseen)]


def has_trouble(server: TargetVitals | SourceVitals) -> bool:
    """Something of it wants to be looked at."""
    vitals = target_vitals(server) if isinstance(server, TargetVitals) else source_vitals(server)
    return any(vital.is_bad for vital in vitals)


def _age(server: TargetVitals | SourceVitals) -> Iterator[Vital]:
    if server.age_s is None:
        yield Vital("seen", safe(server.problem, 300) or "not looked at yet", is_bad=bool(server.problem))
    elif server.problem or is_old(server):
        why = f": {safe(server.problem, 300)}" if server.problem else ""
        yield Vital("seen", f"{server.age_s:.0f} s ago{why}", "What is below is as old as that.", is_bad=True)


def _unseen(unseen: Sequence[Unseen]) -> Iterator[Vital]:
    for each in unseen:
        remedy = f"As an administrator, run: {safe(each.remedy, 300)}" if each.remedy else ""
        yield Vital(safe(each.what, 40), f"cannot see: {safe(each.why, 300)}", remedy)


def _target_vitals(target: TargetVitals) -> Iterator[Vital]:
    for blocked in target.blocked or ():
        yield Vital("blocked", blocked_words(blocked), _blocked_advice(blocked), is_bad=True)
    for waiting in (target.blocking or ())[:SHOWN]:
        advice = "It waits until pages end: fewer rows a page, a throttle or guard.blocked shorten that."
        yield Vital("others wait", blocking_words(waiting), advice, is_bad=True)
    if target.waits is not None:
        yield _waits_vital(target)
    for step in target.steps or ():
        words = step_words(step) + (f" ({safe(step.phase, 60)})" if step.phase else "")
        yield Vital("after the copy", words)
    for copying in target.copying or ():
        words = f"{counted(copying.rows, 'row')}, {bytes_size(copying.bytes)} in {_sessions(copying.sessions)}, not committed"
        yield Vital("COPY", f"{safe(copying.table, 80)}: {words}")
    if target.wal_bytes_per_s is not None:
        yield Vital("WAL", f"{bytes_size(target.wal_bytes_per_s)}/s")
    if target.checkpoints is not None and target.checkpoints_requested is not None:
        yield _checkpoints_vital(target.checkpoints, target.checkpoints_requested, safe(target.max_wal_size, 20))
    if target.standbys is not None:
        yield from _lag_vitals(target.standbys, "standby", "no standby is connected")
    for slot in (target.slots or ())[: 2 * SHOWN]:
        yield _slot_vital(slot)
    if target.free_connections is not None:
        is_bad = target.free_connections < FEW_CONNECTIONS
        advice = "Fewer workers leave connections to others." if is_bad else ""
        of_all = f" of {number(target.max_connections)}" if target.max_connections is not None else ""
        yield Vital("connections", f"{number(target.free_connections)}{of_all} free", advice, is_bad=is_bad)
    if target.disk_free_bytes is not None:
        is_bad = target.disk_free_bytes < LITTLE_DISK
        advice = "The run pauses when the disk is full; make room before that." if is_bad else ""
        yield Vital("disk", f"{bytes_size(target.disk_free_bytes)} free", advice, is_bad=is_bad)


def _sessions(count: int) -> str:
    return counted(count, "session")


def _blocked_advice(blocked: BlockedView) -> str:
    pids = [each.pid for each in blocked.by if each.pid]
    if not pids:
        return ""
    return f"End its transaction, or the session: SELECT pg_terminate_backend({pids[0]});"


def _waits_vital(target: TargetVitals) -> Vital:
    waits = target.waits or []
    if not waits:
        return Vital("sessions", f"{_sessions(target.sessions or 0)}, none with a statement")
    words = ", ".join(f"{each.sessions} {wait_words(each, in_full=True)}" for each in waits[: 2 * SHOWN])
    first, total = waits[0], sum(each.sessions for each in waits)
    advice = _wait_advice(first) if first.sessions >= MOST * total else ""
    return Vital("sessions", words, advice)


def _wait_advice(wait: WaitView) -> str:
    if wait.kind == "Client":
        return "PostgreSQL waits for rows: it does not limit the run."
    if wait.event.lower().startswith("wal"):
        return "WAL limits the run: more workers do not help; a faster disk for pg_wal does."
    if (wait.kind, wait.event) == ("Lock", "extend"):
        return "Many sessions make one table larger: fewer workers, or more collections at a time, are as fast."
    if wait.kind == "IO":
        return "The disk limits the run: more workers do not help."
    if not wait.kind:
        return "PostgreSQL computes: its processors limit the run when all of them are busy."
    return ""


def _checkpoints_vital(checkpoints: int, requested: int, max_wal_size: str) -> Vital:
    words = (
        f"{requested} of {checkpoints} since the start came before their time"
        if checkpoints
        else "none since the start"
    )
    is_bad = requested >= 2 and requested > checkpoints / 2
    advice = (
        f"WAL fills max_wal_size ({max_wal_size}) too soon: raise it, ALTER SYSTEM SET max_wal_size = '16GB';"
        " SELECT pg_reload_conf();"
    )
    return Vital("checkpoints", words, advice if is_bad else "", is_bad=is_bad)


def _lag_vitals(standbys: Sequence[StandbyView], word: str, none: str) -> Iterator[Vital]:
    if not standbys:
        yield Vital("replicas", none)
    for each in standbys:
        is_bad = (each.lag_s or 0.0) > LAG_S
        advice = "A throttle lets it catch up." if is_bad else ""
        state = f", {safe(each.state, 40)}" if each.state else ""
        yield Vital(word, f"{safe(each.name, 60)}: {_lag(each)}{state}", advice, is_bad=is_bad)


def _slot_vital(slot: SlotView) -> Vital:
    advice = {
        "unreserved": "It is about to be lost: its reader has to catch up. guard.slots slows the run down for that.",
        "lost": "It has lost WAL that its reader needed, which has to begin anew: pg_drop_replication_slot.",
    }.get(slot.status, "")
    return Vital("slot", slot_words(slot), advice, is_bad=bool(advice))


def _source_vitals(source: SourceVitals) -> Iterator[Vital]:
    if source.host:
        yield Vital("server", safe(source.host, 100))
    if source.read_tickets is not None and source.read_tickets_used is not None:
        queued = f", {counted(source.reads_queued, 'waits', 'wait')}" if source.reads_queued else ", none waits"
        is_bad = bool(source.reads_queued)
        advice = "Reads wait for their turn: fewer workers take less from the application." if is_bad else ""
        words = f"{source.read_tickets_used} of {source.read_tickets} in use{queued}"
        yield Vital("read tickets", words, advice, is_bad=is_bad)
    if (cache := _shares(source)) is not None and source.cache_max_bytes is not None:
        yield _cache_vital(source, *cache, source.cache_max_bytes)
    if source.members is not None:
        yield from _lag_vitals(source.members, "secondary", "no secondary")
    if source.flow_control is not None:
        words = "slows writes, since secondaries are behind" if source.flow_control else "off"
        yield Vital("flow control", words, is_bad=source.flow_control)
    if source.oplog_window_s is not None:
        yield Vital("oplog window", span(source.oplog_window_s))


def _shares(source: SourceVitals) -> tuple[float, float] | None:
    """How much of the cache is in use, and how much of it is dirty."""
    if not source.cache_max_bytes or source.cache_bytes is None:
        return None
    return source.cache_bytes / source.cache_max_bytes, (source.cache_dirty_bytes or 0) / source.cache_max_bytes


def _cache_vital(source: SourceVitals, full: float, dirty: float, maximum: int) -> Vital:
    words = f"{full:.0%} of {bytes_size(maximum)} in use, {dirty:.0%} dirty"
    evicts = bool(source.app_evictions_per_s and source.app_evictions_per_s >= 1)
    if evicts and source.app_evictions_per_s is not None:
        words += f", {number(source.app_evictions_per_s)} pages a second evicted by operations"
    is_bad = full >= FULL_CACHE or dirty >= DIRTY_CACHE or evicts
    advice = "The cache is too small for what goes on: fewer workers or a throttle relieve it." if is_bad else ""
    return Vital("cache", words, advice, is_bad=is_bad)
