"""One run of the soak: launched, hurt, resumed as often as it takes, and judged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from engine.config import Settings
from engine.errors import MigrationError
from engine.mongo import snapshot
from engine.protocol import DiscardRun, Start, Verification, Verify, VerifyReport
from engine.service.client import EngineClient
from engine.service.launching import launch
from tests.conftest import Source, Target
from tests.dask_cluster import DaskCluster
from tests.faults.planting import CrashPoints
from tests.faults.proxy import Proxy, proxy_to
from tests.remains import with_canary
from tests.running import Engine
from tests.soak import dask_faults, oracle
from tests.soak.drive import Scene
from tests.soak.faults import MENU, go_on
from tests.soak.figures import Figures
from tests.soak.oracle import Findings
from tests.soak.servers import Servers

COLLECTION = "users"
SECOND = "people"
"""Copied beside the first one now and then."""
MODES = ("create", "create", "append", "replace", "upsert")
IN_NATURAL_ORDER = ("create", "replace")
"""Modes in which a collection may be read so."""
MOST_ENGINES = 25
"""A run that is not complete after so many engines never will be."""
MID_RUN = 0.8
"""Share of the faults that wait until documents are being copied; the others hit whatever is going on."""
VERIFIED = 0.3
"""Share of the runs that the program compares, too."""
STARTED_S = 15.0
STANDSTILL_S = 150.0
"""No new row for so long, and no end: longer than anybody's patience with a server."""
GONE_S = 20.0
"""For everything to vanish after an engine's end, on a busy machine."""
FAILS_BY = {"parked", "workers", "no_server", "connection_lost", "network_timeout", "connect"}
"""Codes of failures that a fault may well cause; and SQLSTATEs, MongoDB's numbers."""
HOSTS_FAIL_BY = {"hosts", "hosts_away", "dask_ended"}
"""And where workers are on other hosts; `dask_internal` is a fault of ours."""
FORGOTTEN = {"snapshot_too_old", *snapshot.LOST}
"""The server does not have the moment any more at which a run reads: it cannot be completed."""


@dataclass(slots=True)
class World:
    """What all runs share."""

    source: Source
    target: Target
    servers: Servers
    points: CrashPoints
    figures: Figures
    documents: dict[str, int]
    """By collection."""
    order: str = ""
    """In which every run reads, in a mode that allows it; empty leaves it to chance."""
    dask: DaskCluster | None = None
    """Where the workers of every run are, if not on this host."""


@dataclass(slots=True)
class Cycle:
    """One run, from a seed of its own."""

    world: World
    number: int
    chance: random.Random
    template: str
    """A table that an earlier run has filled; empty for the first."""
    journal: list[str] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    mode: str = "create"
    consistency: str = "fuzzy"
    order: str = "id"
    collections: tuple[str, ...] = (COLLECTION,)
    n_faults: int = 0

    @property
    def follows(self) -> bool:
        """It follows its source, and is cut over."""
        return False

    @property
    def leaves(self) -> str:
        """The table that stays for the next run."""
        return self.table(COLLECTION)

    def table(self, collection: str) -> str:
        """Of this run alone."""
        return f"{collection}_{self.number}"

    @property
    def name(self) -> str:
        """What kind of run it is, in words."""
        words = [
            self.mode,
            self.consistency if self.consistency != "fuzzy" else "",
            self.order if self.order != "id" else "",
            *self.collections[1:],
        ]
        return " ".join(filter(None, words))

    @property
    def _documents(self) -> int:
        return sum(self.world.documents[name] for name in self.collections)

    @property
    def _tables(self) -> set[str]:
        return {*map(self.table, self.collections), *([self.template] if self.template else [])}

    async def live(self) -> None:
        """Run to the end; what does not hold is in `findings`."""
        world, chance = self.world, self.chance
        self._choose()
        await asyncio.to_thread(self._prepare)
        budget = chance.randint(8, 20)
        end: dict[str, Any] | None = None
        async with self._proxies() as proxies:
            settings = self._settings(proxies)
            resume = None
            for _ in range(MOST_ENGINES):
                scene = await self._launch(settings, proxies)
                world.figures.attempts += 1
                try:
                    budget = await self._hurt(scene, budget, resume)
                    end = await self._end(scene)
                    resume = ""
                    if scene.is_struck:
                        pass  # maybe behind its last word, and it answers nothing: the next engine ends in the same way
                    elif end is not None and end["state"] == "failed" and end["error"]["code"] in FORGOTTEN:
                        await self._begin_anew(scene)
                        resume = None
                    elif end is not None and end["state"] == "completed" and chance.random() < VERIFIED:
                        await self._verify(scene)
                finally:
                    await self._leave(scene)
                if self.findings.problems or (end is not None and end["state"] == "completed"):
                    break
            else:
                self.findings.problems.append(f"not complete after {MOST_ENGINES} engines")
        world.figures.runs += 1
        if not self.findings.problems:
            assert end is not None
            await asyncio.to_thread(self._judge, end)

    # --- before -------------------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        """What kind of run it is."""
        world, chance = self.world, self.chance
        self.mode = chance.choice(MODES) if self.template else "create"
        self.consistency = chance.choice(("fuzzy", "fuzzy", "snapshot"))
        if world.order == "natural" and self.mode not in IN_NATURAL_ORDER:
            self.mode = "replace"
        self.order = (world.order or chance.choice(("id", "natural"))) if self.mode in IN_NATURAL_ORDER else "id"
        self.collections = chance.choice(((COLLECTION,), (COLLECTION,), (COLLECTION, SECOND)))

    def _prepare(self) -> None:
        """What the mode finds: nothing, an empty table, an old one to replace, or rows to overwrite."""
        rows = {"append": "false", "replace": "random() < 0.1", "upsert": "random() < 0.5"}.get(self.mode)
        if rows is None:
            return
        for collection in self.collections:
            table = self.table(collection)
            which = (
                rows if collection == COLLECTION or self.mode == "replace" else "false"
            )  # the others have other keys
            self.world.target.execute(
                f"CREATE TABLE {table} (LIKE {self.template} INCLUDING ALL);"
                f" INSERT INTO {table} SELECT * FROM {self.template} WHERE {which}; UPDATE {table} SET age = -1"
            )

    @asynccontextmanager
    async def _proxies(self) -> AsyncIterator[dict[str, Proxy]]:
        async with AsyncExitStack() as stack:
            sides = {"source": self.world.source.uri, "target": self.world.target.uri}
            proxied = self.chance.choice(([], ["source"], ["target"], ["source", "target"], ["source", "target"]))
            yield {side: await stack.enter_async_context(proxy_to(sides[side])) for side in proxied}

    def _settings(self, proxies: dict[str, Proxy]) -> Settings:
        source = proxies["source"].uri if "source" in proxies else self.world.source.uri
        target = proxies["target"].uri if "target" in proxies else self.world.target.uri
        size = self.chance.randint(2, 4)
        return Settings.model_validate({
            "source": {"uri": f"{source}&serverSelectionTimeoutMS=5000"},
            "target": {"uri": with_canary(target)},
            "run": {
                "collections": [f"{self.world.source.database}.{name}:public.{self.table(name)}" for name in self.collections],
                "mode": self.mode,
                "consistency": self.consistency,
                "order": self.order,
                "cluster_size": size,
                "page_size": self.chance.randint(200, 2_000),
                "throttle": self._documents // self.chance.randint(10, 20),
            },
            **({"cluster": {"kind": "dask"}, "dask": {"scheduler": str(self.world.dask.file)}} if self.world.dask else {}),
        })  # fmt: skip

    async def _launch(self, settings: Settings, proxies: dict[str, Proxy]) -> Scene:
        process = await asyncio.to_thread(launch, settings)
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
        engine = Engine(process, client)
        self.engines.append(engine)
        world = self.world
        return Scene(
            self.chance, engine, world.target, world.servers, proxies, world.points, world.figures, self.journal,
            follows=self.follows, dask=world.dask,
        )  # fmt: skip

    # --- under fire ---------------------------------------------------------------------------------------------------

    async def _hurt(self, scene: Scene, budget: int, resume: str | None) -> int:
        """Start, or resume, and do harm until the run is over or the budget is spent; returns what is left of it."""
        scene.say(f"{'start' if resume is None else 'resume'} in mode {self.mode}, proxies {sorted(scene.proxies)}")
        with suppress(MigrationError):
            await scene.engine.client.call(self._start(resume))
        menu = MENU | dask_faults.MENU if self.world.dask is not None else MENU
        names = list(menu)
        weights = [menu[name][0] for name in names]
        while budget > 0 and not scene.is_over:
            if self.chance.random() < MID_RUN:
                await scene.until(lambda: scene.is_at_work and scene.engine.snapshot.written, STARTED_S)
            await scene.pause(0.0, 1.0)
            if scene.is_over:
                break
            name = self.chance.choices(names, weights)[0]
            self.world.figures.faults[name] += 1
            self.n_faults += 1
            budget -= 1
            await menu[name][1](scene)
        return budget

    def _start(self, resume: str | None) -> Start:
        """The command that starts it, or goes on with it."""
        return Start(resume=resume)

    async def _end(self, scene: Scene) -> dict[str, Any] | None:
        """Let it run on without harm until it is over; the facts of its end, None when the engine is gone."""
        if not scene.is_over:
            await go_on(scene)
            with suppress(MigrationError):
                await scene.engine.set("throttle", 0)
        await self._wait(scene)
        await asyncio.sleep(0.05)  # what the engine said last may still be on its way
        end = next((event.facts for event in scene.engine.events if event.kind == "finished"), None)
        for point in scene.armed:
            if not scene.points.disarm(point):
                self.world.figures.kills += 1
                scene.is_struck = True
        if end is None:
            how = "killed"
        elif end["state"] == "failed":
            how = f"failed: {end['error']['code']}"
        else:
            how = end["state"]
        self.world.figures.ends[how] += 1
        scene.say(f"ended: {how} {end.get('error', '') if end else ''}")
        if end is not None and end["state"] == "failed" and not self._is_excusable(end["error"]["code"]):
            self.findings.problems.append(f"the run failed: {end['error']}\n{scene.engine.account()}")
        return end

    async def _wait(self, scene: Scene) -> None:
        moved_at, written = time.monotonic(), -1
        while not scene.is_over:
            if scene.engine.snapshot.written != written:
                moved_at, written = time.monotonic(), scene.engine.snapshot.written
            if time.monotonic() - moved_at > STANDSTILL_S:
                self.findings.problems.append(f"it stands still: {scene.engine.account()}")
                return
            await asyncio.sleep(0.05)

    async def _leave(self, scene: Scene) -> None:
        """Part from the engine; nothing of it may be left afterwards."""
        engine = scene.engine
        scene.see()
        await engine.leave()
        deadline = time.monotonic() + GONE_S
        while time.monotonic() < deadline and (engine.process.wait(0) is None or scene.see()):
            await asyncio.sleep(0.1)
        await asyncio.to_thread(oracle.look_at_processes, self.findings, engine, scene.pids)
        staging = self.mode == "replace"
        await asyncio.to_thread(
            oracle.look_for_remains, self.findings, self.world.target, self._tables, may_stage=staging
        )
        if engine.process.wait(0) is None:
            engine.process.end()

    async def _begin_anew(self, scene: Scene) -> None:
        """The run can never be completed: drop it with everything that it wrote."""
        scene.say("the moment is forgotten: begin anew")
        self.world.figures.forgotten += 1
        run_id = await asyncio.to_thread(self._run_id)
        if run_id is not None:  # it may never have come so far
            await scene.engine.client.call(DiscardRun(run=run_id, drop_tables=True, force=True))
        for collection in self.collections:
            await asyncio.to_thread(self.world.target.execute, f"DROP TABLE IF EXISTS {self.table(collection)}")
        await asyncio.to_thread(self._prepare)

    async def _verify(self, scene: Scene) -> None:
        """The program itself finds no difference either."""
        run_id = await asyncio.to_thread(self._run_id)
        assert run_id is not None
        report = await scene.engine.client.ask(VerifyReport, Verify(run=run_id, level="full"))
        self.world.figures.verified += 1
        scene.say(f"verified in full: {report.result.value}")
        self.findings.require(
            report.result is Verification.VERIFIED and not report.differences,
            lambda: f"the full verification says {report.model_dump(mode='json')}",
        )

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _run_id(self) -> str | None:
        """Of the newest run into this one's tables, if there is one in the ledger."""
        run_id: str | None = self.world.target.value(
            "SELECT run_id FROM mongopg.table_load JOIN mongopg.run USING (run_id) WHERE table_name = $1"
            " ORDER BY started_at DESC LIMIT 1",
            self.table(self.collections[0]),
        )
        return run_id

    def _judge(self, end: dict[str, Any]) -> None:
        found, world = self.findings, self.world
        target, documents = world.target, self._documents
        rejects = sum(
            oracle.look_at_data(found, world.source, target, name, self.table(name)) for name in self.collections
        )
        run_id = self._run_id()
        assert run_id is not None
        oracle.look_at_ledger(found, target, run_id, documents=documents, rejects=rejects)
        if end["tables"]:  # one that was complete already when it was resumed tells nothing more
            oracle.look_at_report(found, end, documents=documents, rejects=rejects)
        oracle.look_for_remains(found, target, self._tables)
        world.figures.rows += documents - rejects
        world.figures.modes[self.name] += 1
        world.figures.lost += found.lost
        world.figures.duplicated += found.duplicated

    def tidy(self) -> None:
        """Drop all tables but one for the next run, and the logs of this one's engines; the ledger stays."""
        for table in self._tables - {self.leaves}:
            self.world.target.execute(f"DROP TABLE {table}")
        for engine in self.engines:
            engine.process.log.unlink(missing_ok=True)

    def _is_excusable(self, code: str) -> bool:
        if code in FORGOTTEN:
            return self.consistency == "snapshot"
        if self.world.dask is not None and code in HOSTS_FAIL_BY:
            return True
        return (
            code in FAILS_BY or code.isdigit() or (len(code) == 5 and code.isupper()) or code[:2] in ("08", "57", "53")
        )
