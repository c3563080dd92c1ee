"""A cluster of several hosts on the Run screen: a line for each, with its workers below it."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from engine.protocol import HostView, Snapshot
from tests.bench.cockpit.keys import ON_A_HOST, TO_HOSTS, Press, presses_of
from tests.tui.driving import on_run, screen_text, until, until_shown
from tests.tui.scripted_engine import running, table, worker
from tui.cockpit.widgets.progress import CollectionBars
from tui.cockpit.widgets.workers import WorkerBars

if TYPE_CHECKING:
    from tests.tui.scripted_engine import ScriptedEngine

NODE_A = HostView(
    name="node-a", workers=2, busy=2, slots=8, rows_per_s=12_400.0, written=760_000, round_trip_ms=2.1, load=3.2, cores=4,
    version="0.1.0",
)  # fmt: skip
NODE_B = NODE_A.model_copy(update={"name": "node-b", "rows_per_s": 6_200.0, "busy": 1})
REFUSED = HostView(name="node-c", slots=8, problem="mongopg-tui is not installed there.")


def on_hosts(**changes: Any) -> Snapshot:
    """Two workers on each of two hosts; a third host takes none."""
    workers = [worker(number, host="node-a" if number <= 2 else "node-b") for number in range(1, 5)]
    facts: dict[str, Any] = {"workers": workers, "hosts": [NODE_A, NODE_B, REFUSED]}
    return running(**(facts | changes))


def folds(app: Any) -> dict[str, str]:
    """The signs before the names of hosts; the cursor may stand between them."""
    return {name: sign for sign, name in re.findall(r"([▼▷])[ ›](node-\w+)", screen_text(app))}


def line_of(app: Any, text: str) -> str:
    return next((line for line in screen_text(app).splitlines() if text in line), "")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_each_host_has_a_line_above_its_workers(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, on_hosts())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "node-a", "node-c", *(["Workers 4 on 2 hosts"] if size[0] > 80 else []))
        assert folds(app) == {"node-a": "▼", "node-b": "▼", "node-c": "▷"}
        first = line_of(app, "node-a")
        assert "2/8 workers" in first
        assert "12,400" in first
        assert "! mongopg-tui is not" in line_of(app, "node-c")
        lines = screen_text(app).splitlines()
        at = [next(row for row, line in enumerate(lines) if name in line) for name in ("node-a", "node-b", "node-c")]
        assert at == [at[0], at[0] + 3, at[0] + 6], "each with its two workers below it"


async def test_enter_on_a_host_folds_its_workers_and_shows_them_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, on_hosts())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: folds(app).get("node-a") == "▼")
        await pilot.press("enter")
        await until(pilot, lambda: folds(app)["node-a"] == "▷")
        assert folds(app)["node-b"] == "▼"
        assert [row.id for row in app.screen.query_one(WorkerBars).worker_rows] == [3, 4]
        await pilot.press("enter")
        await until(pilot, lambda: folds(app)["node-a"] == "▼")
        await pilot.press("down", "enter")
        await until_shown(pilot, "Worker 1", "pid 4001 on node-a")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_many_workers_are_folded_below_their_hosts(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    hosts = [NODE_A.model_copy(update={"name": f"node-{number:02}", "workers": 8, "busy": 8}) for number in range(64)]
    workers = [worker(number + 1, host=f"node-{number % 64:02}") for number in range(512)]
    app = on_run(engine, on_hosts(workers=workers, hosts=hosts, workers_alive=512, cluster_size=512))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "node-00", "node-01", *(["Workers 512 on 64 hosts"] if size[0] > 80 else []))
        assert "2.1 ms · load 3.2/4 " in line_of(app, "node-01"), "nothing of it is cut off"
        assert set(folds(app).values()) == {"▷"}


async def test_the_filter_finds_workers_by_their_host(engine: ScriptedEngine) -> None:
    app = on_run(engine, on_hosts())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "node-a")
        await pilot.press("slash", *"node-b")
        await until_shown(pilot, "Workers 2/4 matching", "node-b")
        await until(pilot, lambda: "node-a" not in screen_text(app))


async def test_more_workers_than_the_hosts_have_slots_for(engine: ScriptedEngine) -> None:
    app = on_run(engine, on_hosts(cluster_size=24, hosts=[NODE_A, NODE_B]))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "4 → 24, 16 slots")


async def test_what_the_bench_presses_leaves_nothing_behind_that_hides_what_the_next_key_shows(
    engine: ScriptedEngine,
) -> None:
    """Of the keys by which `tests.bench.cockpit` measures how fast the screen follows, on a cluster of several hosts."""
    workers = [worker(number, host=f"node-{'ab'[number % 2]}") for number in range(1, 65)]
    app = on_run(engine, on_hosts(workers=workers, tables=[table("orders", 4_210_334, state="copying")]))
    presses = {press.name: press for group in presses_of(64, has_hosts=True) for press in group}
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.focused, CollectionBars))
        await pilot.press(TO_HOSTS)
        await until(pilot, lambda: re.search(ON_A_HOST, screen_text(app)))
        for name in ("enter", "/", "S", "enter", "/", "z", "t", "?", "/"):
            press = presses[name]
            assert not press.shown.search(screen_text(app)), name
            for key, is_shown in ((press.key, True), (press.back, False)):
                await pilot.press(PILOT_KEYS.get(key, key))
                await until(pilot, partial(shows, app, press, is_shown=is_shown))


def shows(app: Any, press: Press, *, is_shown: bool) -> bool:
    """What the key shows is there, or it is not."""
    return bool(press.shown.search(screen_text(app))) is is_shown


PILOT_KEYS = {"\r": "enter", "\x1b": "escape", "\x10": "ctrl+p", "/": "slash", "?": "question_mark"}
