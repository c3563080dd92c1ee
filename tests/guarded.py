"""Servers that do not let all clients in: a mongod with options of its own, and TLS in front of PostgreSQL."""

from __future__ import annotations

import asyncio
import datetime
import random
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from pymongo import MongoClient

from engine.demo.binaries import find_binaries

START_S = 30.0
SSL_REQUEST = (80877103).to_bytes(4, "big")
"""https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of an authority of our own and of what it has signed, and of an authority that signed nothing."""

    authority: Path
    stranger: Path
    server: Path
    """For localhost and 127.0.0.1; with its key."""
    elsewhere: Path
    """For another host."""
    expired: Path
    """Of yesterday."""


def make_certificates(folder: Path) -> Certificates:
    """Everything that can be right or wrong about a certificate."""
    authority, stranger = trustme.CA(), trustme.CA()
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    files = Certificates(*(folder / f"{name}.pem" for name in Certificates.__slots__))
    authority.cert_pem.write_to_path(files.authority)
    stranger.cert_pem.write_to_path(files.stranger)
    for path, issued in (
        (files.server, authority.issue_cert("localhost", "127.0.0.1")),
        (files.elsewhere, authority.issue_cert("db.example.com")),
        (files.expired, authority.issue_cert("localhost", "127.0.0.1", not_after=yesterday)),
    ):
        issued.private_key_and_cert_chain_pem.write_to_path(path)
    return files


def free_port() -> int:
    """A TCP port that nothing listens on, and that no connection is given by itself before something does."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
            return int(probe.getsockname()[1])


@contextmanager
def running_mongod(*options: str) -> Iterator[int]:
    """A mongod on the loopback interface with these options more; its port."""
    with tempfile.TemporaryDirectory(prefix="mongopg-mongod-") as folder:
        port = free_port()
        command = [str(find_binaries().mongod), "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1"]
        command += ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", *options]
        log = Path(folder, "mongod.log")
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + START_S
            while not _listens(port):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def mongod_with_users() -> Iterator[tuple[int, MongoClient[dict[str, Any]]]]:
    """A replica set of one that asks for a login: its port, and its administrator."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "key")
        key.write_text("a2V5b2ZhbGxub2Rlcw==")
        key.chmod(0o600)
        with running_mongod("--auth", "--keyFile", str(key), "--replSet", "rs0") as port:
            address = f"127.0.0.1:{port}/?directConnection=true"
            with MongoClient[dict[str, Any]](f"mongodb://{address}") as first:
                make_replica_set(first, port)
                first.admin.command("createUser", "admin", pwd="admin", roles=["root"])
            with MongoClient[dict[str, Any]](f"mongodb://admin:admin@{address}") as admin:
                yield port, admin


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def make_replica_set(client: MongoClient[dict[str, Any]], port: int) -> None:
    """Initiate a set of one and wait until it takes writes."""
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
    deadline = time.monotonic() + START_S
    while not client.admin.command("hello")["isWritablePrimary"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def tls_in_front_of(host: str, port: int, certificate: Path, *, after_request: bool = True) -> Iterator[int]:
    """A port that speaks TLS with `certificate` and passes on what it hears in clear; after PostgreSQL's SSLRequest, or at
    once as MongoDB does."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # clients that refuse the certificate are what the tests are about
    front = _Front(host, port, context)
    thread = threading.Thread(target=loop.run_forever, name="TLS front")
    thread.start()
    listening = asyncio.start_server(
        front.converse_after_request if after_request else front.converse,
        "127.0.0.1",
        0,
        ssl=None if after_request else context,
    )
    server = asyncio.run_coroutine_threadsafe(listening, loop).result(10.0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(front.close(server), loop).result(10.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Front:
    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._address = (host, port)
        self._context = context

    async def converse_after_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (await reader.readexactly(8))[4:] == SSL_REQUEST:  # one that does not ask for TLS is not served
                writer.write(b"S")
                await writer.start_tls(self._context)
                await self.converse(reader, writer)
        except (OSError, EOFError):
            return
        finally:
            writer.close()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, inner = await asyncio.open_connection(*self._address)
        try:
            await asyncio.wait(
                [asyncio.create_task(_pass_on(*way)) for way in ((reader, inner), (answers, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            inner.close()
            writer.close()

    async def close(self, server: asyncio.Server) -> None:
        server.close()
        everything = asyncio.all_tasks() - {asyncio.current_task()}
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
