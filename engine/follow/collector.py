"""A stream of changes, kept in the ledger as the keys that changed.

Everything that has to last is committed: a follower that is killed, or whose server forgets what it committed last, goes on
from what the ledger has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import asyncpg

from engine.cluster.job import JobOwner
from engine.config import redact
from engine.failures import DISK_FULL, Failure
from engine.ledger import follow, halts
from engine.ledger.follow import StreamPosition, StreamSlice, StreamTaken
from engine.ledger.halts import Halt
from engine.ledger.ledger import Ledger
from engine.mongo import causal
from engine.mongo import connect as mongo
from engine.mongo.by_key import lane_of
from engine.mongo.causal import CausalTime, SourceSet
from engine.mongo.changes import Answer, Change, ChangeStream
from engine.protocol import ProblemReported
from engine.retries import Patience
from engine.work.connections import EXPLAINED, failure_of

COMMIT_S = 0.2
"""A slice is committed when its first change has waited so long;"""
COMMIT_KEYS = 20_000
"""or when it has so many keys."""
QUIET_S = 5.0
"""The position is kept so often though nothing changes."""
GATHER_S, MANY = 0.05, 500
"""After an answer of fewer changes the server is asked again so much later: a question costs more than a few changes."""
WRITES = frozenset({"insert", "update", "replace", "delete"})
WHOLE = frozenset({"dropDatabase", "invalidate"})
"""Kinds of changes that are about all collections of the database."""

_HAPPENED = {"drop": "was dropped", "rename": "was renamed"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """A collection that is followed."""

    task_id: int
    """Of its table in the ledger."""
    namespace: str
    has_one_lane: bool
    """It has a collation: which keys it takes for equal is not known here."""
    settled: int = 0
    """What became of the collection up to this time is known, and dealt with."""


@dataclass(slots=True)
class Counted:
    """Events of a stream since this engine began, by kind, and by namespace and kind those behind a mark."""

    by_kind: dict[str, int] = field(default_factory=dict)
    after_mark: dict[tuple[str, str], int] = field(default_factory=dict)


class Collector:
    """Reads the changes of one database until it is stopped."""

    def __init__(
        self,
        owner: JobOwner,
        ledger: Ledger,
        uri: str,
        stream_id: int,
        database: str,
        watched: Mapping[str, Watched],
        lanes: int,
        since: int,
        known: SourceSet,
        seen: Callable[[], int],
        on_slice: Callable[[Mapping[tuple[int, int], int], CausalTime, int | None], None],
        on_halt: Callable[[Sequence[Halt]], None],
    ) -> None:
        """Nothing is read yet.

        Args:
            watched: by name of the collection.
            lanes: into how many the keys of each collection are divided.
            since: when the run began.
            known: the replica set that it began with.
            seen: the newest time of which is known that the source's majority had a write then; 0 where none is known.
            on_slice: called when a slice is committed, with the generation of its keys by task and lane, the position behind it
                and the one before it; None there where keys were found, of which it is not known.
            on_halt: called when it is committed that something became of collections, such as a drop. Collecting goes on.
        """
        self.position = since - 1
        """Changes up to and at this time are in the ledger."""
        self.counted = Counted()
        self.mark: int | None = None
        """Changes behind it are counted."""
        self.is_reading = False
        """The source is the one that is followed: it has answered."""
        self.told = ""
        """What keeps it from going on, in a sentence; empty when nothing does."""
        self._owner = owner
        self._ledger = ledger
        self._uri = uri
        self._stream_id = stream_id
        self.database = database
        """That it reads the changes of."""
        self._watched = dict(watched)
        self._lanes = lanes
        self._since = since
        self._known = known
        self._seen = seen
        self._on_slice = on_slice
        self._on_halt = on_halt
        self._committing = asyncio.Lock()
        self._wanted = 0
        """The position is kept as soon as it is there."""
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="changes")

    async def run(self) -> None:
        """Collect until cancelled; servers that struggle, or are away, are tried again.

        Raises:
            MigrationError: changes cannot be known any more, or a collection is another one.
        """
        patience = Patience()
        try:
            while True:
                before = self.position
                try:
                    await self._collect()
                except StreamTaken:
                    log.info("the stream is read again from where the ledger has it")
                    await patience.wait()
                except EXPLAINED as error:
                    failure = failure_of(error)
                    if self.position > before:
                        patience.renew()
                    # Of a full disk the run is not to end: an operator makes room. Nor of a server that is away, however long:
                    # the oplog keeps what changes, and a copy gives up by itself.
                    if failure.code != DISK_FULL and not failure.is_transient:
                        raise
                    self._tell(failure)
                    await patience.wait()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def want(self, at: int) -> None:
        """Keep the position as soon as it is there, though nothing changes."""
        self._wanted = max(self._wanted, at)

    async def until(self, at: int) -> None:
        """Returns when everything up to that time is in the ledger."""
        self.want(at)
        while self.position < at:
            self._changed.clear()
            await self._changed.wait()

    def settle(self, collection: str, upto: int) -> None:
        """What became of a collection up to a time is dealt with: it is followed on."""
        self._watched[collection] = replace(self._watched[collection], settled=upto)

    async def leave(self, collection: str) -> None:
        """A collection is followed no longer; when this returns, no key of it is committed any more."""
        async with self._committing:
            self._watched.pop(collection, None)

    def _tell(self, failure: Failure) -> None:
        if self.told != failure.sentence:
            self.told = failure.sentence
            message = f"Changes of {self.database} are not read at the moment: {redact(failure.sentence)}"
            self._owner.emit(ProblemReported(code=failure.code, message=message, retry=True))

    async def _collect(self) -> None:
        """From where the ledger has it, until something goes wrong."""
        loop = asyncio.get_running_loop()
        async with self._ledger.own_session() as connection:
            at = await follow.position(connection, self._ledger.run_id, self._stream_id)
            number, token = (at.slice_no, at.token) if at is not None else (0, None)
            self.position = (at.token_time if at is not None else self._since) - 1
            client = await loop.run_in_executor(
                self._thread, lambda: mongo.connect(self._uri, app_name=self._ledger.app_name)
            )
            if at is not None:
                await self._wake_all(connection, client, at)
            stream = ChangeStream(
                client, self.database, list(self._watched), self._known, self.position + 1, token, self._seen
            )
            reading = loop.run_in_executor(self._thread, stream.next)
            try:
                taken = StreamSlice(number + 1, b"", 0)
                first_at = kept_at = time.monotonic()
                while True:
                    answer = await reading
                    self.is_reading = True
                    if 0 < len(answer.changes) < MANY:
                        await asyncio.sleep(GATHER_S)
                    reading = loop.run_in_executor(self._thread, stream.next)
                    self.told = ""
                    had_keys = bool(taken.keys)
                    self._fold(answer, taken)
                    if taken.keys and not had_keys:
                        first_at = time.monotonic()
                    now = time.monotonic()
                    if self._is_due(taken, answer, now - first_at, now - kept_at):
                        async with self._committing:
                            self._leave_out(taken)
                            await follow.add_slice(connection, self._ledger.run_id, self._stream_id, taken)
                        self._committed(taken, answer)
                        taken, kept_at = StreamSlice(taken.slice_no + 1, b"", 0), time.monotonic()
            finally:
                with suppress(Exception):  # it has failed, or is of no use any more
                    reading.cancel()
                    await asyncio.shield(loop.run_in_executor(self._thread, _close, stream, client))
                if reading.done() and not reading.cancelled():
                    reading.exception()  # the event loop would tell of it, and what fails the collecting is told

    async def _wake_all(self, connection: asyncpg.Connection, client: mongo.Client, at: StreamPosition) -> None:
        """Lanes of which the ledger has keys: a commit whose answer was lost has told of none, and a server that forgot what it
        committed last has some again. So it is with what became of collections.
        """
        own = {watched.task_id for watched in self._watched.values()}
        found = await halts.of_run(connection, self._ledger.run_id)
        if news := [halt for task_id, halt in found.items() if task_id in own and halt.is_open]:
            self._on_halt(news)
        waiting = await follow.waiting(connection, self._ledger.run_id)
        gossip = await asyncio.get_running_loop().run_in_executor(self._thread, causal.gossip_of, client)
        generations = {name: at.slice_no for name in waiting if name[0] in own}
        self._on_slice(generations, CausalTime(at.token_time, gossip), None)

    def _is_due(self, taken: StreamSlice, answer: Answer, waited_s: float, quiet_s: float) -> bool:
        """A slice is to be committed.

        Args:
            waited_s: since the first of its keys came.
            quiet_s: since the last one was.
        """
        if taken.halts:
            return True
        if taken.keys:
            return waited_s >= COMMIT_S or taken.n_keys >= COMMIT_KEYS or not answer.changes
        known = _known_upto(answer)
        return known > self.position and (self.position < self._wanted <= known or quiet_s >= QUIET_S)

    def _fold(self, answer: Answer, taken: StreamSlice) -> None:
        """Take what came into the slice in hand."""
        taken.token, taken.token_time = answer.token, answer.at
        for change in answer.changes:
            watched = self._watched.get(change.collection)
            if change.kind not in WRITES:
                for halt in self._halts_of(change):
                    taken.halts[halt.task_id] = halt
                    # What these were at last cannot be read any more.
                    taken.keys = {name: keys for name, keys in taken.keys.items() if name[0] != halt.task_id}
                continue
            if watched is None:
                continue
            taken.events[change.kind] = taken.events.get(change.kind, 0) + 1
            lane = 0 if watched.has_one_lane else lane_of(change.key, self._lanes)
            taken.keys.setdefault((watched.task_id, lane), set()).add(change.key)
            if self.mark is not None and change.at > self.mark:
                what = (watched.namespace, change.kind)
                self.counted.after_mark[what] = self.counted.after_mark.get(what, 0) + 1

    def _halts_of(self, change: Change) -> Iterator[Halt]:
        """What a change says of collections; nothing where that was over when the run began, or is dealt with."""
        database, _, name = change.to.partition(".")
        onto = name if database == self.database else ""
        for collection, watched in self._watched.items():
            if change.at <= max(self._since, watched.settled):
                continue
            if change.kind in WHOLE:
                code, happened = "dropDatabase", f"was dropped with all of database {self.database}"
            elif collection == change.collection:
                code = change.kind
                happened = _HAPPENED.get(code, f"had a {code}") + (f" to {change.to}" if change.to else "")
            elif collection == onto:
                code, happened = (
                    "replaced",
                    f"was replaced by {self.database}.{change.collection}, renamed to its name",
                )
            else:
                continue
            yield Halt(
                watched.task_id, watched.namespace, code, f"{watched.namespace} {happened} in the source.", change.at
            )

    def _leave_out(self, taken: StreamSlice) -> None:
        """Collections that are followed no longer."""
        followed = {watched.task_id for watched in self._watched.values()}
        taken.keys = {name: keys for name, keys in taken.keys.items() if name[0] in followed}
        taken.halts = {task_id: halt for task_id, halt in taken.halts.items() if task_id in followed}

    def _committed(self, taken: StreamSlice, answer: Answer) -> None:
        before, self.position = self.position, _known_upto(answer)
        for kind, count in taken.events.items():
            self.counted.by_kind[kind] = self.counted.by_kind.get(kind, 0) + count
        generations = dict.fromkeys(taken.keys, taken.slice_no)
        if taken.halts:  # before keys of theirs are handed out
            self._on_halt(list(taken.halts.values()))
        self._on_slice(generations, CausalTime(taken.token_time, answer.gossip), before)
        self._changed.set()


def _known_upto(answer: Answer) -> int:
    """The time up to and at which all changes have come: more of that of the last one may follow, as of a transaction."""
    return answer.at - 1 if answer.changes else answer.at


def _close(stream: ChangeStream, client: mongo.Client) -> None:
    stream.close()
    client.close()
