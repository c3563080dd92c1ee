"""A network that swallows everything, which a proxy cannot be: its kernel goes on to acknowledge what the engine sends.

A virtual cable leads into a network namespace, where a proxy listens; its way on to the server is this machine's own::

    engine -- 198.18.0.1 ===cable=== 198.18.0.2 -- proxy -- 127.0.0.1 -- server

Cut, neither end hears of the other any more: no answer, no refusal, no reset.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.postgres.connect import KEEPALIVE_COUNT, KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, UNANSWERED_MS

CLONE_NEWNET = 0x4000_0000
OURS, THEIRS = "198.18.0.1", "198.18.0.2"
"""Of the range for tests of networks (RFC 2544)."""
OUR_MAC, THEIR_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


class Cable:
    """One end here, the other in a namespace."""

    def __init__(self, name: str) -> None:
        self._name = name

    def listener(self) -> socket.socket:
        """A socket that listens at the other end; what comes in there is watched as PostgreSQL watches our sessions."""
        made: list[socket.socket] = []
        thread = threading.Thread(target=lambda: made.append(self._listen()))  # alone a thread may be somewhere else
        thread.start()
        thread.join()
        return made[0]

    def _listen(self) -> socket.socket:
        with Path("/run/netns", self._name).open() as there:
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        listener = socket.create_server((THEIRS, 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
        return listener

    def cut(self) -> None:
        """From now on everything disappears: neither end knows the other's address any more, and packets are not answered."""
        _ip("-n", self._name, "address", "del", f"{THEIRS}/30", "dev", f"{self._name}b")

    def mend(self) -> None:
        """Everything arrives again."""
        self._give_address()

    def lay(self) -> None:
        """Connect both ends."""
        a, b = f"{self._name}a", f"{self._name}b"
        _ip("link", "add", a, "address", OUR_MAC, "type", "veth", "peer", "name", b, "address", THEIR_MAC)
        _ip("link", "set", b, "netns", self._name)
        _ip("address", "add", f"{OURS}/30", "dev", a)
        _ip("link", "set", a, "up")
        _ip("-n", self._name, "link", "set", b, "up")
        self._give_address()
        # Known for good: an unanswered question for the other's hardware would be told to the next sender.
        _ip("neighbour", "replace", THEIRS, "lladdr", THEIR_MAC, "dev", a, "nud", "permanent")

    def _give_address(self) -> None:
        _ip("-n", self._name, "address", "add", f"{THEIRS}/30", "dev", f"{self._name}b")
        _ip(
            "-n",
            self._name,
            "neighbour",
            "replace",
            OURS,
            "lladdr",
            OUR_MAC,
            "dev",
            f"{self._name}b",
            "nud",
            "permanent",
        )


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def cable() -> Iterator[Cable]:
    """A cable for the block; skips the test where none can be laid."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("only root, with ip(8), may make a network of its own")
    name = f"mpg{secrets.token_hex(3)}"
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network can be made here: {error.stderr.strip()}")
    made = Cable(name)
    try:
        try:
            made.lay()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no cable can be laid here: {error.stderr.strip()}")
        yield made
    finally:
        _ip("netns", "del", name)  # and the cable with it
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False, capture_output=True)
