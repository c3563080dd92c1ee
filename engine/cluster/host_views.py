"""The hosts of a cluster of several as front ends show them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.cluster.crew import Host
from engine.protocol import HostView, WorkerState, WorkerView

_WITHOUT_WORK = frozenset({WorkerState.STARTING, WorkerState.IDLE, WorkerState.PAUSED})


def host_views(hosts: Sequence[Host], workers: Sequence[WorkerView]) -> list[HostView]:
    """Each host with what its workers do together, by name; none where all workers are on the engine's host.

    Args:
        hosts: those of the crew; one that only workers name, as in a recording, is there as well.
        workers: as they are shown.
    """
    known = {host.name: host for host in hosts}
    names = sorted(known.keys() | {worker.host for worker in workers if worker.host})
    return [_view(name, known.get(name), [each for each in workers if each.host == name]) for name in names]


def _view(name: str, host: Host | None, workers: Sequence[WorkerView]) -> HostView:
    view = HostView(
        name=name,
        workers=sum(bool(worker.pid) for worker in workers),
        busy=sum(worker.state not in _WITHOUT_WORK for worker in workers),
        rows_per_s=sum(worker.rows_per_s for worker in workers),
        written=sum(worker.written for worker in workers),
    )
    if host is None:
        return view
    return view.model_copy(
        update={
            "slots": host.slots,
            "round_trip_ms": round(host.round_trip_s * 1e3, 2) if host.round_trip_s else None,
            "load": host.load if host.cores else None,
            "cores": host.cores,
            "version": host.version,
            "problem": host.problem,
        }
    )
