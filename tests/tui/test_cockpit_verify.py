"""The Verify screen: counts and differences of a run, verified again, exported."""

from __future__ import annotations

import csv
import io
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.errors import UsageError
from engine.protocol import ComparingView, Verification
from tests.tui.driving import on_run, on_setup, screen_text, session_of, until, until_shown
from tests.tui.scripted_answers import RUNS, run_info, run_report, verify_report
from tests.tui.scripted_engine import ScriptedEngine, completed, idle
from tui.cockpit.dialogs.exporting import Exporter
from tui.files import write_new
from tui.reports.data import csv_text, json_text
from tui.reports.markdown import markdown
from tui.reports.writing import write_report


async def to_verify(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "3 of 4 selected")
    await pilot.press("4")
    await until_shown(pilot, "as counted at the run's end")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_at_first_the_counts_of_the_newest_runs_end_are_shown(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_verify(pilot)
        await until_shown(pilot, "✓ counts match", RUNS[0].run_id, "60,000")
        assert not engine.received("verify")


async def test_counting_again_names_what_does_not_hold(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_verify(pilot)
        await pilot.press("c")
        await until_shown(pilot, "! mismatch", "counted at ")
        await pilot.press("down")
        await until_shown(pilot, "the table gained 4,210,319 rows, 4,210,320 were written")


async def test_a_full_comparison_lists_differences_down_to_the_field(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_verify(pilot)
        await pilot.press("f")
        await until_shown(pilot, "compared in full at ")
        await pilot.press("down")
        await until_shown(pilot, '"64f1a9"', "email", "A@x.io", "=a@x.io", "missing", '"64f1aa"')


async def test_a_comparison_shows_how_far_it_is_and_escape_breaks_it_off(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_verify(pilot)
        engine.is_mute = True
        await pilot.press("f")
        comparing = ComparingView(run_id="x", checked=500, total=1_000, different=2, rows_per_s=250.0)
        engine.show(idle(), comparing=comparing)
        await until_shown(pilot, "50.0%", "500 / 1,000", "! 2 differ", "esc: cancel")
        await pilot.press("c")
        await pilot.press("escape")
        await until(pilot, lambda: engine.received("cancel"))
        assert len(engine.received("verify")) == 1, "a second verification was begun beside the first"


async def test_history_hands_a_run_over(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        await pilot.press("down", "v")
        await until_shown(pilot, "Both sides", RUNS[1].run_id)
        await pilot.press("c")
        await until(pilot, lambda: engine.received("verify"))
        assert engine.received("verify")[0]["run"] == RUNS[1].run_id


async def test_a_refusal_keeps_the_last_report(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_verify(pilot)
        engine.refusals["verify"] = ("connect", "The source does not answer.")
        await pilot.press("c")
        await until_shown(pilot, "! The source does not answer.", "60,000")


async def test_the_report_is_exported_in_the_format_of_the_names_ending(engine: ScriptedEngine, tmp_path: Path) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_verify(pilot)
        await pilot.press("E")
        await until_shown(pilot, "Export the report")
        field = app.screen.query_one(Input)
        field.value = str(tmp_path / "report.pdf")
        await pilot.press("enter")
        await until_shown(pilot, "must end with .md, .html, .json, .csv")
        field.value = str(tmp_path / "report.json")
        await pilot.press("enter")
        await until(pilot, lambda: "Export the report" not in screen_text(app))
        assert json.loads((tmp_path / "report.json").read_text())["run_id"] == RUNS[0].run_id


def test_an_export_of_a_run_s_end_has_what_the_ledger_has_of_a_full_comparison(tmp_path: Path) -> None:
    end = verify_report("r1", "full").model_copy(update={"result": Verification.VERIFIED})
    end = end.model_copy(update={"tables": [table.model_copy(update={"equal": 0}) for table in end.tables]})
    whole = run_report(RUNS[0])
    (table,) = whole.tables
    known = table.model_copy(update={"counts": table.counts.model_copy(update={"equal": 59_986})})
    exporter = Exporter(end, is_recorded=True)
    exporter.run = whole.model_copy(update={"tables": [known]})
    written = json.loads(exporter.write(str(tmp_path / "report.json")).read_text())
    assert [each["equal"] for each in written["tables"]] == [59_986]
    assert written["tables"][0]["altered"] == {"nul.strip": 132}


def test_markdown_is_a_table_that_foreign_text_cannot_break() -> None:
    report = verify_report("r1", "full")
    hostile = report.tables[1].model_copy(update={"namespace": "shop.a|b\n<img>"})
    text = markdown(report.model_copy(update={"tables": [hostile]}))
    assert "Result: **mismatch, 14 rejected**." in text
    (line,) = [line for line in text.split("\n") if "4,210,319" in line and "public.orders" in line]
    assert "shop.a\\|b\\\\u{a}&lt;img> → public.orders" in line
    assert '| public.orders | different | "64f1a9" | email | A@x.io | =a@x.io |' in text


def test_csv_has_a_line_for_each_table_and_each_difference_and_no_formulas() -> None:
    rows = list(csv.reader(io.StringIO(csv_text(verify_report("r1", "full")))))
    assert rows[0][:4] == ["run", "namespace", "table", "source"]
    assert rows[1][1:4] == ["shop.customers", "public.customers", "812004"]
    assert rows[4][:3] == ["namespace", "table", "kind"]
    assert "'=a@x.io" in rows[5]
    assert len(rows) == 7


def test_no_message_of_a_server_is_a_formula_either() -> None:
    report = verify_report("r1", "counts")
    first = report.tables[0].model_copy(update={"message": "=HYPERLINK(1)"})
    rows = list(csv.reader(io.StringIO(csv_text(report.model_copy(update={"tables": [first]})))))
    assert rows[1][-1] == "'=HYPERLINK(1)"


def test_json_is_the_report_itself() -> None:
    report = verify_report("r1", "full")
    assert json.loads(json_text(report)) == report.model_dump(mode="json")


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        write_report(verify_report("r1", "counts"), str(file))
    assert file.read_text() == "precious"
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(verify_report("r1", "counts"), str(tmp_path / "no" / "a.md"))


def test_a_home_of_nobody_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"~report.md is no user's home: write \./~report.md"):
        write_report(verify_report("r1", "counts"), "~report.md")


def test_a_file_that_does_not_fit_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "large.toml"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(UsageError, match=r"large\.toml cannot be written: File too large\."):
            write_new(file, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not file.exists()


async def test_escape_leaves_the_chosen_run_for_the_newest(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        await pilot.press("down", "v")
        await until_shown(pilot, "Both sides", f"run {RUNS[1].run_id}")
        await pilot.press("escape")
        await until_shown(pilot, "Both sides", f"run {RUNS[0].run_id}")
        assert engine.received("replay")[-1]["run"] == ""
        await pilot.press("c")
        await until(pilot, lambda: engine.received("verify"))
        assert engine.received("verify")[0]["run"] == ""


async def test_a_run_that_has_begun_since_is_shown_in_the_place_of_the_chosen_one(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.runs.session is not None)
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        await pilot.press("down", "v")
        await until_shown(pilot, "Both sides", f"run {RUNS[1].run_id}")
        await pilot.press("3", "4")
        await until(pilot, lambda: len(engine.received("replay")) > 1)
        assert engine.received("replay")[-1]["run"] == RUNS[1].run_id, "nothing has begun"
        engine.show(completed(run_id="20261201-1700-nnnn"))
        await until(pilot, lambda: session_of(app).snapshot.run_id == "20261201-1700-nnnn")
        await pilot.press("3", "4")
        await until_shown(pilot, "Both sides", f"run {RUNS[0].run_id}")
        assert engine.received("replay")[-1]["run"] == ""


async def test_of_a_run_that_goes_on_nothing_is_said_to_have_ended(engine: ScriptedEngine) -> None:
    going = run_info("20261123-1500-zzzz", state="running", verification="none", heartbeat_unix=time.time() + 600.0)
    engine.runs = [going, *RUNS]
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("4")
        await until_shown(pilot, "run 20261123-1500-zzzz  the run goes on", "not compared: the run goes on")
        assert "at the run's end" not in screen_text(app)


async def test_what_is_typed_takes_the_place_of_the_suggested_name_and_the_keys_are_named(
    engine: ScriptedEngine,
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_verify(pilot)
        await pilot.press("E")
        await until_shown(pilot, "Export the report", "Enter write", "Esc back")
        await pilot.press(*"mine.md")
        assert app.screen.query_one(Input).value == "mine.md"
