"""Every command of the table is given by each of its keys, on its screen, when it works: a walk through the whole table."""

from __future__ import annotations

from typing import Any

import pytest

from engine.control.protocol import RunState
from tests.tui.driving import on_setup, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine
from tests.tui.test_cockpit_commands import OWNERS
from tui.app import Cockpit
from tui.commands import COMMANDS, SCREENS, Command, Place, Situation, commands_for
from tui.palette import CommandProvider

BOTH = {"has_source": True, "has_target": True}
WITH_RESULT = BOTH | {"has_result": True, "has_edits": True, "can_resume_chosen": True}
SCENES = (
    Situation(**WITH_RESULT),
    Situation(has_source=True),
    Situation(state=RunState.RUNNING, has_problems=True, has_engine=True, **BOTH),
    Situation(state=RunState.PAUSED, has_engine=True, **BOTH),
    Situation(state=RunState.FAILED, can_resume=True, has_engine=True, **BOTH),
    Situation(is_replay=True, **BOTH),
    Situation(is_counted=True, **BOTH),
    Situation(is_busy=True, is_counted=True, **BOTH),
)
"""Situations in which, taken together, every command works."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the commands that were given; nothing else comes of them."""
    ids: list[str] = []

    def recorder(command: Command) -> Any:
        def give(_: object) -> None:
            ids.append(command.id)

        return give

    for command in COMMANDS:
        monkeypatch.setattr(OWNERS[command.place], f"action_{command.action}", recorder(command), raising=False)
    return ids


async def test_each_key_of_each_command_gives_it_and_the_palette_offers_it(
    engine: ScriptedEngine, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SCENES[0]
    app = on_setup(engine)
    pressed: set[tuple[str, str]] = set()
    offered: set[str] = set()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "4 of 4 chosen")
        monkeypatch.setattr(Cockpit, "situation", property(lambda _: scene))
        for place in SCREENS:
            await app.switch_mode(place.value)
            await until(pilot, lambda: app.focused is not None)
            for scene in SCENES:
                app.situation_changed()
                await pilot.pause()
                working = [command for command in commands_for(place) if command.works(scene)]
                assert [command.id for command in CommandProvider(app.screen)._working()] == [
                    each.id for each in working
                ]
                offered |= {command.id for command in working}
                for command in working:
                    for key in command.keys.split(","):
                        if (command.id, key) not in pressed:
                            given.clear()
                            await pilot.press(key)
                            assert given == [command.id], f"{key} on {place}"
                            pressed.add((command.id, key))
        scene = SCENES[0]
    assert pressed == {(command.id, key) for command in COMMANDS for key in command.keys.split(",")}
    assert offered == {command.id for command in COMMANDS}


def test_no_place_is_without_commands() -> None:
    assert {command.place for command in COMMANDS} == set(Place)
