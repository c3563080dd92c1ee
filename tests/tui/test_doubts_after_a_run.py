"""What made readers doubt after a run: tables that a later run replaced, outcomes that do not say all, times, a resume."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.protocol import ReplacedTables, RunState, Snapshot, TargetTable, Verification
from tests.tui.driving import screen_text, session_of, until, until_shown
from tests.tui.scripted_answers import RUNS, found_tables, run_info, run_report
from tests.tui.scripted_engine import ScriptedEngine, table
from tests.tui.test_reader_doubts import SIZES, at_end, at_history
from tui.cockpit.app import Cockpit
from tui.cockpit.dialogs.exporting import Exporter
from tui.reports.data import csv_text, json_text
from tui.reports.facts import facts
from tui.reports.markdown import markdown
from tui.reports.page import page
from tui.reports.writing import verification_of
from tui.words.preflight import summary
from tui.words.replaced import replaced_mark, replaced_table_words, replaced_words

LATER = "20261124-0800-zz11"
ORDERS = ReplacedTables(of=1, replaced=1, by=[LATER], n_by=1, tables={"public.orders": LATER})
FULL: dict[str, Any] = {"verification_level": "full", "rejected": 0}


@pytest.mark.parametrize(
    ("found", "mark", "words"),
    [
        (ORDERS, "replaced since", "Its table was replaced since by run 20261124-0800-zz11."),
        (
            ReplacedTables(of=5, replaced=2, dropped=1, by=["a", "b"], n_by=2),
            "in part replaced since",
            "2 of its 5 tables were replaced since by runs a and b, and 1 was dropped.",
        ),
        (
            ReplacedTables(of=1_200, replaced=1_200, by=["a", "b", "c"], n_by=4),
            "replaced since",
            "All of its 1,200 tables were replaced since by 4 runs, such as a.",
        ),
        (ReplacedTables(of=2, dropped=2), "dropped since", "All of its 2 tables were dropped since."),
        (ReplacedTables(of=3, dropped=1), "in part dropped since", "1 of its 3 tables was dropped since."),
        (None, "", ""),
    ],
)
def test_it_is_said_what_became_of_the_tables_of_a_run(found: ReplacedTables | None, mark: str, words: str) -> None:
    assert (replaced_mark(found), replaced_words(found)) == (mark, words)


def test_it_is_said_what_became_of_each_table() -> None:
    found = ReplacedTables(of=3, replaced=1, dropped=1, by=["a"], n_by=1, tables={"public.x": "a", "public.y": ""})
    said = [replaced_table_words(found, f"public.{name}") for name in "xyz"]
    assert said == ["replaced since by run a", "dropped since", ""]


@pytest.mark.parametrize("size", SIZES)
async def test_history_says_that_a_later_run_replaced_the_tables(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    engine.runs = [run_info(RUNS[0].run_id, replaced_since=ORDERS, **FULL), *RUNS[1:]]
    engine.recorded_end = {"replaced_since": ORDERS, "verification_level": "full"}
    async with at_history(engine, size) as pilot:
        await until_shown(pilot, "! verified, replaced since", f"! Its table was replaced since by run {LATER}.")
        assert "✓ verified" not in screen_text(pilot.app)
        await pilot.press("enter")
        await until_shown(pilot, "Report", "! replaced")
        report = str(pilot.app.screen.query_one("#sheet-text", Static).content)
        assert f"! Its table was replaced since by run {LATER}." in report
        assert "✓" not in report


@pytest.mark.parametrize("size", SIZES)
async def test_verify_says_that_a_later_run_replaced_the_tables(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    engine.runs = [run_info(RUNS[0].run_id, replaced_since=ORDERS, rejected=0), *RUNS[1:]]
    engine.recorded_end = {"replaced_since": ORDERS}
    async with at_history(engine, size) as pilot:
        await pilot.press("v")
        await until_shown(pilot, "! counts match, replaced since", f"! Its table was replaced since by run {LATER}.")
        await until_shown(pilot, "! replaced ", "! The table was replaced since by run")
        shown = screen_text(pilot.app)
        assert ("✓" in shown, "compare every document" in shown) == (False, False)


async def test_verify_says_whose_rows_it_has_counted(engine: ScriptedEngine) -> None:
    engine.recorded_end = engine.verified = {"replaced_since": ORDERS}
    async with at_history(engine) as pilot:
        await pilot.press("v")
        await until_shown(pilot, f"replaced since by run {LATER}: the counts are those of this run's rows.")
        await pilot.press("c")
        await until_shown(pilot, "counted at ")
        await pilot.press("down")
        await until_shown(pilot, f"replaced since by run {LATER}: rows are counted as they are now.")


async def test_a_run_that_is_shown_again_says_that_its_tables_were_replaced(engine: ScriptedEngine) -> None:
    async with at_end(engine, "✓ counts match", rejected=0) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        await pilot.press("3")
        await until(pilot, lambda: engine.received("recount"))
        engine.show(replaced_since=ORDERS)
        await until_shown(pilot, "! counts match, replaced since", f"! Its table was replaced since by run {LATER}.")


def test_a_report_says_that_a_later_run_replaced_the_tables() -> None:
    run = run_report(run_info(RUNS[0].run_id, verification_level="full", replaced_since=ORDERS))
    checked = verification_of(run)
    assert checked.result is Verification.VERIFIED
    for form in (markdown, page):
        text = form(checked, run)
        assert "replaced since" in text.split("Report made")[0], "above everything else"
        assert f"Its table was replaced since by run {LATER}." in text
        assert f"match; replaced since by run {LATER}" in text
    assert '<p class="result good">' not in page(checked, run)
    assert f"replaced since by run {LATER}" in csv_text(checked, run)
    assert '"replaced_since": {' in json_text(checked, run)


# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_history_says_in_its_list_how_many_documents_were_rejected(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.runs = [run_info(RUNS[0].run_id, rejected=132, collections=["shop.orders", "shop.customers"]), *RUNS[1:]]
    async with at_history(engine, size) as pilot:
        first = next(line for line in screen_text(pilot.app).split("\n") if "11-" in line or "10-" in line)
        assert "✓ counts match, 132 rejected" in first
        assert "shop: orders" in first


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("found", "outcome"),
    [(ORDERS, "! replaced, 132 rejected"), (ReplacedTables(of=2, dropped=1), "! in part dropped, 132 reject…")],
)
async def test_a_run_whose_tables_were_replaced_keeps_its_rejects_in_the_list(
    engine: ScriptedEngine, size: tuple[int, int], found: ReplacedTables, outcome: str
) -> None:
    engine.runs = [run_info(RUNS[0].run_id, rejected=132, replaced_since=found), *RUNS[1:]]
    async with at_history(engine, size) as pilot:
        first = next(line for line in screen_text(pilot.app).split("\n") if "11-" in line or "10-" in line)
        assert outcome in first


# --- a run that is resumed --------------------------------------------------------------------------------------------

OWN_ID = "20261124-0900-own1"
"""Of an engine that has not yet read which run it is to resume."""
LEFT = {"read": 912_000, "written": 912_000, "total": 5_063_558, "rejected": 0}
"""Of the run that is resumed, when it was stopped."""


def connecting(engine: ScriptedEngine) -> None:
    """The run is accepted, and no server has answered yet."""
    engine.show(Snapshot(run_id=OWN_ID, state=RunState.STARTING, phase="connecting"))


def shows_the_resumed_run(app: Any, run_id: str) -> bool:
    """Its id and its rows are on the screen, and the engine's own id is not."""
    shown = screen_text(app)
    return "● starting" in shown and f"run {run_id}" in shown and "912,000" in shown and OWN_ID not in shown


@asynccontextmanager
async def resumed_from_history(engine: ScriptedEngine, size: tuple[int, int] = SIZES[0]) -> AsyncIterator[Pilot[Any]]:
    """On Run, a run that was stopped and is resumed, of which its engine has read nothing yet."""
    engine.on_start = connecting
    engine.recorded_end = LEFT | {"state": RunState.CANCELLED, "tables": [table("orders", 912_000)]}
    async with at_history(engine, size) as pilot:
        await pilot.press("down")
        await until_shown(pilot, "r: resume")
        await pilot.press("r")
        await until_shown(pilot, "Resume this run?")
        await pilot.press("left", "left", "tab", "enter")
        await until(pilot, lambda: shows_the_resumed_run(pilot.app, RUNS[1].run_id))
        yield pilot


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_resumed_from_history_shows_its_id_and_rows_from_the_first_moment(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with resumed_from_history(engine, size) as pilot:
        counting = {"read": 0, "written": 0}
        engine.show(run_id=RUNS[1].run_id, phase="planned", tables=[table("orders", 5_063_558, **counting)])
        session = session_of(cast("Cockpit", pilot.app))
        await until(pilot, lambda: session.snapshot.phase == "planned")
        assert [each.written for each in session.snapshot.tables] == [912_000]
        engine.show(state=RunState.RUNNING, phase="copying", written=913_000, tables=[table("orders", 913_000)])
        await until(pilot, lambda: session.snapshot.written == 913_000)
        assert session.snapshot.tables[0].written == 913_000


async def test_a_resume_that_does_not_come_to_its_tables_is_still_about_the_run(engine: ScriptedEngine) -> None:
    async with resumed_from_history(engine) as pilot:
        engine.show(state=RunState.FAILED, phase="failed", exit_code=1)
        await until_shown(pilot, f"! failed  run {RUNS[1].run_id}", "912,000 written", f"--resume {RUNS[1].run_id}")
        assert OWN_ID not in screen_text(pilot.app)


# --- words of before, of Verify and of reports ------------------------------------------------------------------------


def test_preflight_says_what_it_counts() -> None:
    there = TargetTable(
        namespace="shop.orders", table="public.orders", state="exists", fate="stops", rows=7, status="stop"
    )
    more = there.model_copy(update={"fate": "replaced"})
    assert summary(found_tables(there)) == "target shop: 1 table would stop the run"
    assert summary(found_tables(there, there, more)) == (
        "target shop: 2 tables would stop the run, 1 will be DROPPED and replaced"
    )
    assert summary(found_tables(("a.b", "x.b"), more)) == ("target shop: 1 table will be DROPPED and replaced, 1 new")
    assert summary(found_tables(("a.b", "x.b"), ("a.c", "x.c"))) == "target shop: 2 new tables"


def test_a_report_says_when_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_report(run_info(RUNS[0].run_id))
    exporter = Exporter(verification_of(run))
    exporter.run = run  # as the ledger told it when the name was asked for
    monkeypatch.setattr(time, "time", lambda: run.made_unix + 3_600)
    written = json.loads(exporter.write(str(tmp_path / "report.json")).read_text())
    assert written["report"]["made_unix"] == run.made_unix + 3_600


def test_a_report_says_what_its_plan_calls_the_policy() -> None:
    run = run_report(run_info(RUNS[0].run_id))
    assert dict(facts(verification_of(run), run))["Policies"] == 'nul reject, overflow _extra ("overflow" in the plan)'


@pytest.mark.parametrize("size", SIZES)
async def test_verify_names_the_fields_that_are_excluded(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    engine.excluded = {"public.orders": ["secret.ssn", "tags"]}
    engine.runs = [run_info(RUNS[0].run_id, rejected=0), *RUNS[1:]]
    async with at_history(engine, size) as pilot:
        await pilot.press("v")
        await until_shown(pilot, "Excluded on purpose, neither copied nor compared: secret.ssn, tags")


async def test_the_fields_that_one_run_excluded_are_not_said_of_another(engine: ScriptedEngine) -> None:
    engine.excluded = {"public.orders": ["secret.ssn"]}
    async with at_history(engine) as pilot:
        await pilot.press("4")
        await until_shown(pilot, "neither copied nor compared: secret.ssn")
        engine.verified = {"run_id": LATER}
        await pilot.press("c")
        await until_shown(pilot, f"run {LATER}")
        await pilot.press("down")
        await until_shown(pilot, "14 documents are rejected")
        assert "secret.ssn" not in screen_text(pilot.app)
