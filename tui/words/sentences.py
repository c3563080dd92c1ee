"""A run as text: progress, the summary at the end. Every text that comes out of here is harmless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.protocol import HostView, RunState, Snapshot
from tui.words.census import phase_words
from tui.words.follow import follow_words, has_counts_of_the_copy
from tui.words.format import NO_NUMBER, bytes_size, counted, duration, moment, number, percent, rate, share, time_of_day
from tui.words.guards import guards_status, slowed_words
from tui.words.knobs import auto_words
from tui.words.run_status import rates_words, state_words, verification_words
from tui.words.safe import safe
from tui.words.tables import text_table
from tui.words.vitals import vitals_lines


def progress_sentence(snapshot: Snapshot) -> str:
    """One line: how far, how fast, how long still. Counters that are zero are left out."""
    return "  ".join([phase_words(snapshot), *progress_words(snapshot)])


def progress_words(snapshot: Snapshot) -> list[str]:
    """The parts of that line after its phase."""
    words = [*done_words(snapshot), *speed_words(snapshot), *eta_words(snapshot), workers_words(snapshot)]
    words += [f"! {slowed}"] if (slowed := slowed_words(snapshot)) else []
    words += follow_words(snapshot.follow)
    return words + [f"{label} {number(count)}" for label, count in _troubles(snapshot) if count]


def done_words(snapshot: Snapshot) -> list[str]:
    """How much of it is committed; nothing before that is known."""
    if not snapshot.total:
        return []
    copied = " copied" if has_counts_of_the_copy(snapshot.follow) else ""
    done = f"{number(snapshot.written)} / {number(snapshot.total)}{copied}"
    return [percent(share(snapshot.written, snapshot.total)), done]


def speed_words(snapshot: Snapshot) -> list[str]:
    """How fast; nothing before the first rows."""
    words = []
    if snapshot.rows_per_s or snapshot.rows_per_s_mean:
        means = [f"while copying {number(snapshot.rows_per_s_mean)}"] if snapshot.rows_per_s_mean else []
        means += [f"overall {number(snapshot.rows_per_s_overall)}"] if snapshot.rows_per_s_overall else []
        words.append(rate(snapshot.rows_per_s) + (f" ({', '.join(means)})" if means else ""))
    if snapshot.bytes_per_s:
        words.append(f"{bytes_size(snapshot.bytes_per_s)}/s")
    return words


def eta_words(snapshot: Snapshot) -> list[str]:
    """How long it will take, or why that is not known."""
    if snapshot.eta_s is not None:
        return [f"ETA {duration(snapshot.eta_s)}"]
    if not snapshot.eta_reason or snapshot.eta_reason == snapshot.phase:
        return []
    if snapshot.eta_reason.startswith("paused"):
        return [safe(snapshot.eta_reason)]
    return ["ETA: calculating…" if snapshot.eta_reason == "measuring" else f"ETA: {safe(snapshot.eta_reason)}"]


def workers_words(snapshot: Snapshot) -> str:
    """How many workers there are, and are asked for: "workers 8 → 6, 2 draining", "workers 16 → 24 on 2 hosts, 16 slots"."""
    words = f"workers {snapshot.workers_alive}"
    # At the end of a copy workers leave, and none is to come.
    if snapshot.workers_alive != snapshot.cluster_size and snapshot.state is not RunState.FINISHING:
        words += f" → {snapshot.cluster_size}"
    if snapshot.hosts:
        words += f" on {hosts_words(snapshot)}"
        slots = slots_of(snapshot)
        words += f", {counted(slots, 'slot')}" if slots < snapshot.cluster_size else ""
    words += f", {snapshot.draining} draining" if snapshot.draining else ""
    return f"{words} ({auto})" if (auto := auto_words(snapshot)) else words


def hosts_words(snapshot: Snapshot) -> str:
    """How many hosts have workers, and the cluster was asked for: "2 hosts", "2 → 3 hosts"."""
    n = sum(not host.problem for host in snapshot.hosts)
    if snapshot.hosts_wanted > n:
        return f"{n} → {counted(snapshot.hosts_wanted, 'host')}"
    return counted(n, "host")


def slots_of(snapshot: Snapshot) -> int:
    """Workers that the hosts can have at most."""
    return sum(host.slots for host in snapshot.hosts if not host.problem)


def host_words(host: HostView, *, with_version: bool = True, is_short: bool = False) -> str:
    """What there is to know of one beside its rates: "6/8 workers, 3 idle · 2.1 ms · load 3.2/4 · 0.1.0".

    Args:
        with_version: of the program there, which is that of the engine where it has workers.
        is_short: "6/8, 3 idle · 2.1 ms · load 3.2/4".
    """
    if host.problem:
        return f"! {safe(host.problem, 300)}"
    workers = f"{host.workers}/{host.slots}" if host.slots else f"{host.workers}"
    workers += "" if is_short and host.slots else " workers"
    idle = host.workers - host.busy
    words = [f"{workers}, {idle} idle" if idle else workers]
    words += [f"{host.round_trip_ms:.1f} ms"] if host.round_trip_ms is not None else []
    words += [f"load {host.load:.1f}/{host.cores}"] if host.load is not None and host.cores else []
    words += [safe(host.version, 20)] if host.version and with_version else []
    return " · ".join(words)


def hosts_table(snapshot: Snapshot) -> str:
    """Every host, for `ctl status` and SIGUSR2."""
    rows = [
        [safe(host.name, 80), host_words(host), number(host.written), number(host.rows_per_s)]
        for host in snapshot.hosts
    ]
    return text_table(["host", "workers", "written", "rows/s"], rows, right={2, 3})


def workers_table(snapshot: Snapshot) -> str:
    """Every worker, for `ctl status` and SIGUSR2."""
    has_hosts = bool(snapshot.hosts)
    rows = [
        [
            str(worker.id), str(worker.pid), worker.state.value, worker.collection, number(worker.written),
            number(worker.sent), number(worker.rows_per_s), f"{worker.idle_s:.1f} s",
            *([safe(worker.host, 80)] if has_hosts else []),
        ]
        for worker in snapshot.workers
    ]  # fmt: skip
    headings = ["worker", "pid", "state", "collection", "written", "sent", "rows/s", "last progress"]
    headings += ["host"] if has_hosts else []
    return text_table(headings, rows, right={0, 1, 4, 5, 6, 7})


def route(snapshot: Snapshot) -> str:
    """Where a run reads and writes; of one that only seeds, where it writes."""
    return " → ".join(safe(each) for each in (snapshot.source, snapshot.target) if each) or "servers not known yet"


def status_text(snapshot: Snapshot) -> str:
    """The whole answer of `ctl status`, a subject a line."""
    phase = phase_words(snapshot)
    state = state_words(snapshot.state.value)
    heading = f"run {safe(snapshot.run_id)}: {state}"
    counts = [f"{label} {number(count)}" for label, count in _troubles(snapshot) if count]
    throttle = rate(snapshot.throttle) if snapshot.throttle else "off"
    knobs = [workers_words(snapshot), f"page size {number(snapshot.page_size)}", f"throttle {throttle}"]
    if snapshot.seeded:
        knobs.append(f"seed count {number(snapshot.seed_count)}")
    parts = {
        "servers": [route(snapshot)],
        "mode": [safe(snapshot.mode), consistency_words(snapshot)],
        "rows": [*done_words(snapshot), *counts],
        "speed": [*speed_words(snapshot), *eta_words(snapshot)],
        "time": [*([duration(snapshot.elapsed)] if snapshot.elapsed else []), *clock_words(snapshot)],
        "knobs": knobs,
        "guards": [line] if (line := guards_status(snapshot.guards)) else [],
        "follow": follow_words(snapshot.follow),
        **{side: [line] for side, line in vitals_lines(snapshot.vitals).items()},
    }
    lines = [heading if phase == state else f"{heading}, {phase}"]
    lines += [f"  {label:<8} {', '.join(words)}" for label, words in parts.items() if words]
    lines += tls_warnings(snapshot)
    if snapshot.error is not None:
        lines.append(f"error: {safe(snapshot.error.message)}")
    if snapshot.hosts:
        lines += ["", hosts_table(snapshot)]
    if snapshot.workers:
        lines += ["", workers_table(snapshot)]
    return "\n".join(lines)


def _troubles(snapshot: Snapshot) -> tuple[tuple[str, int], ...]:
    return ("rejected", snapshot.rejected), ("retried", snapshot.retried)


def clock_words(snapshot: Snapshot) -> list[str]:
    """Started 14:02, last commit 14:07:31, expected end ≈ 04:40: by the clock of this machine; nothing before the start."""
    if not snapshot.started_unix:
        return []
    now = snapshot.started_unix + snapshot.elapsed
    by = f" by {safe(snapshot.started_by)}" if snapshot.started_by else ""
    this_time = f"{time_of_day(snapshot.started_unix, since=now)}{by}"
    first = snapshot.first_started_unix
    words = [f"started {time_of_day(first, since=now)}", f"resumed {this_time}"] if first else [f"started {this_time}"]
    if snapshot.last_commit_unix:
        words.append(f"last commit {time_of_day(snapshot.last_commit_unix, since=now, seconds=True)}")
    if snapshot.eta_s is not None:
        words.append(f"expected end ≈ {time_of_day(now + snapshot.eta_s, since=now)}")
    if snapshot.stopped_by:
        words.append(f"stopped by {safe(snapshot.stopped_by)}")
    return words


def tls_warnings(snapshot: Snapshot) -> list[str]:
    """Connections of a run that others could read or forge, each in a sentence."""
    return [
        f"Warning: {safe(words)}: others on the network could read or change what is sent."
        for words in snapshot.weak_tls
    ]


def consistency_words(snapshot: Snapshot) -> str:
    """Which state of the source is copied."""
    if snapshot.snapshot_unix:
        return f"the source as of {moment(snapshot.snapshot_unix)}"
    return f"consistency {safe(snapshot.consistency)}"


def summary(facts: Mapping[str, Any]) -> str:
    """What came out of a run: its counts, table by table, of both sides."""
    ended = safe(state_words(str(facts["state"])))
    lines = [f"Run {safe(str(facts['run_id']))}: {ended} in {duration(float(facts['seconds']))}"]
    if facts.get("seeded"):
        lines.append(f"Seeded: {counted(facts['seeded'], 'document is', 'documents are')} in the collection")
    if facts.get("snapshot_unix"):
        lines.append(f"Every document is as it was at {moment(float(facts['snapshot_unix']))}")
    tables: Mapping[str, Mapping[str, Any]] = facts["tables"]
    if tables:
        altered: Mapping[str, int] = facts.get("altered", {})
        rows = [_table_row(name, counts, has_altered=bool(altered)) for name, counts in tables.items()]
        headings = [heading for heading in _TABLE_HEADINGS if heading != "altered" or altered]
        lines.append(text_table(headings, rows, right=set(range(2, len(headings) - 1))))
        if altered:
            lines.append(f"Altered by policy: {altered_words(altered)}")
        overall, copying = facts.get("rows_per_s_overall") or facts["rows_per_s"], facts.get("rows_per_s_copying", 0.0)
        rates = rates_words(overall, copying)
        checked = safe(
            verification_words(facts["verification"], facts.get("verification_level", ""), facts["rejected"])
        )
        lines.append(
            f"{number(facts['read'])} read = {number(facts['written'])} written + {number(facts['rejected'])} rejected"
            f"  {rates}  {checked}"
        )
    return "\n".join(lines)


def what_next(facts: Mapping[str, Any]) -> tuple[str, str]:
    """What an operator can do after this end: a sentence that is to be followed by a command, and the command's words.

    Both are empty where there is nothing to do.
    """
    run_id = safe(str(facts["run_id"]))
    if facts["state"] in ("cancelled", "failed") and facts["tables"]:
        return "Committed rows stay. Resume with:", f"run --resume {run_id}"
    if facts["rejected"]:
        return "Rejected documents are kept. List them with:", f"rejects {run_id}"
    return "", ""


def altered_words(altered: Mapping[str, int]) -> str:
    """What policies changed, policy by policy: "nul.strip 3 (NULs dropped), overflow 12 (values kept in _extra)"."""
    words = []
    for policy, count in sorted(altered.items()):
        meaning = _ALTERED.get(policy, "")
        words.append(f"{safe(policy)} {number(count)}" + (f" ({meaning})" if meaning else ""))
    return ", ".join(words)


def altered_meaning(policy: str) -> str:
    """What became of the values that a policy changed; empty for one of another version."""
    return _ALTERED.get(policy, "")


_ALTERED = {
    "nul.strip": "texts without their NULs",
    "nul.replace": "texts with U+FFFD for their NULs",
    "utf8.replace": "texts with U+FFFD for what is no UTF-8",
    "date_range.null": "dates that are NULL now",
    "date_range.clamp": "dates that are PostgreSQL's first or last now",
    "date_range.infinity": "dates that are infinity now",
    "overflow": "values kept in _extra",
    "duplicate_key": "values dropped whose key came again",
}
_TABLE_HEADINGS = ["collection", "table", "source", "read", "written", "rejected", "altered", "target", ""]


def _table_row(table: str, counts: Mapping[str, Any], *, has_altered: bool) -> list[str]:
    numbers = [NO_NUMBER if counts[name] < 0 else number(counts[name]) for name in _COUNTS]
    if has_altered:
        numbers.insert(-1, number(sum(counts["altered"].values())))
    verdict = {True: "counts match", False: "mismatch", None: "not compared"}[counts["ok"]]
    return [str(counts["namespace"]), table, *numbers, verdict]


_COUNTS = ("source", "read", "written", "rejected", "target")
