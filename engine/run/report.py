"""A run for an audit, put together from the ledger: what was recorded of it, its plan, and what is committed now."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

from engine import __version__
from engine.ledger import changed, follow, history
from engine.ledger.ledger import Ledger
from engine.ledger.runs import LedgerRun
from engine.mapping.model import Column
from engine.mapping.names import show_path
from engine.mapping.options import POLICIES, MappingOptions
from engine.plan import Plan, TablePlan, kept_plan
from engine.plan.saved import saved_of
from engine.plan.writing import write_plan
from engine.protocol import (
    ComparedOnce,
    CutOverFacts,
    Event,
    FollowedReport,
    KnobChanged,
    Recording,
    RejectsRetried,
    ReportedColumn,
    ReportedTable,
    RetriedOnce,
    RunCutOver,
    RunEnvironment,
    RunFinished,
    RunPlanned,
    RunReport,
    RunState,
    RunVerified,
    StateEntered,
    TableCounts,
    TableProgress,
    WorkedTime,
)
from engine.run.environment import whoami
from engine.run.replay import recording

FRAMES = 300
"""Points of the chart."""
REJECT_SAMPLES = 5
KNOBS = ("cluster_size", "page_size", "throttle")


async def run_report(ledger: Ledger, run: str) -> RunReport:
    """The report of a run; raises UsageError when there is no such run."""
    record = await history.find_run(ledger, run)
    recorded = await recording(ledger, record.run_id, FRAMES)
    rejects = await history.list_rejects(ledger, record.run_id, REJECT_SAMPLES)
    plan = kept_plan(record.plan, record.run_id)
    end, text = recorded.frames[-1], toml_of(plan)
    environment = next((each for each in reversed(recorded.events) if isinstance(each, RunEnvironment)), None)
    verified = [each for each in recorded.events if isinstance(each, RunVerified)]
    compared = {table.table: table for table in verified[-1].tables} if end.verification_level == "full" else {}
    progress = {table.table: table for table in end.tables}
    followed = await _followed(ledger, record)
    return RunReport(
        run=recorded.run,
        made_unix=round(time.time(), 3),
        made_by=whoami(),
        made_with=__version__,
        started_by=environment.by if environment is not None else "",
        program=environment.program if environment is not None else "",
        source_version=environment.source_version if environment is not None else "",
        target_version=environment.target_version if environment is not None else "",
        error=record.error,
        consistency=end.consistency,
        snapshot_unix=end.snapshot_unix,
        options=plan.request.get("mapping", {}),
        plan=text,
        plan_sha256=hashlib.sha256(text.encode()).hexdigest(),
        tables=[
            _table(table, progress.get(plan.label(table)), compared.get(plan.label(table)), end.verification_level)
            for table in plan.tables
        ],
        rejects=rejects.groups,
        compared=[
            ComparedOnce(result=each.result.value, level=each.verification_level, seconds=each.seconds, unix=each.unix)
            for each in verified
        ],
        retried=[
            RetriedOnce(
                tried=each.tried, written=each.written, already_there=each.already_there, left=each.left,
                policies=each.policies, reasons=each.reasons, unix=each.unix,
            )
            for each in recorded.events
            if isinstance(each, RejectsRetried)
        ],
        followed=followed,
        cut_over=_cut_over(recorded.events),
        times=times_of(recorded.events),
        knobs=_knobs(recorded.events),
        samples=_samples(recorded),
    )  # fmt: skip


async def _followed(ledger: Ledger, record: LedgerRun) -> FollowedReport | None:
    """How the run followed its source; None where it did not."""
    async with ledger.session() as connection:
        found = await follow.find(connection, record.run_id)
        if found is None:
            return None
        changes = await follow.events(connection, record.run_id)
        keys = await follow.applied_keys(connection, record.run_id)
        waiting = await changed.waiting(connection, record.run_id)
        differences = (await changed.differences(connection, record.run_id)).values()
    return FollowedReport(
        phase=found.phase,
        since_unix=_unix(record.start_time),
        mark_unix=_unix(found.mark_time),
        changes=changes,
        keys=keys,
        to_compare=sum(each.n_keys for each in waiting),
        mended=sum(mended for _, mended in differences),
        differences=sum(stand for stand, _ in differences),
    )


def times_of(events: Iterable[Event]) -> list[WorkedTime]:
    """When engines worked on the run; nothing where one of them did not keep when it began."""
    times: list[WorkedTime] = []
    stopped_by = ""
    for event in events:
        match event:
            case RunEnvironment(unix=unix):
                if not unix:
                    return []
                times.append(WorkedTime(began_unix=unix, by=event.by))
                stopped_by = ""
            case StateEntered(state=RunState.CANCELLING):
                stopped_by = event.by
            case RunFinished() if times and not times[-1].state:
                last = times[-1]
                times[-1] = last.model_copy(
                    update={
                        "ended_unix": event.clock or None,
                        "state": event.state.value,
                        "stopped_by": stopped_by if event.state is RunState.CANCELLED else "",
                    }
                )
    return times


def _unix(at: int | None) -> float | None:
    return float(at >> 32) if at is not None else None


def toml_of(plan: Plan) -> str:
    """The plan as an operator keeps it: the text that was given, or what `plan --save` would have written without remarks."""
    if plan.saved:
        return plan.saved
    options = MappingOptions.model_validate(plan.request.get("mapping", {}))
    return write_plan(saved_of(plan, plan.request.get("mode", "create"), options))


def _table(table: TablePlan, progress: TableProgress | None, compared: TableCounts | None, level: str) -> ReportedTable:
    counts = TableCounts(
        namespace=table.namespace, table=table.target, source=-1, read=0, written=0, rejected=0, target=-1, ok=False,
        message="not copied",
    )  # fmt: skip
    if progress is not None:
        is_judged = progress.ok is not None
        counts = TableCounts(
            namespace=table.namespace, table=progress.table, source=progress.source_count, read=progress.read,
            written=progress.written, rejected=progress.rejected, target=progress.target_count,
            ok=progress.ok is True, altered=progress.altered, message="" if is_judged else "not compared",
        )  # fmt: skip
    if compared is not None and level == "full":
        counts = compared.model_copy(update={"rejected": counts.rejected, "written": counts.written})
    return ReportedTable(
        namespace=table.namespace,
        table=table.target,
        filter=table.filter,
        columns=[_column(column) for column in table.mapping.columns],
        excluded=[show_path(path) for path in table.mapping.ignored],
        indexes=[index.name for index in table.indexes],
        counts=counts,
    )


def _column(column: Column) -> ReportedColumn:
    return ReportedColumn(
        field=show_path(column.path) if column.path else "",
        column=column.name,
        type=column.sql_type,
        nullable=column.nullable,
        policies={name: getattr(column, name) for name in POLICIES if getattr(column, name)},
    )


def _cut_over(events: Iterable[Event]) -> CutOverFacts | None:
    found = [each for each in events if isinstance(each, RunCutOver)]
    if not found:
        return None
    last = found[-1]
    return CutOverFacts(
        unix=last.clock, write_stop_s=last.write_stop_s, writes_blocked=last.writes_blocked, sequences=last.sequences,
    )  # fmt: skip


def _knobs(events: Iterable[Event]) -> dict[str, list[int]]:
    values: dict[str, list[int]] = {name: [] for name in KNOBS}
    for event in events:
        given: dict[str, int] = {}
        match event:
            case RunPlanned():
                given = event.knobs
            case KnobChanged():
                given = {event.knob: event.value}
        for name, value in given.items():
            if name in values and values[name][-1:] != [value]:
                values[name].append(value)
    return {name: found for name, found in values.items() if found}


def _samples(recorded: Recording) -> list[tuple[float, float]]:
    return [(frame.elapsed, round(frame.rows_per_s, 1)) for frame in recorded.frames if frame.state.is_active]
