"""`bench`: measure copies of the operator's own documents, by cluster size and then by page size.

Each measurement is a whole run of the first documents of one collection into a scratch table, by an engine of its own.
The table and the run's rows in the ledger are dropped after each of them, also when it failed or was interrupted. One
more engine stays idle all the while: it answers questions and cleans up, whatever became of the others.

What makes the figures comparable: a copy by one worker before all others, that does not count, finds the cold caches; it is
repeated with more documents until it takes some seconds; what is still short is copied three times, and the median counts;
and the clock starts when all workers are ready (`tui.cli.copy_clock`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from engine.config import Loaded, Settings, merged
from engine.errors import (
    EXIT_CANCELLED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_SIGHUP,
    EXIT_SIGTERM,
    ConnectError,
    KnobError,
    MigrationError,
    MissingCollection,
    UsageError,
    error_from,
)
from engine.knobs import LOCAL_MOST
from engine.notation import leaves_out, parsed, written_namespace, written_table
from engine.protocol import (
    Cancel,
    CollectionInfo,
    DiscardRun,
    Inspect,
    KnobChanged,
    ListCollections,
    ListRuns,
    Pause,
    ProblemReported,
    Resume,
    RunFinished,
    RunState,
    ServerReport,
    Snapshot,
    Start,
    StateEntered,
)
from engine.service.client import EngineClient
from tui.cli import output
from tui.cli.copy_clock import CopyClock, all_stand_ready
from tui.cli.headless import ended, started
from tui.cli.measurements import (
    FIRST_DOCUMENTS,
    MOST_DOCUMENTS,
    REPEATS,
    SHORT_S,
    Measurement,
    Results,
    cluster_sizes,
    is_worth_more,
    median,
    more_documents,
    page_sizes,
    recommendation,
    results_record,
    results_text,
    smallest_good,
    time_words,
    workers_words,
)
from tui.cli.one_question import INTERRUPTED_S
from tui.cli.options import Given, JsonOption, require, takes
from tui.signals import handling
from tui.words.events import words
from tui.words.format import counted, number
from tui.words.safe import safe

ENGINE_END_S = 5.0
_TABLE_KINDS = frozenset({"collection", "capped", "clustered"})
"""Kinds of collections that several workers can read at once."""
_EXIT_CODES = {signal.SIGINT: EXIT_CANCELLED, signal.SIGTERM: EXIT_SIGTERM, signal.SIGHUP: EXIT_SIGHUP}


@takes("source", "target", "one_collection", "documents", "page_size", "ascii")
def bench(given: Given, as_json: JsonOption = False) -> int:
    """Rows per second by cluster size, 1 (sequential) upwards, and by page size, on your own servers.

    Copies into a scratch table that is dropped afterwards, and recommends a cluster size and a page size. A copy that
    does not count warms up first; the clock runs from when all workers are ready to the last commit; what takes less
    than 2 s is copied three times, and the median counts.
    """
    return measure(given.load(), as_json=as_json)


def measure(loaded: Loaded, *, as_json: bool) -> int:
    """Measure, print, and return the exit code. The setting `run.limit` is the number of documents, where it is set.

    Raises:
        MigrationError: something failed; what had been measured by then is printed.
    """
    require(loaded, "source", "target")
    may_grow = loaded.provenance.get("run.limit", "default") == "default"
    run: dict[str, object] = {"mode": "create", "throttle": 0, "indexes": False}
    run["census"] = "sample"  # a full one needs the workers, which are paused until all are there
    if may_grow:
        run["limit"] = FIRST_DOCUMENTS
    settings = merged(loaded.settings, {"run": run})
    return asyncio.run(_Bench(settings, may_grow=may_grow, as_json=as_json).run())


@dataclass(frozen=True, slots=True)
class _Copy:
    """What one run told of itself."""

    measurement: Measurement
    read: int
    rejected: int
    converter: str
    wall_s: float = 0.0
    """Of all of it, from starting the engine to the dropped table."""


class _Bench:
    def __init__(self, settings: Settings, *, may_grow: bool, as_json: bool) -> None:
        self._settings = settings
        self._may_grow = may_grow
        """The number of documents was not set: the bench chooses it."""
        self._as_json = as_json
        self._namespace = ""
        self._scratch = written_table(settings.target.schema_name, f"mongopg_bench_{secrets.token_hex(4)}")
        self._results = Results()
        self._converter = ""
        self._rejected = 0
        self._exit_code = EXIT_DONE
        """Another one once a signal came: then the bench ends, after cleaning up."""
        self._running: EngineClient | None = None
        self._asking: asyncio.Task[tuple[int, str]] | None = None
        """What is asked before the first copy, for which a server may keep us waiting."""
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self) -> int:
        failure: MigrationError | None = None
        with self._signals():
            process = await started(self._settings)
            try:
                idle = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
                try:
                    await self._measure_all(idle)
                finally:
                    await idle.close()
            except MigrationError as error:
                failure = error
            finally:
                if self._exit_code != EXIT_DONE and not self._namespace:  # broken off before it had anything to lose
                    await asyncio.to_thread(process.end, INTERRUPTED_S)
                await ended(process, ENGINE_END_S)
        self._report(failure)
        if failure is not None:
            raise failure
        return self._exit_code

    async def _measure_all(self, idle: EngineClient) -> None:
        if self._exit_code != EXIT_DONE:
            return
        self._asking = asyncio.create_task(self._asked(idle), name="questions")
        try:
            most, self._namespace = await self._asking
        except asyncio.CancelledError:
            if self._exit_code == EXIT_DONE:
                raise
            return
        finally:
            self._asking = None
        page_size = self._settings.run.page_size
        output.note(self._intention(most))
        warm = await self._warmed_up(idle, page_size)
        if warm is None:
            return
        rows, is_short = warm.measurement.rows, warm.measurement.seconds < SHORT_S
        sizes = len(list(cluster_sizes(most))), len(page_sizes(rows, page_size))
        output.note(
            f"It takes {time_words(*sizes, warm.wall_s, is_short=is_short)} from here on: "
            f"{counted(warm.read, 'document')}, {min(sizes[0], 3)} to {sizes[0]} cluster sizes, {sizes[1]} page sizes, "
            f"{f'{REPEATS} copies' if is_short else 'one copy'} each."
        )
        for size in cluster_sizes(most):
            try:
                measurement = await self._measured(idle, size, page_size)
            except KnobError as refusal:
                output.note(refusal.message)
                break
            if measurement is None:
                return
            self._results = replace(self._results, clusters=(*self._results.clusters, measurement))
            if not is_worth_more(self._results.clusters):
                break
        if not self._results.clusters:
            raise ConnectError("The target has no free connections for workers now.")
        best = smallest_good(self._results.clusters)
        for size in page_sizes(best.rows, page_size):
            # Anew also with the page size of before: the best of a series was lucky, too.
            measurement = await self._measured(idle, best.cluster_size, size)
            if measurement is None:
                return
            self._results = replace(self._results, pages=(*self._results.pages, measurement))

    def _intention(self, most: int) -> str:
        limit = self._settings.run.limit
        which = f"the first {counted(limit, 'document')}" if limit else "all documents"
        return (
            f"Copying {which} of {safe(self._namespace)} again and again, with 1 to {most} workers and then by page size, into "
            f"the scratch table {self._scratch}, which is dropped after each copy. This takes some minutes and loads both "
            "servers; Ctrl-C ends it and cleans up."
        )

    async def _warmed_up(self, idle: EngineClient, page_size: int) -> _Copy | None:
        """Copy by one worker until that takes long enough: what it reads is in caches then; the last copy.

        None when a signal came.

        Raises:
            UsageError: nothing was written, so nothing can be measured.
        """
        while True:
            limit = self._settings.run.limit
            copy = await self._copy(idle, 1, page_size)
            if copy is None:
                return None
            if not copy.measurement.rows:
                raise UsageError(self._nothing_written(copy), code="nothing_written")
            self._converter = copy.converter
            is_all = not limit or copy.read < limit
            more = more_documents(limit, copy.measurement.seconds, MOST_DOCUMENTS)
            if is_all or not more or not self._may_grow:
                return copy
            output.note(
                f"Warming up: {counted(limit, 'document takes', 'documents take')} one worker "
                f"{copy.measurement.seconds:.2f} s, too short for steady figures; {number(more)} from here on."
            )
            self._settings = merged(self._settings, {"run": {"limit": more}})

    def _nothing_written(self, copy: _Copy) -> str:
        name = safe(self._namespace)
        if not copy.read:
            return f"The collection {name} is empty: name another with --collection."
        return (
            f"All {number(copy.read)} documents read of {name} were rejected, so there is nothing to measure: see "
            "`mongopg-tui plan`, or name another with --collection."
        )

    async def _measured(self, idle: EngineClient, cluster_size: int, page_size: int) -> Measurement | None:
        """One size: a copy, or the median of some when they are short; said at once, as the whole takes minutes."""
        copies: list[_Copy] = []
        while not copies or (len(copies) < REPEATS and copies[0].measurement.seconds < SHORT_S):
            copy = await self._copy(idle, cluster_size, page_size)
            if copy is None:
                return None
            copies.append(copy)
        self._rejected = copies[-1].rejected
        each = median([copy.measurement for copy in copies])
        times = f", the median of {len(copies)}" if len(copies) > 1 else ""
        output.note(
            f"{workers_words(each.cluster_size)}, page size {number(each.page_size)}: {counted(each.rows, 'row')} in "
            f"{each.seconds:.2f} s{times}, {number(each.rows_per_s)} rows/s"
        )
        return each

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _asked(self, idle: EngineClient) -> tuple[int, str]:
        """As many workers as there may be, and the collection."""
        return await self._most_workers(idle), await self._collection(idle)

    async def _most_workers(self, idle: EngineClient) -> int:
        report = await idle.ask(ServerReport, Inspect(side="target"))
        if not report.ok:
            raise ConnectError(report.message)
        most = min(LOCAL_MOST, report.free_connections or 0)
        if most < 1:
            raise ConnectError("The target has no free connections for workers.")
        return most

    async def _collection(self, idle: EngineClient) -> str:
        """The collection to copy: the one that is named, else the largest of those named, else of all."""
        asked = [parsed(text).namespace for text in self._settings.run.collections]
        named = [each for each in asked if not leaves_out(self._settings.run.exclude, each)]
        if asked and not named:
            raise UsageError("run.exclude excludes every collection that is named: narrow it.")
        if len(named) == 1:
            return named[0]
        answer = await idle.call(ListCollections())
        found = [CollectionInfo.model_validate(each) for each in answer["collections"]]
        found = [each for each in found if not leaves_out(self._settings.run.exclude, each.namespace)]
        fitting = [each for each in found if each.kind in _TABLE_KINDS and (not named or each.namespace in named)]
        if not fitting:
            raise MissingCollection("The source has no collection to measure with: name one with --collection.")
        return max(fitting, key=lambda each: (each.size_bytes, each.documents)).namespace

    # --- one measurement ----------------------------------------------------------------------------------------------

    async def _copy(self, idle: EngineClient, cluster_size: int, page_size: int) -> _Copy | None:
        """Copy, and clean up; None when a signal broke it off.

        Raises:
            MigrationError: the run failed, or its table cannot be dropped.
        """
        if self._exit_code != EXIT_DONE:
            return None
        collections = [f"{written_namespace(self._namespace, has_table=True)}:{self._scratch}"]
        size = {"cluster_size": cluster_size, "page_size": page_size}
        settings = merged(self._settings, {"run": {"collections": collections, "exclude": [], **size}})
        copy, began = None, time.monotonic()
        process = await started(settings)
        run_id = process.run_id
        try:
            client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
            try:
                copy = await self._followed(client, cluster_size, page_size)
            finally:
                self._running = None
                run_id = client.snapshot.run_id  # of the minute in which it was started
                await client.close()
        finally:
            # Its end lets the table go; only then can it be dropped.
            await ended(process, ENGINE_END_S)
            await self._discard(idle, run_id)
        return replace(copy, wall_s=time.monotonic() - began) if copy is not None else None

    async def _followed(self, client: EngineClient, cluster_size: int, page_size: int) -> _Copy | None:
        await client.ask(Snapshot, Start())
        self._running = client
        await _steer(client, Pause())
        if self._exit_code != EXIT_DONE:
            self._cancel()
        clock = CopyClock()
        converter = ""
        is_let_go = False
        told: set[str] = set()
        async for message in client.messages():
            if isinstance(message, Snapshot):
                converter = message.converter or converter
                if clock.is_planned and not is_let_go and all_stand_ready(message):
                    is_let_go = True
                    await _steer(client, Resume())
                continue
            clock.take(message)
            match message:
                case ProblemReported() if (sentence := words(message)) and sentence not in told:
                    told.add(sentence)
                    output.note(sentence)
                case StateEntered(state=RunState.PAUSED) if is_let_go:
                    raise MigrationError(f"The copy by {workers_words(cluster_size)} was paused: {message.reason}.")
                case KnobChanged(knob="cluster_size"):
                    raise KnobError(f"The target has connections for {workers_words(message.value)}, no more.")
                case RunFinished(state=RunState.CANCELLED):
                    return None
                case RunFinished():
                    if message.error is not None:
                        raise error_from(message.error.code, message.error.message, message.exit_code or EXIT_FAILED)
                    measurement = Measurement(cluster_size, page_size, clock.rows, clock.seconds)
                    return _Copy(measurement, message.read, message.rejected, converter)
        raise MigrationError(
            f"The engine of run {client.snapshot.run_id} died; its log: {client.attached.log_path}", code="engine_died"
        )

    async def _discard(self, idle: EngineClient, run_id: str) -> None:
        try:
            runs = (await idle.call(ListRuns()))["runs"]
            if any(run["run_id"] == run_id for run in runs):  # one that could not begin has left nothing
                # Of its rejects the source has the originals.
                await idle.call(DiscardRun(run=run_id, drop_tables=True, force=True))
        except MigrationError as error:
            raise MigrationError(
                f"The scratch table {self._scratch} could not be dropped ({error.message.rstrip('.')}): "
                f"drop it, and `mongopg-tui runs --discard {run_id}`.",
                code=error.code,
            ) from error

    # --- signals ------------------------------------------------------------------------------------------------------

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        return handling({each: partial(self._interrupt, code) for each, code in _EXIT_CODES.items()})

    def _interrupt(self, exit_code: int) -> None:
        if self._exit_code == EXIT_DONE:
            self._exit_code = exit_code
            if not self._namespace:  # there is no scratch table yet
                output.note("Interrupted: the engine is being ended.")
                if self._asking is not None:
                    self._asking.cancel()
                return
            output.note("Stopping: the scratch table is being dropped.")
            self._cancel()

    def _cancel(self) -> None:
        if self._running is not None:
            self._cancelling = asyncio.create_task(_cancel_now(self._running), name="cancel")

    # --- the outcome --------------------------------------------------------------------------------------------------

    def _report(self, failure: MigrationError | None) -> None:
        """Print what was measured; of a bench that failed or was interrupted, up to there, and without a recommendation."""
        is_whole = self._exit_code == EXIT_DONE and failure is None
        if self._as_json:
            if failure is None or self._results.clusters:
                output.say_json(self._record(is_whole=is_whole, has_failed=failure is not None))
            return
        if not self._results.clusters:
            return
        encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
        ascii_only = self._settings.cockpit.ascii or encoding != "utf8"
        if self._rejected:
            were = counted(self._rejected, "document was", "documents were")
            output.note(f"{were} rejected each time, as a run would reject them.")
        output.say(f"{safe(self._namespace)}, {self._converter} converter\n")
        output.say(results_text(self._results, ascii_only=ascii_only))
        if is_whole:
            output.say(f"\n{recommendation(self._results, self._namespace)}")

    def _record(self, *, is_whole: bool, has_failed: bool) -> dict[str, Any]:
        state = RunState.COMPLETED if is_whole else RunState.FAILED if has_failed else RunState.CANCELLED
        record = {
            "event": "bench",
            "state": state.value,
            "collection": self._namespace,
            "converter": self._converter,
            "rejected": self._rejected,
        }
        return record | results_record(self._results, is_whole=is_whole)


async def _steer(client: EngineClient, command: Pause | Resume) -> None:
    with contextlib.suppress(MigrationError):  # the run is over already, and says why, or its engine is gone
        await client.call(command)


async def _cancel_now(client: EngineClient) -> None:
    with contextlib.suppress(MigrationError):  # as above
        await client.call(Cancel(now=True))
