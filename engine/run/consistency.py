"""Which state of the source a run reads: each document as it is, or all of them as they were at one time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence

from engine.errors import MigrationError, UsageError
from engine.follow.request import cannot_follow
from engine.ledger.ledger import FoundRun, Ledger
from engine.mongo import causal, snapshot
from engine.mongo import connect as mongo
from engine.mongo.causal import Beginning, CausalTime, SourceSet
from engine.plan import TablePlan
from engine.postgres.sqlstates import UNREACHABLE
from engine.protocol import ProblemReported, RunState, SnapshotTaken
from engine.run.context import RunContext
from engine.verify.counts import count_source
from engine.work.connections import failure_of

_POLL_S = 0.01
SEEDED = "it filled its source itself"
"""Why such a run cannot be followed: what it inserts beside the copy has to be read before the majority has it."""

log = logging.getLogger(__name__)


class Consistency:
    """The time at which the workers of a run read, if there is one, and what is done when the server has lost it."""

    def __init__(
        self, context: RunContext, ledger: Ledger, on_moved: Callable[[], None], *, is_seeded: bool = False
    ) -> None:
        """No time is taken.

        Args:
            on_moved: called when workers have to be told of another time.
            is_seeded: the run fills a collection itself, maybe beside the copy.
        """
        self.beginning = Beginning(cannot_follow=SEEDED if is_seeded else "")
        """From when on the source could be followed: what is read is not older."""
        self._is_seeded = is_seeded
        self.at: int | None = None
        """The time (`engine.mongo.snapshot`); None reads each document as it is."""
        self.tables: tuple[TablePlan, ...] = ()
        """Those of the plan, once there is one."""
        self._context = context
        self._ledger = ledger
        self._on_moved = on_moved
        self._window_s: int | None = None
        self._restarting: asyncio.Task[None] | None = None

    def take(self, client: mongo.Client, names: Sequence[tuple[str, str]]) -> int | None:
        """Take a time for these collections, each database and name, when the settings ask for one. Blocks.

        Raises:
            UsageError: they cannot be read at one time; the message says why.
        """
        if not self._is_seeded:
            self.beginning = causal.begin(client, names)
        if self._context.settings.run.consistency == "snapshot":
            snapshot.check(client, names)
            self._window_s = snapshot.window_s(client)
            self.at = snapshot.take(client, names)
        return self.at

    @property
    def after(self) -> CausalTime | None:
        """What reads must not be older than; None where they are all at one time, which was taken later, or where the server
        cannot tell."""
        return None if self.at is not None else self.beginning.after

    def announce(self) -> None:
        """Make the time known at which documents are read."""
        if self.at is not None:
            self._context.emit(
                SnapshotTaken(cluster_time=self.at, unix=snapshot.seconds_of(self.at), window_s=self._window_s)
            )

    async def resume(self, found: FoundRun, *, has_slices: bool) -> None:
        """Go on with a run: at the time that it read at, if any, or at a new one while nothing is committed; and not before it
        began, where its source can be followed.

        Raises:
            UsageError: the server has lost the time of what is committed.
        """
        at = self.at = found.snapshot_time
        await self._go_on(found)
        if at is not None:
            try:
                await asyncio.to_thread(self._probe, at)
            except MigrationError as error:
                if error.code not in snapshot.LOST:
                    raise
                if has_slices:
                    raise UsageError(self._too_late(), code="snapshot_too_old") from error
                await self._move()
        self.announce()

    async def follow_on(self, found: FoundRun) -> None:
        """Nothing more is copied of a run: it follows its source from its beginning on. Where that is not the same source any
        more, it is found out when it is followed."""
        await self._go_on(found, is_copied=True)

    async def require_same(self, found: FoundRun) -> None:
        """A run that follows is to be copied on: its source must be the one that it began with.

        Raises:
            UsageError: it is not, or cannot be followed for another reason; nothing is kept of that.
        """
        why = found.cannot_follow
        if found.start_time is not None and not why:
            known = SourceSet(**json.loads(found.source_set))
            why = (await asyncio.to_thread(self._begin_again, found.start_time, known)).cannot_follow
        if why:
            raise cannot_follow(
                f"{why}. The copy of run {found.run_id} is not complete: resume it when its source is the one that it began "
                f"with, or discard it (`mongopg-tui runs --discard {found.run_id}`) and start a new one"
            )

    async def begin_anew(self) -> None:
        """Whatever was known of the source: it is followed from now on, when everything is compared with it."""
        self.beginning = await asyncio.to_thread(self._begin_now)

    def _begin_now(self) -> Beginning:
        client = mongo.connect(self._context.settings.source.connection, app_name=self._ledger.app_name)
        try:
            return causal.begin(client, self._names())
        finally:
            client.close()

    async def _go_on(self, found: FoundRun, *, is_copied: bool = False) -> None:
        """What is read from here on is not older than the run's beginning; or it cannot be followed any more."""
        self.beginning = Beginning(cannot_follow=found.cannot_follow)
        if found.start_time is None or found.cannot_follow:
            return
        since, known = found.start_time, SourceSet(**json.loads(found.source_set))
        self.beginning = await asyncio.to_thread(self._begin_again, since, known)
        if self.beginning.cannot_follow and not is_copied:
            await self._ledger.cannot_follow(self.beginning.cannot_follow)

    def _begin_again(self, since: int, known: SourceSet) -> Beginning:
        client = mongo.connect(self._context.settings.source.connection, app_name=self._ledger.app_name)
        try:
            return causal.go_on(client, since, known)
        finally:
            client.close()

    async def count(self, tables: tuple[TablePlan, ...]) -> dict[int, int]:
        """Documents of each collection, by task: at the time of the run, or as they are now when there is none any more."""
        uri = self._context.settings.source.connection
        try:
            return await asyncio.to_thread(count_source, uri, tables, self.at)
        except MigrationError as error:
            if error.code not in snapshot.LOST or self.at is None:
                raise
        self._context.emit(
            ProblemReported(
                code="counted_now",
                message=f"The server has no longer the state of {snapshot.in_words(self.at)}: "
                "the source is counted as it is now.",
            )
        )
        return await asyncio.to_thread(count_source, uri, tables)

    def is_lost(self, code: str) -> bool:
        """Whether a failure's code means that the server has lost the time."""
        return self.at is not None and code in snapshot.LOST

    def read_at_a_new_time(self) -> None:
        """Begin again at a new time while nothing is committed; otherwise the run has to end."""
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.create_task(self._restart(), name="read at a new time")

    async def _restart(self) -> None:
        context, cluster = self._context, self._context.cluster
        cluster.abort()
        while not cluster.is_quiet:
            await asyncio.sleep(_POLL_S)
        if cluster.is_ending:
            return
        try:
            await self._move()
        except MigrationError as error:
            context.fail(error)
            return
        except UNREACHABLE as error:
            log.exception("a new time cannot be taken")
            failure = failure_of(error)
            context.fail(MigrationError(failure.sentence, code=failure.code))
            return
        self._on_moved()
        cluster.forget_tasks()
        self.announce()
        if context.record.state is RunState.RUNNING:
            cluster.release()

    async def _move(self) -> None:
        """To a new time, in the ledger too; raises MigrationError when something is committed, or limited, by the old one."""
        if any(table.end is not None for table in self.tables):
            raise MigrationError(self._too_late(), code="snapshot_too_old")
        at = await asyncio.to_thread(self._taken)
        if not await self._ledger.move_snapshot(at):
            raise MigrationError(self._too_late(), code="snapshot_too_old")
        self.at = at

    def _taken(self) -> int:
        client = mongo.connect(self._context.settings.source.connection, app_name=self._ledger.app_name)
        try:
            return snapshot.take(client, self._names())
        finally:
            client.close()

    def _probe(self, at: int) -> None:
        client = mongo.connect(self._context.settings.source.connection, app_name=self._ledger.app_name)
        try:
            self._window_s = snapshot.window_s(client)
            snapshot.probe(client, at, self._names())
        finally:
            client.close()

    def _names(self) -> list[tuple[str, str]]:
        return [(table.database, table.collection) for table in self.tables]

    def _too_late(self) -> str:
        assert self.at is not None
        window = f"{self._window_s} s" if self._window_s is not None else "some minutes"
        run_id = self._ledger.run_id
        return (
            f"MongoDB no longer has the state of {snapshot.in_words(self.at)}, at which this run reads (it keeps such states "
            f"for {window}: minSnapshotHistoryWindowInSeconds), and part of it is committed: it cannot be completed at "
            f"another time. Discard run {run_id} and start anew with a longer window or a larger cluster, or with "
            'run.consistency = "fuzzy".'
        )
