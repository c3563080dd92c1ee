"""A target that has too little: no room on its disk, no free connections. The run waits or shrinks, and says so."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from engine.control.protocol import RunState
from engine.errors import KnobError
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
RUN = {"throttle": 2_500, "page_size": 200, "cluster_size": 3}
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON users EXECUTE FUNCTION full_disk();
"""


async def started(engines: Engines) -> Engine:
    engine = await engines.launch(engines.settings("users", run=RUN))
    await engine.start()
    await engine.until_written(1)
    return engine


async def completed(engine: Engine, source: Source, target: Target) -> None:
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0), engine.account()
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)


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


@pytest.mark.slow
async def test_a_full_file_system_pauses_the_run_until_it_is_larger(
    source: Source, target: Target, engines: Engines, small_tablespace: Path
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    await engine.set("throttle", 0)

    await waits_for_space(engine, target)
    subprocess.run(["mount", "-o", "remount,size=64m", small_tablespace], check=True)
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


async def test_workers_without_a_connection_leave_the_cluster_and_the_others_go_on(
    source: Source, target: Target, limited: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    settings = engines.settings("users", run=RUN | {"cluster_size": 5, "throttle": 500}, target={"uri": limited.uri})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(1)

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
