"""What more workers would only wait for, too."""

from __future__ import annotations

import pytest

from engine.protocol import SourceVitals, TargetVitals, VitalsView, WaitView, WorkerState, WorkerView
from engine.tuning.obstacles import LOOKS, Obstacles


def workers(number: int, *, cpu: float = 0.1, reading: float = 0.0) -> list[WorkerView]:
    return [
        WorkerView(id=each, pid=each, state=WorkerState.WRITING, cpu=cpu, reading=reading) for each in range(number)
    ]


def waiting(*waits: tuple[str, str, int]) -> VitalsView:
    views = [WaitView(kind=kind, event=event, sessions=sessions) for kind, event, sessions in waits]
    return VitalsView(target=TargetVitals(waits=views), source=SourceVitals())


def reading(used: int, tickets: int = 128) -> VitalsView:
    return VitalsView(source=SourceVitals(read_tickets_used=used, read_tickets=tickets))


def seen(vitals: VitalsView | None, at_work: list[WorkerView], times: int = LOOKS) -> str:
    obstacles = Obstacles(4)
    for _ in range(times):
        obstacles.look(vitals, at_work)
    return obstacles.words


@pytest.mark.parametrize(
    ("vitals", "words"),
    [
        (waiting(("LWLock", "WALWrite", 14), ("", "", 2)), "14 of 16 sessions wait for WALWrite"),
        (waiting(("IO", "DataFileExtend", 8), ("Lock", "extend", 5)), "13 of 16 sessions wait for DataFileExtend"),
        (waiting(("IPC", "SyncRep", 16)), "16 of 16 sessions wait for SyncRep"),
        (waiting(("Client", "ClientRead", 14), ("LWLock", "WALWrite", 2)), ""),
        (waiting(("LWLock", "BufferMapping", 16)), ""),
        (waiting(("LWLock", "WALWrite", 4)), ""),  # the others have no statement just now
        (waiting(), ""),
        (None, ""),
    ],
)
def test_most_sessions_wait_for_what_they_share(vitals: VitalsView | None, words: str) -> None:
    assert seen(vitals, workers(16)) == words


def test_all_read_tickets_are_used_and_workers_wait_for_documents() -> None:
    assert seen(reading(128), workers(16, reading=0.9)) == "all 128 read tickets of MongoDB are used"
    assert seen(reading(127), workers(16, reading=0.9)) == ""
    assert seen(reading(128), workers(16, reading=0.3)) == ""


def test_the_processors_of_this_machine_are_busy() -> None:
    assert seen(None, workers(4, cpu=0.95)) == "the workers keep 3.8 of 4 processors of this machine busy"
    assert seen(None, workers(4, cpu=0.8)) == ""
    assert seen(None, []) == ""


def test_what_is_there_for_a_moment_is_no_obstacle() -> None:
    busy = waiting(("LWLock", "WALWrite", 16))
    assert seen(busy, workers(16), times=3) == ""
    obstacles = Obstacles(4)
    for number in range(LOOKS):
        obstacles.look(busy if number % 2 else None, workers(16))
    assert obstacles.words == ""
