"""One run of the soak that follows its source: written to at random all the while, hurt, cut over, and compared."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pymongo.errors import PyMongoError

from engine.errors import MigrationError
from engine.protocol import CALLED_OFF, CutOver, Start
from tests.engine.changing_source import Changes, differences_to_source
from tests.soak import oracle
from tests.soak.cycle import STANDSTILL_S, Cycle
from tests.soak.drive import Scene
from tests.soak.faults import go_on

SEEDS = 20
"""Collections of a run; each is changed by operations of a seed of its own."""
FIRST = 40
"""Documents of each in the beginning."""
READY_S = 400.0
"""Without faults a run is ready to be cut over within this, however fast its source is written to."""
CUT_OVER_S = 60.0
"""A cut-over is called off then, as one during which a server is away."""


@dataclass(slots=True)
class Writer:
    """Operations on all collections in turn, until it is stopped; while the server is away it tries again."""

    changes: list[Changes]
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Write from now on."""
        self._is_over.clear()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is written any more. Blocks."""
        if self._thread is not None:
            self._is_over.set()
            self._thread.join()
            self._thread = None

    def _write(self) -> None:
        while not self._is_over.is_set():
            for each in self.changes:
                try:
                    each.some(2)
                except PyMongoError:  # whether it was done does not matter: both sides are compared at the end
                    self._is_over.wait(0.1)


@dataclass(slots=True)
class FollowCycle(Cycle):
    """A run with `--follow`."""

    changes: list[Changes] = field(default_factory=list)
    writer: Writer = field(default_factory=lambda: Writer([]))

    @property
    def follows(self) -> bool:
        """It follows its source, and is cut over."""
        return True

    @property
    def leaves(self) -> str:
        """The table that stays for the next run: an earlier run's."""
        return self.template

    @property
    def name(self) -> str:
        """What kind of run it is, in words."""
        return " ".join(filter(None, ["follow", self.mode, self.order if self.order != "id" else ""]))

    @property
    def _documents(self) -> int:
        # Of which the throttle is made: the copy is hurt in some runs, and in others soon over, so that the following is.
        return SEEDS * FIRST * self.chance.choice((8, 100))

    def _choose(self) -> None:
        self.mode = self.chance.choice(("create", "create", "replace", "upsert"))
        self.order = self.chance.choice(("id", "natural")) if self.mode != "upsert" else "id"
        self.collections = tuple(f"seed{number}" for number in range(SEEDS))

    def _prepare(self) -> None:
        source = self.world.source
        for name in self.collections:
            source.db.drop_collection(name)
        seeds = [self.chance.randrange(2**32) for _ in self.collections]
        self.changes = [
            Changes(source, seed, collection=name, first=FIRST)
            for seed, name in zip(seeds, self.collections, strict=True)
        ]
        self.journal.append(f"seeds of the collections: {seeds}")
        for each in self.changes:
            each.some(10)
        self.writer = Writer(self.changes)
        self.writer.start()

    def _start(self, resume: str | None) -> Start:
        """A run that was ended before the ledger knew of it begins anew, and has to be told again to follow."""
        if resume is None or self._run_id() is None:
            return Start(follow=True)
        return Start(resume=resume)

    async def _end(self, scene: Scene) -> dict[str, Any] | None:
        """Let it catch up without harm, stop the writers, cut over."""
        self._disarm(scene)
        began = moved_at = time.monotonic()
        done = -1
        while not scene.is_over:
            await go_on(scene)
            with suppress(MigrationError):
                await scene.engine.set("throttle", 0)
            follow = scene.engine.snapshot.follow
            if follow is not None and follow.ready:
                await self._cut_over(scene)
                continue
            now = scene.engine.snapshot.written + (sum(follow.by_kind.values()) if follow is not None else 0)
            if now != done:
                moved_at, done = time.monotonic(), now
            if time.monotonic() - moved_at > STANDSTILL_S:
                self.findings.problems.append(f"it stands still: {scene.engine.account()}")
                break
            if time.monotonic() - began > READY_S:
                reasons = follow.reasons if follow is not None else []
                self.findings.problems.append(f"it is not ready to be cut over: {reasons} {scene.engine.account()}")
                break
            await asyncio.sleep(0.05)
        end = await Cycle._end(self, scene)
        if (end is None or end["state"] != "completed") and not await asyncio.to_thread(self._is_cut_over):
            self.writer.start()
        return end

    def _is_cut_over(self) -> bool:
        """The ledger says so, even if the engine was killed before it could: the run is over for its writers."""
        run_id = self._run_id()
        return self.world.target.value("SELECT phase = 'done' FROM mongopg.follow WHERE run_id = $1", run_id) is True

    async def _cut_over(self, scene: Scene) -> None:
        """Until it is done, called off, or the engine is gone."""
        await asyncio.to_thread(self.writer.stop)
        before = self._n_called_off(scene)
        try:
            await scene.engine.client.call(CutOver(timeout_s=CUT_OVER_S))
        except MigrationError as error:
            scene.say(f"cannot be cut over now: {error}")
            return
        scene.say("the writers are stopped, and it is cut over")
        await scene.until(lambda: self._n_called_off(scene) > before, 2 * CUT_OVER_S)
        if self._n_called_off(scene) > before:
            self.world.figures.called_off += 1
            scene.say("called off")

    @staticmethod
    def _n_called_off(scene: Scene) -> int:
        return sum(event.kind == "problem" and event.facts["code"] == CALLED_OFF for event in scene.engine.events)

    @staticmethod
    def _disarm(scene: Scene) -> None:
        """Of the points in the engine only those of the end are passed from here on."""
        for point in sorted(scene.armed):
            if "collecting" in point or point.startswith("slice_"):
                scene.armed.discard(point)
                scene.figures.kills += not scene.points.disarm(point)

    def _judge(self, end: dict[str, Any]) -> None:
        found, world, figures = self.findings, self.world, self.world.figures
        run_id = self._run_id()
        assert run_id is not None
        for name in self.collections:
            differ = differences_to_source(world.source, world.target, run_id, name, table=self.table(name))
            figures.lost += len(differ.missing)
            figures.wrong += len(differ.wrong)
            figures.left_over += len(differ.more) + len(differ.rejects)
            figures.rows += differ.n_rows
            if differ:
                found.problems.append(f"{name}: {differ}")
        target = world.target
        waiting = target.value("SELECT count(*) FROM mongopg.dirty WHERE run_id = $1", run_id)
        found.require(not waiting, lambda: f"{waiting} keys were not applied")
        phase = target.value("SELECT phase FROM mongopg.follow WHERE run_id = $1", run_id)
        found.require(phase == "done", lambda: f"the ledger says that it is {phase}")
        found.require(end["state"] == "completed", lambda: f"it ended {end['state']}")
        oracle.look_for_remains(found, target, self._tables)
        figures.followed += 1
        figures.seeds += len(self.collections)
        figures.changes += sum(each.n_done for each in self.changes)
        figures.modes[self.name] += 1

    async def live(self) -> None:
        """Run to the end; what does not hold is in `findings`."""
        try:
            # Not super(): a dataclass with slots is another class than the one that its methods know.
            await Cycle.live(self)
        finally:
            await asyncio.to_thread(self.writer.stop)
