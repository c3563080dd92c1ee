"""A target that has too little: no room on its disk, no free connections. The run waits or shrinks, and says so."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine.errors import EXIT_CANCELLED, KnobError
from engine.protocol import RunState
from tests.faults.planting import constants
from tests.running import Engine, Engines, add_users, assert_users_equal, committed
from tests.slow_run import SLOW, completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON users EXECUTE FUNCTION full_disk();
"""


async def waits_for_space(engine: Engine, target: Target, times: int = 1) -> None:
    """The run has paused so many times, with what is committed in place, and says why."""
    paused = await engine.until(
        lambda now: now.state is RunState.PAUSED and any(each.count == times for each in now.problems), "a pause"
    )
    assert paused.eta_reason == "waiting: the target's disk is full"
    (problem,) = [problem for problem in paused.problems if problem.code == "53100"]
    assert "No space left on device" in problem.message
    assert "paused" in problem.message
    assert committed(target) == paused.written


async def test_a_full_disk_pauses_the_run_until_there_is_room(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    target.execute(FULL)
    await waits_for_space(engine, target)
    await engine.resume()
    await waits_for_space(engine, target, times=2)
    target.execute("DROP TRIGGER full_disk ON users")
    await engine.resume()

    await completed(engine, source, target)


NO_ROOM = """
CREATE FUNCTION no_room() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE EVENT TRIGGER no_room ON ddl_command_start WHEN TAG IN ('{}') EXECUTE FUNCTION no_room();
"""


@pytest.mark.parametrize("command", ["ALTER TABLE", pytest.param("CREATE INDEX", marks=pytest.mark.slow)])
async def test_no_room_for_a_key_or_an_index_pauses_the_run_until_there_is(
    source: Source, target: Target, engines: Engines, command: str
) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    engine = await started(engines, indexes=True)

    target.execute(NO_ROOM.format(command))
    await engine.set("throttle", 0)
    await waits_for_space(engine, target)
    assert committed(target) == USERS
    await engine.resume()
    await waits_for_space(engine, target, times=2)
    target.execute("DROP EVENT TRIGGER no_room")
    await engine.resume()

    await completed(engine, source, target)
    assert target.value("SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass AND indisvalid") == 2


@pytest.mark.slow
async def test_a_run_that_waits_for_room_for_its_key_can_be_cancelled_and_resumed(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    target.execute(NO_ROOM.format("ALTER TABLE"))
    await engine.set("throttle", 0)
    await waits_for_space(engine, target)

    await engine.cancel()

    assert (await engine.finished())["exit_code"] == EXIT_CANCELLED
    await engine.leave()
    await engine.until_gone()
    target.execute("DROP EVENT TRIGGER no_room")
    engine, end = await engines.run(resume="")
    assert (end["exit_code"], end["written"]) == (0, USERS)
    assert_users_equal(source, target)


HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN new; END $$;
CREATE TRIGGER hold BEFORE UPDATE ON mongopg.run FOR EACH ROW WHEN (new.state = 'finishing') EXECUTE FUNCTION hold();
"""


@asynccontextmanager
async def held_before_its_keys(engine: Engine, target: Target) -> AsyncIterator[None]:
    """All rows are committed and no key is begun: a slow run cannot write yet that it is finishing, which comes before.

    A lock of its row would hold it earlier, while it copies: events are written beside that row, and the ledger's session with
    them waits for it.
    """
    target.execute(HOLD)
    other = await asyncpg.connect(target.uri)
    try:
        await other.execute("SELECT pg_advisory_lock(1)")
        await engine.set("throttle", 0)
        await engine.until_state(RunState.FINISHING)
        yield
    finally:
        await other.close()


@pytest.mark.slow
async def test_a_file_system_without_room_for_the_key_pauses_the_run_until_it_is_larger(
    source: Source, target: Target, engines: Engines, small_tablespace: Path
) -> None:
    remount(small_tablespace, "64m")
    add_users(source, USERS)
    engine = await started(engines)
    async with held_before_its_keys(engine, target):
        space = os.statvfs(small_tablespace)
        remount(small_tablespace, f"{(space.f_blocks - space.f_bfree) * space.f_frsize // 1024 + 128}k")

    await waits_for_space(engine, target)
    remount(small_tablespace, "64m")
    await engine.resume()

    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_full_file_system_pauses_the_run_until_it_is_larger(
    source: Source, target: Target, engines: Engines, small_tablespace: Path
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    await engine.set("throttle", 0)

    await waits_for_space(engine, target)
    remount(small_tablespace, "64m")
    await engine.resume()

    await completed(engine, source, target)


@pytest.fixture
def small_tablespace(target: Target) -> Iterator[Path]:
    """New tables of the target lie on a file system of 2 MiB, which is returned."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a file system")
    with tempfile.TemporaryDirectory(prefix="mongopg-test-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        folder = Path(name, "small")
        folder.mkdir()
        with mounted(folder):
            owner = Path(target.value("SHOW data_directory")).stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
            space = target.database.replace("t_", "space_")
            target.execute(f"CREATE TABLESPACE {space} LOCATION '{folder}'")
            target.execute(f"ALTER DATABASE {target.database} SET default_tablespace = {space}")
            yield folder
            target.execute(f"ALTER DATABASE {target.database} RESET default_tablespace; DROP TABLE users")
            target.execute("DROP SCHEMA mongopg CASCADE")
            target.execute(f"DROP TABLESPACE {space}")


def remount(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    found = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"no file system can be mounted here: {found.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def limited(target: Target) -> Iterator[Target]:
    """The target as a role sees it that owns the database and may have so many connections as is altered later."""
    role = target.database.replace("t_", "role_")
    target.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    target.execute(f"ALTER DATABASE {target.database} OWNER TO {role}; ALTER SCHEMA public OWNER TO {role}")
    parts = urlsplit(target.uri)
    uri = parts._replace(netloc=f"{role}:secret@{parts.hostname}:{parts.port}").geturl()
    yield type(target)(uri, role, target.loop)
    target.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.slow
async def test_workers_without_a_connection_leave_the_cluster_and_the_others_go_on(
    source: Source, target: Target, limited: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    settings = engines.settings("users", run=SLOW | {"cluster_size": 5, "throttle": 500}, target={"uri": limited.uri})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(1)
    while target.value("SELECT count(DISTINCT backend_pid) FROM mongopg.slice") < 5:  # each worker's session is known
        await asyncio.sleep(0.05)

    target.execute(f"ALTER ROLE {limited.database} CONNECTION LIMIT 4")  # two of the engine's own, two for workers
    target.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend'"
        " AND pid IN (SELECT backend_pid FROM mongopg.slice) AND pid <> pg_backend_pid()",
        limited.database,
    )
    fewer = await engine.event("problem", lambda facts: facts["code"] == "fewer_workers")
    assert "no free connection" in fewer.facts["message"]
    await engine.until(
        lambda now: 1 <= now.cluster_size <= 3 and now.workers_alive == now.cluster_size, "fewer workers"
    )
    with pytest.raises(KnobError, match="at most"):
        await engine.set("cluster_size", 5)
    target.execute(f"ALTER ROLE {limited.database} CONNECTION LIMIT -1")
    await engine.set("cluster_size", 5)

    await completed(engine, source, target)


@pytest.mark.slow
async def test_too_few_connections_for_keys_pause_the_run_until_there_are_more(
    source: Source, target: Target, limited: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in constants({"engine.run.steps:CROWDED_S": 0.5}).items():
        monkeypatch.setenv(name, value)
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run=SLOW, target={"uri": limited.uri}))
    await engine.start()
    await engine.until_written(1)
    async with held_before_its_keys(engine, target):
        target.execute(f"ALTER ROLE {limited.database} CONNECTION LIMIT 1")

    paused = await engine.until_state(RunState.PAUSED)
    assert paused.eta_reason == "waiting: target connections"
    problem = next(problem for problem in paused.problems if problem.code == "53300")
    assert "no free connection" in problem.message
    assert "The run is paused: end other sessions" in problem.message
    target.execute(f"ALTER ROLE {limited.database} CONNECTION LIMIT -1")
    await engine.resume()

    await completed(engine, source, target)
