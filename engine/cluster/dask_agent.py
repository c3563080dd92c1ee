"""What Dask runs for a crew, on its workers: `agent` as a task, one for each member; `put` and `take` out of order of tasks.

::

    engine (dask_crew)                  a Dask worker's process                      host process (host)
      |-- client.submit(agent) ---------> Relay: starts a host process ---------------> LocalCrew, its members
      |-- client.run(put, parcels) -----> writes them to its socket ------------------>
      |<- client.run(take) -------------- reads them from its socket <-----------------

An agent does nothing but keep one of its Dask worker's threads: so many members may be there, and Dask gives their place to no
other task. Dask may start an agent again, elsewhere or later, as it pleases: it only says that there is room.

Nothing here looks into a parcel. Arguments of tasks, which the scheduler keeps, are the name of a conversation, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import secrets
import socket
import subprocess
import threading
import time
from collections import deque
from typing import Any

from engine import __version__
from engine.cluster.dask_api import get_worker
from engine.cluster.host_start import started_host
from engine.work.frames import FORMAT, LENGTH, framed, joined, split

START_POLL_S = 0.05
STATUS_POLL_S = 0.25
HOST_END_S = 5.0
"""How long a host process may take to end its members, and itself."""
DRAIN_S = 6.0
"""How long members may take to finish what they have in hand when their Dask worker closes; a nanny kills it after 8 s."""
_relays: dict[str, Relay] = {}
"""By name of the conversation; of this process."""
_making = threading.Lock()


def agent(session: str) -> None:
    """Be the place of a member until it is not needed any more, or this Dask worker closes.

    Args:
        session: name of the conversation.
    """
    _keep_log_short()
    worker = get_worker()
    with _making:
        relay = _relays.get(session)
        if relay is None or relay.is_closing:
            relay = _relays[session] = Relay(worker)
        relay.join()
    while not relay.is_over(STATUS_POLL_S):
        if _is_closing(worker):
            relay.drain()  # no cancel, and no end of the scheduler, would end this thread
    with _making:
        if relay.n_slots == 0:
            relay.close()


def put(session: str, relay_id: str, key: bytes, parcels: list[bytes], slots: int) -> None:
    """Hand parcels to the host process.

    Args:
        session: name of the conversation.
        relay_id: of the relay that they are for; another one does not get them.
        key: of the conversation.
        slots: so many agents are needed, the others return; negative: all of them.
    """
    relay = _relays.get(session)
    if relay is not None and relay.id == relay_id:
        relay.put(key, parcels)
        if slots >= 0:
            relay.release(slots)


async def take(session: str, relay_id: str, slots: int, wait_s: float) -> bytes:
    """What the host process says, and which relay and how many agents there are; waits until there is something new.

    Args:
        session: name of the conversation.
        relay_id: of the relay that is known.
        slots: how many agents are known.
        wait_s: how long to wait at most.

    Returns:
        A report, as `read_report` takes it; empty when there is no agent.
    """
    deadline = time.monotonic() + wait_s
    while (relay := _relays.get(session)) is None:
        if time.monotonic() > deadline:
            return b""
        await asyncio.sleep(START_POLL_S)
    await relay.until_news(relay_id, slots, deadline)
    return relay.report()


class Report:
    """What `take` has returned."""

    def __init__(self, content: bytes) -> None:
        head, *self.parcels = split(content)
        facts = json.loads(head)
        self.relay_id: str = facts["relay"]
        self.slots: int = facts["slots"]
        self.has_ended: bool = facts["ended"]
        self.exit_code: int | None = facts.get("exit")
        """Of a host process that ended by itself; None where it was ended."""
        self.is_leaving: bool = facts.get("leaving", False)
        """Its Dask worker closes: members finish what they have in hand."""
        self.version: str = facts["version"]
        self.format: int = facts["format"]


class Relay:
    """Between a conversation's agents in this process and its host process."""

    def __init__(self, worker: Any) -> None:
        """Starts the host process.

        Args:
            worker: of Dask, in whose process this is.

        Raises:
            OSError: it cannot be started.
        """
        self.id = secrets.token_hex(8)
        self._worker = worker
        self.n_slots = 0
        self.is_closing = False
        """It takes no further agent."""
        self.is_leaving = False
        """Its members finish what they have in hand, and end."""
        self.has_ended = False
        """Its host process has."""
        self.exit_code: int | None = None
        """Of one that ended by itself."""
        self._drained_by = 0.0
        self._is_keyed = False
        self._to_release = 0
        self._changed = threading.Condition()
        self._taken: deque[bytes] = deque()
        self._to_write: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._listener: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        host = started_host()
        self._socket, self._process = host.socket, host.process
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"mongopg {work.__name__.strip('_')}", daemon=True).start()

    def join(self) -> None:
        """Another agent."""
        with self._changed:
            self.n_slots += 1
        self.tell()

    def is_over(self, seconds: float) -> bool:
        """Whether an agent, which is none any more then, is to return; waits so long for that."""
        with self._changed:
            if not (self.has_ended or self._to_release):
                self._changed.wait(seconds)
            if not (self.has_ended or self._to_release):
                return False
            self._to_release = max(0, self._to_release - 1)
            self.n_slots -= 1
        self.tell()
        return True

    def release(self, slots: int) -> None:
        """So many agents are needed."""
        with self._changed:
            self._to_release = max(0, self.n_slots - slots)
            self._changed.notify_all()

    def put(self, key: bytes, parcels: list[bytes]) -> None:
        """Write parcels; before the first one the key."""
        if not self._is_keyed:
            self._is_keyed = True
            self._to_write.put(key)
        for parcel in parcels:
            self._to_write.put(parcel)

    async def until_news(self, relay_id: str, slots: int, deadline: float) -> None:
        """Returns when there is something that is not known, or at the deadline."""
        event = asyncio.Event()
        self._listener = asyncio.get_running_loop(), event
        was_leaving = self.is_leaving
        while (
            not self._taken
            and not self.has_ended
            and (self.id, self.n_slots) == (relay_id, slots)
            and self.is_leaving == was_leaving
        ):
            event.clear()
            try:
                await asyncio.wait_for(event.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return

    def report(self) -> bytes:
        """What there is, once."""
        # A Dask worker that was to close may stay after all: it takes another host process when this one has ended.
        is_leaving = self.is_leaving and not (self.has_ended and not _is_closing(self._worker))
        facts: dict[str, Any] = {
            "relay": self.id, "slots": self.n_slots, "ended": self.has_ended, "exit": self.exit_code,
            "leaving": is_leaving,
            "version": __version__, "format": FORMAT,
        }  # fmt: skip
        parcels = []
        while self._taken:
            parcels.append(self._taken.popleft())
        return joined([json.dumps(facts).encode(), *parcels])

    def tell(self) -> None:
        """Have `take` look again."""
        if self._listener is not None:
            loop, event = self._listener
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the process about to end
                loop.call_soon_threadsafe(event.set)

    def drain(self) -> None:
        """Have the members finish what they have in hand and end, and with them the host process; call it again and again."""
        with self._changed:
            is_first, self.is_leaving = not self.is_leaving, True
            if is_first:
                self._drained_by = time.monotonic() + DRAIN_S
        if not self._is_keyed or time.monotonic() > self._drained_by:
            self.close()
        elif is_first:
            self.is_closing = True
            self._to_write.put(b"")
            self.tell()

    def close(self) -> None:
        """End the host process, and with it its members."""
        self.is_closing = True
        self._to_write.put(None)

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as stream:
                while head := stream.read(LENGTH.size):
                    (length,) = LENGTH.unpack(head)
                    self._taken.append(stream.read(length))
                    self.tell()
        except (OSError, ValueError):
            pass  # as after a reset: it has ended
        was_ended = self.is_closing
        self.close()
        try:
            self._process.wait(HOST_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        with self._changed:
            self.exit_code = None if was_ended else self._process.returncode
            self.has_ended = True
            self._changed.notify_all()
        self.tell()

    def _write(self) -> None:
        try:
            while (parcel := self._to_write.get()) is not None:
                self._socket.sendall(framed(parcel))
        except OSError:
            pass  # it has ended
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


def _is_closing(worker: Any) -> bool:
    """A worker of Dask takes no further tasks."""
    return worker.status.name not in ("running", "paused")


class _NoCalls(logging.Filter):
    """Dask writes a line for each call of `put` and `take`, several a second."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not (str(record.msg).startswith("Run out-of-band") and arguments[:1] in (("put",), ("take",)))


def _keep_log_short() -> None:
    log = logging.getLogger("distributed.worker")
    if not any(isinstance(each, _NoCalls) for each in log.filters):
        log.addFilter(_NoCalls())
