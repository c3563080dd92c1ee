"""Where an engine and its front ends meet: run ids, the folder of sockets, the log's place.

The folder is `$XDG_RUNTIME_DIR/mongopg`, else `mongopg-<uid>` in the system's temporary folder, mode 0700 and ours alone; a
socket is called after its run, `20261123-1402-k3f9.sock`, mode 0600.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from pathlib import Path

from engine.errors import MigrationError

MAX_PATH_BYTES = 100
"""A Unix socket's path must stay below about 104 bytes on every system."""
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_run_id() -> str:
    """An id such as `20261123-1402-k3f9`: sorts by time, and four random letters keep two of one minute apart."""
    return time.strftime("%Y%m%d-%H%M-") + "".join(secrets.choice(_ALPHABET) for _ in range(4))


def socket_folder() -> Path:
    """The folder of sockets, made if it is not there.

    Raises:
        MigrationError: the folder belongs to somebody else or others may enter it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "mongopg" if runtime else Path(tempfile.gettempdir()) / f"mongopg-{os.getuid()}"
    if len(os.fsencode(folder)) > MAX_PATH_BYTES - len("/20261123-1402-k3f9.sock"):
        folder = Path(f"/tmp/mongopg-{os.getuid()}")  # noqa: S108 - owner and mode are checked below
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise MigrationError(
            f"The folder {folder} must be a directory of yours that nobody else may enter: "
            "remove it, or set XDG_RUNTIME_DIR to another place."
        )
    return folder


def socket_path(run_id: str) -> Path:
    """The socket of a run."""
    return socket_folder() / f"{run_id}.sock"


def live_sockets() -> list[Path]:
    """Sockets in the folder, oldest run first; whether somebody listens is found out by connecting."""
    return sorted(socket_folder().glob("*.sock"))


def state_folder() -> Path:
    """`$XDG_STATE_HOME/mongopg-tui`, where logs are kept; made if it is not there."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = Path(state) / "mongopg-tui"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def log_path(run_id: str) -> Path:
    """The log of the engine that was started as `run_id`."""
    return state_folder() / f"{run_id}.log"
