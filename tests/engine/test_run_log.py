"""The engine's log says how a run went, and is not there when there was nothing to say."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_DONE, EXIT_INCOMPLETE
from tests.engine.test_command_line import fill

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

N_BAD = 3


def logs(front_end: FrontEnd) -> list[Path]:
    """Files of logs."""
    return sorted(Path(front_end.environment["XDG_STATE_HOME"]).rglob("*.log"))


def test_b10_the_log_of_a_run_says_how_it_went(front_end: FrontEnd, source: Source, target: Target) -> None:
    fill(source, 4_000)
    source.db.orders.insert_many({"_id": 10_000 + number, "name": "a\0b", "amount": 1.0} for number in range(N_BAD))
    running = front_end.start("run", "--json", "--workers", "2", "--page-size", "100", "--throttle", "200")
    run_id = running.until_progress(lambda record: record["written"] > 0)["run_id"]
    for words in (["pause", "--wait"], ["resume"], ["set", "workers=3"], ["set", "throttle=off"]):
        assert front_end.do("ctl", *words).code == EXIT_DONE
    assert running.outcome().code == EXIT_INCOMPLETE

    (log,) = logs(front_end)
    assert log.stem == run_id
    assert log.stat().st_mode & 0o077 == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    messages = [line["message"] for line in lines]
    table = f"{source.database}.orders"
    assert messages[0].startswith(f"run {run_id} begins: mongopg-tui ")
    assert ", copy, by run of " in messages[0]
    assert f"{target.database}; mode create" in messages[0]
    assert any(message == f"planned: {table} -> public.orders" for message in messages)
    assert "running: copying" in messages
    assert any(message.startswith("paused: paused by ctl of ") for message in messages)
    assert any(message.startswith("cluster_size 2 -> 3, by ctl of ") for message in messages)
    assert any(f"{N_BAD} x nul in {table}" in line["message"] and line["level"] == "warning" for line in lines)
    assert f"run {run_id} ends: completed, 4,003 read = 4,000 written + {N_BAD} rejected" in "\n".join(messages)


@pytest.mark.slow
def test_b10_commands_that_have_nothing_to_say_leave_no_log(front_end: FrontEnd, source: Source) -> None:
    fill(source, 100)
    assert front_end.do("run").code == EXIT_DONE
    (log,) = logs(front_end)
    for words in (["plan"], ["runs"], ["verify"], ["verify", "--level", "full"], ["rejects"]):
        assert front_end.do(*words).code == EXIT_DONE
    assert logs(front_end) == [log]


def test_b10_old_logs_and_empty_ones_are_removed(front_end: FrontEnd, source: Source) -> None:
    fill(source, 100)
    assert front_end.do("run").code == EXIT_DONE
    (log,) = logs(front_end)
    ages = {"20200101-0000-aaaa": (31, "x"), "20200101-0000-bbbb": (29, "x"), "20200101-0000-cccc": (1, "")}
    for name, (days, content) in ages.items():
        path = log.with_stem(name)
        path.write_text(content)
        then = time.time() - days * 86_400
        os.utime(path, (then, then))
    foreign = log.with_stem("notes")
    foreign.write_text("")
    os.utime(foreign, (0, 0))
    assert front_end.do("runs").code == EXIT_DONE
    assert {path.stem for path in logs(front_end)} == {log.stem, "20200101-0000-bbbb", "notes"}
