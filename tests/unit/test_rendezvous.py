"""The folder where engines and their front ends meet."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine
from engine.config import Settings, reveal
from engine.service import sockets


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of sockets, with a path short enough for them."""
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield sockets.socket_folder()


def engine_called(run_id: str) -> socket.socket:
    """What an engine has in the folder while it lives."""
    path = sockets.socket_path(run_id)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    own = sockets.own_folder(path)
    own.mkdir()
    (own / "listener-abcdefgh").touch()
    return listener


def test_what_a_killed_engine_left_is_removed_and_a_living_one_is_left_alone(folder: Path) -> None:
    with engine_called("20261123-1402-aaaa"):
        engine_called("20261123-1402-bbbb").close()
        sockets.forget_dead()
        assert {entry.name for entry in folder.iterdir()} == {"20261123-1402-aaaa.sock", "20261123-1402-aaaa"}
    sockets.forget_dead()
    assert not list(folder.iterdir())


def test_every_socket_in_the_folder_has_a_path_that_a_system_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{runtime}/{'x' * 40}")
        path = sockets.own_folder(sockets.socket_path("20261123-1402-aaaa")) / "listener-abcdefgh"
    assert len(bytes(path)) <= sockets.MAX_PATH_BYTES


def test_an_engine_whose_front_end_is_gone_before_it_answers_ends_without_a_word(folder: Path) -> None:
    run_id = "20261123-1402-cccc"
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "engine", run_id],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[1])},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate(json.dumps(reveal(Settings())).encode() + b"\n", timeout=60.0)
        assert process.returncode == 1
    assert b"Traceback" not in said
    assert b"gone before it could answer" in said
    assert not sockets.socket_path(run_id).exists()


def test_the_socket_of_a_silent_engine_is_known_by_the_letters_of_its_run() -> None:
    path = Path("/run/mongopg/20200101-0000-ab2c.sock")
    for run in (None, "20200101", "20200101-0000-ab2c", "20261201-1043-ab2c", "20261201-1043-ab"):
        assert sockets.may_have_run(path, run), run
    for run in ("2026", "20261201", "20261201-1043", "20261201-1043-"):  # of a time alone, the run may be the engine's
        assert sockets.may_have_run(path, run), run
    for run in ("20261201-1043-ab2d", "20261201-1043-b"):
        assert not sockets.may_have_run(path, run), run
