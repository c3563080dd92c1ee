"""Where an engine and its front ends meet: run ids, the folder of sockets, the log's place.

The folder is `$XDG_RUNTIME_DIR/mongopg`, else `mongopg-<uid>` in the system's temporary folder, mode 0700 and ours alone::

    20261123-1402-k3f9.sock    where the engine of a run listens, mode 0600
    20261123-1402-k3f9/        what its processes need among themselves: the fork server's socket

An engine removes both at its end; of one that was killed, whoever comes next does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path

from engine.errors import MigrationError, UsageError

MAX_PATH_BYTES = 100
"""A Unix socket's path must stay below about 104 bytes on every system."""
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_run_id() -> str:
    """An id such as `20261123-1402-k3f9`: sorts by time, and four random letters keep two of one minute apart."""
    return time.strftime("%Y%m%d-%H%M-") + "".join(secrets.choice(_ALPHABET) for _ in range(4))


def socket_folder() -> Path:
    """The folder of sockets, made if it is not there.

    Raises:
        MigrationError: the folder belongs to somebody else or others may enter it. UsageError: it cannot be used.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "mongopg" if runtime else Path(tempfile.gettempdir()) / f"mongopg-{os.getuid()}"
    if len(os.fsencode(folder)) > MAX_PATH_BYTES - len("/20261123-1402-k3f9/listener-abcdefgh"):
        folder = Path(f"/tmp/mongopg-{os.getuid()}")  # noqa: S108 - owner and mode are checked below
    found = _made(folder, "sockets", "XDG_RUNTIME_DIR").lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise MigrationError(
            f"The folder {folder} must be a directory of yours that nobody else may enter: "
            "remove it, or set XDG_RUNTIME_DIR to another place."
        )
    return folder


def _made(folder: Path, what: str, variable: str) -> Path:
    """`folder`, made if it is not there. Raises UsageError when it cannot be, or not be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason:
        raise UsageError(
            f"The folder for {what}, {folder}, cannot be used ({reason}): make it writable, or set {variable} to another place."
        )
    return folder


def socket_path(run_id: str) -> Path:
    """The socket of a run."""
    return socket_folder() / f"{run_id}.sock"


def listen(path: Path) -> socket.socket:
    """Listen there; nobody else of this machine may connect.

    Raises:
        OSError: that is not possible.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        # Under another name first: whoever finds a socket where nobody listens takes it for that of a killed engine.
        listener.bind(str(hidden := path.with_suffix(".new")))
    finally:
        os.umask(before)
    listener.listen()
    hidden.rename(path)
    return listener


def live_sockets() -> list[Path]:
    """Sockets in the folder, oldest run first; whether somebody listens is found out by connecting."""
    return sorted(socket_folder().glob("*.sock"))


def own_folder(path: Path) -> Path:
    """The folder that belongs to the engine whose socket is `path`."""
    return path.with_suffix("")


def forget(path: Path) -> None:
    """Remove what the engine whose socket was `path` left in the folder, if anything; it must have ended."""
    with contextlib.suppress(OSError):
        path.unlink()
    shutil.rmtree(own_folder(path), ignore_errors=True)


def forget_dead() -> None:
    """Remove what engines that were killed left behind."""
    for path in live_sockets():
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.setblocking(False)  # a living engine that is busy is not waited for
            try:
                knocking.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                forget(path)
            except OSError:
                continue


def state_folder() -> Path:
    """`$XDG_STATE_HOME/mongopg-tui`, where logs are kept; made if it is not there.

    Raises:
        UsageError: it cannot be used.
    """
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return _made(Path(state) / "mongopg-tui", "logs", "XDG_STATE_HOME")


def log_path(run_id: str) -> Path:
    """The log of the engine that was started as `run_id`."""
    return state_folder() / f"{run_id}.log"
