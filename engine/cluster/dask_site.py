"""The Dask cluster that an engine uses: found, or started on this host, connected to, and connected to again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.cluster.dask_api import Client, Security
from engine.cluster.dask_process import DaskProcess
from engine.config import DaskSettings
from engine.errors import ConnectError, MigrationError, UsageError
from engine.scheduler_address import MOST_LOCAL, SchedulerAddress, read_address
from engine.tls import is_local

CONNECT_S = 10.0
"""How long a scheduler may take to answer."""
END_S = 10.0
"""How long disconnecting may take."""
SCALE_TOPIC = "mongopg-scale"
"""Of Dask's events: what starts a cluster's hosts, as `docs/cluster/slurm.py`, hears there how many are wanted."""
TLS_FAILURES = (ssl.SSLError, ssl.CertificateError)
THEIR_LOGS = ("distributed", "distributed.client", "distributed.gc", "bokeh", "tornado", "tornado.application")
"""Which Dask gives handlers of its own."""

log = logging.getLogger(__name__)


class DaskSite:
    """The scheduler, for all crews of an engine."""

    def __init__(self, settings: DaskSettings, process: DaskProcess | None = None) -> None:
        """Not connected.

        Args:
            process: of a cluster on this host, if it was started already.

        Raises:
            UsageError: it is not said where, or the scheduler is on another host and without TLS.
        """
        if not settings.scheduler:
            raise UsageError("dask.scheduler is not set: give --dask tls://HOST:8786, a scheduler file, or local:2x4.")
        self.settings = settings
        self._found: SchedulerAddress | None = None
        self._client: Any = None
        self._process = process
        self._security: Any = None
        self._is_clear = False
        """Workers are beyond a network, without TLS."""
        self._one_at_a_time = asyncio.Lock()
        for name in THEIR_LOGS:
            logger = logging.getLogger(name)
            logger.handlers.clear()  # ours is one line of JSON each, without secrets
            logger.propagate = True
            logger.setLevel(logging.CRITICAL)  # what fails is told by us, in the words of a run
        given = read_address(settings.scheduler)
        if not given.slots:
            self._found = self._checked(_in_file(given) if given.file else given)

    @property
    def is_private(self) -> bool:
        """What is sent there cannot be read in a network."""
        return not self._is_clear and (self._found is None or self._found.is_private)

    def saw(self, workers: Iterable[str]) -> None:
        """Workers that the scheduler has, by their addresses: one on this host may have some on others.

        Raises:
            UsageError: one is beyond a network, without TLS.
        """
        for address in workers:
            scheme, _, rest = address.partition("://")
            if scheme == "tls" or is_local(rest.rpartition(":")[0].strip("[]")):
                continue
            self._is_clear = True
            if not self.settings.insecure:
                raise UsageError(
                    f"The Dask cluster has a worker at {address}, on another host and without TLS: start scheduler and workers "
                    "with certificates, or set dask.insecure = true."
                )

    def check_alive(self) -> None:
        """A cluster that was started on this host is still there: no other one comes by itself.

        Raises:
            ConnectError: it has ended.
        """
        if self._process is not None and self._process.exit_code is not None:
            raise ConnectError(
                f"The Dask cluster that was started on this host has ended (exit code {self._process.exit_code}): begin "
                "again, or resume the run, which starts another one.",
                code="dask_ended",
            )

    @property
    def words(self) -> str:
        """The scheduler, in a sentence."""
        return f"the Dask scheduler at {self._found.address}" if self._found is not None else "the Dask scheduler"

    async def client(self) -> Any:
        """Connected.

        Raises:
            ConnectError: the scheduler does not answer. UsageError: it or its certificate is not accepted.
        """
        async with self._one_at_a_time:
            if self._process is not None and self._process.exit_code is not None:
                await self._process.end()
                self._found = self._process = self._client = None
            if self._found is None:
                await self._start()
            if self._client is None or self._client.status in ("closed", "closing"):
                self._client = await self._connected()
            return self._client

    async def size(self) -> tuple[int, int]:
        """Hosts and slots that there are; of a cluster that is to be started on this host, that there will be.

        Raises:
            ConnectError: the scheduler does not answer. UsageError: it or its certificate is not accepted.
        """
        given = read_address(self.settings.scheduler)
        if given.slots:
            return given.hosts, given.hosts * given.slots
        client = await self.client()
        try:
            async with asyncio.timeout(CONNECT_S):
                threads: dict[str, int] = await client.nthreads()
        except (OSError, TimeoutError) as error:
            raise ConnectError(f"T{self.words[1:]} does not answer ({type(error).__name__}).") from error
        self.saw(threads)
        return len(threads), sum(threads.values())

    def hosts_for(self, members: int, slots: Sequence[int]) -> int:
        """How many hosts the cluster has to have for so many members; 0 where it is not asked for more.

        A host that takes no members counts as if it did: others like it would be asked for without end.

        Args:
            slots: of each host that it has, the newest last.
        """
        missing = members - sum(slots)
        if not self.settings.scale or missing <= 0:
            return 0
        given = read_address(self.settings.scheduler)
        each = given.slots or (
            slots[-1] if slots else missing
        )  # of the first one it is not known how many it will have
        hosts = len(slots) + math.ceil(missing / each)
        return min(hosts, MOST_LOCAL // given.slots) if given.slots else hosts

    async def scale(self, hosts: int) -> None:
        """Ask the cluster to have so many hosts; what it makes of that is its own affair."""
        try:
            if self._process is None:
                client = await self.client()
                async with asyncio.timeout(CONNECT_S):
                    await client.log_event(SCALE_TOPIC, {"hosts": hosts})
            else:
                self._process.scale(hosts)
        except (OSError, TimeoutError, MigrationError) as error:
            log.warning("the Dask cluster cannot be asked for %d hosts: %s", hosts, type(error).__name__)

    async def close(self) -> None:
        """Disconnect, and end a cluster that was started for this."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # it is of no use any more, whatever it says
                async with asyncio.timeout(END_S):
                    await self._client.close()
        if self._process is not None:
            await self._process.end()

    def _checked(self, found: SchedulerAddress) -> SchedulerAddress:
        if not found.is_private and not self.settings.insecure:
            raise UsageError(
                f"The Dask scheduler at {found.address} is on another host and without TLS: programs in the network could run "
                "code as you, here and on its workers. Start it with certificates and give its tls:// address, or set "
                "dask.insecure = true."
            )
        return found

    async def _connected(self) -> Any:
        assert self._found is not None
        address = self._found.address
        security = self._security or self._own_security(address)
        try:
            client = await Client(
                address, asynchronous=True, timeout=CONNECT_S, security=security,
                set_as_default=False,
            )  # fmt: skip
        except TLS_FAILURES as error:
            raise UsageError(_untrusted(address, error)) from error
        except (OSError, TimeoutError) as error:
            cause = error.__cause__
            if isinstance(cause, TLS_FAILURES):
                raise UsageError(_untrusted(address, cause)) from error
            raise ConnectError(
                f"The Dask scheduler at {address} does not answer ({type(error).__name__}): check dask.scheduler, "
                "and that it is started."
            ) from error
        return client

    def _own_security(self, address: str) -> Any:
        """What the settings, or else Dask's own configuration, have for TLS."""
        given = {
            "tls_ca_file": self.settings.ca_file,
            "tls_client_cert": self.settings.cert_file,
            "tls_client_key": self.settings.key_file,
        }
        named = {name: file for name, file in given.items() if file}
        for name, file in named.items():
            if not Path(file).is_file():
                setting = {"tls_ca_file": "ca_file", "tls_client_cert": "cert_file", "tls_client_key": "key_file"}[name]
                raise UsageError(f"dask.{setting} names {file}, which is not there.")
        security = Security(**named)
        try:
            has_any = security.get_connection_args("client")["ssl_context"] is not None
        except (OSError, ValueError) as error:  # files that are no certificates; SSLError is an OSError
            raise UsageError(_untrusted(address, error)) from error
        if address.startswith("tls://") and not has_any:
            raise UsageError(
                f"The Dask scheduler at {address} asks for a certificate: set dask.ca_file, dask.cert_file and dask.key_file."
            )
        return security

    async def _start(self) -> None:
        """A cluster on this host, in a process of its own, which ends with us."""
        if self._process is None:
            given = read_address(self.settings.scheduler)
            self._process = DaskProcess(given.hosts, given.slots)
        try:
            told = await self._process.told()
        except MigrationError:
            await self._process.end()
            self._process = None  # another one is started where it is tried again
            raise
        self._security = Security(require_encryption=True, **told["security"])
        self._found = SchedulerAddress(address=told["scheduler"], host="localhost")


def _in_file(given: SchedulerAddress) -> SchedulerAddress:
    """The address in a scheduler file."""
    where = f"dask.scheduler names {given.file}"
    try:
        told = json.loads(Path(given.file).expanduser().read_text())
        return read_address(str(told["address"]))
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{where}, which cannot be read ({type(error).__name__}).") from error
    except (ValueError, KeyError, TypeError, UsageError):
        raise UsageError(f"{where}, which is no scheduler file: it has no address.") from None


def _untrusted(address: str, error: Exception) -> str:
    reason = getattr(error, "reason", None) or type(error).__name__
    return f"TLS with the Dask scheduler at {address} fails ({reason}): check dask.ca_file, dask.cert_file and dask.key_file."
