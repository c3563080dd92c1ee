"""The documents' pictures, from the real program on real servers: `make pictures`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from engine.config import Settings
from engine.demo import start_servers
from engine.protocol import RunState, Snapshot, Start
from engine.service.launching import launch
from tests.tui.drawing import Frame, frame_of, moving, still
from tests.tui.driving import until_shown
from tui.cockpit.app import Cockpit
from tui.cockpit.commands import SCREENS, Place

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
SIZE = (120, 40)
USERS = 400_000
ROWS_PER_S = 30_000
"""Throttled, so that there is something to see while pictures are taken."""
WORKERS = 4
PATIENCE_S = 120.0
ANSWERED = {
    Place.SETUP: ("connections free", "1 of 1 selected", "f9 Start"),
    Place.PLAN: ("registered_at", "f9 Start"),
    Place.VERIFY: (f"{USERS:,} read = ", "Counts match.", "c Count"),
    Place.HISTORY: ("mode create", "p Replay"),
}
"""What a screen shows when it has its answers."""

RECORDED_FROM = 0.6
"""Of the seeding, which looks the same all the time."""
MOVING_SIZE = (104, 30)
FRAME_S = 0.4
LAST_FRAME_S = 4.0


class Studio:
    """A cockpit that runs a migration, and what is seen of it."""

    def __init__(self, app: Cockpit, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot
        self.frames: list[Frame] = []
        self.caption = ""
        self.shown = 0
        """The frame for those who see only one."""

    def save(self, name: str) -> None:
        """A picture of the screen."""
        (FOLDER / f"{name}.svg").write_text(still(frame_of(self.app)), encoding="utf-8")

    async def until(self, holds: Callable[[Snapshot], object]) -> None:
        """Wait for a state of the run."""
        deadline = time.monotonic() + PATIENCE_S
        while not ((session := self.app.runs.session) is not None and holds(session.snapshot)):
            assert time.monotonic() < deadline, "the run did not come to that"
            await self.pilot.pause(0.1)

    async def record(self) -> None:
        """Take a frame whenever it is time, until cancelled."""
        due = time.monotonic()
        while True:
            self.frames.append(frame_of(self.app, self.caption))
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def press(self, caption: str, *keys: str, seconds: float = 2.0) -> None:
        """Say what is about to happen, press the keys, give it time."""
        self.caption = caption
        await asyncio.sleep(FRAME_S)
        for key in keys:
            self.app.simulate_key(key)  # the pilot's press waits for all that a busy run has to do
        await asyncio.sleep(seconds)


@asynccontextmanager
async def studio(settings: Settings, size: tuple[int, int]) -> AsyncIterator[Studio]:
    """A cockpit without a terminal, in which a seeding run has been started."""
    process = await asyncio.to_thread(launch, settings)
    app = Cockpit(settings, {}, process=process, start=Start(seed=True))
    async with app.run_test(size=size) as pilot:
        yield Studio(app, pilot)
        await app.action_quit()
    await asyncio.to_thread(process.wait, PATIENCE_S)


def copied(share: float) -> Callable[[Snapshot], object]:
    """The copy is so far."""
    return lambda now: now.state is RunState.RUNNING and now.total and now.written >= share * now.total


def over(now: Snapshot) -> object:
    """The run is completed."""
    return now.state is RunState.COMPLETED


async def take_stills(settings: Settings) -> None:
    """A picture of each screen."""
    async with studio(settings, SIZE) as seen:
        await seen.until(copied(0.2))
        await seen.pilot.press("plus", "plus")
        await seen.until(copied(0.6))
        seen.save(Place.RUN.value)
        await seen.until(over)
        await until_shown(seen.pilot, "✓ counts match", "compare every document", "q Quit")
        seen.save("report")
        for number, place in enumerate(SCREENS, start=1):
            if place in ANSWERED:
                await seen.pilot.press(str(number))
                await until_shown(seen.pilot, *ANSWERED[place])
                seen.save(place.value)


async def take_moving(settings: Settings) -> None:
    """A recording of a demo run."""
    async with studio(settings, MOVING_SIZE) as seen:
        await seen.until(lambda now: now.seeded >= RECORDED_FROM * USERS)
        seen.caption = "make demo: seed a real MongoDB, then copy it into a real PostgreSQL"
        recording = asyncio.create_task(seen.record())
        await seen.until(copied(0.15))
        await seen.press("keys + +: two workers more", "plus", "plus", seconds=2.4)
        seen.shown = len(seen.frames) - 1
        await seen.press("space bar: pause, what is in hand is committed", "space", seconds=2.4)
        await seen.press("space bar: and on", "space", seconds=1.6)
        await seen.press("key ]: larger pages", "right_square_bracket", seconds=1.6)
        seen.caption = ""
        await seen.until(over)
        seen.caption = "both sides are counted and compared"
        await seen.pilot.pause(2.0)
        recording.cancel()
        await asyncio.wait([recording])
        seconds = [FRAME_S] * (len(seen.frames) - 1) + [LAST_FRAME_S]
        (FOLDER / "demo.svg").write_text(moving(seen.frames, seconds, seen.shown), encoding="utf-8")


def main() -> None:
    """Start servers of our own for each, take the pictures, leave nothing behind."""
    os.environ["COLORTERM"] = "truecolor"  # wherever this is run
    FOLDER.mkdir(exist_ok=True)
    for take in (take_stills, take_moving):
        with start_servers() as servers:
            settings = Settings.model_validate(
                {
                    "source": {"uri": servers.source_uri},
                    "target": {"uri": servers.target_uri},
                    "seed": {"count": USERS},
                    "run": {
                        "collections": [Settings().seed.collection], "throttle": ROWS_PER_S, "cluster_size": WORKERS,
                    },
                }
            )  # fmt: skip
            asyncio.run(take(settings))


if __name__ == "__main__":
    main()
