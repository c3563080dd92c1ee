"""Which run `ctl` and `attach` mean, and what they say before they change it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_CONNECT, EXIT_DONE, EXIT_USAGE
from engine.protocol import RunState
from engine.service import finding, sockets
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cli import ctl, output
from tui.cli.entry import run_command_line

OURS = "postgresql://mig@pg1/shop"
RUN = "20261123-1402-k3f9"
OTHER = "20261123-1500-aaaa"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of sockets; no variable, no file and no live engine of this machine plays a part; there is no terminal."""
    for name in list(os.environ):
        if name.startswith(("MONGOPG_", "PG")):
            monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "has_terminal", lambda: False)
    monkeypatch.setattr(ctl, "has_terminal", lambda: False)
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield sockets.socket_folder()


@pytest.fixture
def engines(folder: Path) -> Iterator[Engines]:
    """Engines that are found."""
    with ExitStack() as stack:
        yield Engines(folder, stack)


class Engines:
    """Scripted engines whose sockets are in the folder of this session."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def add(self, run_id: str = RUN, **changes: Any) -> ScriptedEngine:
        """One with a run."""
        engine = ScriptedEngine((completed if changes.pop("is_over", False) else running)(run_id=run_id, **changes))
        moved = self._folder / f"{run_id}.sock"
        engine.socket = moved
        return self._stack.enter_context(engine)


def changes_of(engine: ScriptedEngine) -> list[str]:
    """What it was told to do."""
    return [command["name"] for command in engine.commands if command["name"] not in ("status", "attach")]


# --- by target --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["environment", "flag", "file"])
def test_t3_ctl_takes_the_run_into_the_configured_target(
    how: str, engines: Engines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = engines.add(RUN, target="postgresql://app:***@PG1:5432/shop")
    other = engines.add(OTHER, target="postgresql://mig:***@pg2/shop")
    words = ["ctl", "pause"]
    if how == "environment":
        monkeypatch.setenv("MONGOPG_TARGET_URI", OURS)
    elif how == "flag":
        words += ["--target", OURS]
    else:
        (tmp_path / "config.toml").write_text(f'[target]\nuri = "{OURS}"\n')
    assert run_command_line(words) == EXIT_DONE
    assert (changes_of(ours), changes_of(other)) == (["pause"], [])
    shown = capsys.readouterr().out
    assert shown.startswith(f"run {RUN}, mongodb://app:***@db1:27017/shop → postgresql://app:***@PG1:5432/shop: ")


def test_t3_a_run_into_another_target_is_not_touched_but_named(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = engines.add(OTHER, target="postgresql://mig:***@pg1/crm")
    monkeypatch.setenv("MONGOPG_TARGET_URI", "postgresql://mig:canary@pg1/shop")
    for words in (["ctl", "status"], ["ctl", "cancel", "--yes"]):
        assert run_command_line(words) == EXIT_CONNECT
        shown = capsys.readouterr().err
        assert "No run into postgresql://mig:***@pg1/shop in progress on this machine, but" in shown
        assert (
            f"{OTHER} (mongodb://app:***@db1:27017/shop → postgresql://mig:***@pg1/crm): name it with --run." in shown
        )
    assert changes_of(other) == []


def test_t3_a_run_that_is_named_needs_no_settings(
    engines: Engines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("[target\n")
    engine = engines.add()
    assert run_command_line(["ctl", "stop", "--run", RUN[:-2]]) == EXIT_DONE
    assert changes_of(engine) == ["cancel"]


def test_t3_attach_takes_the_run_into_the_configured_target(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.add(OTHER, target="postgresql://mig:***@pg2/shop")
    ours = engines.add(RUN, target=OURS)
    attached: list[Path] = []

    def cockpit(*_: object, attach: Path, **__: object) -> int:
        attached.append(attach)
        return EXIT_DONE

    monkeypatch.setattr(output, "has_terminal", lambda: True)
    monkeypatch.setattr("tui.cockpit.app.run_cockpit", cockpit)
    assert run_command_line(["attach", "--target", OURS]) == EXIT_DONE
    assert attached == [ours.socket]
    assert f"Attaching to run {RUN}: mongodb://app:***@db1:27017/shop → {OURS}" in capsys.readouterr().err


# --- the only one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["cancel", "stop", "pause", "resume", "set workers=3"])
def test_t3_without_a_terminal_the_only_run_is_changed_only_when_it_is_meant(
    action: str, engines: Engines, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engines.add()
    assert run_command_line(["ctl", *action.split()]) == EXIT_USAGE
    shown = capsys.readouterr().err
    assert changes_of(engine) == []
    assert f"Run {RUN} (mongodb://app:***@db1:27017/shop → postgresql://mig:***@pg1:5432/shop)" in shown
    assert f"add --run {RUN}, or --yes." in shown
    assert run_command_line(["ctl", *action.split(), "--yes"]) == EXIT_DONE
    assert len(changes_of(engine)) == 1


@pytest.mark.parametrize(("answer", "code"), [("y\n", EXIT_DONE), ("\n", EXIT_CANCELLED), ("", EXIT_CANCELLED)])
def test_t3_on_a_terminal_the_only_run_is_named_before_it_is_stopped(
    answer: str, code: int, engines: Engines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engines.add()
    monkeypatch.setattr(ctl, "has_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert run_command_line(["ctl", "cancel"]) == code
    assert changes_of(engine) == (["cancel"] if code == EXIT_DONE else [])
    shown = capsys.readouterr().err
    assert f"Run {RUN} (mongodb://app:***@db1:27017/shop → postgresql://mig:***@pg1:5432/shop): running." in shown
    assert "Stop it? [y/N] " in shown


@pytest.mark.parametrize(
    ("started_by", "is_asked"),
    [("run on pts/7 of ann@db1", False), ("run on pts/8 of ann@db1", True), ("run of ann@db1", True), ("", True)],
)
def test_t3_a_run_of_the_same_terminal_is_changed_without_a_question(
    started_by: str,
    is_asked: bool,
    engines: Engines,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = engines.add(started_by=started_by)
    monkeypatch.setattr(ctl, "actor", lambda program: f"{program} on pts/7 of ann@db1")
    assert run_command_line(["ctl", "pause"]) == (EXIT_USAGE if is_asked else EXIT_DONE)
    assert bool(changes_of(engine)) is not is_asked
    if is_asked and started_by:
        assert f"started by {started_by})" in capsys.readouterr().err


def test_t3_status_of_the_only_run_asks_nothing_and_names_it(
    engines: Engines, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.add()
    assert run_command_line(["ctl", "status"]) == EXIT_DONE
    shown = capsys.readouterr().out
    assert shown.startswith(f"run {RUN}: running, copying\n")
    assert "mongodb://app:***@db1:27017/shop → postgresql://mig:***@pg1:5432/shop\n" in shown


def test_t3_several_runs_are_listed_with_their_servers(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    engines.add(RUN)
    engines.add(OTHER, target="postgresql://mig:***@pg2/crm")
    assert run_command_line(["ctl", "status"]) == EXIT_USAGE
    shown = capsys.readouterr().err
    assert "name one with --run" in shown
    assert f"{OTHER} (mongodb://app:***@db1:27017/shop → postgresql://mig:***@pg2/crm)" in shown


def test_t3_a_run_of_another_user_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(finding, "runs_of_others", lambda run="": [(OTHER, "ann")] if OTHER.startswith(run) else [])
    assert run_command_line(["ctl", "status"]) == EXIT_CONNECT
    assert f"of other users: {OTHER} of ann" in capsys.readouterr().err
    assert run_command_line(["ctl", "cancel", "--run", RUN]) == EXIT_CONNECT
    assert "ann" not in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_engines_of_other_users_are_found_among_the_processes() -> None:
    code = "import os, sys; os.setuid(65534); os.execv('/bin/sh', ['sh', '-c', 'read _', '-m', 'engine', sys.argv[1]])"
    with subprocess.Popen([sys.executable, "-c", code, OTHER], stdin=subprocess.PIPE) as process:
        try:
            while (OTHER, "nobody") not in (found := finding.runs_of_others()):
                assert process.poll() is None, found
            assert finding.runs_of_others(RUN) == []
        finally:
            process.kill()


# --- how far it is ----------------------------------------------------------------------------------------------------


def test_status_of_a_finished_run_is_its_state_and_of_none_exit_code_3(
    engines: Engines, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["ctl", "status"]) == EXIT_CONNECT
    assert "No run in progress on this machine; `mongopg-tui runs` lists past runs." in capsys.readouterr().err
    engines.add(is_over=True)
    assert run_command_line(["ctl", "status"]) == EXIT_DONE
    assert capsys.readouterr().out.startswith(f"run {RUN}: completed\n")


def test_f16_status_has_a_subject_a_line(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    engines.add(state=RunState.RUNNING, rejected=3, draining=1)
    assert run_command_line(["ctl", "status"]) == EXIT_DONE
    status, _, workers = capsys.readouterr().out.partition("\n\n")
    assert max(map(len, status.splitlines())) <= 100
    assert "  rows     58.3%, 2,952,110 / 5,063,558, rejected 3\n" in status
    assert "ETA 51s" in status
    assert "  knobs    workers 4, 1 draining, page size 8,000, throttle off" in status
    assert "seed count" not in status
    assert len(workers.splitlines()) == 5


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("postgresql://a:x@pg1/shop", "postgresql://b@pg1:5432/shop?sslmode=require", True),
        ("postgresql://a@localhost/shop", "postgresql://a@127.0.0.1/shop", True),
        ("host=pg1 dbname=shop user=a", "postgresql://a:***@PG1/shop", True),
        ("postgresql://a@pg1,pg2/shop", "postgresql://a@pg2/shop", True),
        ("postgresql://shop@pg1", "postgresql://shop@pg1/shop", True),
        ("postgresql://a@pg1/shop", "postgresql://a@pg1/crm", False),
        ("postgresql://a@pg1/shop", "postgresql://a@pg1:5433/shop", False),
        ("postgresql://a@pg1/shop", "", False),
        ("postgresql://a@pg1/shop", "nonsense", False),
    ],
)
def test_targets_are_the_same_by_server_and_database(one: str, other: str, is_same: bool) -> None:
    assert finding.is_same_target(one, other) is is_same
    assert finding.is_same_target(other, one) is is_same
