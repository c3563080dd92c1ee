"""Driving real engines from a test, and comparing both sides with code of the tests' own, not the engine's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest
import pytest_asyncio
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pydantic import BaseModel

from engine import protocol
from engine.config import Settings
from engine.protocol import Event, RunState, Snapshot, WorkerView
from engine.service.client import EngineClient
from engine.service.launching import EngineProcess, launch
from engine.work.users import UserPages
from tests.remains import advisory_locks as advisory_locks
from tests.remains import remains_here, text_of
from tests.remains import sessions as sessions
from tests.signals import send_signal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

WAIT_S = 60.0
"""For anything that an engine is waited for; far more than it takes, even on a busy machine."""
GONE_S = 30.0
"""For an engine whose last client has left, with a run to roll back: a second on a machine that has nothing else to do."""
POLL_S = 0.02
EXAMPLES = 3
LOCK_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

T = TypeVar("T")


# --- one engine -------------------------------------------------------------------------------------------------------


class Engine:
    """An engine process and one client of it; events and the newest snapshot are collected all the time."""

    def __init__(self, process: EngineProcess, client: EngineClient) -> None:
        self.process = process
        self.client = client
        self.events: list[Event] = []
        self.may_fail_inside = False
        """Set where the engine is expected to log a traceback."""
        self.struck: set[int] = set()
        """Workers that were sent a signal."""
        self._news = asyncio.Event()
        self._collecting = asyncio.create_task(self._collect(), name="collect")

    @property
    def pid(self) -> int:
        """Of the engine process; its children belong to the session of this number."""
        return self.process.process.pid

    @property
    def snapshot(self) -> Snapshot:
        """The newest one."""
        return self.client.snapshot

    @property
    def run_id(self) -> str:
        """Of the run; a resumed one keeps its own."""
        return self.snapshot.run_id

    async def start(self, **command: Any) -> Snapshot:
        """Start the run."""
        return await self.client.ask(Snapshot, protocol.Start(**command))

    def ask_later(self, command: BaseModel) -> asyncio.Task[Any]:
        """Ask for something that takes its time; the answer is the task's."""
        return asyncio.create_task(self.client.call(command), name="question")

    async def pause(self) -> None:
        """Ask for a pause and wait until it is through."""
        await self.client.call(protocol.Pause())
        await self.until_state(RunState.PAUSED)

    async def resume(self) -> None:
        """Go on after a pause."""
        await self.client.call(protocol.Resume())

    async def cancel(self, *, now: bool = False) -> None:
        """Cancel the run, answered at once."""
        await self.client.call(protocol.Cancel(now=now))

    async def set(self, knob: str, value: int | str) -> dict[str, Any]:
        """Turn a knob; what the engine answers."""
        answer: dict[str, Any] = await self.client.call(protocol.SetKnob(knob=knob, value=value))
        return answer

    async def until(self, holds: Callable[[Snapshot], object], what: str) -> Snapshot:
        """The first snapshot from now on that fulfils a condition."""
        return await self._wait(lambda: self.snapshot if holds(self.snapshot) else None, what)

    async def until_state(self, *states: RunState) -> Snapshot:
        """The run is in one of these states."""
        return await self.until(lambda now: now.state in states, f"state {' or '.join(states)}")

    async def until_written(self, rows: int) -> Snapshot:
        """So many rows are committed, and the run goes on."""
        return await self.until(
            lambda now: now.written >= rows and now.state is RunState.RUNNING, f"{rows} rows while running"
        )

    async def event(self, kind: str, holds: Callable[[dict[str, Any]], object] = lambda _: True) -> Event:
        """The first event of a kind whose facts fulfil a condition, seen already or still to come."""
        return await self._wait(
            lambda: next((event for event in self.events if event.kind == kind and holds(event.facts)), None),
            f"event {kind}",
        )

    async def finished(self) -> dict[str, Any]:
        """The facts of the run's end; the newest snapshot shows it, too. The ledger has it a moment later: `end_kept`."""
        facts = (await self.event("finished")).facts
        await self.until(lambda now: now.state.is_over, "a snapshot of the end")
        return facts

    def facts_of(self, kind: str) -> list[dict[str, Any]]:
        """The facts of all events of a kind so far."""
        return [event.facts for event in self.events if event.kind == kind]

    async def _wait(self, find: Callable[[], T | None], what: str) -> T:
        try:
            async with asyncio.timeout(WAIT_S):
                while (found := find()) is None:
                    assert not self.client.is_closed, f"the engine has ended before {what}\n{self.account()}"
                    self._news.clear()
                    await self._news.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"no {what} within {WAIT_S:.0f} s\n{self.account()}") from None

    async def _collect(self) -> None:
        async for message in self.client.messages():
            if isinstance(message, Event):
                self.events.append(message)
            self._news.set()
        self._news.set()

    def account(self) -> str:
        """Where it stands, for a failed test's message."""
        shown = self.snapshot.model_dump(
            mode="json",
            include={"state", "phase", "error", "written", "total", "cluster_size", "workers_alive", "problems", "seeded",
                     "partitions_done", "partitions_total"},
        )  # fmt: skip
        workers = [(worker.id, worker.state.value, worker.written) for worker in self.snapshot.workers]
        return f"{json.dumps(shown)}\nworkers {workers}\nlog:\n{text_of(self.process.log)[-3000:]}"

    # --- its processes ------------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """Pid to command line of the engine and everything that it has started."""
        return processes_of_session(self.pid)

    @property
    def pids(self) -> Set[int]:
        """Of the engine and of every worker that it told of."""
        return {self.pid, *(facts["pid"] for facts in self.facts_of("worker"))}

    def fork_server(self) -> int:
        """The pid of the process that workers are forked from."""
        return next(pid for pid in self.processes() if name_of(pid) == "mongopg-workers" and parent_of(pid) == self.pid)

    async def strike(
        self,
        chosen: Callable[[WorkerView], object] = lambda _: True,
        *,
        number: signal.Signals = signal.SIGKILL,
        what: str = "a living worker",
    ) -> WorkerView:
        """Send a signal to a living worker that had none yet, and fulfils a condition; which one it was.

        A snapshot is older than the moment: a worker that has ended since, such as one that was not wanted any more, is passed
        over.
        """

        def struck() -> WorkerView | None:
            alive = self.processes()
            for worker in self.snapshot.workers:
                if not (worker.host or worker.pid in alive) or worker.pid in self.struck or not chosen(worker):
                    continue
                if send_signal(worker.pid, number):
                    self.struck.add(worker.pid)
                    return worker
            return None

        return await self._wait(struck, what)

    def kill(self) -> None:
        """SIGKILL to the engine process alone."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.process.wait()

    async def until_gone(self, within_s: float = GONE_S) -> None:
        """Nothing of it is left: neither the engine, nor a worker, nor the fork server."""
        self.process.process.poll()
        await eventually(lambda: self.process.wait(0) is not None and not self.processes(), within_s, self.account)

    async def leave(self) -> None:
        """Drop the connection; as an owner, what happens to the run is up to `on_disconnect`."""
        await self.client.close()
        await self._collecting


def processes_of_session(session: int) -> dict[int, str]:
    """Pid to command line of the living processes of a session; a zombie is not alive."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found[int(process.name)] = command[:200]
    return found


def is_alive(pid: int) -> bool:
    """There is such a process, in whichever session; a zombie is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def name_of(pid: int) -> str:
    """What a process is called; empty when there is none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def parent_of(pid: int) -> int:
    """The pid of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def eventually(holds: Callable[[], object], within_s: float, account: Callable[[], object]) -> None:
    """Wait for a condition that is not announced."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {account()}"
        await asyncio.sleep(POLL_S)


async def waiting_for_a_lock(target: Target) -> None:
    """A session in this database waits for a lock that another one holds."""
    await eventually(lambda: target.value(LOCK_WAITS), WAIT_S, lambda: "no session waits for a lock")


async def end_kept(target: Target, engine: Engine) -> None:
    """The ledger has the end of the run, which clients are told of before."""
    ended = "SELECT ended_at IS NOT NULL FROM mongopg.run WHERE run_id = $1"
    await eventually(lambda: target.value(ended, engine.run_id), WAIT_S, engine.account)


async def nothing_open(target: Target) -> None:
    """No session of ours stays within a transaction; a statement of the moment, such as the ledger's, is none that stays."""
    await eventually(lambda: not open_transactions(target), WAIT_S, lambda: open_transactions(target))


# --- the engines of one test ------------------------------------------------------------------------------------------


@dataclass
class Engines:
    """Launches engines between the source and the target of a test, and sees to it that they leave nothing behind."""

    source: Source
    target: Target
    order: str = "auto"
    """`run.order` where a test's settings name none."""
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the settings of each, such as where its workers run."""
    launched: list[Engine] = field(default_factory=list)

    def settings(self, *collections: str, **sections: dict[str, Any]) -> Settings:
        """Settings for these collections of the source; sections as in the file, `run={"cluster_size": 2}`."""
        names = [f"{self.source.database}.{name}" for name in collections]
        run: dict[str, Any] = {"collections": names, "cluster_size": 2, "order": self.order}
        seed = {"collection": f"{self.source.database}.users"}
        return Settings.model_validate(
            {"source": {"uri": self.source.uri}, "target": {"uri": self.target.uri}}
            | self.sections
            | sections
            | {"run": run | sections.get("run", {}), "seed": seed | sections.get("seed", {})}
        )

    async def launch(
        self, settings: Settings | None = None, *, on_disconnect: Literal["continue", "cancel"] = "cancel"
    ) -> Engine:
        """A new engine with us as its owner; the settings default to the collection `users`."""
        process = await asyncio.to_thread(launch, settings or self.settings("users"))
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect=on_disconnect)
        engine = Engine(process, client)
        self.launched.append(engine)
        return engine

    async def run(self, settings: Settings | None = None, **command: Any) -> tuple[Engine, dict[str, Any]]:
        """A whole run: the engine, which has ended the run but lives on, and the facts of its end."""
        engine = await self.launch(settings)
        await engine.start(**command)
        return engine, await engine.finished()

    async def end(self) -> None:
        """End everything, and fail when something is left or went wrong unseen."""
        for engine in self.launched:
            await engine.leave()
        try:
            for engine in self.launched:
                await engine.until_gone()
        finally:
            for engine in self.launched:
                for pid in engine.processes():
                    send_signal(pid, signal.SIGKILL)
                engine.process.process.wait()
        await eventually(
            lambda: not sessions(self.target) and not advisory_locks(self.target),
            GONE_S,
            lambda: [*sessions(self.target), *advisory_locks(self.target)],
        )
        for engine in self.launched:
            left = remains_here(engine.pids, engine.process.log)
            assert not left, left
            log = text_of(engine.process.log)
            assert engine.may_fail_inside or "Traceback (most recent call last)" not in log, log[-5000:]


@contextmanager
def folders_of_engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Engines' sockets and logs lie in a folder of the test, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="mongopg-test-") as folder:
        for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            monkeypatch.setenv(variable, folder)
        yield


@pytest_asyncio.fixture
async def engines(source: Source, target: Target, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engines]:
    """Engines between the source and the target of the test."""
    with folders_of_engines(monkeypatch):
        engines = Engines(source, target)
        try:
            yield engines
        finally:
            await engines.end()


def open_transactions(target: Target) -> list[str]:
    """Sessions of ours that are within a transaction, in words."""
    rows = target.rows(
        "SELECT pid, application_name, state, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'mongopg-tui') AND xact_start IS NOT NULL"
    )
    return [" ".join(map(str, row)) for row in rows]


# --- documents, and the comparison ------------------------------------------------------------------------------------


def add_users(source: Source, count: int, *, collection: str = "users", first: int = 0, seed: int = 1) -> None:
    """Insert synthetic users of the indexes from `first` on."""
    handle = source.db[collection]
    pages = UserPages(seed)
    for low in range(first, first + count, 10_000):
        users = pages.documents(low, min(low + 10_000, first + count))
        handle.insert_many(map(RawBSONDocument, users), ordered=False)


def committed(target: Target, table: str = "users") -> int:
    """Rows of a table that anybody can see; 0 before there is one."""
    if target.value("SELECT to_regclass($1) IS NULL", table):
        return 0
    return int(target.value(f"SELECT count(*) FROM {table}"))


def assert_users_equal(
    source: Source,
    target: Target,
    *,
    collection: str = "users",
    table: str = "users",
    without: Iterable[ObjectId] = (),
) -> None:
    """Every user of the collection is in the table exactly once, with its values, and nothing else is.

    Args:
        without: `_id`s of documents that are to be missing, because they are rejects.
    """
    fields = {"username": 1, "age": 1, "balance": 1, "active": 1, "registeredAt": 1, "address.city": 1}
    documents = {
        str(user["_id"]): (
            user["username"], user["age"], user["balance"], user["active"], user["registeredAt"].replace(tzinfo=UTC),
            user["address"]["city"],
        )
        for user in source.db[collection].find({"_id": {"$nin": list(without)}}, fields)
    }  # fmt: skip
    rows = [
        (row[0], tuple(row)[1:])
        for row in target.rows(
            f"SELECT _id, username, age, balance, active, registered_at, address ->> 'city' FROM {table}"
        )
    ]
    assert_same(documents, rows)


def differences(documents: dict[Any, Any], rows: list[tuple[Any, Any]]) -> dict[str, list[Any]]:
    """How the rows, each key and value, are not the documents: missing, too many, twice, different; empty when they are."""
    times = Counter(key for key, _ in rows)
    in_target = dict(rows)
    wrong: dict[str, list[Any]] = {
        "missing": [key for key in documents if key not in times],
        "too many": [key for key in times if key not in documents],
        "twice": [key for key, count in times.items() if count > 1],
        "different": [
            (key, value, in_target[key]) for key, value in documents.items() if in_target.get(key, value) != value
        ],
    }
    return {what: which for what, which in wrong.items() if which}


def assert_same(documents: dict[Any, Any], rows: list[tuple[Any, Any]]) -> None:
    """The rows, each key and value, are the documents: none is missing, none too many, none twice, none different."""
    found = {what: (len(which), which[:EXAMPLES]) for what, which in differences(documents, rows).items()}
    assert not found, f"{len(documents)} documents, {len(rows)} rows: {found}"


def assert_ledger(target: Target, run_id: str, *, rows: int, rejected: int = 0) -> None:
    """What the ledger says of a run: counts that hold in each slice and together, and a sealed end of each partition."""
    slices = target.rows("SELECT * FROM mongopg.slice WHERE run_id = $1 ORDER BY partition_id, slice_no", run_id)
    assert all(each["n_read"] == each["n_written"] + each["n_rejected"] for each in slices)
    assert sum(each["n_written"] for each in slices) == rows
    assert sum(each["n_rejected"] for each in slices) == rejected
    assert target.value("SELECT count(*) FROM mongopg.reject WHERE run_id = $1", run_id) == rejected
    ended = [each["partition_id"] for each in slices if each["final"]]
    partitions = target.rows("SELECT partition_id FROM mongopg.partition WHERE run_id = $1 ORDER BY 1", run_id)
    assert ended == [each["partition_id"] for each in partitions]
