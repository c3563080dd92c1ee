"""Sockets that belong to other processes, as the kernel has them."""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

PIDFD_GETFD = 438
"""pidfd_getfd(2), the same on every architecture; glibc has no function for it."""


def ports_to(pid: int, port: int) -> list[int]:
    """Our ports of a process's connections to a port of this machine."""
    connected = _connections_to(port)
    return [connected[inode] for inode in _sockets_of(pid).values() if inode in connected]


def sockets_to(pid: int, port: int) -> list[socket.socket]:
    """Copies of a process's connections to a port of this machine; skips the test where that is not allowed."""
    connected = _connections_to(port)
    return [socket.socket(fileno=_copy(pid, fd)) for fd, inode in _sockets_of(pid).items() if inode in connected]


def _sockets_of(pid: int) -> dict[int, str]:
    """File descriptor -> inode."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            name = os.readlink(link)
            if name.startswith("socket:["):
                found[int(link.name)] = name[8:-1]
    return found


def _connections_to(port: int) -> dict[str, int]:
    """Inode -> our port, of established connections; proc(5) has them as `sl local_address rem_address st ... inode`."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [fields for fields in lines if int(fields[2].rpartition(":")[2], 16) == port and fields[3] == "01"]
    return {fields[9]: int(fields[1].rpartition(":")[2], 16) for fields in ours}


def _copy(pid: int, fd: int) -> int:
    process = os.pidfd_open(pid)
    try:
        copy: int = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, fd, 0)
    finally:
        os.close(process)
    if copy < 0:
        pytest.skip(f"sockets of other processes may not be looked at here: {os.strerror(ctypes.get_errno())}")
    return copy
