"""What the cockpit says of a run, it says the same everywhere: what was compared, how long it took, what stopped it."""

from __future__ import annotations

import time

import pytest

from engine.protocol import (
    ComparedOnce,
    RejectsRetried,
    RetriedOnce,
    RunState,
    RunVerified,
    Snapshot,
    StateEntered,
    Verification,
)
from engine.run.record import RunRecord
from engine.run.states import Lifecycle
from tests.tui.driving import click, on_run, on_setup, screen_text, until, until_shown
from tests.tui.scripted_answers import RUNS, STARTED, run_report, verify_report
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.widgets.report import pace_words
from tui.cockpit.widgets.total import times_words
from tui.reports.markdown import markdown
from tui.words.comparisons import Comparison, of_events, of_report
from tui.words.run_status import stopped_words

LARGE = (120, 40)
VERIFIED = RunVerified(result=Verification.VERIFIED, unix=STARTED + 200.0, seconds=12.0)
RETRIED = RejectsRetried(tried=81, written=80, left=1, unix=STARTED + 300.0)


def test_what_was_compared_is_told_with_its_time_and_what_a_retry_has_written_since() -> None:
    assert of_events([]).words() == "as counted at the run's end"
    assert of_events([RETRIED]).words() == "counted at the run's end; rows of a retry were added"
    assert of_events([VERIFIED]).words(STARTED) == "compared in full at 17:50:00"
    assert of_events([VERIFIED]).since_words() == ""
    outdated = of_events([VERIFIED, RETRIED])
    assert outdated.words(STARTED) == "compared in full at 17:50:00: verified"
    assert outdated.since_words(STARTED) == "a retry of rejects at 17:51:40 has written 80 rows since"
    assert outdated.is_outdated
    assert not of_events([VERIFIED, RETRIED, VERIFIED]).is_outdated
    assert not of_events([VERIFIED, RETRIED.model_copy(update={"written": 0})]).is_outdated


def test_a_report_finds_the_same_by_the_times() -> None:
    compared = [ComparedOnce(result="verified", level="full", seconds=12.0, unix=STARTED + 200.0)]
    retried = [RetriedOnce(tried=81, written=80, left=1, unix=STARTED + 300.0)]
    assert of_report(compared, retried) == of_events([VERIFIED, RETRIED])
    assert of_report(compared, [retried[0].model_copy(update={"unix": STARTED + 100.0})]) == Comparison(compared[0])


@pytest.mark.parametrize("size", [(140, 40), (80, 24)])
async def test_verify_says_why_a_run_is_not_verified_any_more(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    now = time.time()
    engine.recorded = [
        VERIFIED.model_copy(update={"unix": now - 20}), RETRIED.model_copy(update={"unix": now - 10})
    ]  # fmt: skip
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("4")
        await until_shown(
            pilot, "✓ counts match", "compared in full", "! a retry of rejects at", "has written 80 rows", "f compares them",
        )  # fmt: skip
        assert "as counted at the run's end" not in screen_text(app)


def test_the_report_for_an_audit_names_the_rows_that_no_comparison_has_seen() -> None:
    run = run_report(RUNS[0])
    compared = [ComparedOnce(result="verified", level="full", seconds=12.0, unix=STARTED + 200.0)]
    told = markdown(verify_report(RUNS[0].run_id, "counts"), run.model_copy(update={"compared": compared}))
    assert "| Compared | verified at " in told
    assert "a retry of rejects at " in told
    assert "has written 132 rows, of which only the counts were compared" in told
    later = [compared[0].model_copy(update={"unix": STARTED + 500.0})]
    assert "Since then" not in markdown(
        verify_report(RUNS[0].run_id, "counts"), run.model_copy(update={"compared": later})
    )


async def test_rows_of_the_report_follow_a_full_comparison(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ counts match", "compare every document with its row")
        assert " again: " not in screen_text(app)
        engine.tell("verification", 90.0, verification="verified", level="full")
        engine.show(verification_level="full")
        await until_shown(pilot, "✓ verified", "812,004  ✓ match")
        await until(pilot, lambda: "counts match" not in screen_text(app))
        engine.show(verification_level="counts", verified_before_retry=True)
        await until_shown(pilot, "✓ counts match, retried since", "a retry of rejects has written rows since")


def resumed(**changes: object) -> Snapshot:
    """After a resume: 24 seconds of the 100 that the run took."""
    facts: dict[str, object] = {"elapsed": 24.0, "seconds": 24.0, "seconds_before": 76.0, "rows_per_s_overall": 8_532.2}
    return completed(**(facts | changes))


def test_after_a_resume_one_clock_is_told_and_which_part_of_it_is_the_last() -> None:
    assert times_words(resumed()) == "1m 40s, 24s since resume"
    assert pace_words(resumed()).startswith("1m 40s (24s since it was resumed) · 8,532 rows/s overall")
    assert times_words(completed(elapsed=24.0, seconds=24.0)) == "24s"


async def test_the_farewell_has_the_same_clock(engine: ScriptedEngine) -> None:
    app = on_run(engine, resumed(verification_level="full"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1m 40s, 24s since resume", "1m 40s (24s since it was resumed)")
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    run_id = engine.snapshot.run_id
    assert app.leaving.farewell.startswith(f"Run {run_id} completed in 1m 40s: 853,224 read")
    assert app.leaving.farewell.split("\n")[0].endswith("0 rejected, verified.")


async def test_rejects_stay_in_the_header_while_both_sides_are_compared(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(rejected=81, read=853_305))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ counts match, 81 rejected")
        engine.show(verification=Verification.RUNNING, phase="comparing")
        await until_shown(pilot, "◐ comparing, 81 rejected")


@pytest.mark.parametrize(("now", "pages"), [(False, "were finished"), (True, "were rolled back")])
def test_what_stopped_a_run_is_told_with_what_became_of_its_pages(now: bool, pages: str) -> None:
    entered: list[StateEntered] = []

    def enter(state: RunState, phase: str, _reason: str) -> None:
        entered.append(StateEntered(state=state, phase=phase))

    lifecycle = Lifecycle(enter)
    lifecycle.state = RunState.RUNNING
    lifecycle.cancel(now=now)
    record = RunRecord("r")
    record.apply(entered[-1].model_copy(update={"by": "ctl of ann@db1"}))
    stopped = completed(
        state=RunState.CANCELLED, stopped_by=record.stopped_by, has_rolled_back=record.has_rolled_back, exit_code=130
    )
    assert stopped_words(stopped) == (f"Stopped by ctl of ann@db1: pages in hand {pages}, and what is committed stays.")


async def test_a_run_that_was_stopped_says_so(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=completed().tables))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.show(completed(state=RunState.CANCELLED, phase="cancelled", stopped_by="ann", exit_code=130))
        await until_shown(
            pilot, "× stopped", "Stopped by ann: pages in hand were finished, and what is committed stays."
        )
        assert "cancelled" not in screen_text(app)


async def test_starting_is_seen_at_once_and_a_refusal_ends_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        engine.held = {"start"}
        engine.refusals["start"] = ("table_exists", "The table public.orders exists.")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        await click(pilot, "#go")
        await until_shown(pilot, "◌ starting…")
        engine.let_go()
        await until_shown(pilot, "The table public.orders exists.")
        assert "starting…" not in screen_text(app)


async def test_a_retry_is_seen_at_once(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(rejected=14))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "R: rejected documents")
        await pilot.press("R")
        await until_shown(pilot, "15 rejected documents")
        engine.held = {"retry"}
        await pilot.press("A")
        await until_shown(pilot, "Retry anyway")
        await click(pilot, "#go")
        await until_shown(pilot, "◌ retrying…", "◐ retrying rejected documents…")
        engine.let_go()
        await until_shown(pilot, "still rejected")
