"""A run is found from sessions with another environment, and outlives the folders that its session had."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_DONE, ConnectError
from engine.service import sockets
from engine.service.client import find_engine
from tests.engine.test_command_line import assert_all_there, fill
from tests.signals import send_signal

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import Command, FrontEnd

WAIT_S = 60.0
WORKERS = 2
NOBODY = 65534


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def slow_run(front_end: FrontEnd, source: Source) -> tuple[Command, str]:
    """A run in the middle of its copy, and its id."""
    fill(source)
    command = front_end.start(
        "run", "--json", "--cluster-size", str(WORKERS), "--page-size", "500", "--throttle", "200"
    )
    record = command.until_progress(lambda record: record["written"] > 0)
    return command, record["run_id"]


def end(command: Command, front_end: FrontEnd, target: Target, run: str) -> None:
    """Let it come to its end, and find everything there."""
    hurried = front_end.do("ctl", "set", "throttle=off", "--run", run)
    assert hurried.code == EXIT_DONE, hurried.err
    outcome = command.outcome()
    assert outcome.code == EXIT_DONE, outcome.err
    assert_all_there(target)


def leftovers(run: str) -> list[Path]:
    """What lies about a run where every session looks."""
    return [path for place in ("/tmp", "/var/tmp") for path in Path(place, f"mongopg-{os.getuid()}").rglob(f"{run}*")]


def found_from(front_end: FrontEnd, run: str | None, **session: str) -> str:
    """The run that a front end finds whose environment is that of the test's, but for `session`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tempfile, "tempdir", None)
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            patched.setenv(name, front_end.environment[name])
        for name, value in session.items():
            patched.setenv(name, value)
        return asyncio.run(find_engine(run)).stem


@pytest.mark.slow
def test_a_run_is_found_from_other_sessions_and_when_its_own_is_gone(
    front_end: FrontEnd, source: Source, target: Target, tmp_path: Path
) -> None:
    stays, front_end.folder = front_end.folder, tmp_path / "mounted"
    front_end.folder.mkdir()
    command, run = slow_run(front_end, source)
    front_end.folder.rmdir()  # workers are started without a working directory from here on
    front_end.folder = stays
    with tempfile.TemporaryDirectory(prefix="mpg") as elsewhere:
        assert found_from(front_end, None, XDG_RUNTIME_DIR=elsewhere) == run
        assert found_from(front_end, None, XDG_RUNTIME_DIR="", TMPDIR=elsewhere) == run  # cron
        assert found_from(front_end, None, XDG_RUNTIME_DIR="", HOME=elsewhere) == run  # sudo
        assert found_from(front_end, None, XDG_RUNTIME_DIR=f"{elsewhere}/gone") == run
        assert found_from(front_end, run, XDG_RUNTIME_DIR=elsewhere, XDG_STATE_HOME="") == run
        # Where logs are kept apart, so are runs, unless they are named.
        assert found_from(front_end, run, XDG_RUNTIME_DIR=elsewhere, XDG_STATE_HOME=elsewhere) == run
        with pytest.raises(ConnectError, match="in progress on this machine"):
            found_from(front_end, None, XDG_RUNTIME_DIR=elsewhere, XDG_STATE_HOME=elsewhere)

        for folder in (
            front_end.runtime / "mongopg",
            *{path.parent for path in leftovers(run) if path.suffix == ".sock"},
        ):
            shutil.rmtree(folder)
        front_end.runtime.rmdir()  # as logind does, while /tmp is swept
        until(lambda: leftovers(run), "no socket again where every session looks")
        status = front_end.do("ctl", "status", "--json", XDG_RUNTIME_DIR=elsewhere)
        assert status.code == EXIT_DONE, status.err
        victim = next(worker["pid"] for worker in status.last["workers"] if worker["pid"])
        assert send_signal(victim, signal.SIGKILL)
        command.until_progress(
            lambda record: (
                len(record["workers"]) == WORKERS and victim not in [worker["pid"] for worker in record["workers"]]
            )
        )
        end(command, front_end, target, run)
    assert not leftovers(run)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_users_session_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="mpg") as theirs:
        os.chown(theirs, NOBODY, NOBODY)
        monkeypatch.setenv("XDG_RUNTIME_DIR", theirs)  # as su leaves it
        assert not sockets.socket_folder().is_relative_to(theirs)
        assert not list(Path(theirs).iterdir())


def test_a_run_begins_in_a_folder_that_is_gone(
    front_end: FrontEnd, source: Source, target: Target, tmp_path: Path
) -> None:
    source.db.users.insert_many([{"_id": number} for number in range(10)])
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$0" -P -m tui run --json --cluster-size 1', sys.executable],
        cwd=gone, env=front_end.environment, capture_output=True, text=True, check=False, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == EXIT_DONE, done.stderr
    assert target.value("SELECT count(*) FROM users") == 10
