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
from engine.service.event_backlog import N_KEPT, N_LASTING, Chronicle


def test_hours_of_slices_push_nothing_out() -> None:
    chronicle = Chronicle()
    told: list[Event] = [
        ServersStarted(at=0.0),
        StateEntered(at=1.0, state=RunState.RUNNING),
        KnobChanged(at=2.0, knob="throttle", value=1),
        ProblemReported(at=3.0, message="x"),
    ]
    for event in told:
        chronicle.add(event)
        for number in range(N_KEPT):
            chronicle.add(SliceCommitted(at=event.at, task_id=1, read=number, written=number))
            chronicle.add(RunRecounted(at=event.at, tables=[], bytes=number))
            chronicle.add(DocumentsSeeded(at=event.at, documents=number))
            chronicle.add(TotalChanged(at=event.at, task_id=1, total=number))
    assert chronicle.events() == told


def test_a_flood_of_problems_leaves_servers_and_knobs_where_they_were() -> None:
    chronicle = Chronicle()
    chronicle.add(ServersStarted(at=0.0))
    for number in range(2 * N_KEPT):
        chronicle.add(ProblemReported(at=float(number), message="x"))
        if number == N_KEPT + 500:
            chronicle.add(KnobChanged(at=float(number), knob="throttle", value=number))
    kept = chronicle.events()
    assert len(kept) == N_KEPT + 2
    assert kept[0].kind == "servers"
    assert kept[502].kind == "knob"
    assert [event.at for event in kept] == sorted(event.at for event in kept)


def test_a_knob_turned_without_end_takes_a_fixed_amount_of_memory() -> None:
    chronicle = Chronicle()
    for number in range(10 * N_LASTING):
        chronicle.add(KnobChanged(at=float(number), knob="throttle", value=number))
    assert [event.at for event in chronicle.events()] == [float(at) for at in range(9 * N_LASTING, 10 * N_LASTING)]
