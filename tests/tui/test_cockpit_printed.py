"""F12: commands that the cockpit prints for later run as they are."""

from __future__ import annotations

from textual.widgets import Static

from engine.protocol import RunState
from tests.tui.driving import on_run, session_of, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.farewell import farewell
from tui.cockpit.screens.run import RunScreen

LARGE = (120, 40)
RESUME = (
    "mongopg-tui run --resume 20261123-1402-k3f9 --source mongodb://app@db1:27017/shop "
    "--target postgresql://mig@pg1:5432/shop -W"
)


async def test_f12_servers_that_were_typed_on_setup_are_in_every_command_for_later(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=completed().tables, rejected=3))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        assert isinstance(app.screen, RunScreen)
        await pilot.press("x")
        await until_shown(pilot, "Stop the run?")
        words = str(app.screen.query_one(".dialog-text Static", Static).content)
        assert RESUME in " ".join(words.split())
        await pilot.press("escape")
        engine.show(state=RunState.CANCELLED, phase="cancelled", exit_code=130, workers=[])
        await until_shown(pilot, "× stopped", "--source mongodb://app@db1:27017/shop", "-W")
        session = session_of(app)
        assert f"Resume it with: {RESUME}\n" in farewell(session, run_goes_on=False)
        assert session.command("rejects 2026", "target") == (
            "mongopg-tui rejects 2026 --target postgresql://mig@pg1:5432/shop -W"
        )
