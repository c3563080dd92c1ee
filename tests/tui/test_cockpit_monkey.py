"""Whatever keys are pressed while a run goes on, the cockpit does not crash and nothing is lost, doubled or left behind."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine.errors import EXIT_DONE
from tests.conftest import Source, Target
from tests.running import advisory_locks, assert_same, sessions
from tests.tui.monkey import FAULTS, KEYS, MOVING, SENT, STEERING, TYPED, Monkey, environment_of, sent

SHORT_SEED = 7
"""`make test` shall not fail for one who did nothing wrong: the short one presses the same keys each time."""
SHORT_S, SHORT_N = 6.0, 12_000
LONG_S, LONG_N = 120.0, 40_000
"""Seconds of pressing keys, and documents."""
ROWS_PER_S = 1_500
GONE_S = 60.0
"""The server notices in its own time that a session has ended."""
CONNECTIONS = 14
"""The role's limit: what keeps the monkey from asking for 128 workers."""


@pytest.fixture
def limited(target: Target) -> Iterator[str]:
    """The target's URI for a user who owns its database, and has few connections."""
    role = f"monkey_{secrets.token_hex(4)}"
    target.execute(f'CREATE ROLE {role} LOGIN CONNECTION LIMIT {CONNECTIONS}; '
                   f'ALTER DATABASE "{target.database}" OWNER TO {role}')  # fmt: skip
    parts = urlsplit(target.uri)
    yield parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()
    target.execute(f'ALTER DATABASE "{target.database}" OWNER TO postgres; REASSIGN OWNED BY {role} TO postgres; '
                   f"DROP OWNED BY {role}; DROP ROLE {role}")  # fmt: skip


def test_it_knows_what_a_terminal_sends_for_every_key_that_it_may_press() -> None:
    keys = {*KEYS, *STEERING, *MOVING, *TYPED}
    assert {key for key in keys if len(key) > 1} - SENT.keys() == set()
    assert all(sent(key) for key in keys)


@pytest.mark.timeout(600)
def test_seconds_of_random_keys_harm_nothing(source: Source, target: Target, limited: str) -> None:
    seed = int(os.environ.get("MONKEY_SEED") or SHORT_SEED)
    play_and_check(seed, SHORT_S, SHORT_N, source, target, limited)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_keys_harm_nothing(source: Source, target: Target, limited: str) -> None:
    seed = int(os.environ.get("MONKEY_SEED") or secrets.randbelow(1_000_000))
    play_and_check(seed, LONG_S, LONG_N, source, target, limited)


def play_and_check(seed: int, seconds: float, n: int, source: Source, target: Target, limited: str) -> None:
    """Let the monkey play with a run of `n` documents, end it, and compare both sides."""
    print(f"MONKEY_SEED={seed} repeats it")
    documents = {number: number * 0.25 for number in range(n)}
    source.db.orders.insert_many({"_id": number, "total": total} for number, total in documents.items())
    with tempfile.TemporaryDirectory(prefix="mpg") as name:
        folder = Path(name)
        knobs = {
            "MONGOPG_RUN_THROTTLE": str(ROWS_PER_S),
            "MONGOPG_RUN_PAGE_SIZE": "500",
            "MONGOPG_RUN_CLUSTER_SIZE": "2",
        }
        monkey = Monkey(seed, environment_of(os.environ, source.uri, limited, folder) | knobs, folder)
        monkey.play(seconds)
        print(f"{monkey.n_pressed} keys, {monkey.n_starts} starts")

        while monkey.ctl("status").returncode == EXIT_DONE:
            monkey.ctl("cancel", "--wait")
        # What it did to the fields of Setup is gone with the cockpit: the settings are ours again.
        ending = ["run", "--json", "--collection", f"{source.database}.orders", "--throttle", "off"]
        resumed = monkey.program(*ending, "--resume")
        facts = json.loads(resumed.stdout.splitlines()[-1])
        if resumed.returncode != EXIT_DONE:  # it has made a table of its own, from a plan of its own, or forgot the run
            assert facts["error"]["code"] in {"table_exists", "plan_changed", "table_differs"}, resumed.stdout
            replaced = monkey.program(*ending, "--mode", "replace")
            assert replaced.returncode == EXIT_DONE, replaced.stdout + replaced.stderr
        rows = [(row["_id"], row["total"]) for row in target.rows("SELECT _id, total FROM public.orders")]
        assert_same(documents, rows)
        wrong = target.rows("SELECT * FROM mongopg.slice WHERE n_read <> n_written + n_rejected")
        assert wrong == []
        deadline = time.monotonic() + GONE_S
        while left := sessions(target) + advisory_locks(target):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        logs = [log for log in (folder / "mongopg-tui").glob("*.log") if FAULTS[0] in log.read_text()]
        assert logs == [], logs[0].read_text()[-3000:]
