"""An engine that says what a test tells it to: the protocol on a real Unix socket, nothing behind it.

For tests of the screens alone. It runs in a thread with a loop of its own, so it serves an app that a test drives as well as
one that the snapshot fixture runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.config import Settings
from engine.errors import KnobError, UsageError
from engine.knobs import CLUSTER_SIZE, KNOBS, Auto
from engine.protocol import (
    Attached,
    CollectionInfo,
    DatabaseInfo,
    Event,
    FollowView,
    MakePlan,
    Preflight,
    PreflightReport,
    RangeView,
    RejectsReport,
    RetryReport,
    RunState,
    ServerReport,
    Snapshot,
    TableProgress,
    TuningView,
    WorkerState,
    WorkerView,
    handshake,
    read_event,
)
from tests.tui.scripted_answers import (
    PLAN_WARNINGS,
    RUNS,
    TOML,
    discard_preview,
    plan_view,
    preflight_report,
    recording,
    rejected_page,
    rejects_report,
    run_report,
    verify_report,
)

RUN_ID = "20261123-1402-k3f9"
SOURCE = "mongodb://app:***@db1:27017/shop"
TARGET = "postgresql://mig:***@pg1:5432/shop"
WAIT_S = 30.0

COLLECTIONS = [
    CollectionInfo(namespace="shop.customers", kind="collection", documents=812_004, size_bytes=220_200_960),
    CollectionInfo(namespace="shop.orders", kind="collection", documents=4_210_334, size_bytes=2_040_109_466),
    CollectionInfo(namespace="shop.products", kind="collection", documents=41_220, size_bytes=12_582_912),
    CollectionInfo(namespace="shop.recent", kind="view", documents=-1, size_bytes=0),
]
ELSEWHERE = CollectionInfo(namespace="crm.leads", kind="collection", documents=12, size_bytes=4_096)
DATABASES = [DatabaseInfo(name="crm", size_bytes=73_728), DatabaseInfo(name="shop", size_bytes=1_203_109_466)]
REPORTS = {
    "source": ServerReport(
        side="source", uri=SOURCE, ok=True, message="connected", version="7.0.12", latency_ms=12.0,
        detail="replica set rs0", tls="no TLS",
    ),
    "target": ServerReport(
        side="target", uri=TARGET, ok=True, message="connected", version="16.4", latency_ms=3.0,
        detail="88 of 100 connections free", tls="TLS, verified", free_connections=88,
    ),
}  # fmt: skip
_STATES = (WorkerState.READING, WorkerState.CONVERTING, WorkerState.WRITING)


def worker(number: int, **changes: Any) -> WorkerView:
    """A worker that is busy; the numbers follow from its own."""
    facts: dict[str, Any] = {
        "id": number,
        "pid": 4_000 + number,
        "state": _STATES[number % 3],
        "collection": "shop.orders" if number % 2 else "shop.customers",
        "partition": 100 + number,
        "range": RangeView(done=1_000 * (number % 9), total=10_000, is_exact=False),
        "written": 380_000 + 1_250 * number,
        "sent": 381_000 + 1_250 * number,
        "rows_per_s": 6_200.0 - 310.0 * (number % 7),
    }
    return WorkerView(**(facts | changes))


def table(name: str, rows: int, **changes: Any) -> TableProgress:
    """A table of which everything has arrived."""
    facts: dict[str, Any] = {
        "namespace": f"shop.{name}", "table": f"public.{name}", "total": rows, "read": rows, "written": rows,
        "rejected": 0, "source_count": rows, "target_count": rows, "ok": True,
    }  # fmt: skip
    return TableProgress(**(facts | changes))


def idle() -> Snapshot:
    """Before a run."""
    return Snapshot(run_id=RUN_ID, state=RunState.IDLE, phase="idle", cluster_size=4, page_size=8_000)


def running(**changes: Any) -> Snapshot:
    """In the middle of a copy with four workers."""
    facts: dict[str, Any] = {
        "run_id": RUN_ID,
        "state": RunState.RUNNING,
        "phase": "copying",
        "source": SOURCE,
        "target": TARGET,
        "elapsed": 75.0,
        "read": 2_952_110,
        "written": 2_952_110,
        "total": 5_063_558,
        "rows_per_s": 41_220.0,
        "rows_per_s_mean": 39_361.0,
        "bytes_per_s": 19_293_798.0,
        "eta_s": 51.0,
        "cluster_size": 4,
        "workers_alive": 4,
        "page_size": 8_000,
        "converter": "native",
        "bottleneck": "waiting for PostgreSQL 61% of worker time",
        "partitions_done": 71,
        "partitions_total": 122,
        "workers": [worker(number) for number in range(1, 5)],
    }
    return Snapshot(**(facts | changes))


def completed(**changes: Any) -> Snapshot:
    """A run that ended well."""
    facts: dict[str, Any] = {
        "state": RunState.COMPLETED,
        "phase": "completed",
        "verification": "verified",
        "read": 853_224,
        "written": 853_224,
        "total": 853_224,
        "rows_per_s": 0.0,
        "bytes_per_s": 0.0,
        "eta_s": None,
        "workers": [],
        "workers_alive": 0,
        "tables": [table("customers", 812_004), table("products", 41_220)],
        "exit_code": 0,
    }
    return running(**(facts | changes))


def following(**changes: Any) -> Snapshot:
    """A run that has copied everything and follows; `follow` has what is otherwise with that."""
    facts: dict[str, Any] = {
        "phase": "following", "lag_s": 1.2, "events_per_s": 1_204.0, "applied_per_s": 1_188.0, "waiting": 312,
        "applied": 11_702, "oldest_s": 1.0, "ready": True, "oplog_left_s": 147_600.0, "read_lag_s": 1.0,
        "by_kind": {"insert": 2_100, "update": 9_500, "delete": 400},
    }  # fmt: skip
    state: dict[str, Any] = {
        "state": RunState.FOLLOWING,
        "phase": "following",
        "follow": FollowView(**(facts | changes.pop("follow", {}))),
        "written": 5_063_558,
        "read": 5_063_558,
        "rows_per_s": 0.0,
        "eta_s": None,
        "partitions_done": 122,
        "tables": [table("customers", 812_004, state="following"), table("orders", 4_251_554, state="following")],
    }
    return running(**(state | changes))


class ScriptedEngine:
    """Use as a context manager; connect to `socket`."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or idle()
        self.samples: list[tuple[float, float]] = []
        self.events: list[Event] = []
        self.reports = dict(REPORTS)
        self.collections = [*COLLECTIONS, ELSEWHERE]
        self.runs = list(RUNS)
        self.rejects = rejects_report("").groups
        self.first_reject = 0
        """`_id` of the first document of each reason."""
        self.recorded: list[Event] = []
        """What the ledger has of a run after its end."""
        self.excluded: dict[str, list[str]] = {}
        """Of a recorded run, by table."""
        self.recorded_end: dict[str, Any] = {}
        """What is otherwise in the last frame of a recording."""
        self.verified: dict[str, Any] = {}
        """What is otherwise in the report of a verification."""
        self.mode_of_rejects = "create"
        self.commands: list[dict[str, Any]] = []
        """Every command received, in order."""
        self.plan_text = TOML
        """What it proposes."""
        self.plan_warnings: Sequence[str] = PLAN_WARNINGS
        """What it warns of in the first of its tables."""
        self.preflight: PreflightReport | None = None
        """What it finds; None finds every table to be new."""
        self.refusals: dict[str, tuple[str, str]] = {}
        """Command name -> code and message to refuse it with."""
        self.is_mute = False
        """Receive commands, but do not answer."""
        self.held: set[str] = set()
        """Names of commands that are answered only when the test lets them go."""
        self._waiting: list[tuple[asyncio.StreamWriter, dict[str, Any]]] = []
        self.is_slow = False
        """Do not answer before this is over."""
        self.on_start: Callable[[ScriptedEngine], None] = lambda engine: engine.show(running())
        self.settings = Settings()
        self._folder = tempfile.TemporaryDirectory(prefix="scripted-engine-")
        self.socket = Path(self._folder.name) / f"{RUN_ID}.sock"
        self.log = Path(self._folder.name) / f"{RUN_ID}.log"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted engine", daemon=True)
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> ScriptedEngine:
        self._thread.start()
        self._in_loop(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()
        self._folder.cleanup()

    def _in_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    # --- what a test says ---

    def show(self, snapshot: Snapshot | None = None, **changes: Any) -> None:
        """Send a snapshot: this one, or the last one with changes."""
        self.snapshot = (snapshot or self.snapshot).model_copy(update=changes)
        self._broadcast({"snapshot": self.snapshot.model_dump(mode="json")})

    def tell(self, kind: str, at: float, **facts: Any) -> None:
        """Send an event."""
        event = read_event({"kind": kind, "at": at, "facts": facts})
        self.events.append(event)
        self._broadcast({"event": event.model_dump(mode="json")})

    def die(self) -> None:
        """Vanish, as a killed process does."""
        self._in_loop(self._close())

    def let_go(self, *names: str) -> None:
        """Answer what was held; of some commands only, when they are named."""

        def answer() -> None:
            self.held = self.held - set(names) if names else set()
            waiting, self._waiting = self._waiting, []
            for writer, message in waiting:
                if message["command"]["name"] in self.held:
                    self._waiting.append((writer, message))
                else:
                    self._reply(writer, message)

        self._loop.call_soon_threadsafe(answer)

    def drop_clients(self) -> None:
        """Cut the connections, and go on listening."""

        def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def received(self, name: str) -> list[dict[str, Any]]:
        """The commands of this name, in order."""
        return [command for command in self.commands if command["name"] == name]

    # --- the socket ---

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._converse, self.socket)

    async def _close(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        pending = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _broadcast(self, message: dict[str, Any]) -> None:
        def write() -> None:
            for writer in self._writers:
                writer.write(json.dumps(message).encode() + b"\n")

        self._loop.call_soon_threadsafe(write)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                message = json.loads(line)
                self.commands.append(message["command"])
                while self.is_slow:
                    await asyncio.sleep(0.01)
                if message["command"]["name"] in self.held:
                    self._waiting.append((writer, message))
                elif not self.is_mute:
                    self._reply(writer, message)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _reply(self, writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        reply = handshake.reply(message["id"], self._answer(message["command"]))
        writer.write(json.dumps(reply).encode() + b"\n")

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = command["name"]
        if name in self.refusals:
            code, message = self.refusals[name]
            return {"error": {"code": code, "message": message}}
        result: Any = {}
        match name:
            case "attach":
                result = Attached(
                    run_id=self.snapshot.run_id,
                    version="0",
                    log_path=str(self.log),
                    snapshot=self.snapshot,
                    samples=self.samples,
                    events=self.events,
                ).model_dump(mode="json")
            case "inspect":
                result = self.reports[command["side"]].model_dump(mode="json")
            case "databases":
                result = {"databases": [info.model_dump(mode="json") for info in DATABASES]}
            case "collections":
                database = command["database"] or "shop"
                listed = [info for info in self.collections if info.namespace.startswith(f"{database}.")]
                result = {"collections": [info.model_dump(mode="json") for info in listed]}
            case "retry":
                was = self.rejects
                if command["policies"]:
                    only = [each["reason"] for each in command["only"]]
                    self.rejects = [group for group in was if group.reason not in only]
                tried = sum(
                    group.count for group in was if group.reason in [each["reason"] for each in command["only"]]
                )
                left = sum(group.count for group in self.rejects)
                result = RetryReport(
                    run_id=command["run"], tried=tried, written=sum(group.count for group in was) - left,
                    already_there=0, left=left, groups=self.rejects,
                ).model_dump(mode="json")  # fmt: skip
            case "rejects":
                result = RejectsReport(
                    run_id=command["run"] or RUNS[0].run_id, mode=self.mode_of_rejects,
                    total=sum(group.count for group in self.rejects), groups=self.rejects,
                ).model_dump(mode="json")  # fmt: skip
            case "rejected":
                result = rejected_page(command, self.rejects, self.first_reject).model_dump(mode="json")
            case "plan":
                asked = MakePlan.model_validate(command)
                try:
                    toml = asked.plan or self.plan_text
                    result = plan_view(toml, asked.edits, self.preflight, self.plan_warnings).model_dump(mode="json")
                except UsageError as error:
                    return {"error": {"code": error.code, "message": error.message}}
            case "preflight":
                asked_for = Preflight.model_validate(command)
                result = (self.preflight or preflight_report(asked_for)).model_dump(mode="json")
            case "runs":
                result = {"runs": [info.model_dump(mode="json") for info in self.runs]}
            case "report":
                info = next((each for each in self.runs if each.run_id == command["run"]), self.runs[0])
                result = run_report(info).model_dump(mode="json")
            case "replay":
                info = next((each for each in self.runs if each.run_id == command["run"]), self.runs[0])
                whole = recording(info)
                frames = whole.frames[-command["max_frames"] :]
                frames[-1] = frames[-1].model_copy(update=self.recorded_end)
                events = [*whole.events, *self.recorded]
                told = {"frames": frames, "events": events, "excluded": self.excluded}
                result = whole.model_copy(update=told).model_dump(mode="json")
            case "verify":
                checked = verify_report(command["run"], command["level"])
                result = checked.model_copy(update=self.verified).model_dump(mode="json")
            case "discard" if command["preview"]:
                result = discard_preview(command["run"]).model_dump(mode="json")
            case "discard":
                self.runs = [info for info in self.runs if info.run_id != command["run"]]
                result = {"run_id": command["run"], "dropped": []}
            case "start":
                self.on_start(self)
                result = self.snapshot.model_dump(mode="json")
            case "pause":
                self.show(state=RunState.PAUSED, phase="paused", eta_s=None, eta_reason="paused by you")
            case "resume":
                self.show(state=RunState.RUNNING, phase="copying", eta_s=51.0, eta_reason="")
            case "cancel":
                self.show(state=RunState.CANCELLED, phase="cancelled", workers=[], exit_code=130)
            case "cutover" | "calloff" if self.snapshot.follow is not None:
                state = RunState.DRAINING if name == "cutover" else RunState.FOLLOWING
                update: dict[str, Any] = {"phase": state.value, "mark": None, "keys_to_go": None}
                if name == "cutover":
                    update |= {"mark": (1_764_504_000 << 32) + 1, "keys_to_go": 3_120}
                self.show(state=state, phase=state.value, follow=self.snapshot.follow.model_copy(update=update))
            case "set":
                try:
                    wanted = KNOBS[command["knob"]].read(str(command["value"]))
                except KnobError as error:
                    return {"error": {"code": error.code, "message": error.message}}
                if isinstance(wanted, Auto):
                    self.show(tuning=TuningView(auto=str(wanted), stable=self.snapshot.cluster_size))
                else:
                    change: dict[str, Any] = {command["knob"]: wanted}
                    self.show(**change | ({"tuning": None} if CLUSTER_SIZE.name in change else {}))
                result = {"knob": command["knob"], "value": command["value"], "applies": "from the next page"}
        if name in ("status", "pause", "resume", "cancel", "cutover", "calloff", "resolve"):
            result = self.snapshot.model_dump(mode="json")
        return {"result": result}
