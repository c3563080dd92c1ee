"""The folder where engines and their front ends meet."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.control import rendezvous


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of sockets, with a path short enough for them."""
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield rendezvous.socket_folder()


def engine_called(run_id: str) -> socket.socket:
    """What an engine has in the folder while it lives."""
    path = rendezvous.socket_path(run_id)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    own = rendezvous.own_folder(path)
    own.mkdir()
    (own / "listener-abcdefgh").touch()
    return listener


def test_what_a_killed_engine_left_is_removed_and_a_living_one_is_left_alone(folder: Path) -> None:
    with engine_called("20261123-1402-aaaa"):
        engine_called("20261123-1402-bbbb").close()
        rendezvous.forget_dead()
        assert {entry.name for entry in folder.iterdir()} == {"20261123-1402-aaaa.sock", "20261123-1402-aaaa"}
    rendezvous.forget_dead()
    assert not list(folder.iterdir())


def test_every_socket_in_the_folder_has_a_path_that_a_system_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{runtime}/{'x' * 40}")
        path = rendezvous.own_folder(rendezvous.socket_path("20261123-1402-aaaa")) / "listener-abcdefgh"
    assert len(bytes(path)) <= rendezvous.MAX_PATH_BYTES
