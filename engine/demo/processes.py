"""Processes: told apart beyond their pid, started as another user, and ended with the one that started them."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError

PR_SET_PDEATHSIG = 1  # prctl(2)
POLL_S = 0.01
UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process for good: its pid may be given to another process later, its pid with its birth may not."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> ProcessMark:
        """The mark of a living process; a dead one gets a mark that is not alive."""
        return cls(pid, _birth(pid) or "")

    def alive(self) -> bool:
        """Whether the process runs; a zombie does not."""
        return bool(self.birth) and _birth(self.pid) == self.birth

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.alive():
            try:
                os.kill(self.pid, signal_number)
            except ProcessLookupError:
                return

    def ended_within(self, seconds: float) -> bool:
        """Wait up to `seconds` for its end."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _birth(pid: int) -> str | None:
    """When the process began, in the system's own words: proc(5), stat field 22; elsewhere ps(1)."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, birth = fields[0], fields[19]
    else:
        command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        state, _, birth = shown.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else birth.strip()


@dataclass(frozen=True, slots=True)
class User:
    """A user to run a server as."""

    name: str
    uid: int
    gid: int


def unprivileged_user() -> User | None:
    """Whom to run PostgreSQL as, which refuses root; None when we are not root.

    Raises:
        UsageError: we are root and this machine has no user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise UsageError(
            f"PostgreSQL does not run as root and this machine has no user '{UNPRIVILEGED}': "
            "start the demo as an ordinary user."
        ) from None
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def launch(
    command: list[str], log: Path, *, death_signal: signal.Signals, user: User | None = None, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program that writes to `log` and gets `death_signal` when we die, on systems that can do so.

    Call it from the only thread of a process: Linux sends the signal when the *thread* that forked ends, and Python
    code between fork and exec may deadlock beside other threads.

    Raises:
        OSError, subprocess.SubprocessError: it could not be executed, or not as `user`.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
            preexec_fn=_dying_with_parent(death_signal),
        )


def _dying_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn`; it runs after the change of user, which would clear what it sets (prctl(2))."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        if prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(1)

    return ask
