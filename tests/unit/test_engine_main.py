"""The end of an engine process."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest

import engine.service.server
from engine import __main__ as process
from engine import logs
from engine.cluster import fork_server
from engine.service import log_files, sockets


class _Left(BaseException):
    """Raised in place of the process's end."""


def test_it_waits_for_no_thread_of_a_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str] = []

    def leave(code: int) -> NoReturn:
        done.append(f"left with {code}")
        raise _Left

    def note(what: str) -> Any:
        return lambda *_: done.append(what)

    monkeypatch.setattr(sys, "argv", ["engine", "a-run"])
    monkeypatch.setattr(logs, "set_up", note("logs"))
    monkeypatch.setattr(process, "_forbid_core_dumps", note("no core dumps"))
    monkeypatch.setattr(process, "_keep_answers", StringIO)
    monkeypatch.setattr(sockets, "listen_everywhere", lambda _: {tmp_path / "socket": None})
    monkeypatch.setattr(fork_server, "fork_off", note("fork server"))
    monkeypatch.setattr(engine.service.server, "run", note("served"))
    monkeypatch.setattr(sockets, "forget", note("socket forgotten"))
    monkeypatch.setattr(log_files, "drop_if_empty", note("log looked at"))
    monkeypatch.setattr("os._exit", leave)

    with pytest.raises(_Left):
        process.main()

    # Not before everything is put away: nothing runs behind it, such as PyMongo's own end, which waits for its threads.
    assert done[-4:] == ["served", "socket forgotten", "log looked at", "left with 0"]
