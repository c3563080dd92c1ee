"""What a front end does when its run ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from engine.config import ENDS, Settings
from engine.loading import load_settings
from engine.protocol import RunState, Snapshot
from tui.at_end import Command, End, sequences

SECRET = "hunter2"


def end(**changes: object) -> End:
    """Of a run that was cancelled."""
    facts: dict[str, object] = {
        "run_id": "20261123-1402-k3f9", "state": RunState.CANCELLED, "phase": "cancelled", "read": 20, "written": 18,
        "rejected": 2, "seconds": 3.5, "source": "mongodb://app:***@db1/shop", "target": "postgresql://pg1/shop",
    }  # fmt: skip
    return End.of(Snapshot.model_validate(facts | changes), 130)


def settings(command: str) -> Settings:
    """With a command, and a password that it must not get."""
    return Settings.model_validate(
        {
            "source": {"uri": f"mongodb://app:{SECRET}@db1/shop"},
            "target": {"uri": "postgresql://pg1/shop"},
            "cockpit": {"on_finish": command},
        }
    )


def run(command: str) -> str:
    """What is said about a command."""
    return asyncio.run(Command(settings(command), end(), quiet=True).ended())


def test_a_terminal_gets_a_bell_and_two_notifications() -> None:
    told = sequences(end())
    words = "run 20261123-1402-k3f9 cancelled, 18 rows, 2 rejected"
    assert told == f"\a\x1b]9;mongopg-tui: {words}\x1b\\\x1b]777;notify;mongopg-tui;{words}\x1b\\"


def test_what_a_server_said_cannot_steer_the_terminal() -> None:
    evil = end(error={"code": "x", "message": "a\x1b]52;c;AAAA\x07;b"})
    assert sequences(evil).count("\x1b]") == 2
    assert sequences(evil).count("\a") == 1


def test_a_command_is_told_how_the_run_ended_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_SOURCE_URI", f"mongodb://app:{SECRET}@db1/shop")
    monkeypatch.setenv("PGPASSWORD_COPY", SECRET)
    told = tmp_path / "told"
    script = tmp_path / "tell.py"
    script.write_text("import os, sys; open(sys.argv[1], 'w').write(repr(dict(os.environ)))")
    assert run(f"{sys.executable} {script} {told}") == ""
    variables = eval(told.read_text())
    assert SECRET not in told.read_text()
    assert {name: value for name, value in variables.items() if name.removeprefix("MONGOPG_") in ENDS} == {
        "MONGOPG_RUN": "20261123-1402-k3f9",
        "MONGOPG_STATE": "cancelled",
        "MONGOPG_EXIT_CODE": "130",
        "MONGOPG_VERIFICATION": "none",
        "MONGOPG_READ": "20",
        "MONGOPG_WRITTEN": "18",
        "MONGOPG_REJECTED": "2",
        "MONGOPG_SECONDS": "3.500",
        "MONGOPG_SOURCE": "mongodb://app:***@db1/shop",
        "MONGOPG_TARGET": "postgresql://pg1/shop",
        "MONGOPG_MESSAGE": "run 20261123-1402-k3f9 cancelled, 18 rows, 2 rejected",
    }


def test_no_shell_runs_a_command_unless_it_names_one(tmp_path: Path) -> None:
    assert run(f"touch {tmp_path}/a;touch {tmp_path}/b") == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a;touch", "b"]
    assert run(f"sh -c 'echo $MONGOPG_STATE > {tmp_path}/state'") == ""
    assert (tmp_path / "state").read_text() == "cancelled\n"


def test_a_command_that_fails_is_told_of() -> None:
    assert run("") == ""
    assert run("false") == "The command of --on-finish ended with exit code 1."
    assert run("/nowhere/notify now").startswith("The command of --on-finish could not be started: ")
    assert run("sh -c 'unbalanced").startswith("The command of --on-finish could not be started: ")


def test_what_a_command_is_told_is_no_setting_of_a_program_that_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in end().variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MONGOPG_RUN_MODE", "append")
    loaded = load_settings(None, {})
    assert loaded.settings.run.mode == "append"
    assert loaded.warnings == ()
