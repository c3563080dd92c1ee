"""Thousands of collections on the screens: they are there soon, and keys have their effect."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from engine.protocol import RunState
from tests.tui.driving import on_run, on_setup, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running, table, worker

if TYPE_CHECKING:
    from engine.protocol import TableProgress

MANY = 5_000
DRAWN_S = 3.0
"""Processor time of the cockpit for another snapshot of all of them, on a slow machine."""


def tables(done: int) -> list[TableProgress]:
    """So many of them copied."""
    return [
        table(f"c{number:04}", 100, state="copied")
        if number < done
        else table(f"c{number:04}", 100, read=0, written=0, source_count=-1, target_count=-1, ok=None, state="waiting")
        for number in range(MANY)
    ]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_run_of_thousands_of_collections_is_drawn(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running(tables=tables(10), total=100 * MANY, written=1_000, read=1_000, workers=[worker(1)]))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "c0010", "waiting, 10 copied", "● running")
        began = time.process_time()
        engine.show(tables=tables(2_000), elapsed=80.0, written=200_000, read=200_000)
        await until_shown(pilot, "c2000", "copied")
        assert time.process_time() - began < DRAWN_S
        engine.show(state=RunState.FINISHING, phase="building keys", elapsed=90.0, tables=tables(MANY))
        await until_shown(pilot, "c0000", "· copied")


@pytest.mark.slow
async def test_a_plan_of_thousands_of_collections_is_walked_through(engine: ScriptedEngine) -> None:
    columns = '[{ field = "_id", column = "_id", type = "text" }, { field = "total", column = "total", type = "text" }]'
    engine.plan_text = 'version = 1\nmode = "create"\n[options]\noverflow = "reject"\n' + "".join(
        f'[[tables]]\ncollection = "shop.c{number:04}"\nschema = "public"\ntable = "c{number:04}"\nfilter = ""\n'
        f"exclude = []\ncolumns = {columns}\n"
        for number in range(MANY)
    )
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("2")
        await until_shown(pilot, "shop.c0000 → public.c0000", "1 of 5,000 collections")
        began = time.process_time()
        await pilot.press("n")
        await until_shown(pilot, "shop.c0001 → public.c0001", "2 of 5,000 collections")
        assert time.process_time() - began < DRAWN_S
