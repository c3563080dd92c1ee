"""The run in the engine's log: between which servers it began, what was planned, changed by whom, and rejected, and how it
ended. The ledger has the counters; here is what an operator looks for the morning after.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from functools import singledispatchmethod

from engine import __version__
from engine.config import Settings, redact
from engine.protocol import (
    Event,
    HostChanged,
    KnobChanged,
    KnobTuned,
    PartitionParked,
    ProblemReported,
    ProblemView,
    RejectsRetried,
    RunFinished,
    RunPlanned,
    RunState,
    RunVerified,
    ServersStarted,
    SnapshotTaken,
    Start,
    StateEntered,
    VerificationEnded,
    WorkerChanged,
)

MOST_OF_A_KIND = 100
"""Problems of one code that are logged: a server that struggles for hours must not fill the disk."""

log = logging.getLogger("run")


def log_start(run_id: str, settings: Settings, command: Start, by: str) -> None:
    """A run was accepted that a front end asked for."""
    run = settings.run
    what = "seed" if not command.migrate else "seed and copy" if command.seed else "copy"
    resumed = (
        f", resuming {command.resume or 'the newest unfinished run of this plan'}" if command.resume is not None else ""
    )
    servers = [redact(side.uri.get_secret_value()) for side in (settings.source, settings.target)]
    log.info(
        "run %s begins: mongopg-tui %s, %s%s, by %s; %s -> %s; mode %s, consistency %s, workers %s, page size %d, throttle %s",
        run_id, __version__, what, resumed, by or "an unknown front end",
        servers[0] or "(embedded)", servers[1] or "(embedded)", run.mode,
        run.consistency, run.size, run.page_size, run.throttle or "off",
    )  # fmt: skip


class RunLog:
    """Events as lines of the log. Those that only count, and those of every worker that starts, are left out."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()

    @singledispatchmethod
    def take(self, event: Event) -> None:
        """Log an event, if it is one of those that are."""

    @take.register
    def _(self, event: StateEntered) -> None:
        if event.state is RunState.STARTING and event.phase == RunState.STARTING.value:
            return  # `log_start` says more
        words = [event.phase.removeprefix(f"{event.state.value}: "), event.reason]
        by = f", by {event.by}" if event.by and event.by not in event.reason else ""
        log.info("%s%s", ": ".join(dict.fromkeys([event.state.value, *filter(None, words)])), by)

    @take.register
    def _(self, event: KnobChanged) -> None:
        by = f", by {event.by}" if event.by else ""
        log.info("%s %s -> %d%s%s", event.knob, event.old, event.value, by, f": {event.reason}" if event.reason else "")

    @take.register
    def _(self, event: KnobTuned) -> None:
        log.info("%s %s: %d is kept: %s", event.knob, event.auto or "by hand", event.stable, event.reason)

    @take.register
    def _(self, event: RunPlanned) -> None:
        log.info("planned: %s", ", ".join(f"{table.namespace} -> {table.table}" for table in event.tables))
        for warning in event.warnings:
            log.warning("plan: %s", warning)

    @take.register
    def _(self, event: ServersStarted) -> None:
        log.info("embedded servers: %s and %s, data in %s", redact(event.source), redact(event.target), event.directory)

    @take.register
    def _(self, event: SnapshotTaken) -> None:
        log.info("every document is read as of %.3f (seconds since 1970)", event.unix)

    @take.register
    def _(self, event: WorkerChanged) -> None:
        if event.what == "died":
            where = f" on {event.host}" if event.host else ""
            log.warning("worker %d (pid %d%s) died, exit code %s", event.id, event.pid, where, event.exit)

    @take.register
    def _(self, event: HostChanged) -> None:
        log.info(
            "host %s %s, %d slots%s", event.host, event.what, event.slots, f": {event.message}" * bool(event.message)
        )

    @take.register
    def _(self, event: ProblemReported) -> None:
        self._told[event.code] += 1
        if self._told[event.code] < MOST_OF_A_KIND:
            log.warning("problem %s: %s", event.code, event.message)
        elif self._told[event.code] == MOST_OF_A_KIND:
            log.warning("problem %s again; further ones are in the ledger's events only", event.code)

    @take.register
    def _(self, event: PartitionParked) -> None:
        log.warning("partition %d of %s is parked: it ended worker after worker", event.partition, event.namespace)

    @take.register
    def _(self, event: VerificationEnded) -> None:
        log.info("verification: %s", event.verification.value)

    @take.register
    def _(self, event: RunVerified) -> None:
        log.info("run %s verified, level %s: %s", event.run_id, event.level, event.result.value)

    @take.register
    def _(self, event: RejectsRetried) -> None:
        log.info("rejects retried: %d tried, %d written, %d left", event.tried, event.written, event.left)

    @take.register
    def _(self, event: RunFinished) -> None:
        log.info(
            "run %s ends: %s, %s read = %s written + %s rejected in %.1f s, verification %s, exit code %s",
            event.run_id, event.state.value, f"{event.read:,}", f"{event.written:,}", f"{event.rejected:,}", event.seconds,
            event.verification.value, event.exit_code,
        )  # fmt: skip
        for name, table in event.tables.items():
            counted = f"{table.source:,} in the source" if table.source >= 0 else "not counted in the source"
            log.info("%s: %s, %s written, %s rejected", name, counted, f"{table.written:,}", f"{table.rejected:,}")
        if event.error is not None:
            log.error("%s: %s", event.error.code, event.error.message)


def log_problems(problems: Iterable[ProblemView]) -> None:
    """What went wrong in the whole run, by kind."""
    for problem in problems:
        log.warning("%d x %s in %s: %s", problem.count, problem.code, problem.collection or "the run", problem.message)
