"""What takes the place of a partition that is cut again, where the ledger knows more than the leases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.cluster.leases import CopyLeases
from engine.errors import ConnectError, MigrationError
from engine.mongo import connect as mongo
from engine.mongo import partition
from engine.mongo.reader import Range
from engine.run import cutting as cutting_module
from engine.run.cutting import Cutting
from engine.work.messages import CopyLease

WHOLE = CopyLease(task_id=0, partition_id=0, slice_no=0, lower=None, lower_inclusive=True, upper=None)


class Journal:
    """A ledger that answers as told."""

    def __init__(self, *answers: bool | Exception) -> None:
        self._answers = list(answers)
        self.cuts: list[list[CopyLease]] = []

    async def replace_partition(self, partition_id: int, pieces: list[CopyLease]) -> bool:
        self.cuts.append(pieces)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def copying_with(journal: Journal, *, rest: CopyLease | None = None) -> Any:
    async def as_in_the_ledger(lease: CopyLease) -> CopyLease | None:
        return rest

    return SimpleNamespace(
        tasks={0: SimpleNamespace(database="shop", collection="users")},
        leases=CopyLeases(next_id=1),
        journal=journal,
        extents=SimpleNamespace(cut=lambda lease, pieces: None),
        as_in_the_ledger=as_in_the_ledger,
    )


@pytest.fixture(autouse=True)
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "split", lambda *_: [Range(None, b"m"), Range(b"m", None)])


async def pieces_of(copying: Any) -> list[CopyLease]:
    migration = SimpleNamespace(emit=lambda *_, **__: None)
    client = cast(mongo.Client, {"shop": {"users": None}})
    return await Cutting(copying, cast(Any, migration))._cut_one(client, WHOLE, 2)


async def test_a_partition_that_nobody_began_is_cut() -> None:
    journal = Journal(True)
    assert [piece.partition_id for piece in await pieces_of(copying_with(journal))] == [1, 2]


async def test_a_cut_whose_answer_was_lost_is_asked_for_again_with_the_same_pieces() -> None:
    journal = Journal(ConnectError("PostgreSQL is away."), True)
    assert [piece.partition_id for piece in await pieces_of(copying_with(journal))] == [1, 2]
    assert journal.cuts[0] == journal.cuts[1]


async def test_a_partition_with_a_slice_that_was_in_doubt_goes_on_from_there() -> None:
    rest = CopyLease(task_id=0, partition_id=0, slice_no=1, lower=b"k", lower_inclusive=False, upper=None)
    assert await pieces_of(copying_with(Journal(False), rest=rest)) == [rest]


async def test_a_partition_that_is_done_after_all_leaves_nothing_to_do() -> None:
    copying = copying_with(Journal(False), rest=None)
    assert await pieces_of(copying) == []
    assert copying.leases.n_done == 1


async def test_a_source_that_cannot_be_asked_leaves_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> list[Range]:
        raise ConnectError("MongoDB is away.")

    monkeypatch.setattr(partition, "split", fail)
    assert await pieces_of(copying_with(Journal())) == [WHOLE]


async def test_a_ledger_of_which_nobody_knows_what_it_has_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[MigrationError] = []
    migration = SimpleNamespace(fail=failed.append, dispatch=lambda: None)
    cutting = Cutting(cast(Any, None), cast(Any, migration))

    async def break_down() -> None:
        raise OSError("no ledger")

    monkeypatch.setattr(cutting_module.log, "error", lambda *_, **__: None)
    task = cutting_module.asyncio.create_task(break_down())
    await cutting_module.asyncio.wait({task})
    cutting._done(task)
    assert "could not be cut" in failed[0].message
