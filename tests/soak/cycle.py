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
from engine.control.client import EngineClient, launch
from engine.control.protocol import Start
from engine.errors import MigrationError
from tests.conftest import Source, Target
from tests.faults.planting import CrashPoints
from tests.faults.proxy import Proxy, proxy_to
from tests.remains import with_canary
from tests.running import Engine
from tests.soak import oracle
from tests.soak.drive import Scene
from tests.soak.faults import MENU, go_on
from tests.soak.figures import Figures
from tests.soak.oracle import Findings
from tests.soak.servers import Servers

COLLECTION = "users"
MODES = ("create", "create", "append", "replace", "upsert")
MOST_ENGINES = 25
"""A run that is not complete after so many engines never will be."""
MID_RUN = 0.8
"""Share of the faults that wait until documents are being copied; the others hit whatever is going on."""
STARTED_S = 15.0
STANDSTILL_S = 150.0
"""No new row for so long, and no end: longer than anybody's patience with a server."""
GONE_S = 20.0
"""For everything to vanish after an engine's end, on a busy machine."""
FAILS_BY = {"parked", "workers", "no_server", "connection_lost", "network_timeout", "connect"}
"""Codes of failures that a fault may well cause; and SQLSTATEs, MongoDB's numbers."""


@dataclass(slots=True)
class World:
    """What all runs share."""

    source: Source
    target: Target
    servers: Servers
    points: CrashPoints
    figures: Figures
    documents: int


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
    n_faults: int = 0

    @property
    def table(self) -> str:
        """Of this run alone."""
        return f"users_{self.number}"

    async def live(self) -> None:
        """Run to the end; what does not hold is in `findings`."""
        world, chance = self.world, self.chance
        self.mode = chance.choice(MODES) if self.template else "create"
        await asyncio.to_thread(self._prepare)
        budget = chance.randint(8, 20)
        end: dict[str, Any] | None = None
        async with self._proxies() as proxies:
            settings = self._settings(proxies)
            for attempt in range(MOST_ENGINES):
                scene = await self._launch(settings, proxies)
                world.figures.attempts += 1
                try:
                    budget = await self._hurt(scene, budget, None if attempt == 0 else "")
                    end = await self._end(scene)
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

    def _prepare(self) -> None:
        """What the mode finds: nothing, an empty table, an old one to replace, or rows to overwrite."""
        rows = {"append": "false", "replace": "random() < 0.1", "upsert": "random() < 0.5"}.get(self.mode)
        if rows is not None:
            self.world.target.execute(
                f"CREATE TABLE {self.table} (LIKE {self.template} INCLUDING ALL);"
                f" INSERT INTO {self.table} SELECT * FROM {self.template} WHERE {rows}; UPDATE {self.table} SET age = -1"
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
                "collections": [f"{self.world.source.database}.{COLLECTION}:public.{self.table}"],
                "mode": self.mode,
                "cluster_size": size,
                "page_size": self.chance.randint(200, 2_000),
                "throttle": self.world.documents // self.chance.randint(10, 20),
            },
        })  # fmt: skip

    async def _launch(self, settings: Settings, proxies: dict[str, Proxy]) -> Scene:
        process = await asyncio.to_thread(launch, settings)
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
        engine = Engine(process, client)
        self.engines.append(engine)
        world = self.world
        return Scene(
            self.chance, engine, world.target, world.servers, proxies, world.points, world.figures, self.journal
        )

    # --- under fire ---------------------------------------------------------------------------------------------------

    async def _hurt(self, scene: Scene, budget: int, resume: str | None) -> int:
        """Start, or resume, and do harm until the run is over or the budget is spent; returns what is left of it."""
        scene.say(f"{'start' if resume is None else 'resume'} in mode {self.mode}, proxies {sorted(scene.proxies)}")
        with suppress(MigrationError):
            await scene.engine.client.call(Start(resume=resume))
        names = list(MENU)
        weights = [MENU[name][0] for name in names]
        while budget > 0 and not scene.is_over:
            if self.chance.random() < MID_RUN:
                await scene.until(lambda: scene.is_running and scene.engine.snapshot.written, STARTED_S)
            await scene.pause(0.0, 1.0)
            if scene.is_over:
                break
            name = self.chance.choices(names, weights)[0]
            self.world.figures.faults[name] += 1
            self.n_faults += 1
            budget -= 1
            await MENU[name][1](scene)
        return budget

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
            self.world.figures.kills += not scene.points.disarm(point)
        if end is None:
            how = "killed"
        elif end["state"] == "failed":
            how = f"failed: {end['error']['code']}"
        else:
            how = end["state"]
        self.world.figures.ends[how] += 1
        scene.say(f"ended: {how} {end.get('error', '') if end else ''}")
        if end is not None and end["state"] == "failed" and not _is_excusable(end["error"]["code"]):
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
        while time.monotonic() < deadline and (engine.process.wait(0) is None or engine.processes()):
            await asyncio.sleep(0.1)
        await asyncio.to_thread(oracle.look_at_processes, self.findings, engine, scene.pids)
        tables = {self.table, *([self.template] if self.template else [])}
        staging = self.mode == "replace"
        await asyncio.to_thread(oracle.look_for_remains, self.findings, self.world.target, tables, may_stage=staging)
        if engine.process.wait(0) is None:
            engine.process.end()

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _judge(self, end: dict[str, Any]) -> None:
        found, world = self.findings, self.world
        target, documents = world.target, world.documents
        run_id = target.value(
            "SELECT run_id FROM mongopg.table_load WHERE table_name = $1 ORDER BY run_id DESC LIMIT 1", self.table
        )
        rejects = oracle.look_at_data(found, world.source, target, COLLECTION, self.table)
        oracle.look_at_ledger(found, target, run_id, documents=documents, rejects=rejects)
        if end["tables"]:  # one that was complete already when it was resumed tells nothing more
            oracle.look_at_report(found, end, documents=documents, rejects=rejects)
        oracle.look_for_remains(found, target, {self.table, *([self.template] if self.template else [])})
        world.figures.rows += documents - rejects
        world.figures.modes[self.mode] += 1
        world.figures.lost += found.lost
        world.figures.duplicated += found.duplicated

    def tidy(self) -> None:
        """Drop the earlier run's table, and the logs of this one's engines; the ledger stays."""
        if self.template:
            self.world.target.execute(f"DROP TABLE {self.template}")
        for engine in self.engines:
            engine.process.log.unlink()


def _is_excusable(code: str) -> bool:
    return code in FAILS_BY or code.isdigit() or (len(code) == 5 and code.isupper()) or code[:2] in ("08", "57", "53")
