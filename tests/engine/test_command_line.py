"""Whole commands, as scripts and people without a cockpit use them, on real servers."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_CONNECT, EXIT_DONE, EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

N = 20_000
MAX_GAP_S = 1.0
"""Between two progress lines."""
MAX_OVERHEAD_S = 1.0
"""Of a command's wall time over the run's own seconds."""
INTERRUPTED_WITHIN_S = 30.0
"""From the key to the prompt: far less than the silent server would be waited for."""
SILENT = "serverSelectionTimeoutMS=120000&connectTimeoutMS=120000&socketTimeoutMS=120000"
"""A silent server is waited for so long."""
END_S = 60.0
"""For embedded servers whose engine was killed."""
SLACK_S = 2.0
"""For a machine that is busy with other things."""


def fill(source: Source, n: int = N) -> None:
    """Documents whose sum the tests can compute."""
    documents = ({"_id": number, "name": f"name {number}", "amount": number / 4} for number in range(n))
    source.db.orders.insert_many(documents)


def assert_all_there(target: Target, n: int = N, table: str = "orders") -> None:
    """Every document of `fill` is a row of its own, with its values."""
    (row,) = target.rows(f"SELECT count(*) AS n, count(DISTINCT _id) AS ids, sum(amount) AS amount FROM {table}")
    assert (row["n"], row["ids"], float(row["amount"])) == (n, n, n * (n - 1) / 2 / 4)
    assert target.value(f"SELECT count(*) FROM {table} WHERE name <> 'name ' || _id") == 0


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_json_run_reports_itself_and_ends_with_both_counts(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    n = 5_000
    fill(source, n)
    command = front_end.start("run", "--json", "--cluster-size", "2", "--throttle", "2000", "--page-size", "200")
    outcome = command.outcome()
    assert (outcome.code, outcome.err) == (EXIT_DONE, "")
    *progress, last = outcome.lines
    assert {record["event"] for record in progress} == {"progress"}
    written = [record["written"] for record in progress]
    assert written == sorted(written)
    assert any(0 < count < n for count in written)
    assert all(record["cluster_size"] == 2 for record in progress)
    running = [record for record in progress if record["state"] == "running" and record["workers"]]
    assert {worker["collection"] for record in running for worker in record["workers"]} >= {f"{source.database}.orders"}
    assert last["event"] == "finished"
    assert (last["state"], last["verification"]) == ("completed", "verified")
    assert (last["read"], last["written"], last["rejected"]) == (n, n, 0)
    assert last["tables"]["public.orders"]["source"] == last["tables"]["public.orders"]["target"] == n
    assert_all_there(target, n)


@pytest.mark.slow  # a bound in seconds: on a machine that is busy, or merely slow, it says nothing of the program
def test_a_command_takes_little_beyond_its_run_and_reports_itself_at_least_once_a_second(
    front_end: FrontEnd, source: Source
) -> None:
    fill(source)
    command = front_end.start("run", "--json", "--cluster-size", "2", "--throttle", "8000")
    last = command.outcome().lines[-1]
    assert max(later - earlier for (earlier, _), (later, _) in pairwise(command.lines)) <= MAX_GAP_S
    assert command.lines[-1][0] - command.began - last["seconds"] < MAX_OVERHEAD_S + SLACK_S


def test_a_run_without_a_terminal_prints_lines_and_a_summary(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    fill(source)
    outcome = front_end.do("run", "--collection", f"{source.database}.orders:crm.moved")
    assert (outcome.code, outcome.err) == (EXIT_DONE, "")
    assert "\x1b" not in outcome.out
    assert re.search(
        rf"{source.database}\.orders +crm\.moved +20,000 +20,000 +20,000 +0 +20,000  counts match", outcome.out
    )
    assert "20,000 read = 20,000 written + 0 rejected" in outcome.out
    assert_all_there(target, table="crm.moved")


def test_on_a_terminal_headless_progress_is_drawn_in_place(front_end: FrontEnd, source: Source) -> None:
    fill(source, 5_000)
    controller, terminal = pty.openpty()
    words = ["run", "--headless", "--cluster-size", "2", "--throttle", "2000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=front_end.environment | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"},
        cwd=front_end.folder,
    )
    os.close(terminal)
    shown = _all_of(controller)
    os.close(controller)
    assert process.wait() == EXIT_DONE
    assert "━" in shown
    assert len(re.findall("copying", shown)) > 3
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "5,000 read = 5,000 written + 0 rejected" in shown


def _all_of(descriptor: int) -> str:
    """What a pseudo terminal shows until its other side is closed."""
    content, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # Linux's way of saying end of file here
            break
        content += chunk
    return content.decode()


def test_a_reader_that_leaves_ends_the_run_cleanly(front_end: FrontEnd, source: Source) -> None:
    fill(source)
    command = subprocess.Popen(
        [sys.executable, "-m", "tui", "run", "--json", "--throttle", "2000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=front_end.environment,
        cwd=front_end.folder,
        text=True,
    )
    assert command.stdout is not None
    assert command.stderr is not None
    assert json.loads(command.stdout.readline())["event"] == "progress"
    command.stdout.close()
    assert command.wait(60) == 130
    complaint = command.stderr.read()
    command.stderr.close()
    assert complaint == "The output cannot be written any more (Broken pipe): the run is cancelled.\n"


def test_seed_fills_the_collection_and_touches_no_target(front_end: FrontEnd, source: Source, target: Target) -> None:
    words = [
        "seed",
        "--json",
        "--seed-count",
        "3000",
        "--collection",
        f"{source.database}.people",
        "--cluster-size",
        "2",
    ]
    outcome = front_end.do(*words, MONGOPG_TARGET_URI="")
    assert (outcome.code, outcome.err) == (EXIT_DONE, "")
    assert (outcome.last["state"], outcome.last["seeded"]) == ("completed", 3_000)
    assert source.db.people.count_documents({}) == 3_000
    assert target.value("SELECT to_regclass('public.people') IS NULL AND to_regnamespace('mongopg') IS NULL")


@pytest.mark.slow
def test_demo_is_one_command_with_one_last_line_and_leaves_nothing(front_end: FrontEnd) -> None:
    outcome = front_end.do("demo", "--json", "--seed-count", "3000", "--cluster-size", "2")
    assert (outcome.code, outcome.err) == (EXIT_DONE, "")
    assert [record["event"] for record in outcome.lines].count("finished") == 1
    assert {record["state"] for record in outcome.lines} >= {"seeding", "completed"}
    assert outcome.last["tables"]["public.users"]["target"] == 3_000


@pytest.mark.slow
def test_a_demo_that_follows_is_written_to_until_it_is_cut_over(front_end: FrontEnd) -> None:
    demo = front_end.start("demo", "--follow", "--json", "--seed-count", "3000", "--cluster-size", "2")
    progress = demo.until_progress(
        lambda record: (
            record.get("ready") is True
            and record["state"] == "following"
            and record["follow"]["by_kind"].keys() >= {"insert", "update", "delete"}
        )
    )
    cut = front_end.do("ctl", "cutover", "--run", progress["run_id"], "--wait", "--json")
    assert (cut.code, cut.last["state"]) == (EXIT_DONE, "completed"), cut.err
    outcome = demo.outcome()
    assert (outcome.code, outcome.last["verification"]) == (EXIT_DONE, "verified"), outcome.err
    assert outcome.last["follow"]["updated"] > 0


@pytest.mark.slow
def test_a_demo_whose_engine_is_killed_leaves_nothing_and_promises_nothing(front_end: FrontEnd) -> None:
    with tempfile.TemporaryDirectory(prefix="mpg") as above:
        Path(above).chmod(0o711)  # PostgreSQL may run as another user
        words = ["--seed-count", "20000", "--cluster-size", "2", "--throttle", "5000"]
        command = front_end.start("demo", "--json", *words, TMPDIR=above)
        command.until_progress(lambda record: record["written"] > 0 and record["state"] == "running")
        (engine,) = front_end.engines()
        os.kill(engine, signal.SIGKILL)
        outcome = command.outcome()
        assert (outcome.code, outcome.last["error"]["code"]) == (EXIT_FAILED, "engine_died")
        assert "and its embedded servers with it" in outcome.err
        assert "--resume" not in outcome.err
        deadline = time.monotonic() + END_S
        while list(Path(above).iterdir()):
            assert time.monotonic() < deadline, "the servers' folder stays"
            time.sleep(0.05)


@pytest.mark.slow
def test_a_kept_demo_leaves_its_servers_until_they_are_stopped(front_end: FrontEnd) -> None:
    with tempfile.TemporaryDirectory(prefix="mpg") as above:
        Path(above).chmod(0o711)  # PostgreSQL may run as another user
        folder = f"{above}/servers"
        outcome = front_end.do("demo", "--headless", "--keep", "--dir", folder, "--seed-count", "500")
        try:
            assert outcome.code == EXIT_DONE, outcome.err
            front_end.wait_for_no_engine()
            shown = re.search(r"Still running: embedded servers: (\S+) and (\S+), data in", outcome.out)
            assert shown is not None
            assert f"`mongopg-tui demo --dir {folder} --stop` ends them." in outcome.out
            runs = front_end.do("runs", "--json", "--target", shown[2])
            assert [run["written"] for run in runs.last["runs"]] == [500]
            again = front_end.do(
                "seed", "--json", "--source", shown[1], "--collection", "demo.more", "--seed-count", "9"
            )
            assert again.last["seeded"] == 9
        finally:
            stopped = front_end.do("demo", "--stop", "--dir", folder)
        assert stopped.out == f"The servers in {folder} are stopped; their data stay.\n"
        assert front_end.do("demo", "--stop", "--dir", folder).out == f"No server runs in {folder}.\n"
        assert front_end.do("demo", "--stop", "--dir", f"{above}/other").code == EXIT_USAGE
        assert front_end.do("runs", "--target", shown[2]).code == EXIT_CONNECT


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "uri"),
    [
        ("source", "mongodb://127.0.0.1:1/shop?serverSelectionTimeoutMS=1000"),
        ("target", "postgresql://127.0.0.1:1/shop"),
    ],
)
def test_a_server_that_is_not_there_is_exit_code_3(side: str, uri: str, front_end: FrontEnd, source: Source) -> None:
    fill(source, 10)
    outcome = front_end.do("run", "--json", f"--{side}", uri)
    assert outcome.code == EXIT_CONNECT
    assert (outcome.last["state"], outcome.last["error"]["code"]) == ("failed", "connect")
    assert "127.0.0.1:1" in outcome.err
    _assert_one_sentence(outcome.err)


def test_a_wrong_password_is_exit_code_3_and_not_shown(front_end: FrontEnd, source: Source) -> None:
    fill(source, 10)
    parts = urlsplit(source.uri)
    uri = parts._replace(netloc=f"nobody:canary@{parts.netloc}", query=f"{parts.query}&authSource=admin").geturl()
    outcome = front_end.do("run", "--json", MONGOPG_SOURCE_URI=uri)
    assert outcome.code == EXIT_CONNECT
    _assert_one_sentence(outcome.err)
    assert "canary" not in outcome.out + outcome.err
    assert "***" not in outcome.err, "a part of the sentence was taken for a secret"
    for log in Path(front_end.environment["XDG_STATE_HOME"]).rglob("*.log"):
        assert "canary" not in log.read_text()


def test_a_missing_collection_and_an_existing_table_are_exit_code_2(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    fill(source, 10)
    missing = front_end.do("run", "--json", "--collection", f"{source.database}.oders")
    assert (missing.code, missing.last["error"]["code"]) == (EXIT_USAGE, "missing_collection")
    assert f"{source.database}.oders" in missing.err
    _assert_one_sentence(missing.err)
    target.execute("CREATE TABLE orders (kept int)")
    existing = front_end.do("run", "--json")
    assert (existing.code, existing.last["error"]["code"]) == (EXIT_USAGE, "table_exists")
    assert "orders" in existing.err
    _assert_one_sentence(existing.err)
    assert target.value("SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders'") == 1


def test_an_engine_that_dies_is_exit_code_1_and_the_run_goes_on_from_there(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    fill(source)
    command = front_end.start("run", "--json", "--cluster-size", "2", "--throttle", "2000")
    command.until_progress(lambda record: record["written"] > 0)
    (engine,) = front_end.engines()
    os.kill(engine, 9)
    outcome = command.outcome()
    assert outcome.code == EXIT_FAILED
    assert (outcome.last["state"], outcome.last["error"]["code"]) == ("failed", "engine_died")
    run_id = outcome.last["run_id"]
    assert f"run --resume {run_id}" in outcome.err
    assert f"-{run_id.rpartition('-')[2]}.log" in outcome.err, (
        "an engine's log has the minute in which the engine began"
    )
    assert not list((front_end.runtime / "mongopg").iterdir()), "the killed engine's socket or folder stays"
    _assert_one_sentence(outcome.err)
    again = front_end.do("run", "--json", "--resume", run_id)
    assert (again.code, again.last["run_id"]) == (EXIT_DONE, run_id), again.err
    assert_all_there(target)


@pytest.mark.slow
def test_a_run_that_is_named_goes_on_as_it_was_asked_for_but_not_as_another(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    fill(source)
    words = ["--collection", f"{source.database}.orders:crm.moved", "--throttle", "5000"]
    command = front_end.start("run", "--json", *words, MONGOPG_MAPPING_NUL="strip")
    run_id = command.until_progress(lambda record: record["written"] > 0)["run_id"]
    command.send(signal.SIGINT)
    assert command.outcome().code == EXIT_CANCELLED
    other = front_end.do("run", "--json", "--resume", run_id, "--collection", f"{source.database}.orders")
    assert (other.code, other.last["error"]["code"]) == (EXIT_USAGE, "plan_changed")
    again = front_end.do("run", "--json", "--resume", run_id)
    assert (again.code, again.last["run_id"]) == (EXIT_DONE, run_id), again.err
    assert_all_there(target, table="crm.moved")


def _assert_one_sentence(err: str) -> None:
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_plan_shows_mapping_and_ddl_and_writes_nothing(front_end: FrontEnd, source: Source, target: Target) -> None:
    fill(source, 100)
    text = front_end.do("plan")
    assert (text.code, text.err) == (EXIT_DONE, "")
    assert f"{source.database}.orders → public.orders: 100 documents" in text.out
    assert re.search(r"amount +100% +double 100% +amount +double precision", text.out)
    (table,) = front_end.do("plan", "--json").last["tables"]
    assert table["table"] == "public.orders"
    target.execute("CREATE SCHEMA probe; SET search_path TO probe")
    ddl = front_end.do("plan", "--ddl").out
    assert "CREATE TABLE" in ddl
    assert target.value("SELECT to_regclass('public.orders') IS NULL AND to_regnamespace('mongopg') IS NULL")
    target.execute(ddl)
    assert target.value("SELECT count(*) FROM public.orders") == 0


@pytest.mark.slow
def test_verify_rejects_and_runs_answer_from_the_ledger(front_end: FrontEnd, source: Source, target: Target) -> None:
    assert front_end.do("runs").out == "There are no runs in the ledger of this target.\n"
    fill(source, 100)
    source.db.orders.insert_one({"_id": 100, "name": "a\x00b", "amount": 1.0})
    ran = front_end.do("run", "--json")
    assert (ran.code, ran.last["rejected"]) == (4, 1)
    run_id = ran.last["run_id"]
    (run,) = front_end.do("runs", "--json").last["runs"]
    assert (run["run_id"], run["written"], run["rejected"]) == (run_id, 100, 1)
    assert run_id in front_end.do("runs").out
    rejects = front_end.do("rejects", run_id[:-2])
    assert (rejects.code, rejects.err) == (EXIT_DONE, "")
    assert f"run {run_id}: 1 rejected document, kept in mongopg.reject" in rejects.out
    assert front_end.do("rejects", "--json").last["total"] == 1
    verified = front_end.do("verify", "--json")
    assert verified.last["tables"][0]["target"] == 100
    target.execute("DELETE FROM orders WHERE _id = '5' OR _id::text = '5'")
    mismatch = front_end.do("verify")
    assert mismatch.code == 4
    assert "mismatch" in mismatch.out
    refused = front_end.do("runs", "--discard", run_id)
    assert refused.code == EXIT_USAGE
    assert "--force" in refused.err
    discarded = front_end.do("runs", "--discard", run_id, "--force")
    assert discarded.code == EXIT_DONE
    assert f"Run {run_id} is deleted" in discarded.out
    assert front_end.do("runs", "--json").last["runs"] == []
    assert target.value("SELECT count(*) FROM orders") == 99


def test_b17_ctrl_c_while_a_plan_waits_for_a_silent_server_is_answered_at_once(front_end: FrontEnd) -> None:
    """It listens, so that a connection is made, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/shop?{SILENT}"
        command = front_end.start("plan", MONGOPG_SOURCE_URI=uri)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            command.send(signal.SIGINT)
            outcome = command.outcome(INTERRUPTED_WITHIN_S)
    assert outcome.code == EXIT_CANCELLED
    assert "Interrupted" in outcome.err
