"""Which schedulers are taken, before anything is connected to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from engine.cluster.crews import Crews
from engine.config import DaskSettings, Settings
from engine.errors import MigrationError, UsageError

pytest.importorskip("distributed", reason="the extra dask is not installed")
from engine.cluster.dask_site import DaskSite


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("tcp://192.0.2.1:8786", "tcp://192.0.2.1:8786 is on another host and without TLS"),
        ("", "dask.scheduler is not set: give --dask"),
        ("/nowhere/scheduler.json", "dask.scheduler names /nowhere/scheduler.json, which cannot be read"),
        (__file__, "which is no scheduler file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(scheduler: str, words: str) -> None:
    with pytest.raises(UsageError, match="dask") as refused:
        DaskSite(DaskSettings(scheduler=scheduler))
    assert words in refused.value.message


def test_an_address_in_a_file_is_held_to_the_same(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text('{"type": "Scheduler", "address": "tcp://192.0.2.1:8786"}')
    with pytest.raises(UsageError, match=r"tcp://192.0.2.1:8786 is on another host"):
        DaskSite(DaskSettings(scheduler=str(file)))
    assert not DaskSite(DaskSettings(scheduler=str(file), insecure=True)).is_private


async def test_a_certificate_that_is_not_there_is_named() -> None:
    site = DaskSite(DaskSettings(scheduler="tls://127.0.0.1:1", ca_file="/nowhere/ca.pem"))
    with pytest.raises(UsageError, match=r"dask.ca_file names /nowhere/ca.pem, which is not there"):
        await site.client()


@pytest.mark.parametrize(
    ("scheduler", "members", "slots", "hosts"),
    [
        ("tls://a:8786", 16, [8, 8], 0),  # there is room
        ("tls://a:8786", 17, [8, 8], 3),
        ("tls://a:8786", 64, [8, 8], 8),
        ("tls://a:8786", 24, [4, 16], 3),  # as the newest one
        ("tls://a:8786", 24, [], 1),  # then it is known how many a host has
        ("local:2x4", 9, [4, 4], 3),
        ("local:2x4", 1_000, [4, 4], 32),  # as many as there can be on this host
    ],
)
def test_hosts_for_the_workers_that_are_wanted(scheduler: str, members: int, slots: list[int], hosts: int) -> None:
    assert DaskSite(DaskSettings(scheduler=scheduler, scale=True)).hosts_for(members, slots) == hosts
    assert DaskSite(DaskSettings(scheduler=scheduler)).hosts_for(members, slots) == 0


def test_a_cluster_of_this_host_that_cannot_be_started_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"cluster": {"kind": "dask"}, "dask": {"scheduler": "local:1x1"}})
    make = Crews().of(settings)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(MigrationError, match="The Dask cluster on this host cannot be started") as refused:
        make(cast(Any, None))
    assert refused.value.code == "dask"
