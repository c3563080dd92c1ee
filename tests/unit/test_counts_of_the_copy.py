"""While a run follows its source the rows that are told are those of its copy, and are called so."""

from __future__ import annotations

from typing import Any

import pytest

from engine.protocol import FollowView, RunCutOver, RunInfo, RunState, Snapshot, StateEntered, TableProgress
from tui.cli.printers import Closing
from tui.cli.runs import _runs_text
from tui.cockpit.farewell import _counts
from tui.cockpit.widgets.progress import collection_words
from tui.cockpit.widgets.total import done_and_total
from tui.words.follow import follow_words
from tui.words.sentences import done_words

TABLE = TableProgress(
    task_id=1,
    namespace="shop.orders",
    table="public.orders",
    total=50,
    read=50,
    written=50,
    rejected=0,
    state="following",
)


def snapshot(phase: str = "following", applied: int = 0, *, follows: bool = True) -> Snapshot:
    return Snapshot(
        run_id="r", state=RunState.FOLLOWING, phase="following", written=50, read=50, total=50, tables=[TABLE],
        follow=FollowView(phase=phase, applied=applied) if follows else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "done", "unit"),
    [
        (snapshot(follows=False), "50 / 50", "rows"),
        (snapshot("copying"), "50 / 50 copied", "rows copied"),
        (snapshot(), "50 / 50 copied", "rows copied"),
        (snapshot("done"), "50 / 50", "rows"),
    ],
)
def test_rows_are_those_of_the_copy_until_it_is_cut_over(shown: Snapshot, done: str, unit: str) -> None:
    assert done_words(shown)[1] == done
    assert done_and_total(shown)[2] == unit


def test_what_was_applied_since_is_beside_them() -> None:
    assert "0 changes/s, 0 keys/s applied (1,234 since the copy)" in follow_words(snapshot(applied=1_234).follow)
    assert _counts(snapshot(applied=1_234)) == "50 read = 50 written + 0 rejected in the copy, 1,234 keys applied since"
    assert _counts(snapshot("done")) == "50 read = 50 written + 0 rejected"
    assert "50 of 50 rows copied" in collection_words(TABLE)


def facts(**changes: Any) -> dict[str, Any]:
    return {"run_id": "r", "state": "cancelled", "tables": {}, "seeded": 1} | changes


def test_the_end_of_a_run_that_was_not_cut_over_says_so_too() -> None:
    closing = Closing()
    assert "copy's" not in closing.text(facts())
    closing.tell(StateEntered(state=RunState.FOLLOWING, phase="following"))
    assert "These counts are the copy's" in closing.text(facts())
    closing.tell(RunCutOver(inserted=0, updated=1, deleted=0, write_stop_s=0.1, rejects_open=0))
    assert "copy's" not in closing.text(facts(state="completed"))


@pytest.mark.parametrize(("phase", "rows"), [("", "50"), ("following", "50 copied"), ("done", "50")])
def test_so_does_a_list_of_runs(phase: str, rows: str) -> None:
    run = RunInfo(
        run_id="r", state="cancelled", started_unix=0.0, ended_unix=1.0, source="", target="", collections=["shop.orders"],
        mode="create", read=50, written=50, rejected=0, seconds=1.0, verification="none", resumable=True, follow_phase=phase,
    )  # fmt: skip
    line = _runs_text([run]).splitlines()[-1]
    assert f" {rows} " in line
    assert ("copied" in line) == (rows != "50")
