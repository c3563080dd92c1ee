"""Canary secrets in both connection strings, every process crashed, every artefact searched: not one is found."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from engine.service.client import EngineClient
from tests.conftest import Source, Target
from tests.engine.front_end import FrontEnd
from tests.engine.front_end import front_end as front_end
from tests.running import add_users
from tests.signals import send_signal
from tests.tui.terminal import Terminal

SOURCE_SECRET = "canary/source@1:%"
TARGET_SECRET = "canary target?#2"
KEY_SECRET = "canary-key,3"
CANARY = "canary"
"""What every secret here has in it, however it is encoded."""
PLACES = ("environment", "file of its own", "configuration", "password settings", "PGPASSWORD", "~/.pgpass")
DOCUMENTS = 6_000
WAIT_S = 30.0


@pytest.fixture
def carrier(source: Source) -> Iterator[str]:
    """A source whose user has a secret for a password; the server does not ask for one, but checks what it is told."""
    source.db.command("createUser", "carrier", pwd=SOURCE_SECRET, roles=[{"role": "read", "db": source.database}])
    add_users(source, DOCUMENTS)
    yield source.uri.replace("://", f"://carrier:{quote(SOURCE_SECRET, safe='')}@", 1)
    source.db.command("dropUser", "carrier")


@pytest.fixture
def guarded(target: Target) -> str:
    """The target, whose server believes any password, with secrets in its connection string."""
    parts = urlsplit(target.uri)
    netloc = f"{parts.username}:{quote(TARGET_SECRET, safe='')}@{parts.hostname}:{parts.port}"
    query = f"sslpassword={quote(KEY_SECRET, safe='')}"
    return parts._replace(netloc=netloc, query=query).geturl()


def plant(place: str, front_end: FrontEnd, source: str, target: str) -> None:
    """Give the command line its secrets."""
    variables = front_end.environment
    for variable in ("MONGOPG_SOURCE_URI", "MONGOPG_TARGET_URI"):
        del variables[variable]
    bare_source = source.replace(f":{quote(SOURCE_SECRET, safe='')}@", "@")
    bare_target = target.replace(f":{quote(TARGET_SECRET, safe='')}@", "@").partition("?")[0]
    config = front_end.folder / "config.toml"
    if place == "environment":
        variables |= {"MONGOPG_SOURCE_URI": source, "MONGOPG_TARGET_URI": target}
    elif place == "file of its own":
        for name, uri in (("source", source), ("target", target)):
            (front_end.folder / f"{name}.secret").write_text(uri)
            (front_end.folder / f"{name}.secret").chmod(0o600)
            variables[f"MONGOPG_{name.upper()}_URI_FILE"] = str(front_end.folder / f"{name}.secret")
    elif place == "configuration":
        config.write_text(f'[source]\nuri = "{source}"\n[target]\nuri = "${{TARGET}}"\n')
        variables["TARGET"] = target
        config.chmod(0o600)
    elif place == "password settings":
        variables |= {"MONGOPG_SOURCE_URI": bare_source, "MONGOPG_TARGET_URI": bare_target}
        variables |= {"MONGOPG_SOURCE_PASSWORD": SOURCE_SECRET, "MONGOPG_TARGET_PASSWORD": TARGET_SECRET}
    elif place == "~/.pgpass":
        keys = front_end.folder / ".pgpass"
        keys.write_text(f"*:*:*:*:{TARGET_SECRET}\n")
        keys.chmod(0o600)
        variables |= {"MONGOPG_SOURCE_URI": source, "MONGOPG_TARGET_URI": bare_target, "HOME": str(front_end.folder)}
    else:
        variables |= {"MONGOPG_SOURCE_URI": source, "MONGOPG_TARGET_URI": bare_target, "PGPASSWORD": TARGET_SECRET}


def assert_none(what: str, text: str) -> None:
    at = text.find(CANARY)
    assert at < 0, f"{what}: …{text[max(0, at - 200) : at + 100]}…"


def assert_nothing_written(front_end: FrontEnd, target: Target) -> None:
    """Neither a log, nor a crash report, nor any other file, nor the ledger holds a secret."""
    for file in front_end.folder.rglob("*"):
        is_ours = file.name in ("config.toml", ".pgpass") or file.suffix == ".secret" or "planted" in file.parts
        if file.is_file() and not is_ours:
            assert_none(str(file), file.read_text(errors="replace"))
    tables = target.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('mongopg') AND relkind = 'r'"
    )
    for table in tables:
        for row in target.rows(f'SELECT t::text FROM mongopg."{table["relname"]}" t'):
            assert_none(f"table {table['relname']}", row[0])


def assert_processes_tell_nothing(engine: int) -> None:
    """Arguments and environment of the engine and of everything that it started; and no core file for any of them."""
    pids = [engine, *(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if session_of(pid) == engine)]
    assert len(pids) > 3, "the engine, the fork server and workers"
    for pid in pids:
        for name in ("cmdline", "environ"):
            assert_none(f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_text(errors="replace"))
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


def session_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0


async def said_on_the_socket(front_end: FrontEnd) -> str:
    """Everything that a guest is sent in a second."""
    (path,) = Path(front_end.runtime, "mongopg").glob("*.sock")
    client = await EngineClient.connect(path)
    said = [client.attached.model_dump_json()]

    async def listen() -> None:
        async for message in client.messages():
            said.append(message.model_dump_json())

    listening = asyncio.create_task(listen())
    await asyncio.sleep(1.0)
    await client.detach()
    await listening
    return "\n".join(said)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
async def test_a_run_whose_processes_are_killed(
    place: str, front_end: FrontEnd, carrier: str, guarded: str, target: Target
) -> None:
    plant(place, front_end, carrier, guarded)
    command = front_end.start("run", "--json", "--throttle", "500", "--page-size", "200", "--cluster-size", "2")
    await asyncio.to_thread(command.until_progress, lambda record: record["written"] > 0)
    (engine,) = front_end.engines()
    assert_processes_tell_nothing(engine)
    assert_none("the socket", await said_on_the_socket(front_end))
    assert_none("ctl", str(front_end.do("ctl", "status", "--json")))
    record = await asyncio.to_thread(
        command.until_progress, lambda record: record["workers"] and record["workers"][0]["pid"]
    )
    worker = record["workers"][0]["pid"]
    assert send_signal(worker, signal.SIGSEGV)
    await asyncio.to_thread(command.until_progress, lambda record: worker not in [w["pid"] for w in record["workers"]])
    os.kill(engine, signal.SIGSEGV)
    outcome = await asyncio.to_thread(command.outcome)
    assert outcome.code == 1
    assert_none("the command", str(outcome))
    finished = await asyncio.to_thread(front_end.do, "run", "--json", "--resume")
    assert finished.code == 0, finished
    assert finished.last["written"] == DOCUMENTS
    for words in (["runs", "--json"], ["plan"], ["verify", "--json"]):
        assert_none(" ".join(words), str(await asyncio.to_thread(front_end.do, *words)))
    assert_nothing_written(front_end, target)
    assert not list(front_end.folder.glob("core*"))


FAILURES = {
    "source": [
        "mongodb://me:canary%40pw@127.0.0.1:1/shop",
        "mongodb://me:canary@pw/x:y@127.0.0.1/shop",
        "mongodb://me:canary'pw\"x@127.0.0.1:1/shop?nosuchoption=1",
        "mongodb://127.0.0.1:1/shop?tls=true&tlsCertificateKeyFile=/no/file&tlsCertificateKeyFilePassword=canary,b",
        "mongodb://AKIA:canary@127.0.0.1:1/shop?authMechanism=MONGODB-AWS"
        "&authMechanismProperties=AWS_SESSION_TOKEN:canary,FOO:canary",
        "mongodb+srv://me:canary@no-such-host.invalid/shop",
        "mongodb:/me:canary@host/shop",
    ],
    "target": [
        "postgresql://me:canary%40pw@127.0.0.1:1/shop",
        "postgresql://me:canary@x/y:canary@127.0.0.1:1/shop",
        "postgresql://me:pw/canary@127.0.0.1:1/shop",
        "postgresql://me:12#canary@127.0.0.1:1/shop",
        "postgresql://me:ca canary'\"@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?user=me&password=a,canary",
        "postgresql://me@127.0.0.1:1/shop?sslmode=verify-full&sslcert=/no&sslkey=/no&sslpassword=x'canary",
        "postgresql://me:canary@127.0.0.1:1/shop?sslmode=canary",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(("side", "uri"), [(side, uri) for side, uris in FAILURES.items() for uri in uris])
def test_a_connection_that_fails(side: str, uri: str, front_end: FrontEnd, source: Source, target: Target) -> None:
    outcome = front_end.do("plan" if side == "source" else "runs", "--json", **{f"MONGOPG_{side.upper()}_URI": uri})
    assert outcome.code in (2, 3)
    assert any(line.startswith("Error: ") for line in outcome.err.splitlines()), (
        outcome.err
    )  # warnings may come before it
    shown = str(outcome).replace("not \\'canary\\'", "").replace("not 'canary'", "")  # an option's value is none
    assert_none("the command", shown)
    assert_nothing_written(front_end, target)


PLANTED = """
import importlib, os, sys, threading
name, _, path = os.environ["PLANTED"].partition(":")
module = importlib.import_module(name)
*owners, last = path.split(".")
owner = module
for each in owners:
    owner = getattr(owner, each)

def crash(*arguments, **options):
    def fail():
        raise RuntimeError("cannot go on with {secret!r} of {source} and {target}")
    if os.environ.get("PLANTED_IN_THREAD"):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    fail()

setattr(owner, last, crash)
"""
"""Loaded by every Python that is started: one function raises an exception that holds secrets."""

CRASHES = {
    "the command line": "tui.cli.headless:run_headless",
    "the engine": "engine.service.server:Server.serve",
    "the engine's run": "engine.run.copy:Copying.run",
    "the engine's answer": "engine.service.questions:answer",
    "a worker": "engine.work.worker:_Worker.run",
    "a lease": "engine.work.copy:Copier.work",
}


QUICKEST = ("a lease", "")
"""Where, and not in a thread: this one is in every run of the tests."""


def plant_crash(where: str, front_end: FrontEnd, source: str, target: str) -> None:
    folder = front_end.folder / "planted"
    folder.mkdir()
    text = PLANTED.format(secret=TARGET_SECRET, source=source, target=target)
    (folder / "sitecustomize.py").write_text(text)
    front_end.environment["PYTHONPATH"] = os.pathsep.join([str(folder), front_end.environment["PYTHONPATH"]])
    front_end.environment["PLANTED"] = where


@pytest.mark.parametrize(
    ("where", "in_thread"),
    [
        pytest.param(where, in_thread, marks=() if (where, in_thread) == QUICKEST else pytest.mark.slow)
        for where in CRASHES
        for in_thread in ("", "1")
    ],
)
def test_an_exception_that_holds_secrets(
    where: str, in_thread: str, front_end: FrontEnd, carrier: str, guarded: str, target: Target
) -> None:
    plant("environment", front_end, carrier, guarded)
    plant_crash(CRASHES[where], front_end, carrier, guarded)
    words = ["runs"] if "answer" in where else ["run"]
    outcome = front_end.do(*words, "--json", PLANTED_IN_THREAD=in_thread)
    assert outcome.code in (1, 3), "the run failed, or the engine was gone before anybody could connect"
    assert_none("the command", str(outcome))
    assert_nothing_written(front_end, target)
    logs = "".join(file.read_text() for file in (front_end.folder / "state").rglob("*.log"))
    assert "cannot go on with" in logs, "the traceback is kept, without its secrets"


@pytest.mark.slow
def test_a_crash_of_the_cockpit(front_end: FrontEnd, carrier: str, guarded: str, target: Target) -> None:
    plant("environment", front_end, carrier, guarded)
    plant_crash("tui.cockpit.screens.run:RunScreen.draw", front_end, carrier, guarded)
    words = [sys.executable, "-m", "tui", "run", "--cluster-size", "1"]
    with Terminal(words, front_end.environment) as terminal:
        assert terminal.wait_for_end() != 0
        assert "The cockpit failed (RuntimeError)" in terminal.output
        assert_none("the terminal", terminal.output)
    front_end.wait_for_no_engine(WAIT_S)
    assert_nothing_written(front_end, target)


@pytest.mark.slow
async def test_passwords_are_asked_for_in_a_terminal(
    front_end: FrontEnd, carrier: str, guarded: str, target: Target
) -> None:
    plant("password settings", front_end, carrier, guarded)
    for variable in ("MONGOPG_SOURCE_PASSWORD", "MONGOPG_TARGET_PASSWORD"):
        del front_end.environment[variable]
    refused = front_end.do("run", "-W", "--json")
    assert refused.code == 2
    assert "there is no terminal: set MONGOPG_SOURCE_PASSWORD" in refused.err
    with Terminal([sys.executable, "-m", "tui", "run", "-W", "--headless"], front_end.environment) as terminal:
        for secret, host in ((SOURCE_SECRET, "mongodb"), (TARGET_SECRET, "postgresql")):
            terminal.wait_for(f"Password for {host}://")
            await asyncio.sleep(0.2)
            terminal.press(f"{secret}\n")
        assert terminal.wait_for_end() == 0, terminal.output
        assert_none("the terminal", terminal.output)
    assert target.value("SELECT count(*) FROM users") == DOCUMENTS
    assert_nothing_written(front_end, target)
