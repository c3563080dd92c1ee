"""The tables of a run in its snapshots: each is drawn again when something about it has changed."""

from __future__ import annotations

from collections.abc import Container, Mapping

from engine.cluster.meter import ETA_AFTER_SHARE, Meter
from engine.protocol import RunState, TableProgress, TableState
from engine.run.record import RunRecord, TableCounters


class TableViews:
    """What was drawn of each table last: of thousands, a few change from one snapshot to the next."""

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self._drawn: dict[int, tuple[object, TableProgress]] = {}
        """By task: everything that the view depends on, and the view."""

    def draw(
        self,
        record: RunRecord,
        meter: Meter,
        *,
        at_it: Mapping[int, int],
        unfinished: Container[int] | None,
        is_paused: bool,
    ) -> list[TableProgress]:
        """The tables, each with its state, workers, rate and ETA.

        Args:
            at_it: workers at each, by task.
            unfinished: tasks with something left to copy; None before there are any leases.
        """
        views = []
        run_state, drawn = record.state, self._drawn
        for task_id, table in record.tables.items():
            workers = at_it.get(task_id, 0)
            is_left = unfinished is None or task_id in unfinished
            rate = meter.table_rate(task_id) if workers else 0.0
            facts = (
                table.namespace, table.table, table.total, table.read, table.written, table.rejected, table.source_count,
                table.target_count, table.ok, table.stage, table.n_parked, run_state, workers, is_left, is_paused, rate,
                dict(table.altered) if table.altered else None,
            )  # fmt: skip
            known = drawn.get(task_id)
            if known is None or known[0] != facts:
                state = table_state(record, table, workers=workers, is_left=is_left, is_paused=is_paused)
                known = drawn[task_id] = facts, _view(table, state, workers, rate)
            views.append(known[1])
        return views


def _view(table: TableCounters, state: TableState, workers: int, rate: float) -> TableProgress:
    rate = rate if state is TableState.COPYING else 0.0
    total = max(table.total, table.read)
    has_eta = rate > 0 and table.read >= total * ETA_AFTER_SHARE
    return TableProgress(
        namespace=table.namespace,
        table=table.table,
        total=total,
        read=table.read,
        written=table.written,
        rejected=table.rejected,
        altered=dict(table.altered),
        source_count=table.source_count,
        target_count=table.target_count,
        ok=table.ok,
        state=state.value,
        workers=workers,
        rows_per_s=rate,
        eta_s=(total - table.read) / rate if has_eta else None,
    )


def table_state(record: RunRecord, table: TableCounters, *, workers: int, is_left: bool, is_paused: bool) -> TableState:
    """What is going on with a table.

    Args:
        workers: that are at it.
        is_left: there is something left to copy of it.
    """
    if table.n_parked:
        return TableState.PARKED
    if table.ok is False:
        return TableState.DIFFERS
    if record.state is RunState.COMPLETED:
        return TableState.DONE
    if record.state.is_over:
        return TableState.STOPPED if is_left else TableState.COPIED
    if table.stage:
        return TableState(table.stage)
    if not is_left:
        return TableState.COPIED
    if is_paused and workers:
        return TableState.PAUSED
    return TableState.COPYING if workers else TableState.PAUSED if is_paused and table.read else TableState.WAITING
