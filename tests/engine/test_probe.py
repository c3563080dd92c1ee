"""What a host has: this program, and the servers that connection strings lead to from there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from engine import __version__
from engine.cluster.gates import refusal
from engine.work.context import WorkerStart
from engine.work.frames import FORMAT
from engine.work.probe import look_around
from tests.guarded import free_port

if TYPE_CHECKING:
    from tests.conftest import Source, Target


@pytest.fixture
def start(source: Source, target: Target) -> WorkerStart:
    return WorkerStart("20261201-0000-none", source.uri, target.uri, "auto")


async def test_two_looks_find_the_same(start: WorkerStart) -> None:
    here, there = await look_around(start), await look_around(start)
    assert (here.version, here.message_format, here.problem) == (__version__, FORMAT, "")
    assert here.source is not None
    assert here.source.set_name
    assert here.source.set_id
    assert here.target is not None
    assert here.target.cluster.isdigit()
    assert here.cores > 0
    assert refusal(here, there) == ""


async def test_another_database_is_another_target(start: WorkerStart, target: Target) -> None:
    here = await look_around(start)
    other = urlsplit(target.uri)._replace(path="/postgres").geturl()
    there = await look_around(replace(start, target_uri=other))
    assert "or another database, there than here" in refusal(here, there)


async def test_a_server_that_is_not_there_is_named(start: WorkerStart) -> None:
    port = free_port()
    there = await look_around(
        replace(start, source_uri=f"mongodb://app:canary@127.0.0.1:{port}/shop?serverSelectionTimeoutMS=300")
    )
    assert str(port) in there.problem
    assert "canary" not in there.problem
    there = await look_around(replace(start, target_uri=f"postgresql://mig:canary@127.0.0.1:{port}/shop"))
    assert str(port) in there.problem
    assert "canary" not in there.problem
    assert there.source is not None


async def test_a_census_of_a_plan_needs_no_target(start: WorkerStart) -> None:
    here = await look_around(replace(start, target_uri=""))
    assert here.target is None
    assert refusal(here, await look_around(replace(start, target_uri=""))) == ""
