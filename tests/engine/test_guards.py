"""Guards in real runs between real servers: the run slows down, pauses, comes back by itself, and everything is copied."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine import protocol
from engine.errors import UsageError
from engine.protocol import RunState, Snapshot
from tests.running import Engine, Engines, add_users, committed
from tests.slow_run import ROWS_PER_S, completed, started
from tests.standby import running_standby

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 8_000
QUICK: dict[str, Any] = {"step_s": 0.2, "disk_free": 0, "disk_free_hard": 0}
"""Steps that a test can wait for; how much room this machine has is not its subject."""


async def guarded(engines: Engines, **guard: Any) -> Engine:
    """A slow run with these guards that has begun to commit."""
    return await started(engines, sections={"guard": QUICK | guard})


def action(now: Snapshot) -> str:
    return now.guards.action if now.guards is not None else ""


def words(now: Snapshot) -> str:
    """What the most severe guard sees."""
    return now.guards.guards[0].words if now.guards is not None and now.guards.guards else ""


async def set_guard(engine: Engine, setting: str, value: str) -> Any:
    return await engine.client.call(protocol.SetGuard(setting=setting, value=value))


async def pace(target: Target, seconds: float) -> float:
    """Rows per second that are committed, as another session sees it."""
    before, began = committed(target), time.monotonic()
    await asyncio.sleep(seconds)
    return (committed(target) - before) / (time.monotonic() - began)


def acts(engine: Engine) -> list[str]:
    return [facts["what"] for facts in engine.facts_of("guard")]


@pytest.mark.slow
async def test_a_standby_that_falls_behind_slows_the_run_pauses_it_and_lets_it_go_on_when_it_has_caught_up(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    with running_standby(target.uri, 0.0) as port:
        standby = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        try:
            engine = await guarded(engines, standby_lag=1, standby_lag_hard=0)
            assert action(engine.snapshot) == ""
            await standby.execute("SELECT pg_wal_replay_pause()")
            seen = await engine.until(lambda now: action(now) == "slowed", "a run that is slowed")
            assert words(seen).startswith("standby standby1 replays ")
            assert words(seen).endswith(" behind (limit 1 s)")
            assert seen.throttle == ROWS_PER_S, "the operator's own stays"
            seen = await engine.until(lambda now: now.state is RunState.PAUSED, "a pause")
            assert seen.eta_reason.startswith("paused by guard standby_lag: standby standby1 replays ")
            rows = committed(target)
            assert rows < USERS
            seen = await engine.until(
                lambda now: now.guards is not None and (now.guards.guards[0].value or 0) > 3, "more lag"
            )
            assert (committed(target), seen.state) == (rows, RunState.PAUSED), "vitals go on, rows do not"
            await standby.execute("SELECT pg_wal_replay_resume()")
            await engine.until_state(RunState.RUNNING)
            assert acts(engine) == ["slowed"] * 5 + ["paused", "resumed"]
            await engine.until(lambda now: action(now) == "", "full speed")
            await completed(engine, source, target)
        finally:
            await standby.close()


@pytest.mark.slow
async def test_others_that_wait_for_a_lock_of_the_run_slow_it(source: Source, target: Target, engines: Engines) -> None:
    """A trigger that takes its time makes transactions long; another session wants the whole table meanwhile."""
    add_users(source, USERS)
    engine = await guarded(engines, blocked=1)
    target.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.015); RETURN NEW; END';"
        "CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    other = await asyncpg.connect(target.uri, server_settings={"application_name": "vacuum of nights"})
    try:

        async def want() -> None:
            while True:
                async with other.transaction():
                    await other.execute("LOCK TABLE users IN SHARE MODE")

        wanting = asyncio.create_task(want())
        seen = await engine.until(
            lambda now: action(now) == "slowed" and "has waited" in words(now), "a run that is slowed"
        )
        assert words(seen).startswith(f"session {other.get_server_pid()} (vacuum of nights, user postgres) has waited ")
        assert words(seen).endswith(" for a lock of the run on public.users (limit 1 s)")
        wanting.cancel()
        await asyncio.wait([wanting])
    finally:
        await other.close()
    target.execute("DROP TRIGGER slow ON users")
    await engine.until(lambda now: action(now) == "", "full speed")
    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_query_of_an_operator_slows_pauses_and_lets_go(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    target.execute("CREATE TABLE brake (n int); INSERT INTO brake VALUES (0)")
    engine = await guarded(engines, query="SELECT n FROM brake", query_limit=5, query_hard=100, step_s=0.5)
    target.execute("UPDATE brake SET n = 7")
    seen = await engine.until(lambda now: now.guards is not None and now.guards.share < 0.1, "a run that is slowed")
    assert words(seen) == "guard.query gives 7 (limit 5)"
    before = seen.guards.rows_per_s / seen.guards.share if seen.guards is not None and seen.guards.rows_per_s else 0.0
    assert 0 < before <= ROWS_PER_S * 1.02, "the share is told with three digits"
    assert await pace(target, 0.5) < before / 2
    target.execute("UPDATE brake SET n = 200")
    await engine.until(
        lambda now: now.state is RunState.PAUSED and words(now) == "guard.query gives 200 (limit 100)", "a pause"
    )

    await engine.client.call(protocol.Pause())  # an operator's own, on top of it
    target.execute("UPDATE brake SET n = 0")
    await engine.event("guard", lambda facts: facts["what"] == "resumed")
    assert (await engine.until(lambda now: action(now) != "paused", "no guard")).state is RunState.PAUSED
    await engine.resume()
    await engine.until_state(RunState.RUNNING)

    await set_guard(engine, "query", "UPDATE brake SET n = 1 RETURNING n")
    blind = await engine.event("guard_blind")
    assert blind.facts["guard"] == "query"
    assert "read-only" in blind.facts["why"]
    await set_guard(engine, "step_s", "0.1")
    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_file_pauses_and_a_command_slows_without_a_shell_and_without_secrets(
    source: Source, target: Target, engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOPG_TARGET_URI", target.uri)
    add_users(source, USERS)
    file, script, told = tmp_path / "stop", tmp_path / "check", tmp_path / "code"
    told.write_text("3")
    script.write_text(f"#!/bin/sh\nenv | grep -c MONGOPG_ | tr '\\n' ' '\necho \"$1\"\nexit $(cat {told})\n")
    script.chmod(0o755)
    engine = await guarded(engines, file=str(file), command=f"{script} '$HOME'")
    blind = await engine.event("guard_blind", lambda facts: facts["guard"] == "command")
    assert blind.facts["why"] == "guard.command ended with exit code 3: 0 $HOME."
    told.write_text("1")
    seen = await engine.until(lambda now: action(now) == "slowed", "a run that is slowed")
    assert words(seen) == "guard.command ended with exit code 1: 0 $HOME"
    file.touch()
    seen = await engine.until_state(RunState.PAUSED)
    assert words(seen) == f"file {file} exists"
    with pytest.raises(
        UsageError, match=r"It goes on by itself when that is over; `ctl set guard\.on=false` lets it go on now"
    ):
        await engine.resume()
    answer = await set_guard(engine, "on", "false")
    assert answer == {"setting": "on", "value": False, "applies": "at once"}
    await engine.until_state(RunState.RUNNING)
    assert engine.facts_of("guard_set")[-1] == {
        "setting": "on",
        "old": "true",
        "value": "false",
        "by": engine.client.by,
    }
    await set_guard(engine, "on", "true")
    await engine.until_state(RunState.PAUSED)
    told.write_text("0")
    file.unlink()
    await engine.until_state(RunState.RUNNING)
    await completed(engine, source, target)


@pytest.mark.slow
async def test_past_a_limit_that_pauses_the_key_in_hand_is_built_and_the_next_index_waits(
    source: Source, target: Target, engines: Engines, tmp_path: Path
) -> None:
    add_users(source, 2_000)
    source.db.users.create_index("email", name="by_email")
    file = tmp_path / "stop"
    engine = await started(engines, sections={"guard": QUICK | {"file": str(file)}}, indexes=True)
    reader = await asyncpg.connect(target.uri)
    try:
        async with reader.transaction():
            await reader.execute("LOCK TABLE users IN ACCESS SHARE MODE")  # the key waits for it
            await engine.set("throttle", 0)
            await engine.event("table", lambda facts: facts["state"] == "building key")
            file.touch()
            await engine.until(lambda now: words(now) == f"file {file} exists", "a file that is seen")
            assert engine.snapshot.state is RunState.FINISHING
        held = await engine.until_state(RunState.PAUSED)
        assert held.eta_reason == f"paused by guard file: file {file} exists"
        indexes = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'users'"
        assert target.value(indexes) == "users_pkey"
    finally:
        await reader.close()
    file.unlink()
    await engine.until_state(RunState.FINISHING)
    await completed(engine, source, target)
    assert target.value(indexes) == "users_email_idx users_pkey"


# --- before a run -----------------------------------------------------------------------------------------------------


async def test_preflight_says_which_guards_can_see(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)
    role = f"plain_{target.database}"
    target.execute(
        f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {target.database} TO {role};"
        f"GRANT ALL ON SCHEMA public TO {role}"
    )
    plain = urlsplit(target.uri)._replace(netloc=urlsplit(target.uri).netloc.replace("postgres@", f"{role}@")).geturl()
    engine = await engines.launch()

    async def asked(uri: str, **guard: Any) -> tuple[str, str]:
        command = protocol.Preflight(settings={"target": {"uri": uri}, "guard": guard})
        report = await engine.client.ask(protocol.PreflightReport, command)
        assert report.target == "checked"
        (check,) = [check for check in report.checks if check.what == "guards"]
        return check.status, check.message

    try:
        status, message = await asked(target.uri, tickets=1, secondary_lag=30, slot_wal=1, file="/no/such/file")
        assert status == "ok", message
        names = "standby_lag, disk_free, slot_wal, tickets, secondary_lag, file"
        assert message == f"Guards can see what they look at: {names}."

        target.execute("SELECT pg_create_physical_replication_slot('idle', true)")
        status, message = await asked(plain, slot_wal_hard=1, disk_free=0, disk_free_hard=0)
        assert status == "warning"
        assert "would be paused by its guards: replication slot idle holds back " in message, "every role may see that"
        target.execute("SELECT pg_drop_replication_slot('idle')")

        status, message = await asked(plain, disk_free=1, standby_lag=0, standby_lag_hard=0)
        assert status == "warning"
        assert f"disk_free cannot see, and does nothing: The role {role} may not know where" in message
        assert message.endswith(f"As an administrator, run: GRANT pg_monitor TO {role};")

        status, message = await asked(target.uri, query="SELECT 7", disk_free=0, disk_free_hard=0)
        assert status == "warning"
        assert message.endswith("would be slowed by its guards: guard.query gives 7 (limit 0).")
        assert (await asked(target.uri, on=False))[1] == "Guards are turned off (guard.on)."
    finally:
        target.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
