from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from engine.config import Loaded, Settings
from engine.errors import Cancelled, UsageError
from engine.protocol import (
    KnobChanged,
    PartitionParked,
    PlannedTable,
    ProblemReported,
    RunPlanned,
    RunState,
    ServersStarted,
    SliceCommitted,
    Snapshot,
    Start,
    StateEntered,
    TableProgress,
    WorkerChanged,
    WorkerState,
    WorkerView,
)
from tui.cli import ascii_output, headless
from tui.cli.json_lines import finished_record, progress_record, status_record
from tui.cli.live import LivePrinter
from tui.cli.printers import JSON_EVERY_S, LINE_EVERY_S, JsonPrinter, LinePrinter
from tui.words.charset import has_unicode
from tui.words.events import words
from tui.words.sentences import progress_sentence, status_text, summary, what_next, workers_table
from tui.words.tables import text_table

HOSTILE = "\x1b]52;c;x\x07[red]"


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _worker(number: int, **changes: Any) -> WorkerView:
    return WorkerView(
        **{"id": number, "pid": 4_000 + number, "state": WorkerState.WRITING, "collection": "shop.orders",
           "written": 1_000, "sent": 1_200, "rows_per_s": 500.04, "reading": 0.25, "converting": 0.1,
           "writing": 0.61237} | changes
    )  # fmt: skip


def _snapshot(**changes: Any) -> Snapshot:
    facts: dict[str, Any] = {
        "run_id": "20261123-1402-k3f9", "state": RunState.RUNNING, "phase": "copying", "elapsed": 75.0,
        "source": "mongodb://db1/shop", "target": "postgresql://pg1/shop", "read": 583, "written": 583, "total": 1_000,
        "rows_per_s": 41_220.34, "rows_per_s_mean": 39_361.0, "eta_s": 51.0, "cluster_size": 2, "workers_alive": 2,
        "page_size": 8_000, "converter": "native", "workers": [_worker(1), _worker(2)],
    }  # fmt: skip
    return Snapshot(**(facts | changes))


def _facts(**changes: Any) -> dict[str, Any]:
    table = {"namespace": "shop.orders", "source": 1_000, "read": 1_000, "written": 998, "rejected": 2, "target": 998,
             "ok": True}  # fmt: skip
    facts: dict[str, Any] = {
        "run_id": "20261123-1402-k3f9", "state": "completed", "verification": "verified", "read": 1_000,
        "written": 998, "rejected": 2, "seconds": 2.5, "rows_per_s": 399, "tables": {"public.orders": table},
        "seeded": 0, "exit_code": 4,
    }  # fmt: skip
    return facts | changes


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_progress_line_has_exactly_the_fields_of_the_contract() -> None:
    record = progress_record(_snapshot())
    assert list(record) == [
        "event", "run_id", "state", "phase", "written", "total", "rows_per_s", "cluster_size", "page_size", "converter",
        "workers",
    ]  # fmt: skip
    assert (record["event"], record["state"], record["rows_per_s"]) == ("progress", "running", 41_220.3)
    assert record["workers"][0] == {
        "id": 1, "pid": 4_001, "state": "writing", "collection": "shop.orders", "written": 1_000, "sent": 1_200,
        "rows_per_s": 500.0, "reading": 0.25, "converting": 0.1, "writing": 0.612,
    }  # fmt: skip


def test_a_worker_whose_process_is_not_there_yet_is_not_listed() -> None:
    record = progress_record(_snapshot(workers=[_worker(1), _worker(2, pid=0, state=WorkerState.STARTING)]))
    assert [worker["id"] for worker in record["workers"]] == [1]


def test_the_last_line_has_the_fields_of_the_contract_in_order_and_the_error_only_where_there_is_one() -> None:
    record = finished_record(_facts())
    assert list(record)[:10] == [
        "event", "run_id", "state", "verification", "read", "written", "rejected", "seconds", "rows_per_s", "tables",
    ]  # fmt: skip
    assert record["read"] == record["written"] + record["rejected"]
    assert "error" not in record
    failed = finished_record({}, UsageError("No."))
    assert (failed["state"], failed["error"]) == ("failed", {"code": "usage", "message": "No."})
    assert finished_record({}, Cancelled("No more."))["state"] == "cancelled"


def test_the_answer_of_ctl_is_a_progress_line_and_more() -> None:
    record = status_record(_snapshot())
    assert record["event"] == "status"
    assert set(progress_record(_snapshot())) < set(record)


def test_weak_tls_is_told_once_by_a_run_without_a_screen_and_always_by_ctl(capsys: pytest.CaptureFixture[str]) -> None:
    weak = _snapshot(weak_tls=["target: TLS, not verified"])
    sentence = "Warning: target: TLS, not verified: others on the network could read or change what is sent."
    run = headless._HeadlessRun(Loaded(Settings()), Start(), JsonPrinter(_Clock()))
    run._show(_snapshot())
    for _ in range(3):
        run._show(weak)
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [sentence]
    assert all(json.loads(line) for line in shown.out.splitlines())
    assert sentence in status_text(weak)
    assert status_record(weak)["weak_tls"] == ["target: TLS, not verified"]


# --- JSON lines -------------------------------------------------------------------------------------------------------


def test_json_progress_comes_at_least_once_a_second_and_no_more_than_needed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = _Clock()
    printer = JsonPrinter(clock)
    for _ in range(40):
        printer.show(_snapshot())
        clock.now += 0.1
    assert len(_lines(capsys)) == pytest.approx(4 / JSON_EVERY_S, abs=2)


def test_a_new_state_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    printer = JsonPrinter(_Clock())
    states = [RunState.RUNNING, RunState.RUNNING, RunState.PAUSING, RunState.PAUSED, RunState.PAUSED]
    for state in states:
        printer.show(_snapshot(state=state))
    assert [line["state"] for line in _lines(capsys)] == ["running", "pausing", "paused"]


def test_json_keeps_stdout_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    printer = JsonPrinter(_Clock())
    printer.note("for people")
    printer.tell(ProblemReported(at=1.0, code="timeout", message="x", retry=True))
    printer.tell(ProblemReported(at=1.0, code="nothing_to_resume", message="a new one begins"))
    printer.tell(ServersStarted(at=1.0, source="s", target="t", directory="d", keep=True))
    printer.finish(_facts())
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    assert json.loads(line)["event"] == "finished"
    assert shown.err.splitlines() == ["for people", "a new one begins", "embedded servers: s and t, data in d"]


def test_json_leaves_a_sentence_for_each_problem_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    printer = JsonPrinter(_Clock())
    message, advice = "Index a was not built.", "Rows share a key: SELECT 1"
    printer.tell(ProblemReported(at=1.0, code="index", message=message, advice=advice))
    printer.tell(ProblemReported(at=1.0, code="mismatch", message="shop.orders: \x1bone\nis gone."))
    printer.tell(PartitionParked(at=1.0, partition=3, namespace="shop.orders"))
    printer.tell(WorkerChanged(at=1.0, id=2, pid=7, what="died", exit=-9))
    printer.tell(WorkerChanged(at=1.0, id=2, pid=7, what="started"))
    warnings = [f"shop.orders: warning {number}" for number in range(30)]
    printer.tell(RunPlanned(at=1.0, tables=[], warnings=warnings))
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "problem: Index a was not built. Rows share a key: SELECT 1"
    assert "\x1b" not in lines[1]
    assert lines[2:4] == ["partition 3 of shop.orders is parked", "worker 2 (pid 7) died with exit code -9"]
    assert lines[4] == "warning: shop.orders: warning 0"
    assert lines[-1] == "and 10 more warnings: `mongopg-tui plan` shows them"


def test_foreign_text_is_escaped_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    JsonPrinter(_Clock()).show(_snapshot(workers=[_worker(1, collection="\x1b\u202e\u2028")]))
    assert capsys.readouterr().out.isascii()


# --- plain lines ------------------------------------------------------------------------------------------------------


def test_plain_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = _Clock()
    printer = LinePrinter(clock)
    for _ in range(100):
        clock.now += 0.1
        printer.show(_snapshot())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == pytest.approx(10 / LINE_EVERY_S, abs=1)
    assert lines[0] == (
        "[1m 15s] copying  58.3%  583 / 1,000  41,220 rows/s (while copying 39,361)  ETA 51s  workers 2"
    )


def test_events_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LinePrinter(_Clock())
    printer.tell(KnobChanged(at=12.5, knob="page_size", old=5_000, value=10_000))
    printer.tell(SliceCommitted(at=12.6, task_id=1, read=1, written=1))
    assert capsys.readouterr().out == "[12s] page size 5,000 → 10,000\n"


def test_the_summary_shows_both_sides_of_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    LinePrinter(_Clock()).finish(_facts())
    assert capsys.readouterr().out.splitlines() == [
        "Run 20261123-1402-k3f9: completed in 2s",
        "collection   table          source   read  written  rejected  target",
        "shop.orders  public.orders   1,000  1,000      998         2     998  counts match",
        "1,000 read = 998 written + 2 rejected  399 rows/s overall  counts match, 2 rejected",
        "Rejected documents are kept. List them with:",
        "  mongopg-tui rejects 20261123-1402-k3f9",
    ]


def test_the_summary_says_what_policies_changed() -> None:
    (counts,) = _facts()["tables"].values()
    altered = {"overflow": 1_200, "nul.strip": 3, "of a newer version": 1}
    text = summary(_facts(tables={"public.orders": counts | {"altered": altered}}, altered=altered))
    assert "rejected  altered  target" in text
    assert "         2    1,204     998  counts match" in text
    assert (
        "Altered by policy: nul.strip 3 (texts without their NULs), of a newer version 1, "
        "overflow 1,200 (values kept in _extra)"
    ) in text


def test_counts_that_were_not_made_are_not_shown_as_numbers() -> None:
    (counts,) = _facts()["tables"].values()
    text = summary(_facts(tables={"public.orders": counts | {"source": -1, "target": -1, "ok": None}}))
    assert re.search("–  1,000 +998 +2 +–  not compared", text)
    assert "mismatch" in summary(_facts(tables={"public.orders": counts | {"ok": False}}))


def test_the_end_says_how_to_go_on() -> None:
    assert what_next(_facts(state="cancelled"))[1] == "run --resume 20261123-1402-k3f9"
    assert what_next(_facts(state="failed", tables={}, rejected=0)) == ("", "")
    assert what_next(_facts(rejected=0)) == ("", "")


def test_a_run_that_failed_before_it_counted_has_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    LinePrinter(_Clock()).finish(finished_record({}, UsageError("No.")))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("keep", [True, False])
def test_kept_servers_are_named_at_the_end_and_nothing_is_said_of_those_that_are_gone(
    keep: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    printer = LinePrinter(_Clock())
    printer.tell(ServersStarted(at=1.0, source="s", target="t", directory="d", keep=keep))
    capsys.readouterr()
    printer.finish(_facts(state="cancelled"))
    shown = capsys.readouterr().out
    assert ("Still running: embedded servers: s and t, data in d" in shown) is keep
    assert ("--resume" in shown) is keep


# --- words ------------------------------------------------------------------------------------------------------------


def test_an_eta_that_cannot_be_told_is_replaced_by_the_reason() -> None:
    words = progress_sentence(_snapshot(eta_s=None, eta_reason="paused by you", rejected=3, draining=2, cluster_size=1))
    assert "paused by you" in words
    assert "workers 2 → 1, 2 draining" in words
    assert "rejected 3" in words
    assert "retried" not in words


def test_a_throttle_that_is_taken_away_is_off() -> None:
    event = KnobChanged(at=0.0, knob="throttle", old=15_000, value=0)
    assert words(event) == "throttle 15,000 → off"


def test_foreign_text_is_harmless_in_every_sentence() -> None:
    events = [
        StateEntered(at=0.0, state=RunState.PAUSED, phase=HOSTILE, reason=HOSTILE),
        ProblemReported(at=0.0, message=HOSTILE),
        PartitionParked(at=0.0, partition=3, namespace=HOSTILE),
        RunPlanned(at=0.0, tables=[PlannedTable(task_id=1, namespace=HOSTILE, table=HOSTILE)]),
        ServersStarted(at=0.0, source=HOSTILE, target=HOSTILE, directory=HOSTILE),
        KnobChanged(at=0.0, knob=HOSTILE, old=1, value=2),
        WorkerChanged(at=0.0, id=1, pid=2, what="died", exit=-9),
    ]
    texts = [words(event) or "" for event in events]
    (counts,) = _facts()["tables"].values()
    hostile = _snapshot(
        phase=HOSTILE, eta_s=None, eta_reason=HOSTILE, source=HOSTILE, workers=[_worker(1, collection=HOSTILE)]
    )
    texts += [
        status_text(hostile),
        workers_table(hostile),
        summary(_facts(tables={HOSTILE: counts | {"namespace": HOSTILE}})),
    ]
    for text in texts:
        assert text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_events_that_numbers_tell_better_have_no_sentence() -> None:
    assert words(SliceCommitted(at=0.0, task_id=1, read=1, written=1)) is None
    assert words(WorkerChanged(id=1, pid=7, what="started")) == "worker 1 (pid 7) started"
    assert words(StateEntered(at=0.0, state=RunState.PAUSED, phase="paused")) == "paused"


def test_the_status_names_the_run_its_knobs_and_every_worker() -> None:
    text = status_text(_snapshot(throttle=5_000, tables=[TableProgress(
        namespace="a.b", table="c.d", total=1, read=1, written=1, rejected=0)]))  # fmt: skip
    assert "run 20261123-1402-k3f9: running" in text
    assert "throttle 5,000 rows/s" in text
    assert text.splitlines()[-1].split() == ["2", "4002", "writing", "shop.orders", "1,000", "1,200", "500", "0.0", "s"]


def test_tables_align_wide_and_combining_characters() -> None:
    table = text_table(["name", "rows"], [["名前", "1"], ["e\u0301a", "22"]], right={1})
    assert table.splitlines() == ["name  rows", "名前     1", "e\u0301a      22"]


# --- live -------------------------------------------------------------------------------------------------------------


def _terminal(height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=100, height=height, color_system=None, highlight=False
    )


def _written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_is_redrawn_at_most_four_times_a_second() -> None:
    clock, console = _Clock(), _terminal()
    printer = LivePrinter(clock, console)
    for step in range(100):
        clock.now += 0.01
        printer.show(_snapshot(phase=f"step {step}"))
    printer.close()
    assert 3 <= sum(f"step {step} " in _written(console) for step in range(100)) <= 5


@pytest.mark.parametrize(
    ("environment", "is_unicode"),
    [
        ({}, True),
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "en_US"}, True),
    ],
)
def test_f16_a_locale_without_unicode_is_told_by_its_name(environment: dict[str, str], is_unicode: bool) -> None:
    assert has_unicode(environment) is is_unicode


def test_f16_in_ascii_progress_has_no_other_character(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.StringIO()
    stream = ascii_output.AsciiStream(plain)
    console = Console(file=stream, force_terminal=True, width=100, height=24, color_system=None)  # type: ignore[arg-type]
    printer = LivePrinter(_Clock(), console)
    printer.show(_snapshot(workers=[_worker(1, collection="shop.straße")]))
    printer.tell(ProblemReported(at=1.0, message="a → b – c…"))
    printer.close()
    assert plain.getvalue().isascii()
    assert "a -> b - c..." in plain.getvalue()
    assert r"shop.stra\xdfe" in plain.getvalue()


def test_f16_after_a_stop_nothing_that_the_shell_printed_is_painted_over() -> None:
    """ctrl+z gives the terminal to the shell, which prints lines of its own; what comes after `fg` is drawn below them."""
    clock, console = _Clock(), _terminal()
    printer = LivePrinter(clock, console)
    printer.show(_snapshot())
    printer.close()  # as ctrl+z does
    before = len(_written(console))
    clock.now += 1
    printer.show(_snapshot(phase="after fg"))
    drawn = _written(console)[before:]
    printer.close()
    assert "\x1b[1A" not in drawn[: drawn.index("after fg")]


def test_every_worker_has_a_line_and_those_without_room_are_summed() -> None:
    console = _terminal(height=9)
    printer = LivePrinter(_Clock(), console)
    printer.show(_snapshot(workers=[_worker(number) for number in range(1, 91)], cluster_size=90, workers_alive=90))
    drawn = _written(console)
    printer.close()
    assert drawn.count("shop.orders") == 5
    assert "… and 85 more workers, 42,503 rows/s together" in drawn


def test_the_cursor_is_back_at_the_end_and_names_do_not_act() -> None:
    console = _terminal()
    printer = LivePrinter(_Clock(), console)
    printer.show(_snapshot(workers=[_worker(1, collection=HOSTILE)]))
    printer.tell(ProblemReported(at=1.0, message=HOSTILE))
    printer.finish(_facts())
    drawn = _written(console)
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")
    assert "\x1b]52" not in drawn
    assert "[red]" in drawn
    assert "1,000 read = 998 written + 2 rejected" in drawn
