"""What an engine keeps of its events for one who attaches later."""

from __future__ import annotations

from engine.protocol import Event
from engine.service.event_backlog import N_KEPT, N_LASTING, Chronicle


def test_hours_of_slices_push_nothing_out() -> None:
    chronicle = Chronicle()
    told = [Event(kind=kind, at=float(at)) for at, kind in enumerate(["servers", "state", "knob", "problem"])]
    for event in told:
        chronicle.add(event)
        for number in range(N_KEPT):
            for kind in ("slice", "recount", "seeded", "total"):
                chronicle.add(Event(kind=kind, at=event.at, facts={"n": number}))
    assert chronicle.events() == told


def test_a_flood_of_problems_leaves_servers_and_knobs_where_they_were() -> None:
    chronicle = Chronicle()
    chronicle.add(Event(kind="servers", at=0.0))
    for number in range(2 * N_KEPT):
        chronicle.add(Event(kind="problem", at=float(number)))
        if number == N_KEPT + 500:
            chronicle.add(Event(kind="knob", at=float(number)))
    kept = chronicle.events()
    assert len(kept) == N_KEPT + 2
    assert kept[0].kind == "servers"
    assert kept[502].kind == "knob"
    assert [event.at for event in kept] == sorted(event.at for event in kept)


def test_a_knob_turned_without_end_takes_a_fixed_amount_of_memory() -> None:
    chronicle = Chronicle()
    for number in range(10 * N_LASTING):
        chronicle.add(Event(kind="knob", at=float(number)))
    assert [event.at for event in chronicle.events()] == [float(at) for at in range(9 * N_LASTING, 10 * N_LASTING)]
