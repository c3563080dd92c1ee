"""A run as text: progress, the summary at the end. Every text that comes out of here is harmless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.protocol import Snapshot
from tui.words.census import phase_words
from tui.words.format import NO_NUMBER, bytes_size, duration, moment, number, percent, rate, share
from tui.words.safe import safe
from tui.words.tables import text_table


def progress_sentence(snapshot: Snapshot) -> str:
    """One line: how far, how fast, how long still. Counters that are zero are left out."""
    return "  ".join([phase_words(snapshot), *progress_words(snapshot)])


def progress_words(snapshot: Snapshot) -> list[str]:
    """The parts of that line after its phase."""
    words = []
    if snapshot.total:
        words.append(percent(share(snapshot.written, snapshot.total)))
        words.append(f"{number(snapshot.written)} / {number(snapshot.total)}")
    if snapshot.rows_per_s or snapshot.rows_per_s_mean:
        words.append(f"{rate(snapshot.rows_per_s)} (mean {number(snapshot.rows_per_s_mean)})")
    if snapshot.bytes_per_s:
        words.append(f"{bytes_size(snapshot.bytes_per_s)}/s")
    if snapshot.eta_s is not None:
        words.append(f"ETA {duration(snapshot.eta_s)}")
    elif snapshot.eta_reason and snapshot.eta_reason != snapshot.phase:
        words.append(f"ETA – {safe(snapshot.eta_reason)}")
    words.append(workers_words(snapshot))
    for label, count in (("rejected", snapshot.rejected), ("retried", snapshot.retried)):
        if count:
            words.append(f"{label} {number(count)}")
    return words


def workers_words(snapshot: Snapshot) -> str:
    """How many workers there are, and are asked for: "workers 8 → 6, 2 draining"."""
    words = f"workers {snapshot.workers_alive}"
    if snapshot.workers_alive != snapshot.cluster_size:
        words += f" → {snapshot.cluster_size}"
    return words + (f", {snapshot.draining} draining" if snapshot.draining else "")


def workers_table(snapshot: Snapshot) -> str:
    """Every worker, for `ctl status` and SIGUSR2."""
    rows = [
        [
            str(worker.id), str(worker.pid), worker.state.value, worker.collection, number(worker.written),
            number(worker.sent), number(worker.rows_per_s), f"{worker.idle_s:.1f} s",
        ]
        for worker in snapshot.workers
    ]  # fmt: skip
    headings = ["worker", "pid", "state", "collection", "written", "sent", "rows/s", "last progress"]
    return text_table(headings, rows, right={0, 1, 4, 5, 6, 7})


def status_text(snapshot: Snapshot) -> str:
    """The whole answer of `ctl status`."""
    throttle = rate(snapshot.throttle) if snapshot.throttle else "off"
    lines = [
        f"run {safe(snapshot.run_id)}: {snapshot.state.value}  {progress_sentence(snapshot)}",
        f"{safe(snapshot.source)} → {safe(snapshot.target)}, mode {safe(snapshot.mode)}, {consistency_words(snapshot)}",
        f"cluster_size {snapshot.cluster_size}  page_size {number(snapshot.page_size)}  throttle {throttle}"
        f"  seed_count {number(snapshot.seed_count)}",
    ]
    lines += tls_warnings(snapshot)
    if snapshot.error is not None:
        lines.append(f"error: {safe(snapshot.error.message)}")
    if snapshot.workers:
        lines.append(workers_table(snapshot))
    return "\n".join(lines)


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
    lines = [f"Run {safe(str(facts['run_id']))}: {safe(str(facts['state']))} in {duration(float(facts['seconds']))}"]
    if facts.get("seeded"):
        lines.append(f"Seeded: {number(facts['seeded'])} documents are in the collection")
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
        lines.append(
            f"{number(facts['read'])} read = {number(facts['written'])} written + {number(facts['rejected'])} rejected"
            f"  {rate(facts['rows_per_s'])}  verification: {safe(str(facts['verification']))}"
        )
    return "\n".join(lines)


def what_next(facts: Mapping[str, Any]) -> str:
    """What an operator can do after this end, or nothing."""
    run_id = safe(str(facts["run_id"]))
    if facts["state"] in ("cancelled", "failed") and facts["tables"]:
        return f"What is committed stays; go on with `mongopg-tui run --resume {run_id}`."
    if facts["rejected"]:
        return f"Rejected documents are kept: `mongopg-tui rejects {run_id}`."
    return ""


def altered_words(altered: Mapping[str, int]) -> str:
    """What policies changed, policy by policy: "nul.strip 3 (NULs dropped), overflow 12 (values in _extra)"."""
    words = []
    for policy, count in sorted(altered.items()):
        meaning = _ALTERED.get(policy, "")
        words.append(f"{safe(policy)} {number(count)}" + (f" ({meaning})" if meaning else ""))
    return ", ".join(words)


_ALTERED = {
    "nul.strip": "texts without their NULs",
    "nul.replace": "texts with U+FFFD for their NULs",
    "utf8.replace": "texts with U+FFFD for what is no UTF-8",
    "date_range.null": "dates that are NULL now",
    "date_range.clamp": "dates that are PostgreSQL's first or last now",
    "date_range.infinity": "dates that are infinity now",
    "overflow": "values in _extra",
    "duplicate_key": "values dropped whose key came again",
}
_TABLE_HEADINGS = ["collection", "table", "source", "read", "written", "rejected", "altered", "target", ""]


def _table_row(table: str, counts: Mapping[str, Any], *, has_altered: bool) -> list[str]:
    numbers = [NO_NUMBER if counts[name] < 0 else number(counts[name]) for name in _COUNTS]
    if has_altered:
        numbers.insert(-1, number(sum(counts["altered"].values())))
    verdict = {True: "ok", False: "MISMATCH", None: "not compared"}[counts["ok"]]
    return [str(counts["namespace"]), table, *numbers, verdict]


_COUNTS = ("source", "read", "written", "rejected", "target")
