"""What `bench` does: measure copies of the operator's own documents, by cluster size and then by page size.

Each measurement is a whole run of the first documents of one collection into a scratch table, by an engine of its own.
The table and the run's rows in the ledger are dropped after each of them, also when it failed or was interrupted. One
more engine stays idle all the while: it answers questions and cleans up, whatever became of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.config import Loaded, Settings
from engine.control.client import EngineClient
from engine.control.protocol import (
    Cancel,
    CollectionInfo,
    DiscardRun,
    Event,
    Inspect,
    ListCollections,
    ListRuns,
    RunState,
    ServerReport,
    Snapshot,
    Start,
)
from engine.errors import (
    EXIT_CANCELLED,
    EXIT_DONE,
    EXIT_SIGHUP,
    EXIT_SIGTERM,
    ConnectError,
    KnobError,
    MigrationError,
    MissingCollection,
    error_from,
)
from engine.knobs import CLUSTER_SIZE
from tui import output
from tui.format import number
from tui.headless import ended, started
from tui.measurements import (
    Measurement,
    Results,
    cluster_sizes,
    is_worth_more,
    page_sizes,
    recommendation,
    results_record,
    results_text,
    smallest_good,
    workers_words,
)
from tui.running import require
from tui.safe import safe

DEFAULT_DOCUMENTS = 200_000
WARM_UP_WORKERS = 2
ENGINE_END_S = 5.0
SHORT_S = 1.0
"""Copies that take less are too short for steady figures."""
_TABLE_KINDS = frozenset({"collection", "capped", "clustered"})
"""Kinds of collections that several workers can read at once."""
_EXIT_CODES = {signal.SIGINT: EXIT_CANCELLED, signal.SIGTERM: EXIT_SIGTERM, signal.SIGHUP: EXIT_SIGHUP}


def bench(loaded: Loaded, *, as_json: bool) -> int:
    """Measure, print, and return the exit code. The setting `run.limit` is the number of documents."""
    require(loaded, "source", "target")
    settings = loaded.settings.model_copy(deep=True)
    if loaded.provenance.get("run.limit", "default") == "default":
        settings.run.limit = DEFAULT_DOCUMENTS
    settings.run.mode = "create"
    settings.run.throttle = 0
    settings.run.indexes = False
    return asyncio.run(_Bench(settings, as_json=as_json).run())


@dataclass(frozen=True, slots=True)
class _Copy:
    """What one run told of itself."""

    measurement: Measurement
    rejected: int
    converter: str


class _Bench:
    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        self._settings = settings
        self._as_json = as_json
        self._namespace = ""
        self._scratch = f"{settings.target.schema_name}.mongopg_bench_{secrets.token_hex(4)}"
        self._results = Results()
        self._converter = ""
        self._rejected = 0
        self._exit_code = EXIT_DONE
        """Another one once a signal came: then the bench ends, after cleaning up."""
        self._running: EngineClient | None = None
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self) -> int:
        with self._signals():
            process = await started(self._settings)
            try:
                desk = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
                try:
                    await self._measure_all(desk)
                finally:
                    await desk.close()
            finally:
                await ended(process, ENGINE_END_S)
        self._report()
        return self._exit_code

    async def _measure_all(self, desk: EngineClient) -> None:
        most = await self._most_workers(desk)
        self._namespace = await self._collection(desk)
        page_size = self._settings.run.page_size
        # The first copy finds cold caches on both sides: it does not count.
        warm_up = await self._copy(desk, min(WARM_UP_WORKERS, most), page_size)
        if warm_up is None:
            return
        self._converter = warm_up.converter
        for size in cluster_sizes(most):
            try:
                copy = await self._copy(desk, size, page_size)
            except KnobError as refusal:
                output.note(refusal.message)
                break
            if copy is None:
                return
            self._results = replace(self._results, clusters=(*self._results.clusters, self._noted(copy)))
            if not is_worth_more(self._results.clusters):
                break
        best = smallest_good(self._results.clusters)
        for size in page_sizes(best.rows, page_size):
            measurement = best
            if size != page_size:
                copy = await self._copy(desk, best.cluster_size, size)
                if copy is None:
                    return
                measurement = self._noted(copy)
            self._results = replace(self._results, pages=(*self._results.pages, measurement))

    def _noted(self, copy: _Copy) -> Measurement:
        """Say at once what was measured: the whole takes minutes."""
        each = copy.measurement
        self._rejected = copy.rejected
        output.note(
            f"{workers_words(each.cluster_size)}, page size {number(each.page_size)}: {number(each.rows)} rows in "
            f"{each.seconds:.2f} s, {number(each.rows_per_s)} rows/s"
        )
        return each

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _most_workers(self, desk: EngineClient) -> int:
        report = await desk.ask(ServerReport, Inspect(side="target"))
        if not report.ok:
            raise ConnectError(report.message)
        most = min(CLUSTER_SIZE.high, report.free_connections or 0)
        if most < 1:
            raise ConnectError("The target has no free connections for workers.")
        return most

    async def _collection(self, desk: EngineClient) -> str:
        """The collection to copy: the one that is named, else the largest of those named, else of all."""
        named = [text.partition(":")[0] for text in self._settings.run.collections]
        if len(named) == 1:
            return named[0]
        answer = await desk.call(ListCollections())
        found = [CollectionInfo.model_validate(each) for each in answer["collections"]]
        fitting = [each for each in found if each.kind in _TABLE_KINDS and (not named or each.namespace in named)]
        if not fitting:
            raise MissingCollection("The source has no collection to measure with: name one with --collection.")
        return max(fitting, key=lambda each: (each.size_bytes, each.documents)).namespace

    # --- one measurement ----------------------------------------------------------------------------------------------

    async def _copy(self, desk: EngineClient, cluster_size: int, page_size: int) -> _Copy | None:
        """Copy, and clean up; None when a signal broke it off.

        Raises:
            MigrationError: the run failed, or its table cannot be dropped.
        """
        if self._exit_code != EXIT_DONE:
            return None
        settings = self._settings.model_copy(deep=True)
        settings.run.collections = [f"{self._namespace}:{self._scratch}"]
        settings.run.cluster_size = cluster_size
        settings.run.page_size = page_size
        process = await started(settings)
        try:
            client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
            try:
                return await self._followed(client, cluster_size, page_size)
            finally:
                self._running = None
                await client.close()
        finally:
            # Its end lets the table go; only then can it be dropped.
            await ended(process, ENGINE_END_S)
            await self._discard(desk, process.run_id)

    async def _followed(self, client: EngineClient, cluster_size: int, page_size: int) -> _Copy | None:
        await client.ask(Snapshot, Start())
        self._running = client
        if self._exit_code != EXIT_DONE:
            self._cancel()
        copying = CopyTime()
        converter = ""
        async for message in client.messages():
            if isinstance(message, Snapshot):
                converter = message.converter or converter
                continue
            copying.take(message)
            if message.kind == "finished":
                facts = message.facts
                if facts["state"] == RunState.CANCELLED:
                    return None
                if "error" in facts:
                    raise error_from(facts["error"]["code"], facts["error"]["message"])
                measurement = Measurement(cluster_size, page_size, facts["written"], copying.seconds)
                return _Copy(measurement, facts["rejected"], converter)
        raise MigrationError(
            f"The engine of run {client.snapshot.run_id} died; its log: {client.attached.log_path}", code="engine_died"
        )

    async def _discard(self, desk: EngineClient, run_id: str) -> None:
        try:
            runs = (await desk.call(ListRuns()))["runs"]
            if any(run["run_id"] == run_id for run in runs):  # one that could not begin has left nothing
                await desk.call(DiscardRun(run=run_id, drop_tables=True))
        except MigrationError as error:
            raise MigrationError(
                f"The scratch table {self._scratch} could not be dropped ({error.message.rstrip('.')}): "
                f"drop it, and `mongopg-tui runs --discard {run_id}`.",
                code=error.code,
            ) from error

    # --- signals ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for each, code in _EXIT_CODES.items():
            loop.add_signal_handler(each, self._interrupt, code)
        try:
            yield
        finally:
            for each in _EXIT_CODES:
                loop.remove_signal_handler(each)

    def _interrupt(self, exit_code: int) -> None:
        if self._exit_code == EXIT_DONE:
            output.note("Stopping: the scratch table is being dropped.")
            self._exit_code = exit_code
            self._cancel()

    def _cancel(self) -> None:
        if self._running is not None:
            self._cancelling = asyncio.create_task(_cancel_now(self._running), name="cancel")

    # --- the outcome --------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        is_whole = self._exit_code == EXIT_DONE
        if self._as_json:
            record = {
                "event": "bench",
                "state": (RunState.COMPLETED if is_whole else RunState.CANCELLED).value,
                "collection": self._namespace,
                "converter": self._converter,
                "rejected": self._rejected,
            }
            output.say_json(record | results_record(self._results))
            return
        if not self._results.clusters:
            return
        encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
        ascii_only = self._settings.cockpit.ascii or encoding != "utf8"
        output.say(f"{safe(self._namespace)}, {self._converter} converter\n")
        output.say(results_text(self._results, ascii_only=ascii_only))
        if is_whole:
            output.say(f"\n{recommendation(self._results)}")
        if self._rejected:
            output.note(f"{number(self._rejected)} documents were rejected each time, as a run would reject them.")
        if min(each.seconds for each in self._results.clusters) < SHORT_S:
            output.note("Some copies took less than a second: more --documents give steadier figures.")


class CopyTime:
    """From the event that copying begins to the one that it is over, in seconds of the run."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._ended: float | None = None

    def take(self, event: Event) -> None:
        """Look at the next event of the run."""
        if event.kind != "state":
            return
        state = event.facts["state"]
        if state == RunState.RUNNING and self._began is None:
            self._began = event.at
        if state == RunState.FINISHING and self._ended is None:
            self._ended = event.at

    @property
    def seconds(self) -> float:
        """0 when the run did not get that far."""
        return 0.0 if self._began is None or self._ended is None else self._ended - self._began


async def _cancel_now(client: EngineClient) -> None:
    with contextlib.suppress(MigrationError):  # the run is over already, or its engine gone
        await client.call(Cancel(now=True))
