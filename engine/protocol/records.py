"""Runs as they went: facts as they happen, the ledger's list, and recordings."""

from __future__ import annotations

from typing import Any

from engine.protocol.events import AnyEvent
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
    verification: str
    resumable: bool
    heartbeat_unix: float = 0.0
    """When its engine last said that it lives; every two seconds while it does."""


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
