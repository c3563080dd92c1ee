"""Hosts of a Dask cluster as network namespaces of this machine, each of which can be cut off without a word.

::

    engine, scheduler, proxies to both servers -- 198.19.0.1 ===bridge=== 198.19.0.11 -- Dask worker, ours below it
                                                                  \\===== 198.19.0.12 -- ...

A host that is cut off hears of nothing any more: no answer, no refusal, no reset. A way may be long, too, and lose what is sent
(`Way`): not every kernel has what tc(8) needs for that, netem. The cluster has TLS, with certificates as
`docs/cluster/certificates.sh` makes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import json
import os
import random
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.signals import send_signal

OURS = "198.19.0.1"
"""Of the range for tests of networks (RFC 2544)."""
OUR_MAC = "02:00:00:00:01:01"
START_S = 60.0
POLL_S = 0.1
FRAME = 65_536
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x4004_54CA, 0x2, 0x1000
CERTIFICATES = Path(__file__).parents[2] / "docs" / "cluster" / "certificates.sh"


@dataclass(frozen=True, slots=True)
class Way:
    """What becomes of frames between a host and the bridge, in each direction."""

    delay_s: float
    loss: float
    """Share of them that never arrive."""


class Wire:
    """Two network devices, and a thread that carries frames from one to the other as a long way does."""

    def __init__(self, ends: tuple[str, str], way: Way) -> None:
        """Makes the devices, which are there until `close`.

        Args:
            ends: their names.
        """
        self._ends = [_tap(name) for name in ends]
        self._way = way
        self._chance = random.Random(7)
        self._told, self._tell = os.pipe()
        self._thread = threading.Thread(target=self._carry, name=f"wire {ends[0]}")
        self._thread.start()

    def close(self) -> None:
        """Devices and thread are gone."""
        os.close(self._tell)
        self._thread.join()
        for each in (*self._ends, self._told):
            os.close(each)

    def _carry(self) -> None:
        under_way: list[tuple[float, int, int, bytes]] = []
        for number in itertools.count():
            patience = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            ready = select.select([*self._ends, self._told], [], [], patience)[0]
            if self._told in ready:
                return
            for end in ready:
                frame = os.read(end, FRAME)
                if self._chance.random() >= self._way.loss:
                    to = self._ends[1 - self._ends.index(end)]
                    heapq.heappush(under_way, (time.monotonic() + self._way.delay_s, number, to, frame))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(under_way)
                with contextlib.suppress(OSError):  # it is not up yet
                    os.write(to, frame)


def _tap(name: str) -> int:
    """A device whose frames this process reads and writes (linux/if_tun.h)."""
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return end


class Hosts:
    """A bridge, its hosts, and a Dask scheduler on this one."""

    def __init__(self, name: str, folder: Path, way: Way | None = None) -> None:
        """Nothing is there yet.

        Args:
            way: to each of the hosts; none is as short as can be.
        """
        self._name, self._folder = name, folder
        self._way = way
        self._wires: list[Wire] = []
        self._places: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tls = ["--tls-ca-file", "ca.pem", "--tls-cert", "node.pem", "--tls-key", "node-key.pem"]
        self._scheduler = folder / "scheduler.json"

    @property
    def settings(self) -> dict[str, Any]:
        """Sections for an engine whose workers run there."""
        files = {"ca_file": "ca.pem", "cert_file": "node.pem", "key_file": "node-key.pem"}
        dask = {name: str(self._folder / file) for name, file in files.items()}
        return {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(self._scheduler)} | dask}

    def lay(self) -> None:
        """Make the bridge."""
        _ip("link", "add", self._name, "address", OUR_MAC, "type", "bridge")
        _ip("address", "add", f"{OURS}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")

    def start_scheduler(self) -> None:
        """With certificates of its own."""
        subprocess.run(["sh", str(CERTIFICATES), str(self._folder)], check=True, capture_output=True)
        self._start(
            "scheduler",
            "--host",
            f"tls://{OURS}",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(self._scheduler),
        )
        deadline = time.monotonic() + START_S
        while not self._scheduler.exists() or not self._scheduler.read_text():
            assert time.monotonic() < deadline, self.log()
            time.sleep(POLL_S)

    def add(self, slots: int) -> int:
        """Another host with so many slots; its number, from 0."""
        number = len(self._places)
        place, ours, theirs = f"{self._name}{number}", f"{self._name}{number}a", f"{self._name}{number}b"
        mac, address = f"02:00:00:00:01:1{number}", f"198.19.0.1{number + 1}"
        _ip("netns", "add", place)
        self._places.append(place)
        if self._way is None:
            _ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        else:
            self._wires.append(Wire((ours, theirs), self._way))
        _ip("link", "set", theirs, "address", mac)
        _ip("link", "set", theirs, "netns", place)
        _ip("link", "set", ours, "master", self._name, "up")
        _ip("-n", place, "link", "set", "lo", "up")
        _ip("-n", place, "address", "add", f"{address}/24", "dev", theirs)
        _ip("-n", place, "link", "set", theirs, "up")
        # Known for good: an unanswered question for the other's hardware would be told to the next sender.
        _ip("neighbour", "replace", address, "lladdr", mac, "dev", self._name, "nud", "permanent")
        _ip("-n", place, "neighbour", "replace", OURS, "lladdr", OUR_MAC, "dev", theirs, "nud", "permanent")
        scheduler = json.loads(self._scheduler.read_text())["address"]
        self._start(
            "worker", scheduler, "--protocol", "tls", "--host", address, "--nthreads", str(slots), "--nworkers", "1",
            "--no-dashboard", "--memory-limit", "0", "--local-directory", str(self._folder), place=place,
        )  # fmt: skip
        return number

    def cut(self, number: int) -> None:
        """From now on everything that goes to a host, or comes from it, disappears."""
        _ip("link", "set", f"{self._name}{number}a", "nomaster")

    def mend(self, number: int) -> None:
        """Everything arrives again."""
        _ip("link", "set", f"{self._name}{number}a", "master", self._name)

    def has(self, number: int, pid: int) -> bool:
        """A process runs on a host."""
        place = self._places[number]
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/run/netns", place).stat().st_ino

    def log(self) -> str:
        """What the programs of Dask said."""
        return "".join(each.read_text(errors="replace")[-5_000:] for each in sorted(self._folder.glob("*.log")))

    def remove(self) -> None:
        """End everything."""
        for process in self._processes:
            for pid in (process.pid, *_below(process.pid)):
                send_signal(pid, signal.SIGKILL)
            process.wait()
        for wire in self._wires:
            wire.close()
        for number, place in enumerate(self._places):
            subprocess.run(["ip", "link", "del", f"{self._name}{number}a"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", place], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._name], check=False, capture_output=True)

    def _start(self, program: str, *arguments: str, place: str = "") -> None:
        inside = ["ip", "netns", "exec", place] if place else []
        with (self._folder / f"{program}{place}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [*inside, sys.executable, "-P", "-m", "dask", program, *arguments, *self._tls],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                    env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "default"},
                )
            )  # fmt: skip


def _below(pid: int) -> list[int]:
    """Processes below one, at any depth."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    children = [int(each) for each in found.stdout.split()]
    return [each for child in children for each in (child, *_below(child))]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def hosts(folder: Path, *slots: int, way: Way | None = None) -> Iterator[Hosts]:
    """A cluster with a host for each number of slots; skips the test where no network can be made."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "openssl"))):
        pytest.skip("only root, with ip(8) and openssl(1), may make a network of its own")
    if way is not None and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("no device can be made here whose frames a program carries")
    made = Hosts(f"mh{secrets.token_hex(3)}", folder, way)
    try:
        try:
            made.lay()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network can be made here: {error.stderr.strip()}")
        made.start_scheduler()
        for each in slots:
            made.add(each)
        yield made
    finally:
        made.remove()
