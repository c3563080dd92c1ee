"""Workers on the hosts of a Dask cluster: everything that workers do is done there, and steered as it always is."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine.protocol import RunState, Verification, Verify, VerifyReport
from tests.conftest import Source, Target
from tests.dask_cluster import children_of
from tests.running import Engines, add_users, assert_ledger, assert_users_equal
from tests.signals import send_signal

pytest.importorskip("distributed", reason="the extra dask is not installed")
COUNT = 3_000


def on_dask(where: str, **more: Any) -> dict[str, Any]:
    """Sections of settings."""
    return {"cluster": {"kind": "dask"}, "dask": {"scheduler": where, **more}}


async def test_a_run_and_its_verification_on_a_dask_cluster(engines: Engines, source: Source, target: Target) -> None:
    add_users(source, COUNT)
    engine = await engines.launch(engines.settings("users", **on_dask("local:1x2")))
    await engine.start()
    facts = await engine.finished()
    assert facts["state"] == RunState.COMPLETED
    assert engine.snapshot.written == COUNT
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=COUNT)
    hosts = engine.facts_of("host")
    assert [(facts["what"], facts["slots"]) for facts in hosts[:1]] == [("joined", 2)]
    assert {facts["host"] for facts in engine.facts_of("worker")} == {hosts[0]["host"]}
    report = await engine.client.ask(VerifyReport, Verify(level="full"))
    assert report.result is Verification.VERIFIED


@pytest.mark.slow
async def test_a_cluster_of_this_host_that_dies_ends_the_run_which_can_be_resumed(
    engines: Engines, source: Source, target: Target
) -> None:
    add_users(source, COUNT)
    run = {"throttle": 200, "page_size": 100}
    engine = await engines.launch(engines.settings("users", run=run, **on_dask("local:1x2")))
    await engine.start()
    await engine.until_written(1)
    below = children_of(engine.pid)
    for pid, command in below.items():
        if "engine.cluster.dask_local" in command:
            send_signal(pid, signal.SIGKILL)
    facts = await engine.finished()
    assert (facts["state"], facts["exit_code"], facts["error"]["code"]) == (RunState.FAILED, 3, "dask_ended")
    assert "resume the run, which starts another one" in facts["error"]["message"]
    await engine.leave()
    await engine.until_gone()
    _, facts = await engines.run(engines.settings("users", **on_dask("local:1x2")), resume=engine.run_id)
    assert facts["state"] == RunState.COMPLETED
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_hosts_find_connection_strings_where_they_have_them(
    engines: Engines, source: Source, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_users(source, 300)
    secret = tmp_path / "target"
    secret.write_text(target.uri)
    sections = on_dask("local:1x2") | {"target": {"uri": target.uri, "uri_from": f"file:{secret}"}}
    _, facts = await engines.run(engines.settings("users", **sections))
    assert facts["state"] == RunState.COMPLETED
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_a_host_that_reaches_another_server_takes_no_part(
    engines: Engines, source: Source, target: Target, tmp_path: Path
) -> None:
    add_users(source, 300)
    elsewhere = tmp_path / "target"
    elsewhere.write_text(urlsplit(target.uri)._replace(path="/postgres").geturl())
    sections = on_dask("local:1x1") | {"target": {"uri": target.uri, "uri_from": f"file:{elsewhere}"}}
    engine, facts = await engines.run(engines.settings("users", **sections))
    assert (facts["state"], facts["exit_code"], facts["error"]["code"]) == (RunState.FAILED, 2, "hosts")
    assert "target.uri leads to another PostgreSQL, or another database, there than here" in facts["error"]["message"]
    assert [event["what"] for event in engine.facts_of("host")] in (["refused"], ["joined", "refused"])


async def test_a_scheduler_on_another_host_without_tls_is_refused(engines: Engines, source: Source) -> None:
    add_users(source, 10)
    _, facts = await engines.run(engines.settings("users", **on_dask("tcp://192.0.2.1:8786")))
    assert (facts["state"], facts["exit_code"]) == (RunState.FAILED, 2)
    assert "tcp://192.0.2.1:8786 is on another host and without TLS" in facts["error"]["message"]


@pytest.mark.slow
async def test_a_scheduler_that_does_not_answer_is_no_server_that_can_be_reached(
    engines: Engines, source: Source
) -> None:
    add_users(source, 10)
    _, facts = await engines.run(engines.settings("users", **on_dask("tcp://127.0.0.1:1")))
    assert (facts["state"], facts["exit_code"]) == (RunState.FAILED, 3)
    assert "The Dask scheduler at tcp://127.0.0.1:1 does not answer" in facts["error"]["message"]
