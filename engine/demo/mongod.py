"""MongoDB: a mongod as a one-node replica set, without authentication, on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.demo.processes import launch
from engine.errors import ConnectError

if TYPE_CHECKING:
    from pymongo.database import Database

REPLICA_SET = "rs0"
CACHE_GB = "1"
OPLOG_MB = "1024"
CONNECT_TIMEOUT_S = 1.0
DATABASE = "demo"
# mongo/base/error_codes.yml
ALREADY_INITIALIZED = 23
NOT_YET_INITIALIZED = 94


def uri(port: int) -> str:
    """The connection string; direct, because a set of one has nothing to discover."""
    return f"mongodb://127.0.0.1:{port}/{DATABASE}?replicaSet={REPLICA_SET}&directConnection=true"


def start(binary: Path, folder: Path, port: int, *, test_commands: bool) -> subprocess.Popen[bytes]:
    """Start the server on `folder`/mongo."""
    data = folder / "mongo"
    data.mkdir(mode=0o700, exist_ok=True)
    command = [str(binary), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    command += ["--replSet", REPLICA_SET, "--oplogSize", OPLOG_MB, "--wiredTigerCacheSizeGB", CACHE_GB]
    command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    if test_commands:
        command += ["--setParameter", "enableTestCommands=1"]
    return launch(command, folder / "mongod.log", death_signal=signal.SIGKILL, env=dict(os.environ))


def make_primary(port: int, pause: Callable[[], None]) -> None:
    """Initiate the replica set, or give it its new port, and wait until it takes writes.

    Args:
        port: TCP port on loopback.
        pause: called between two tries; raises what ends the waiting.

    Raises:
        ConnectError: the server answers with an error.
    """
    while not _accepts(port):
        pause()
    # Imported here because it takes 0.1 s, which an import of `engine.demo` alone does not spend.
    from pymongo import MongoClient
    from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

    host = f"127.0.0.1:{port}"
    try:
        with MongoClient[dict[str, Any]](f"mongodb://{host}/?directConnection=true") as client:
            while not client.admin.command("hello")["isWritablePrimary"]:
                try:
                    _configure(client.admin, host)
                except (
                    AutoReconnect
                ):  # a node that finds itself missing in its old configuration closes its connections
                    pass
                except OperationFailure as error:
                    if error.code not in (ALREADY_INITIALIZED, NOT_YET_INITIALIZED):  # it is still reading it
                        raise
                pause()
    except PyMongoError as error:
        raise ConnectError(f"The embedded MongoDB did not become a replica set: {error}") from error


def _configure(admin: Database[dict[str, Any]], host: str) -> None:
    """Tell the node that it is the only member of its set, unless it knows."""
    from pymongo.errors import OperationFailure

    try:
        config = admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}]})
    else:
        if config["members"][0]["host"] != host:
            config["members"][0]["host"] = host
            admin.command("replSetReconfig", config, force=True)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def complaint(line: str) -> str | None:
    """What a line of the log complains about: JSON of severity F or E, and what is no JSON (the loader's words)."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.strip() or None
    if not isinstance(entry, dict) or entry.get("s") not in ("F", "E"):
        return None
    attributes = entry.get("attr", {})
    return " ".join(str(part) for part in (entry.get("msg", ""), attributes.get("error", "")) if part)
