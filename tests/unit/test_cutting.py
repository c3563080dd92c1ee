"""What takes the place of a partition that is cut again, where the ledger knows more than the leases."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.errors import ConnectError, MigrationError
from engine.ledger.partitions import Partition
from engine.mongo import connect as mongo
from engine.mongo import partition
from engine.mongo.reader import Range
from engine.run import cutting as cutting_module
from engine.run.copy_leases import CopyLeases
from engine.run.cutting import Cutting
from engine.work.messages import CopyLease, CopyTask

WHOLE = CopyLease(task_id=0, partition_id=0, slice_no=0, lower=None, lower_inclusive=True, upper=None)


class Ledger:
    """A ledger that answers as told."""

    app_name = "test"

    def __init__(self, *answers: bool | Exception) -> None:
        self._answers = list(answers)
        self.cuts: list[list[Partition]] = []

    async def replace_partition(self, partition_id: int, pieces: list[Partition]) -> bool:
        self.cuts.append(pieces)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Copied:
    """A copy whose only partition is cut for one worker, and what becomes of it."""

    def __init__(self, ledger: Ledger, *, rest: CopyLease | None = None) -> None:
        async def as_in_the_ledger(lease: CopyLease) -> CopyLease | None:
            return rest

        task = CopyTask("run", 0, "shop", "users", "public", "users", cast(Any, None), "create", has_range_reads=True)
        self.leases = CopyLeases(next_id=1)
        self.leases.add([WHOLE])
        self.failed: list[MigrationError] = []
        job = SimpleNamespace(
            tasks={0: task},
            leases=self.leases,
            may_grow=True,
            open=SimpleNamespace(has=lambda lease: False),
            sizes=SimpleNamespace(cut=lambda lease, pieces: None),
            as_in_the_ledger=as_in_the_ledger,
        )
        context = SimpleNamespace(
            emit=lambda *_, **__: None,
            fail=self.failed.append,
            cluster=SimpleNamespace(dispatch=lambda: None),
            settings=SimpleNamespace(source=SimpleNamespace(connection="")),
        )
        self._cutting = Cutting(cast(Any, context), cast(Any, job), cast(Any, ledger))

    async def pieces(self) -> list[CopyLease]:
        self._cutting.begin(1)
        while self._cutting.is_going_on:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        return list(self.leases.waiting)


class Client(dict[str, Any]):
    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "split", lambda *_: [Range(None, b"m"), Range(b"m", None)])
    monkeypatch.setattr(mongo, "connect", lambda *_, **__: Client(shop={"users": None}))


async def test_a_partition_that_no_worker_began_is_cut() -> None:
    copied = Copied(Ledger(True))
    assert [piece.partition_id for piece in await copied.pieces()] == [1, 2]
    assert (copied.leases.n_total, copied.leases.n_done) == (2, 0)


async def test_a_cut_whose_answer_was_lost_is_asked_for_again_with_the_same_pieces() -> None:
    ledger = Ledger(ConnectError("PostgreSQL is away."), True)
    assert [piece.partition_id for piece in await Copied(ledger).pieces()] == [1, 2]
    assert ledger.cuts[0] == ledger.cuts[1]


async def test_a_partition_with_a_slice_that_was_in_doubt_goes_on_from_there() -> None:
    rest = CopyLease(task_id=0, partition_id=0, slice_no=1, lower=b"k", lower_inclusive=False, upper=None)
    assert await Copied(Ledger(False), rest=rest).pieces() == [rest]


async def test_a_partition_that_is_done_after_all_leaves_nothing_to_do() -> None:
    copied = Copied(Ledger(False), rest=None)
    assert await copied.pieces() == []
    assert copied.leases.n_done == 1
    assert copied.leases.is_finished


async def test_a_source_that_cannot_be_asked_leaves_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> list[Range]:
        raise ConnectError("MongoDB is away.")

    monkeypatch.setattr(partition, "split", fail)
    assert await Copied(Ledger()).pieces() == [WHOLE]


async def test_a_ledger_of_which_nothing_is_known_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting_module.log, "error", lambda *_, **__: None)
    copied = Copied(Ledger(ValueError("no ledger")))
    await copied.pieces()
    assert "could not be cut" in copied.failed[0].message
