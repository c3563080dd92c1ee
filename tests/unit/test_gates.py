"""What keeps a host from having leases, each in a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.cluster.gates import is_installed_as, refusal
from engine.work.messages import Probed, SourceServer, TargetServer

HERE = Probed(
    "0.1.0", 1, "native", "3.12.1", 4, SourceServer("rs0", "65f", "p1"), TargetServer("741", "16384", "1700000000.5")
)


def test_a_host_as_ours_takes_part() -> None:
    assert refusal(HERE, replace(HERE, python="3.13.0", cores=64)) == ""


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"version": "0.2.0"}, "mongopg-tui 0.2.0 is installed there, this engine is 0.1.0: install the same one."),
        ({"message_format": 2}, "its messages have format 2, those of this engine 1"),
        ({"problem": "MongoDB at db1:27017 does not answer."}, "MongoDB at db1:27017 does not answer."),
        ({"converter": "plain"}, 'its converter is the plain one, that of this engine the native one'),
        ({"source": SourceServer("rs0", "66a", "p1")}, "source.uri leads to another MongoDB there than here"),
        ({"source": None}, "source.uri leads to another MongoDB there than here"),
        ({"target": TargetServer("742", "16384", "1700000000.5")}, "target.uri leads to another PostgreSQL"),
        ({"target": TargetServer("741", "16385", "1700000000.5")}, "or another database, there than here"),
        ({"target": TargetServer("741", "16384", "1700000001.5")}, "target.uri leads to another PostgreSQL"),
    ],
)  # fmt: skip
def test_why_a_host_does_not(there: dict[str, object], words: str) -> None:
    assert words in refusal(HERE, replace(HERE, **there))  # type: ignore[arg-type]


def test_the_version_is_said_before_what_follows_from_it() -> None:
    assert "0.0.9" in refusal(HERE, replace(HERE, version="0.0.9", message_format=0, converter="", problem="x"))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (SourceServer("rs0", "65f", "p1"), SourceServer("rs0", "65f", "p2"), True),  # another primary by now
        (SourceServer("rs0", "", "p1"), SourceServer("rs0", "65f", "p1"), True),
        (SourceServer("rs0", "", "p1"), SourceServer("rs0", "", "p2"), False),
        (SourceServer(process="p1"), SourceServer(process="p1"), True),
        (SourceServer(process="p1"), SourceServer("rs0", "", "p1"), False),
    ],
)
def test_which_mongodb_is_the_same(one: SourceServer, other: SourceServer, is_same: bool) -> None:
    assert one.is_same(other) is other.is_same(one) is is_same


def test_a_version_is_judged_before_a_worker_runs_there() -> None:
    assert is_installed_as("0.1.0", 1, HERE) == ""
    assert "0.3.0" in is_installed_as("0.3.0", 1, HERE)
