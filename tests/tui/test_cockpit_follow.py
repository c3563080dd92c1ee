"""A run that follows, on the Run screen: how far it is, whether it is ready, and the cut-over."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from engine.config import Settings
from engine.protocol import CALLED_OFF, FollowReason, ProblemView, RunState, SourceHalt
from tests.tui.driving import click, on_run, screen_text, session_of, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, following, running
from tui.cockpit.dialogs.cutting_over import CutOverDialog
from tui.cockpit.dialogs.resolving import ResolveDialog

LARGE = (120, 40)
SMALL = (80, 24)
NOT_READY = {
    "phase": "catching_up", "ready": False, "lag_s": 95.0,
    "reasons": [FollowReason(code="lag", message="it is 95 s behind the source")],
}  # fmt: skip
BY_WRITERS = "The cut-over is called off: the source was written to after the mark (2 in shop.orders)."


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_lag_rates_keys_and_readiness_are_there_at_once(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=size) as pilot:
        await until_shown(
            pilot, "» following", "lag 1 s   312 keys waiting   the oldest for 1 s",
            "1,204 changes/s read   1,188 keys/s applied", "inserted 2,100, updated 9,500, deleted 400",
            "oplog reaches back 1d 17h more", "✓ ready to be cut over   C: cut over…",
            "✓ copied   ✓ not paused   ✓ close behind   ✓ verified   ✓ source read",
            "✓ copied   ✓ not paused   ✓ close behind   ✓ verified   ✓ source read",
        )  # fmt: skip


async def test_a_small_screen_has_the_lists_behind_one_key_and_following_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "1,188 keys/s applied")
        await pilot.press("c")
        await until(pilot, lambda: "1,188 keys/s applied" not in screen_text(app))
        await until_shown(pilot, "» following    ━━━━", "312 keys wa")
        for _ in range(3):
            await pilot.press("c")
        await until_shown(pilot, "1,188 keys/s applied")


async def test_a_run_that_does_not_follow_has_no_word_and_no_key_for_it(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        assert "Following" not in screen_text(app)
        await pilot.press("C")
        await pilot.pause()
        assert not isinstance(app.screen, CutOverDialog)


DROPPED = SourceHalt(
    namespace="shop.orders", code="drop", message="shop.orders was dropped in the source.",
    choices=["ignore", "empty", "stop"],
)  # fmt: skip
LOST = SourceHalt(namespace="", code="history_lost", message="The oplog does not reach back.", choices=["resync"])


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_a_halted_run_says_what_became_of_the_source_and_how_to_decide(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    halted = {"phase": "halted", "ready": False, "halted_by": [DROPPED, LOST]}
    app = on_run(engine, following(state=RunState.HALTED, phase="halted: it was dropped", follow=halted))
    async with app.run_test(size=size) as pilot:
        await until_shown(
            pilot, "! halted", "! halted: shop.orders was dropped in the source.   and 1 more",
            "nothing is applied until you decide   D: decide…",
        )  # fmt: skip


def decided(engine: ScriptedEngine) -> list[tuple[str, str]]:
    return [(command["namespace"], command["choice"]) for command in engine.received("resolve")]


async def test_a_halted_run_is_decided_about_by_a_key_and_what_deletes_is_asked_for_twice(
    engine: ScriptedEngine,
) -> None:
    halted = {"phase": "halted", "ready": False, "halted_by": [DROPPED, LOST]}
    app = on_run(engine, following(state=RunState.HALTED, phase="halted: it was dropped", follow=halted))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "D: decide…")
        await pilot.press("D")
        await until_shown(pilot, "! shop.orders was dropped in the source.", "Keep rows: rows stay", "Then: the source")
        assert app.focused is app.screen.query_one("#back"), "Enter changes nothing"
        assert not app.screen.query_one("#resync").display
        await click(pilot, "#empty")
        await until_shown(pilot, "Rows without a document are deleted")
        assert not decided(engine)
        await until(pilot, lambda: not app.screen.query_one("#empty").has_class("-active"))
        await click(pilot, "#empty")
        await until(pilot, lambda: decided(engine) == [("shop.orders", "empty")])
        engine.show(following(state=RunState.HALTED, follow=halted | {"halted_by": [LOST]}))
        await until_shown(pilot, "! The oplog does not reach back.")
        assert not app.screen.query_one("#empty").display
        await click(pilot, "#resync")
        await until_shown(pilot, "Rows without a document are deleted")
        # A button that was just pressed does not take another press.
        await until(pilot, lambda: not app.screen.query_one("#resync").has_class("-active"))
        await click(pilot, "#resync")
        await until(pilot, lambda: decided(engine)[1:] == [("", "resync")])
        engine.show(following())
        await until_shown(pilot, "Nothing is left to decide: the run goes on.")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ResolveDialog))


async def test_what_is_missing_is_named_with_what_to_do_and_nothing_can_be_cut_over(engine: ScriptedEngine) -> None:
    app = on_run(engine, following(follow=NOT_READY))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "× not ready to be cut over   C: what is missing")
        await pilot.press("C")
        await until_shown(
            pilot,
            "✓ every table is copied",
            "× little is left to apply: it is 95 s behind the source",
            "→ wait, add workers",
        )
        assert app.screen.query_one("#go", Button).disabled
        engine.show(following())
        await until(pilot, lambda: not app.screen.query_one("#go", Button).disabled)


async def test_never_ready_is_said_and_so_is_when(engine: ScriptedEngine) -> None:
    app = on_run(engine, following(follow=NOT_READY, elapsed=100.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "catching up: calculating…")
        engine.show(following(follow=NOT_READY | {"never": True}, elapsed=108.0))
        await until_shown(pilot, "! never ready at this speed: add workers, or have less written to the source")
        engine.show(following(follow=NOT_READY | {"ready_in_s": 6.0, "speed": 6.31}, elapsed=110.0))
        await until_shown(pilot, "catching up ×6.3: ready in about 6s")


async def test_what_is_verified_is_said_with_what_differs(engine: ScriptedEngine) -> None:
    at = datetime(2026, 11, 23, 14, 40, 3).timestamp()
    app = on_run(engine, following(follow={"verified_unix": at}))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "deleted 400   verified up to 14:40:03")
        differing: dict[str, Any] = {"verified_unix": at, "to_compare": 1_200, "mended": 2, "differences": 3}
        differing["reasons"] = [FollowReason(code="differences", message="3 rows differ from their documents")]
        engine.show(following(follow=differing | {"ready": False}))
        await until_shown(pilot, "! 3 rows differ, verified up to 14:40:03, 1,200 to compare, 2 mended", "× verified")


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (40.0, "! oplog reaches back 40s more, 40.0% of it is left"),
        (10.0, "only 10.0% of it is left: enlarge the oplog now"),
    ],
)
async def test_an_oplog_that_is_getting_short_is_an_alarm(engine: ScriptedEngine, left: float, words: str) -> None:
    app = on_run(engine, following(follow={"oplog_left_s": left, "read_lag_s": 100.0 - left}))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, words)


async def asked(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "ready to be cut over")
    await pilot.press("C")
    await until_shown(
        pilot, "Stop everything that writes to the source now.", "The source is written to: 1,204.0 changes/s"
    )
    assert pilot.app.focused is pilot.app.screen.query_one("#back"), "Enter changes nothing"


async def test_the_cut_over_of_a_halted_run_names_the_key_that_decides(engine: ScriptedEngine) -> None:
    reasons = [FollowReason(code="halted", message="shop.orders was dropped in the source")]
    halted = {"phase": "halted", "ready": False, "halted_by": [DROPPED], "reasons": reasons}
    app = on_run(engine, following(state=RunState.HALTED, phase="halted", follow=halted, eta_reason="halted: dropped"))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "D: decide…", "ETA –")  # the phase says why
        await pilot.press("C")
        await until_shown(pilot, "× shop.orders was dropped", "→ decide what is done: D on the Run screen")
        await pilot.press("escape", "D")
        await until_shown(pilot, "Match the source: the table becomes what", "Stop following it: ")
        labels = [str(button.label) for button in app.screen.query(Button) if button.display]
        assert labels == ["Close", "Keep rows", "Match the source", "Stop following it"]  # in the order of the text


async def test_in_a_demo_nothing_is_to_be_stopped_before_a_cut_over(engine: ScriptedEngine) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=LARGE) as pilot:
        await asked(pilot)
        await pilot.press("escape")
        session_of(app).settings = Settings.model_validate({"demo": {"embedded": True}})
        await pilot.press("C")
        await until_shown(pilot, "The writers of the demo are stopped by the cut-over.")
        assert "Stop everything" not in screen_text(app)


async def test_a_small_screen_gives_what_is_too_long_lines_of_its_own(engine: ScriptedEngine) -> None:
    at = datetime(2026, 11, 23, 14, 40, 3).timestamp()
    problems = [ProblemView(code=CALLED_OFF, message=BY_WRITERS, count=1)]
    verified: dict[str, Any] = {"verified_unix": at, "to_compare": 1_200_000, "mended": 2}
    app = on_run(engine, following(follow=verified, problems=problems, throttle=20_000))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "deleted 400", "verified up to 14:40:03, 1,200,000 to compare, 2 mended")
        await until_shown(pilot, "throttle 20,000", "! problems 1 (e)", "c: next view")
        await pilot.press("e")
        await until_shown(pilot, "Mend what it names, then cut over again")


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_a_cut_over_counts_down_and_ends_with_the_time_that_writers_stood_still(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=size) as pilot:
        await asked(pilot)
        await click(pilot, "#go")
        await until_shown(pilot, "3,120 keys to go", "Keep the writers stopped", "Call it off")
        assert len(engine.received("cutover")) == 1
        assert engine.snapshot.follow is not None
        engine.show(follow=engine.snapshot.follow.model_copy(update={"keys_to_go": 17}))
        await until_shown(pilot, "17 keys to go")
        done = engine.snapshot.follow.model_copy(update={"phase": "done", "write_stop_s": 2.34})
        engine.show(completed(follow=done))
        await until_shown(pilot, "✓ Cut over", "The writers had to stand still for 2.3 s")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, CutOverDialog))


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_to_block_all_writes_is_asked_twice(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, following(follow={"can_block_writes": True}))
    async with app.run_test(size=size) as pilot:
        await asked(pilot)
        await until_shown(pilot, " Close ", " Writers are stopped: cut over ", " Block writes… ")  # whole, at any size
        await click(pilot, "#block")
        await until_shown(pilot, "Have MongoDB refuse all writes?", "every write of every user", "Back")
        assert app.focused is app.screen.query_one("#back"), "Enter changes nothing"
        await pilot.press("enter")
        await until_shown(pilot, "Stop everything that writes to the source now.")
        assert not engine.received("cutover")
        await click(pilot, "#block")
        await until_shown(pilot, "Yes, block all writes and cut over")
        button = app.screen.query_one("#block", Button)
        await until(pilot, lambda: not button.has_class("-active"))  # until then it takes no other press
        await pilot.press("right", "enter")
        await until(pilot, lambda: len(engine.received("cutover")) == 1)
        assert engine.received("cutover")[0]["block_writes"] is True
        assert engine.snapshot.follow is not None
        done = engine.snapshot.follow.model_copy(update={"phase": "done", "write_stop_s": 1.0, "writes_blocked": True})
        engine.show(completed(follow=done))
        await until_shown(pilot, "MongoDB goes on refusing writes")


async def test_no_block_is_offered_where_the_source_cannot_be_made_to(engine: ScriptedEngine) -> None:
    note = FollowReason(code="blocked", message="rows that a constraint refuses as yet (3 by things_n)")
    app = on_run(engine, following(follow={"notes": [note], "blocked": 3, "blocked_by": {"things_n": 3}}))
    async with app.run_test(size=LARGE) as pilot:
        await asked(pilot)
        await until_shown(pilot, "! rows that a constraint refuses as yet (3 by things_n)", "3 blocked")
        assert not app.screen.query_one("#block").display


async def test_a_cut_over_is_called_off_by_its_button(engine: ScriptedEngine) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=LARGE) as pilot:
        await asked(pilot)
        await click(pilot, "#go")
        await until_shown(pilot, "Call it off")
        await click(pilot, "#off")
        await until_shown(pilot, "Stop everything that writes to the source now.")
        assert len(engine.received("calloff")) == 1


async def test_writes_behind_the_mark_are_told_in_the_dialog_and_it_can_be_tried_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=LARGE) as pilot:
        await asked(pilot)
        await click(pilot, "#go")
        await until_shown(pilot, "3,120 keys to go")
        engine.show(following(problems=[ProblemView(code=CALLED_OFF, message=BY_WRITERS, count=1)]))
        await until_shown(pilot, "(2 in shop.orders)")
        await click(pilot, "#go")
        await until(pilot, lambda: len(engine.received("cutover")) == 2)


async def test_a_refusal_is_said(engine: ScriptedEngine) -> None:
    engine.refusals["cutover"] = ("not_ready", "The run is not ready to be cut over: it is 95 s behind the source.")
    app = on_run(engine, following())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await asked(pilot)
        await click(pilot, "#go")
        await until_shown(pilot, "The run is not ready")


async def test_a_run_that_fails_in_its_cut_over_says_so(engine: ScriptedEngine) -> None:
    app = on_run(engine, following())
    async with app.run_test(size=LARGE) as pilot:
        await asked(pilot)
        engine.show(state=RunState.FAILED, phase="failed", exit_code=1)
        await until_shown(pilot, "× The run is over and was not cut over: failed.")
