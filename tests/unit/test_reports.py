"""Reports fit for an audit: what is in them, and that foreign text cannot break them."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.protocol import (
    FollowedReport,
    ReportedColumn,
    RetriedOnce,
    RetriedReason,
    RunEnvironment,
    RunFinished,
    RunReport,
    RunState,
    StateEntered,
    VerifyReport,
    WorkedTime,
)
from engine.run.report import times_of
from tests.tui.scripted_answers import RUNS, STARTED, TOML, run_info, run_report, verify_report
from tui.reports.chart import chart
from tui.reports.data import csv_text, json_text
from tui.reports.facts import facts
from tui.reports.markdown import markdown
from tui.reports.page import page
from tui.reports.writing import verification_of, write_report
from tui.words.format import moment


def reports() -> tuple[VerifyReport, RunReport]:
    run = run_report(RUNS[0].model_copy(update={"rows_per_s_overall": 40_186.9, "rows_per_s_copying": 51_000.0}))
    return verification_of(run), run


@pytest.mark.parametrize("form", [markdown, page])
def test_f11_a_report_says_who_when_where_what_and_how_it_was_checked(form: object) -> None:
    assert callable(form)
    text = form(*reports())
    for told in (
        "ann@db1", "ops@jump", "mongopg-tui 0.1.0", "MongoDB 7.0.12", "PostgreSQL 16.4", "db1/shop", "pg1/shop",
        RUNS[0].run_id, f"sha256 {hashlib.sha256(TOML.encode()).hexdigest()}", "counts match, 14 rejected", "2m 06s",
        "40,187 rows/s overall, 51,000 while copying", "secret.ssn", "nul.strip", "132", "texts without their NULs",
        "nul reject", "6,000 rows/s → 3,000 rows/s → off", "a NUL character", "utf8",
        "the counts of both sides were compared, not the rows", "version = 1",
        "the writers stood still for 2.3 s", "orders_id_seq = 70",
    ):  # fmt: skip
        assert told in text, told


@pytest.mark.parametrize("form", [markdown, page])
def test_a_report_calls_policies_as_the_screens_do(form: Callable[[VerifyReport, RunReport], str]) -> None:
    verified, run = reports()
    chosen = {"overflow": "overflow", "nul": "strip"}
    retried = [each.model_copy(update={"policies": chosen}) for each in run.retried]
    tables = [
        table.model_copy(update={"columns": [each.model_copy(update={"policies": chosen}) for each in table.columns]})
        for table in run.tables
    ]
    changed = run.model_copy(update={"retried": retried, "tables": tables})
    text = html.unescape(form(verified, changed)).replace("\\", "")
    assert "overflow _extra, nul strip" in text
    assert "overflow overflow" not in text
    assert '"overflow": "overflow"' in json_text(verified, changed)


@pytest.mark.parametrize("form", [markdown, page])
@pytest.mark.parametrize(
    ("overflown", "columns"),
    [
        (101, "amount_eur, n, note"),
        (100, "amount_eur"),
        (99, "amount_eur, n, note"),
    ],  # of 100 the retry wrote all; of 99 others, too
)
def test_a_report_names_the_columns_of_altered_values_and_what_was_retried(
    form: Callable[[VerifyReport, RunReport], str], overflown: int, columns: str
) -> None:
    verified, run = reports()
    altered = {"overflow": overflown, "nul.strip": 3, "duplicate_key": 1}
    counts = verified.tables[0].model_copy(update={"altered": altered})
    planned = [
        ReportedColumn(field="_id", column="_id", type="text"),
        ReportedColumn(field="amount", column="amount_eur", type="integer", policies={"overflow": "reject"}),
        ReportedColumn(field="n", column="n", type="integer"),
        ReportedColumn(field="note", column="note", type="text", policies={"nul": "strip", "overflow": "reject"}),
        ReportedColumn(field="data", column="data", type="jsonb"),
        ReportedColumn(field="", column="_extra", type="jsonb"),
    ]
    reasons = [RetriedReason(namespace="shop.orders", field="amount", reason="overflow", tried=100, written=100)]
    retried = [RetriedOnce(tried=100, written=100, left=0, policies={"overflow": "overflow"}, reasons=reasons)]
    table = run.tables[0].model_copy(update={"columns": planned})
    text = form(
        verified.model_copy(update={"tables": [counts]}), run.model_copy(update={"tables": [table], "retried": retried})
    )
    rows = [
        [cell.strip() for cell in re.split(r"\||</?t[dh][^>]*>", line) if cell.strip()] for line in text.splitlines()
    ]
    cells = {tuple(row[:3]): row[-1] for row in map(drop_tags, rows) if row}
    assert cells["public.orders", "overflow", str(overflown)] == columns
    assert cells["public.orders", "nul.strip", "3"] == "note"
    assert cells["public.orders", "duplicate_key", "1"] == "–"
    assert "shop.orders, amount: overflow, 100" in text


def drop_tags(row: list[str]) -> list[str]:
    """The cells of a line, without what holds them."""
    return [cell for cell in row if not cell.startswith("<")]


def test_f11_the_page_needs_nothing_else_and_has_the_chart() -> None:
    text = page(*reports())
    assert "<svg" in text
    assert "polyline" in text
    assert "overall 40.2k" in text
    for reference in ("http://", "https://", "<script", "src=", "url(", "@import"):
        assert reference not in text, reference
    assert "default-src 'none'" in text


def test_f11_foreign_text_cannot_break_the_page() -> None:
    report, run = reports()
    hostile = "<script>alert(1)</script>\x1b[31m\u202e"
    table = run.tables[0].model_copy(update={"namespace": hostile, "excluded": [hostile], "filter": hostile})
    run = run.model_copy(update={"tables": [table], "plan": f"# {hostile}\n", "error": hostile})
    text = page(verification_of(run), run)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text

    class Balance(HTMLParser):
        depth = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.depth += tag not in {"meta", "polygon", "polyline", "line"}

        def handle_endtag(self, tag: str) -> None:
            self.depth -= tag not in {"meta", "polygon", "polyline", "line"}

    balance = Balance()
    balance.feed(text)
    assert balance.depth == 0
    assert "```" not in markdown(report, run.model_copy(update={"plan": "x = '```'"})).replace("````", "").replace(
        "'```'", ""
    )


def test_f11_json_keeps_the_keys_of_the_verification_and_adds_the_rest() -> None:
    report, run = reports()
    found = json.loads(json_text(report, run))
    assert {name: value for name, value in found.items() if name != "report"} == report.model_dump(mode="json")
    assert found["report"]["plan_sha256"] == run.plan_sha256
    assert "rejected_documents" in csv_text(report, run)


def test_f11_a_copy_of_less_than_a_second_has_a_rate() -> None:
    run = run_report(run_info("x", written=100, read=100, rejected=0, seconds=0.4))
    rate = dict(facts(verification_of(run), run))["Rate"]
    assert rate == "250 rows/s overall"


def test_of_a_knob_that_was_turned_all_the_time_the_ends_are_listed() -> None:
    _, run = reports()
    run = run.model_copy(update={"knobs": {"cluster_size": list(range(1, 41))}})
    assert dict(facts(verification_of(run), run))["Workers"] == "1 → 2 → 3 → 4 → … 32 more … → 37 → 38 → 39 → 40"


def test_a_report_names_the_databases_of_its_source() -> None:
    verification, run = reports()
    for collections, source, words in (
        (["shop.orders", "shop.customers"], "db1:27017", "db1:27017, database shop (MongoDB 7.0.12)"),
        (["shop.orders", "crm.leads"], "db1:27017", "db1:27017, databases crm, shop (MongoDB 7.0.12)"),
        (["shop.orders"], "db1/shop", "db1/shop (MongoDB 7.0.12)"),
        ([], "db1:27017", "db1:27017 (MongoDB 7.0.12)"),
    ):
        info = run.run.model_copy(update={"collections": collections, "source": source})
        assert dict(facts(verification, run.model_copy(update={"run": info})))["Source"] == words


def test_a_report_has_the_same_form_for_every_point_in_time() -> None:
    verification, run = reports()
    told = dict(facts(verification, run.model_copy(update={"snapshot_unix": STARTED, "times": []})))
    assert told["Report made"].startswith(f"{moment(STARTED + 600)} by ")
    assert told["Consistency"] == f"all documents as of {moment(STARTED)}"
    assert told["Started"].startswith(moment(STARTED))


def test_a_report_says_what_was_followed_and_compared() -> None:
    verification, run = reports()
    assert "Followed" not in dict(facts(verification, run))
    followed = FollowedReport(
        phase="done", since_unix=1_764_540_000.0, mark_unix=1_764_543_600.0, keys=1_188, mended=2,
        changes={"insert": 210, "update": 950, "replace": 0, "delete": 40},
    )  # fmt: skip
    words = dict(facts(verification, run.model_copy(update={"followed": followed})))["Followed"]
    assert words.endswith(
        "; changes: 210 inserted, 950 updated, 40 deleted; 1,188 keys applied, all of them compared with the source; "
        "2 rows that differed were written again"
    )
    assert " to the mark, " in words
    going_on = followed.model_copy(update={"phase": "following", "to_compare": 12, "differences": 3})
    words = dict(facts(verification, run.model_copy(update={"followed": going_on})))["Followed"]
    assert "all but 12 of them compared with the source" in words
    assert words.endswith("; 3 rows differ; not cut over")


def test_without_two_samples_there_is_no_chart() -> None:
    assert chart([], 5.0) == ""
    assert chart([(0.0, 0.0), (1.0, 0.0)], None) == ""
    assert chart([(0.0, 1.0), (0.0, 2.0)], None)


def test_f11_an_existing_file_is_overwritten_only_when_that_is_said(tmp_path: Path) -> None:
    report, run = reports()
    file = tmp_path / "report.html"
    file.write_text("precious")
    with pytest.raises(UsageError, match="exists already") as refusal:
        write_report(report, str(file), run)
    assert (refusal.value.code, file.read_text()) == ("exists", "precious")
    write_report(report, str(file), run, overwrites=True)
    assert file.read_text().startswith("<!doctype html>")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert verify_report("r", "full").verification_level == "full"


def finished(state: RunState, at: float, clock: float) -> RunFinished:
    return RunFinished(run_id="20261123-1402-k3f9", state=state, at=at, clock=clock)


def environment(unix: float, at: float) -> RunEnvironment:
    return RunEnvironment(by="ann@db1", program="0.1.0", unix=unix, at=at)


def test_the_times_that_engines_worked_on_a_run_follow_from_its_events() -> None:
    stopped = StateEntered(state=RunState.CANCELLING, at=40.0, by="cockpit of ann@db1")
    events = [
        environment(STARTED, 3.0), stopped, finished(RunState.CANCELLED, 41.5, STARTED + 41.5),
        environment(STARTED + 100.0, 43.5),  # recorded seconds go on where the engine before it ended
        environment(STARTED + 300.0, 44.0), finished(RunState.COMPLETED, 63.0, STARTED + 320.0),
    ]  # fmt: skip
    first, lost, last = times_of(events)
    assert (first.began_unix, first.ended_unix, first.stopped_by) == (STARTED, STARTED + 41.5, "cockpit of ann@db1")
    assert (lost.began_unix, lost.ended_unix, lost.state) == (STARTED + 100.0, None, "")
    assert (last.began_unix, last.ended_unix, last.state) == (STARTED + 300.0, STARTED + 320.0, "completed")
    assert times_of([environment(0.0, 3.0), *events]) == [], "one of an older version did not keep its time"


@pytest.mark.parametrize("form", [markdown, page, json_text])
def test_a_report_says_when_a_run_was_stopped_and_resumed(form: object) -> None:
    assert callable(form)
    report, run = reports()
    times = [
        WorkedTime(
            began_unix=STARTED, ended_unix=STARTED + 60, by="ann@db1", state="cancelled", stopped_by="ctl of bob@db2"
        ),
        WorkedTime(began_unix=STARTED + 3_660, ended_unix=STARTED + 3_726, by="eve@db1", state="completed"),
    ]
    ended = run.run.model_copy(update={"seconds": 126.0, "ended_unix": STARTED + 3_726})
    text = form(report, run.model_copy(update={"run": ended, "times": times}))
    if form is json_text:
        assert json.loads(text)["report"]["times"][0]["stopped_by"] == "ctl of bob@db2"
        return
    assert "stopped at 2026-10-14 17:47:40 +0000 by ctl of bob@db2" in text
    assert "resumed at 2026-10-14 18:47:40 +0000, 1h 00m later" in text
    assert "2m 06s (126.0 s that engines worked on it), in 2 times; 1h 02m from start to end" in text
    assert "2026-10-14 17:46:40 +0000 by ann@db1" in text


def test_a_report_of_a_run_that_was_never_stopped_has_no_word_of_it() -> None:
    report, run = reports()
    times = [WorkedTime(began_unix=STARTED, ended_unix=STARTED + 60, by="ann@db1", state="completed")]
    assert "Stopped and resumed" not in markdown(report, run.model_copy(update={"times": times}))
    lost = [WorkedTime(began_unix=STARTED, by="ann@db1"), times[0].model_copy(update={"began_unix": STARTED + 90})]
    assert "the engine was lost, resumed at" in markdown(report, run.model_copy(update={"times": lost}))
