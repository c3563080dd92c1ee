"""How a scheduler is named, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.loading import load_settings
from engine.scheduler_address import SchedulerAddress, read_address


@pytest.mark.parametrize(
    ("text", "found", "is_private"),
    [
        ("tls://scheduler:8786", SchedulerAddress("tls://scheduler:8786", "scheduler"), True),
        (" tls://10.0.0.1:8786/ ", SchedulerAddress("tls://10.0.0.1:8786", "10.0.0.1"), True),
        ("tcp://scheduler:8786", SchedulerAddress("tcp://scheduler:8786", "scheduler"), False),
        ("tcp://127.0.0.1:8786", SchedulerAddress("tcp://127.0.0.1:8786", "127.0.0.1"), True),
        ("tcp://[::1]:8786", SchedulerAddress("tcp://[::1]:8786", "::1"), True),
        ("tcp://127.0.0.1.example.com:1", SchedulerAddress("tcp://127.0.0.1.example.com:1", "127.0.0.1.example.com"), False),
        ("/shared/scheduler.json", SchedulerAddress(file="/shared/scheduler.json"), False),
        ("local:2x4", SchedulerAddress(hosts=2, slots=4), False),
    ],
)  # fmt: skip
def test_what_is_read(text: str, found: SchedulerAddress, is_private: bool) -> None:
    assert read_address(text) == found
    assert found.is_private is is_private


@pytest.mark.parametrize(
    "text",
    ["tls://scheduler", "scheduler:8786://", "http://scheduler:8786", "tcp://a:b@c:1", "tcp://a:99999", "tcp://a:0",
     "local:", "local:2", "local:0x2", "local:100x100", "local:2x", "tls://user@h:1"],
)  # fmt: skip
def test_what_is_refused_names_the_setting_and_what_it_takes(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        load_settings(None, {"dask.scheduler": text})
    assert refused.value.message.startswith("--dask must be tls://host:8786")
