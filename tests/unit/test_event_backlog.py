"""What an engine keeps of its events for one who attaches later."""

from __future__ import annotations

from engine.protocol import (
    DocumentsSeeded,
    Event,
    KnobChanged,
    ProblemReported,
    RunRecounted,
    RunState,
    ServersStarted,
    SliceCommitted,
    StateEntered,
    TotalChanged,
)
from engine.service.event_backlog import N_KEPT, N_LASTING, EventBacklog


def test_hours_of_slices_push_nothing_out() -> None:
    backlog = EventBacklog()
    told: list[Event] = [
        ServersStarted(at=0.0),
        StateEntered(at=1.0, state=RunState.RUNNING),
        KnobChanged(at=2.0, knob="throttle", value=1),
        ProblemReported(at=3.0, message="x"),
    ]
    for event in told:
        backlog.add(event)
        for number in range(N_KEPT):
            backlog.add(SliceCommitted(at=event.at, task_id=1, read=number, written=number))
            backlog.add(RunRecounted(at=event.at, tables=[], bytes=number))
            backlog.add(DocumentsSeeded(at=event.at, documents=number))
            backlog.add(TotalChanged(at=event.at, task_id=1, total=number))
    assert backlog.events() == told


def test_a_flood_of_problems_leaves_servers_and_knobs_where_they_were() -> None:
    backlog = EventBacklog()
    backlog.add(ServersStarted(at=0.0))
    for number in range(2 * N_KEPT):
        backlog.add(ProblemReported(at=float(number), message="x"))
        if number == N_KEPT + 500:
            backlog.add(KnobChanged(at=float(number), knob="throttle", value=number))
    kept = backlog.events()
    assert len(kept) == N_KEPT + 2
    assert kept[0].kind == "servers"
    assert kept[502].kind == "knob"
    assert [event.at for event in kept] == sorted(event.at for event in kept)


def test_a_knob_turned_without_end_takes_a_fixed_amount_of_memory() -> None:
    backlog = EventBacklog()
    for number in range(10 * N_LASTING):
        backlog.add(KnobChanged(at=float(number), knob="throttle", value=number))
    assert [event.at for event in backlog.events()] == [float(at) for at in range(9 * N_LASTING, 10 * N_LASTING)]
