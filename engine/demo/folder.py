"""The folder of one pair of servers: which user may use it, what is in it, and its removal.

::

    DIR/keeper.lock    held with flock(2) by the keeper for as long as it lives: when it is free, the keeper is dead
        servers.json   `FolderState`
        mongo/  postgres/  pginstall/  *.log
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.demo.binaries import open_to_others
from engine.demo.processes import POLL_S, ProcessMark, User
from engine.errors import ConnectError, UsageError

TEMPORARY_PREFIX = "mongopg-demo-"
LOCK = "keeper.lock"
STATE = "servers.json"
KEEPER_LOG = "keeper.log"
DATA_FOLDERS = ("mongo", "postgres", "postgres.new", "pginstall")
END_TIMEOUT_S = 10.0
UNLOCKED_AGE_S = 60.0  # a temporary folder without a lock and younger than this may be one that is just being made


@dataclass(frozen=True, slots=True)
class FolderState:
    """What the keeper has put into the folder; what the next start and `DemoServers` go by."""

    kept: bool
    """The data was asked to be kept: they are never removed."""
    keeper: ProcessMark
    servers: tuple[ProcessMark, ...] = ()
    mongo_port: int | None = None
    postgres_port: int | None = None
    source_uri: str = ""
    """Empty until both servers answer."""
    target_uri: str = ""

    def write(self, folder: Path) -> None:
        """Replace the state at once, so that a reader sees the old or the new one."""
        written = folder / f"{STATE}.new"
        written.write_text(json.dumps(asdict(self)))
        written.replace(folder / STATE)

    @classmethod
    def read(cls, folder: Path) -> FolderState | None:
        """The folder's state, None when it has none.

        Raises:
            UsageError: `servers.json` is not one of ours.
        """
        try:
            fields = json.loads((folder / STATE).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError(f"{folder / STATE} is not readable ({error}): choose another folder.") from error
        try:
            return cls(
                **fields
                | {
                    "keeper": ProcessMark(**fields["keeper"]),
                    "servers": tuple(ProcessMark(**mark) for mark in fields["servers"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise UsageError(f"{folder / STATE} was not written by this version: choose another folder.") from error

    def end_servers(self) -> None:
        """End servers that outlived their keeper and wait until they are gone.

        Raises:
            ConnectError: one of them does not end.
        """
        for server in self.servers:
            server.send(signal.SIGKILL)
        for server in self.servers:
            if not server.ended_within(END_TIMEOUT_S):
                raise ConnectError(f"An embedded server of an earlier demo does not end: process {server.pid}.")


def require_entry(folder: Path, user: User) -> None:
    """Refuse a folder that `user` will not be able to reach.

    Raises:
        UsageError: a folder above it, or it itself, is closed to other users.
    """
    closest = next(path for path in (folder, *folder.parents) if path.exists())
    if not open_to_others(closest):
        raise UsageError(
            f"PostgreSQL does not run as root, and the user '{user.name}' may not enter {closest}: "
            "choose a folder below one that every user may enter."
        )


def make_temporary(*, mode: int) -> tuple[Path, int]:
    """A new folder with that mode, and the descriptor of its held lock."""
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    folder.chmod(mode)
    # Locked under another name first, so that no process ever finds a lock of ours that is not yet held.
    hidden = folder / f"{LOCK}.new"
    lock = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    hidden.rename(folder / LOCK)
    return folder, lock


def prepare(folder: Path, *, mode: int) -> None:
    """Make `folder` with that mode if it is not there.

    Raises:
        UsageError: it cannot be made, or holds something that is not ours.
    """
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(mode)
        entries = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise UsageError(f"The demo's folder {folder} cannot be used: {error.strerror}.") from error
    if STATE not in entries and entries - {LOCK, KEEPER_LOG, f"{STATE}.new"}:
        raise UsageError(f"The demo's folder {folder} holds other files: give an empty or a new one.")


def take_lock(folder: Path) -> int | None:
    """The descriptor of the folder's lock, now ours; None while a keeper holds it or removes the folder."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = (folder / LOCK).stat().st_ino == os.fstat(lock).st_ino
    except (BlockingIOError, FileNotFoundError):
        held = False
    if not held:
        os.close(lock)
        return None
    return lock


def remove(folder: Path) -> None:
    """Remove what a demo puts into a folder, and the folder if nothing else is in it."""
    for name in DATA_FOLDERS:
        remove_tree(folder / name)
    for log in folder.glob("*.log"):
        log.unlink(missing_ok=True)
    for name in (STATE, f"{STATE}.new", LOCK, f"{LOCK}.new"):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # other files are in it, so it is not ours to remove
        folder.rmdir()


def remove_tree(tree: Path) -> None:
    """Remove a tree in which a process may still write: what initdb has started lives a moment longer than it."""
    deadline = time.monotonic() + END_TIMEOUT_S
    shutil.rmtree(tree, ignore_errors=True)
    while tree.exists() and time.monotonic() < deadline:
        time.sleep(POLL_S)
        shutil.rmtree(tree, ignore_errors=True)


def remove_stale() -> None:
    """Remove the temporary folders whose keeper was killed, with servers that may have outlived it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        try:
            found = folder.lstat()
            locked_once = (folder / LOCK).exists()
        except FileNotFoundError:  # its keeper has just removed it
            continue
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        being_made = not locked_once and time.time() - found.st_mtime < UNLOCKED_AGE_S
        if not ours or being_made:
            continue
        lock = take_lock(folder)
        if lock is not None:
            try:
                _remove_unless_kept(folder)
            finally:
                os.close(lock)


def _remove_unless_kept(folder: Path) -> None:
    try:
        state = FolderState.read(folder)
    except UsageError:  # of another version, which knows whether it is to be kept
        return
    if state is None or not state.kept:
        if state is not None:
            state.end_servers()
        remove(folder)
