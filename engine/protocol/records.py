"""Runs as they went: facts as they happen, the ledger's list, and recordings."""

from __future__ import annotations

from typing import Any

from engine.protocol.commands import Start
from engine.protocol.events import AnyEvent
from engine.protocol.replaced import ReplacedTables
from engine.protocol.snapshots import Snapshot
from engine.protocol.wire import Wire


class Attached(Wire):
    """Reply to `attach`."""

    run_id: str
    version: str
    log_path: str
    snapshot: Snapshot
    samples: list[tuple[float, float]] = []
    """The throughput of the whole run, (elapsed, rows/s), newest last, for the chart: a second each at first."""
    events: list[AnyEvent] = []
    """The newest events, at most 1,000, and all knobs, plans and servers, without those that only move counters."""


class RunOrigin(Wire):
    """What a run was started with, as `Start` takes it."""

    settings: dict[str, Any] = {}
    """All sections, with their secrets: for front ends of the same user, which could have read them anyway."""
    start: Start | None = None
    """The command; None before there is a run."""


class RunInfo(Wire):
    """One run in the ledger."""

    run_id: str
    state: str
    started_unix: float
    ended_unix: float | None
    source: str
    target: str
    collections: list[str]
    mode: str
    read: int
    written: int
    rejected: int
    altered: dict[str, int] = {}
    """Values that a policy changed in its rows, by policy, such as `{"nul.strip": 3}`."""
    seconds: float
    """Over all times that it was driven; of one that goes on, or whose engine was killed, until the last sign of life."""
    rows_per_s_overall: float = 0.0
    """Its committed rows over `seconds`, without those that retries of rejects wrote since."""
    rows_per_s_copying: float = 0.0
    """Rows per second while copying, over all times whose end was written: without planning, pauses, keys, ANALYZE and
    counts; never below the overall rate. 0 when it was not measured."""
    verification: str
    verification_level: str = ""
    """How that is known: `"counts"` of both sides, or a `"full"` comparison; empty when nothing is known."""
    verified_before_retry: bool = False
    """Every document was compared, and a retry of rejects has written rows since, which nothing has compared."""
    replaced_since: ReplacedTables | None = None
    """Tables of it that are not any more what it wrote, whatever was verified of them before; null while all are."""
    resumable: bool
    heartbeat_unix: float = 0.0
    """When its engine last said that it lives; every two seconds while it does."""
    engine_host: str = ""
    """The host of that engine."""
    writes_blocked: bool = False
    """MongoDB was made to refuse all writes for a cut-over of it that is not done, and no engine has lifted that since."""
    follow_phase: str = ""
    """Of a run that follows its source, or did: how far it was, such as `copying`, `following`, `done`. Before it is `done` its
    counts are those of the copy."""

    @property
    def has_counts_of_the_copy(self) -> bool:
        """Changes are applied to its tables that its counts do not have."""
        return self.follow_phase not in ("", "done")


class Recording(Wire):
    """A run as it was, to be shown again."""

    run: RunInfo
    frames: list[Snapshot]
    """The newest last, with its tables; the others have none. `elapsed` runs through all times that the run was driven."""
    events: list[AnyEvent]
    """The newest ones, without those that only move counters."""
    settings: dict[str, Any] = {}
    """Sections of settings that ask for the same run again: `Start.settings` of a resume."""
    plan: str = ""
    """The saved plan that it ran, if it did: `Start.plan` of a resume."""
    excluded: dict[str, list[str]] = {}
    """Fields that were left out on purpose, by table, as dotted paths."""
