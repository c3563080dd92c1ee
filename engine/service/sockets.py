"""Where an engine and its front ends meet: run ids, the folders of sockets, the log's place.

An engine listens in two folders, mode 0700 and ours alone. One is that of its session: `$XDG_RUNTIME_DIR/mongopg`, else
`mongopg-<uid>` in the system's temporary folder. A session's folder is another one for cron, `su` and `sudo`, and logind
removes it at the last logout; so the other, `/tmp/mongopg-<uid>`, is the same whatever the environment says. Each holds::

    20261123-1402-k3f9.sock    where the engine of a run listens, mode 0600
    20261123-1402-k3f9/        what its processes need among themselves: the fork server's socket

An engine removes them at its end, and makes anew what others removed; of one that was killed, the next engine removes them.

Where logs are kept apart, by an `XDG_STATE_HOME` outside of the home directory, runs are apart, too: the second folder is
`/tmp/mongopg-<uid>/w-<hash>` then, and from there no other run is seen, unless it is named.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import secrets
import shutil
import socket
import stat
import tempfile
import time
import zlib
from pathlib import Path

from engine.errors import MigrationError, UsageError

MAX_PATH_BYTES = 100
"""A Unix socket's path must stay below about 104 bytes on every system."""
_LASTING = ("/tmp", "/var/tmp")  # noqa: S108 - owner and mode are checked
"""Where the second folder is: the first of them that can be used."""
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_run_id() -> str:
    """An id such as `20261123-1402-k3f9`: sorts by time, and four random letters keep two of one minute apart."""
    return _minute() + "".join(secrets.choice(_ALPHABET) for _ in range(4))


def run_id_now(engine_id: str) -> str:
    """The id of a run that an engine starts now: it may have waited for hours behind a Setup screen.

    The letters stay, so that the names of the engine's socket and log, which have its own time, are found by them.
    """
    return _minute() + engine_id.rpartition("-")[2]


def may_have_run(path: Path, run: str | None) -> bool:
    """Whether the engine of a socket, which does not tell, may have the run whose id begins with `run`."""
    if not run or path.stem.startswith(run):
        return True
    # The rest is the time of the run, which may be later than that of its engine.
    letters = "".join(run.split("-", 2)[2:])
    return path.stem.rpartition("-")[2].startswith(letters)


def _minute() -> str:
    return time.strftime("%Y%m%d-%H%M-")


def socket_folder() -> Path:
    """The folder of sockets of this session, made if it is not there.

    Raises:
        MigrationError: the folder belongs to another user or others may enter it. UsageError: it cannot be used.
    """
    folder = _session_folder()
    found = _made(folder, "sockets", "XDG_RUNTIME_DIR").lstat()
    if not _is_ours_alone(found):
        raise MigrationError(
            f"The folder {folder} must be a directory of yours that no other user may enter: "
            "remove it, or set XDG_RUNTIME_DIR to another place."
        )
    return folder


def _session_folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "mongopg" if runtime and _is_usable_session(Path(runtime)) else _temporary_folder()
    if len(os.fsencode(folder)) > MAX_PATH_BYTES - len("/20261123-1402-k3f9/listener-abcdefgh"):
        folder = Path(f"/tmp/mongopg-{os.getuid()}")  # noqa: S108 - owner and mode are checked before it is used
    return folder


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"mongopg-{os.getuid()}"


def _is_usable_session(runtime: Path) -> bool:
    """Not that of another user, as `su` leaves it in the environment, nor one that is gone and cannot be made again."""
    try:
        return runtime.stat().st_uid == os.getuid()
    except FileNotFoundError:
        above = next(folder for folder in runtime.absolute().parents if folder.exists())
        return above.stat().st_uid == os.getuid() and os.access(above, os.W_OK | os.X_OK) and above != Path("/run/user")
    except OSError:
        return True  # what is wrong with it is told when it is used


def _is_ours_alone(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _world() -> str:
    """The part of the second folder for runs that are kept apart; empty for all others."""
    state = os.environ.get("XDG_STATE_HOME")
    homes = {os.path.expanduser("~"), pwd.getpwuid(os.getuid()).pw_dir if _has_entry() else "~"}
    if not state or any(
        Path(os.path.abspath(state)).is_relative_to(home) for home in homes if home not in ("", "/", "~")
    ):
        return ""
    return f"w-{zlib.crc32(os.fsencode(os.path.abspath(state))):08x}"


def _has_entry() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:  # as in a container that runs under any number
        return False
    return True


def _lasting_folder() -> Path | None:
    """The second folder, made if it is not there; None when no place for it can be used."""
    for place in _LASTING:
        folder = Path(place) / f"mongopg-{os.getuid()}"
        try:
            for each in (folder, folder / _world()):
                each.mkdir(mode=0o700, exist_ok=True)
                if not _is_ours_alone(each.lstat()):
                    break
            else:
                return folder / _world()
        except OSError:
            continue
    return None


def _others_folders(*, everywhere: bool) -> list[Path]:
    """Folders that sockets of ours may be in, beside that of this session.

    Args:
        everywhere: those of runs that are kept apart, too.
    """
    user = f"mongopg-{os.getuid()}"
    candidates = [Path(place) / user / _world() for place in _LASTING]
    if everywhere or not _world():
        candidates += [
            Path(f"/run/user/{os.getuid()}/mongopg"),
            _temporary_folder(),
            Path(tempfile.gettempdir(), "mongopg"),
        ]
        for place in _LASTING:
            with contextlib.suppress(OSError):
                candidates += [Path(place) / user, *sorted((Path(place) / user).glob("w-*"))]
    session = _session_folder()
    found = []
    for folder in dict.fromkeys(candidates):
        with contextlib.suppress(OSError):
            if folder != session and _is_ours_alone(folder.lstat()):
                found.append(folder)
    return found


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
    """The socket of a run, in the folder of this session."""
    return socket_folder() / f"{run_id}.sock"


def socket_paths(run_id: str) -> list[Path]:
    """Everywhere that the engine of a run is to listen, that of this session first; folders are made.

    Raises:
        MigrationError: not even that can be used.
    """
    first = socket_path(run_id)
    lasting = _lasting_folder()
    return [first] if lasting is None else list(dict.fromkeys([first, lasting / first.name]))


def listen(path: Path) -> socket.socket:
    """Listen there; no other user of this machine may connect.

    Raises:
        OSError: that is not possible.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        # Under another name first: a socket on which no process listens is taken for that of a killed engine.
        listener.bind(str(hidden := path.with_suffix(".new")))
    finally:
        os.umask(before)
    listener.listen()
    hidden.rename(path)
    return listener


def listen_everywhere(run_id: str) -> dict[Path, socket.socket]:
    """The listening sockets of the engine of a run, that of this session first.

    Raises:
        MigrationError: the folder of the session cannot be used. OSError: nothing can listen in it.
    """
    first, *more = socket_paths(run_id)
    listeners = {first: listen(first)}
    for path in more:
        with contextlib.suppress(OSError):  # the first one serves, too
            listeners[path] = listen(path)
    return listeners


def live_sockets() -> list[Path]:
    """Sockets in this session's folder, oldest run first; whether an engine listens is found out by connecting."""
    return sorted(socket_folder().glob("*.sock"))


def sockets_elsewhere(*, everywhere: bool) -> list[Path]:
    """Sockets of other sessions of this user, oldest run first, each run once.

    Args:
        everywhere: those of runs that are kept apart, too.
    """
    found: dict[str, Path] = {}
    for folder in _others_folders(everywhere=everywhere):
        for path in folder.glob("*.sock"):
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def own_folder(path: Path) -> Path:
    """The folder that belongs to the engine whose socket is `path`."""
    return path.with_suffix("")


def forget(path: Path) -> None:
    """Remove what the engine whose socket was `path` left in any folder, if anything; it must have ended."""
    for folder in dict.fromkeys([path.parent, *_others_folders(everywhere=True), _session_folder()]):
        with contextlib.suppress(OSError):
            (folder / path.name).unlink()
        shutil.rmtree(own_folder(folder / path.name), ignore_errors=True)
        if folder.name.startswith("w-"):
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless another engine listens there


def forget_dead() -> None:
    """Remove what engines that were killed left behind."""
    for path in [*live_sockets(), *sockets_elsewhere(everywhere=True)]:
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.setblocking(False)  # a living engine that is busy is not waited for
            try:
                knocking.connect(str(path))
            except ConnectionRefusedError:
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
