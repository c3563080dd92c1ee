"""The README's pictures, from the real program on real servers: `make pictures`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import SecretStr

from engine.config import Settings
from engine.control.client import launch
from engine.control.protocol import RunState, Start
from engine.demo import start_servers
from tui.app import Cockpit

FOLDER = Path(__file__).parents[2] / "tui" / "pictures"
SIZE = (120, 36)
USERS = 400_000
ROWS_PER_S = 60_000
"""Throttled, so that there is something to see while the picture is taken."""
PATIENCE_S = 120.0


async def take(settings: Settings) -> None:
    """Run a migration in a cockpit without a terminal and save what it shows."""
    process = await asyncio.to_thread(launch, settings)
    app = Cockpit(settings, {}, process=process, start=Start(seed=True))
    async with app.run_test(size=SIZE) as pilot:

        def save(name: str) -> None:
            (FOLDER / f"{name}.svg").write_text(app.export_screenshot(title="mongopg-tui"), encoding="utf-8")

        async def wait_for(state: RunState, share: float = 0.0) -> None:
            deadline = asyncio.get_running_loop().time() + PATIENCE_S
            while asyncio.get_running_loop().time() < deadline:
                session = app.run_session
                snapshot = session.snapshot if session is not None else None
                if snapshot is not None and snapshot.state is state and snapshot.written >= share * snapshot.total:
                    return
                await pilot.pause(0.1)
            raise TimeoutError(f"the run did not become {state.value} in {PATIENCE_S:.0f} s")

        await wait_for(RunState.RUNNING, 0.2)
        await pilot.press("plus", "plus")
        await wait_for(RunState.RUNNING, 0.6)
        save("run")
        await wait_for(RunState.COMPLETED)
        await pilot.pause(1.0)
        save("report")
        for key, name in (("2", "plan"), ("4", "verify"), ("5", "history")):
            await pilot.press(key)
            await pilot.pause(4.0)
            save(name)
        await app.action_quit()


def main() -> None:
    """Start servers of our own, take the pictures, leave nothing behind."""
    FOLDER.mkdir(exist_ok=True)
    with start_servers() as servers:
        settings = Settings()
        settings.source.uri = SecretStr(servers.source_uri)
        settings.target.uri = SecretStr(servers.target_uri)
        settings.seed.count = USERS
        settings.run.collections = [settings.seed.collection]
        settings.run.throttle = ROWS_PER_S
        settings.run.cluster_size = 4
        asyncio.run(take(settings))


if __name__ == "__main__":
    main()
