"""The Rejects screen: reasons, documents, one document beside its reason; a policy chosen and retried, the count going down."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from engine.protocol import RejectGroup
from tests.tui.driving import click, on_run, on_setup, screen_text, until, until_shown
from tests.tui.scripted_answers import RUNS
from tests.tui.scripted_engine import ScriptedEngine, completed
from tui.words.rejects import can_change, short_id

SIZES = [(120, 40), (80, 24)]


async def to_rejects(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "f9 Start")
    await pilot.press("4")
    await until_shown(pilot, "as counted at the run's end")
    await pilot.press("R")
    await until_shown(pilot, "15 rejected documents", "14", "nul", "utf8")


@pytest.mark.parametrize("size", SIZES)
async def test_f2_from_a_reason_to_its_documents_to_one_document_beside_its_reason(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_rejects(pilot)
        await until_shown(pilot, "nul reject", "Documents 1–10 of 14", "_id 0", "nul in name", "NUL at byte 3")
        assert '"name": "a\\u0000\\u001b[31mb"' in screen_text(app)
        await pilot.press("enter", *["down"] * 9)
        await until_shown(pilot, "Documents 1–14 of 14", "_id 9")
        await pilot.press("enter")
        await until_shown(pilot, "Rejected document", '"_id": 9')
        await pilot.press("escape", "escape", "down")
        await until_shown(pilot, "Documents 1–1 of 1", "utf8: text that is not UTF-8", "replace would take them")


async def test_f2_rejects_are_opened_from_verify_run_and_history_with_the_same_key(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(rejected=14))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "R Rejects…", "R: rejected documents")
        await pilot.press("R")
        await until_shown(pilot, "15 rejected documents")
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "run")
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        await pilot.press("R")
        await until_shown(pilot, f"15 rejected documents  run {RUNS[0].run_id}")
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "history")
        await pilot.press("4")
        await until_shown(pilot, "R Rejects…")
        await pilot.press("R")
        await until_shown(pilot, "15 rejected documents")
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "verify")


@pytest.mark.parametrize("size", SIZES)
async def test_f2_a_policy_is_chosen_retried_and_the_count_goes_down(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_rejects(pilot)
        await pilot.press("p")
        await until_shown(
            pilot, "Policy nul for these documents", "drop the NUL characters", "reject the document (now)"
        )
        await pilot.press("enter")
        await until_shown(pilot, "nul reject → strip")
        await pilot.press("R")
        await until_shown(pilot, "Retry rejected documents?", "14 × nul in shop.orders", "reject → strip")
        assert not engine.received("retry")
        await pilot.press("enter")
        await until_shown(pilot, "Retried 14: 14 written, 1 still rejected.", "1 rejected document ")
        (sent,) = engine.received("retry")
        assert (sent["policies"], sent["keeps_policies"], sent["run"]) == ({"nul": "strip"}, True, RUNS[0].run_id)
        assert [(each["reason"], each["field"]) for each in sent["only"]] == [("nul", "name")]
        assert "nul reject" not in screen_text(app)


async def test_f2_a_retry_that_can_change_nothing_says_so_before_it_runs(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_rejects(pilot)
        await pilot.press("A")
        await until_shown(pilot, "This retry can change nothing", "policy nul: reject", "choose others with p.")
        await pilot.press("enter")
        await until(pilot, lambda: "can change nothing" not in screen_text(app))
        assert not engine.received("retry")


async def test_b3_the_run_on_the_screen_follows_a_retry(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(rejected=14))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "R Rejects…")
        await pilot.press("R")
        await until_shown(pilot, "nul reject")
        await pilot.press("p", "enter")
        await until_shown(pilot, "→ strip")
        await pilot.press("R")
        await until_shown(pilot, "Retry rejected documents?")
        await click(pilot, "#go")
        await until(pilot, lambda: engine.received("recount"))


async def test_f2_while_documents_are_retried_nothing_else_begins_and_leaving_asks(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_rejects(pilot)
        await pilot.press("p", "enter")
        await until_shown(pilot, "→ strip")
        engine.held = {"retry"}
        await pilot.press("R")
        await until_shown(pilot, "Retry rejected documents?")
        await click(pilot, "#go")
        await until_shown(pilot, "◐ retrying rejected documents…")
        await pilot.press("R", "A", "p")
        await pilot.press("q")
        await until_shown(pilot, "Leave now?", "Those written so far stay")
        await pilot.press("escape")
        engine.let_go()
        await until_shown(pilot, "Retried 14: 14 written")
        assert len(engine.received("retry")) == 1


async def test_f2_what_the_engine_refuses_is_said_and_f5_asks_again(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_rejects(pilot)
        engine.refusals["rejects"] = ("connect", "The target does not answer.")
        await pilot.press("f5")
        await until_shown(pilot, "! The target does not answer.")
        engine.refusals.clear()
        engine.rejects = []
        await pilot.press("f5")
        await until_shown(pilot, "✓ no rejects")


def test_a_policy_in_force_that_rejects_can_change_nothing_but_the_table_may_have_been_changed() -> None:
    nul = RejectGroup(
        namespace="a.b", reason="nul", field="c", count=1, policy="nul", in_force="reject", takes=["strip"]
    )
    check = RejectGroup(namespace="a.b", reason="check_violation", field="c", count=1)
    assert [can_change(nul), can_change(nul, "strip"), can_change(check)] == [False, True, True]


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        ("append", "Remove that row or the document, then retry."),
        ("upsert", "Give one of the two documents another _id; the row is another document's."),
    ],
)
async def test_what_helps_where_a_key_is_taken_depends_on_whose_row_it_is(
    engine: ScriptedEngine, mode: str, advice: str
) -> None:
    engine.rejects = [RejectGroup(namespace="shop.orders", reason="key_taken", field="_id", count=15)]
    engine.mode_of_rejects = mode
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "f9 Start")
        await pilot.press("4")
        await until_shown(pilot, "as counted at the run's end")
        await pilot.press("R")
        await until_shown(pilot, "key_taken in _id", *advice.split("; "))


def test_an_id_is_shown_without_a_type_that_tells_nothing() -> None:
    assert short_id('{"$numberInt": "0"}') == "0"
    assert short_id('{"$oid": "64f0c1"}') == "64f0c1"
    assert short_id('"a\\u001b"') == '"a\\u001b"'
    assert short_id('{"$uuid": "x"}') == '{"$uuid": "x"}'
    assert short_id("no JSON \x1b") == "no JSON \\u{1b}"


@pytest.mark.parametrize("size", SIZES)
async def test_when_nothing_is_left_the_next_steps_are_named_and_lead_on(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.rejects = engine.rejects[:1]
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "f9 Start")
        await pilot.press("4")
        await until_shown(pilot, "as counted at the run's end")
        await pilot.press("R")
        await until_shown(pilot, "14 rejected documents", "R Retry…", "A Retry all…", "esc Back")
        await pilot.press("p", "enter")
        await until_shown(pilot, "→ strip")
        await pilot.press("R")
        await until_shown(pilot, "Retry rejected documents?")
        await pilot.press("enter")
        await until_shown(pilot, "✓ no rejects", "Retried 14: 14 written, 0 still rejected.")
        await until_shown(
            pilot, "v, f: compare every document with its row", "E: export the report", "v Verify", "E Export…"
        )
        await pilot.press("E")
        await until_shown(pilot, "Export the report", f"report-{RUNS[0].run_id}.html")
        await pilot.press("escape")
        await until(pilot, lambda: "Export the report" not in screen_text(app))
        await pilot.press("v")
        await until(pilot, lambda: app.current_mode == "verify")
        await until_shown(pilot, f"run {RUNS[0].run_id}")


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_left_after_a_retry_keeps_its_hint(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_rejects(pilot)
        await pilot.press("p", "enter")
        await until_shown(pilot, "→ strip")
        await pilot.press("R")
        await until_shown(pilot, "Retry rejected documents?")
        await pilot.press("enter")
        await until_shown(pilot, "Retried 14: 14 written, 1 still rejected.", "p: choose the policy")


async def test_collections_have_the_room_that_short_fields_leave_on_a_small_screen(engine: ScriptedEngine) -> None:
    name = "shop.customers_of_2026"
    engine.rejects = [group.model_copy(update={"namespace": name}) for group in engine.rejects]
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_rejects(pilot)
        await until_shown(pilot, name)
