"""Every command of the table is given by each of its keys, on its screen, when it works: a walk through the whole table."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from engine.protocol import RunState
from tests.tui.driving import on_setup, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine
from tests.tui.test_cockpit_commands import OWNERS
from tui.cockpit.app import Cockpit
from tui.cockpit.commands import COMMANDS, SCREENS, Command, Place, Situation, commands_for
from tui.cockpit.palette import CommandProvider

BOTH: dict[str, Any] = {"has_source": True, "has_target": True}
WITH_RESULT = BOTH | {
    "has_result": True, "has_edits": True, "has_undone": True, "is_chosen_free": True, "can_resume_chosen": True,
    "can_be_seeded": True, "has_rejects": True,
}  # fmt: skip
SCENES = (
    Situation(**WITH_RESULT),
    Situation(has_source=True),
    Situation(is_typing=True, has_memory=True),
    Situation(state=RunState.RUNNING, has_problems=True, has_engine=True, follows=True, is_halted=True, **BOTH),
    Situation(state=RunState.PAUSED, has_engine=True, **BOTH),
    Situation(state=RunState.FAILED, can_resume=True, has_engine=True, has_rejects=True, **BOTH),
    Situation(is_replay=True, **BOTH),
    Situation(is_counted=True, **BOTH),
    Situation(is_busy=True, is_counted=True, **BOTH),
    Situation(is_busy=True, is_comparing=True, has_result=True, **BOTH),
)
"""Situations in which, taken together, every command works."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the commands that were given; nothing else comes of them."""
    ids: list[str] = []

    def recorder(command: Command) -> Any:
        def give(_: object) -> None:
            ids.append(command.id)

        return give

    for command in COMMANDS:
        monkeypatch.setattr(OWNERS[command.place], f"action_{command.action}", recorder(command), raising=False)
    return ids


async def test_each_key_of_each_command_gives_it_and_the_palette_offers_it(
    engine: ScriptedEngine, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SCENES[0]
    app = on_setup(engine)
    pressed: set[tuple[str, str]] = set()
    offered: set[str] = set()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        monkeypatch.setattr(Cockpit, "situation", property(lambda _: scene))
        for place in (*SCREENS, Place.REJECTS):
            await app.switch_mode(place.value)
            await until(pilot, lambda: app.focused is not None)
            for scene in SCENES:
                app.situation_changed()
                await pilot.pause()
                working = [command for command in commands_for(place) if command.works(scene)]
                assert [command.id for command in CommandProvider(app.screen)._working()] == [
                    each.id for each in working
                ]
                offered |= {command.id for command in working}
                for command in filter(lambda each: each.by_key(scene), working):
                    for key in command.keys.split(","):
                        if (command.id, key) not in pressed:
                            given.clear()
                            await pilot.press(key)
                            assert given == [command.id], f"{key} on {place}"
                            pressed.add((command.id, key))
        scene = SCENES[0]
    assert pressed == {(command.id, key) for command in COMMANDS for key in command.keys.split(",")}
    assert offered == {command.id for command in COMMANDS}


BEHAVIOURS = {
    "run.guards": "test_a_run_that_guards_hold_says_so_and_one_key_turns_them_off_and_on",
    "run.cut_over": "test_what_is_missing_is_named_with_what_to_do_and_nothing_can_be_cut_over",
    "run.resolve": "test_a_halted_run_is_decided_about_by_a_key_and_what_deletes_is_asked_for_twice",
    "plan.restore": "test_a_field_that_was_left_out_is_put_back_whatever_was_edited_after_it",
    "setup.choose": "test_space_and_a_choose_collections_and_only_those_are_copied",
    "setup.choose_all": "test_space_and_a_choose_collections_and_only_those_are_copied",
    "setup.start": "test_start_says_what_will_happen_and_sends_what_the_fields_say",
    "setup.seed": "test_seed_asks_and_seeds_only",
    "setup.demo": "test_without_servers_the_demo_is_offered_and_runs_on_embedded_ones",
    "setup.test": "test_f5_tests_both_sides_and_lists_the_collections_again",
    "setup.settings": "test_settings_are_edited_and_reach_the_run",
    "setup.save_profile": "test_a_profile_is_saved_and_opened",
    "setup.open_profile": "test_a_profile_is_saved_and_opened",
    "setup.last_servers": "test_f10_the_last_servers_are_offered_and_taken_with_one_key_and_no_password_is_kept",
    "setup.show_all": "test_a_filter_shows_some_collections_as_it_is_typed_and_what_was_chosen_stays",
    "setup.leave_field": "test_escape_leaves_a_field_for_the_list",
    "setup.filter": "test_a_filter_shows_some_collections_as_it_is_typed_and_what_was_chosen_stays",
    "setup.database": "test_another_database_of_the_server_is_chosen_with_its_collections",
    "run.pause": "test_space_and_p_pause_and_resume",
    "run.resume": "test_space_and_p_pause_and_resume",
    "run.workers_more": "test_a_knob_shows_its_wish_before_the_engine_has_answered",
    "run.workers_fewer": "test_knob_keys_send_exact_values",
    "run.page_larger": "test_knob_keys_send_exact_values",
    "run.page_smaller": "test_knob_keys_send_exact_values",
    "run.tune": "test_tune_sends_what_was_changed_and_closes",
    "run.preset": "test_the_knobs_of_a_profile_are_turned_while_the_run_goes_on",
    "run.stop": "test_the_stop_dialog_stops_as_it_is_told",
    "run.continue": "test_a_cancelled_run_is_resumed_in_a_new_engine",
    "run.export": "test_the_report_is_exported_at_the_end_and_not_before",
    "run.rejects": "test_f2_rejects_are_opened_from_verify_run_and_history_with_the_same_key",
    "run.replay_hold": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "run.replay_faster": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "run.replay_slower": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "run.replay_forward": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "run.replay_back": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "run.replay_leave": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "run.log": "test_the_log_pane_shows_the_events",
    "run.freeze": "test_a_frozen_display_keeps_its_numbers_while_the_run_goes_on",
    "run.sort": "test_s_sorts_by_rate_then_rows",
    "run.reverse": "test_capital_s_turns_the_order_round",
    "run.filter": "test_a_filter_leaves_the_workers_that_have_it_as_it_is_typed",
    "run.vitals": "test_both_servers_have_a_line_on_a_large_screen_and_a_key_on_any",
    "run.view": "test_one_key_switches_between_collections_workers_and_chart_on_a_small_screen",
    "run.workers": "test_enter_shows_the_worker_under_the_cursor_as_it_goes_on",
    "run.problems": "test_a_problem_opens_with_its_documents_and_what_to_do",
    "plan.start": "test_a_column_is_retyped_and_the_edited_plan_is_what_is_started",
    "plan.ddl": "test_n_goes_to_the_next_collection_and_v_shows_the_sql",
    "plan.following": "test_n_goes_to_the_next_collection_and_v_shows_the_sql",
    "plan.previous": "test_n_goes_to_the_next_collection_and_v_shows_the_sql",
    "plan.edit": "test_a_column_is_retyped_and_the_edited_plan_is_what_is_started",
    "plan.ignore": "test_an_edit_that_the_engine_refuses_leaves_the_plan_as_it_was",
    "plan.table": "test_f6_schema_table_and_filter_of_a_collection_are_edited",
    "plan.flatten": "test_f6_one_field_is_flattened",
    "plan.preflight": "test_b2_the_plan_screen_shows_preflight_in_a_line_and_in_full",
    "plan.details": "test_f5_what_is_cut_off_is_one_enter_away",
    "plan.open": "test_f6_a_saved_plan_is_opened_and_started_as_it_is",
    "plan.collections": "test_f5_the_collections_are_a_list",
    "plan.undo": "test_an_edit_that_the_engine_refuses_leaves_the_plan_as_it_was",
    "plan.redo": "test_edits_are_undone_and_done_again_one_by_one",
    "plan.save": "test_the_plan_is_saved_and_a_file_overwritten_only_when_that_is_said",
    "plan.full": "test_a_full_census_shows_how_far_it_is_and_holds_for_the_run",
    "plan.sample": "test_s_plans_from_a_sample_again_after_a_full_census",
    "plan.again": "test_a_full_census_that_is_refused_leaves_the_sample",
    "plan.stop": "test_a_full_census_shows_how_far_it_is_and_holds_for_the_run",
    "verify.tune": "test_the_knobs_of_a_comparison_are_turned_while_it_goes_on",
    "verify.cancel": "test_a_comparison_shows_how_far_it_is_and_escape_breaks_it_off",
    "verify.counts": "test_counting_again_names_what_does_not_hold",
    "verify.full": "test_a_full_comparison_lists_differences_down_to_the_field",
    "verify.rejects": "test_f2_rejects_are_opened_from_verify_run_and_history_with_the_same_key",
    "verify.export": "test_the_report_is_exported_in_the_format_of_the_names_ending",
    "verify.newest": "test_escape_leaves_the_chosen_run_for_the_newest",
    "history.open": "test_enter_opens_the_report_of_the_run_under_the_cursor",
    "history.replay": "test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own",
    "history.compare": "test_two_runs_are_compared_side_by_side",
    "history.filter": "test_a_filter_shows_some_runs_as_it_is_typed",
    "history.verify": "test_history_hands_a_run_over",
    "history.resume": "test_only_a_run_with_something_left_can_be_resumed_and_it_keeps_its_own_settings",
    "history.rejects": "test_f2_rejects_are_opened_from_verify_run_and_history_with_the_same_key",
    "rejects.open": "test_f2_from_a_reason_to_its_documents_to_one_document_beside_its_reason",
    "rejects.policy": "test_f2_a_policy_is_chosen_retried_and_the_count_goes_down",
    "rejects.retry": "test_f2_a_policy_is_chosen_retried_and_the_count_goes_down",
    "rejects.retry_all": "test_f2_a_retry_that_can_change_nothing_says_so_before_it_runs",
    "rejects.again": "test_f2_what_the_engine_refuses_is_said_and_f5_asks_again",
    "rejects.verify": "test_when_nothing_is_left_the_next_steps_are_named_and_lead_on",
    "rejects.export": "test_when_nothing_is_left_the_next_steps_are_named_and_lead_on",
    "rejects.leave": "test_f2_rejects_are_opened_from_verify_run_and_history_with_the_same_key",
    "history.export": "test_a_run_of_history_is_exported_from_the_list_and_from_its_report",
    "history.delete": "test_t1_deleting_lists_the_tables_with_their_rows_and_wants_the_run_id_typed",
    "history.again": "test_f5_reads_the_ledger_again",
    "app.help": "test_help_opens_on_question_mark_and_f1_and_closes_on_escape",
    "app.quit": "test_q_leaves_at_once_when_there_is_no_run",
    "app.palette": "test_a_knob_is_set_from_the_palette",
    "app.copy": "test_y_copies_what_is_under_the_cursor_and_says_so",
    "app.setup": "test_while_a_run_is_on_setup_starts_no_other_and_after_it_does",
    "app.plan": "test_what_is_planned_is_what_is_chosen_on_setup",
    "app.run": "test_while_a_run_is_on_setup_starts_no_other_and_after_it_does",
    "app.verify": "test_f2_rejects_are_opened_from_verify_run_and_history_with_the_same_key",
    "app.history": "test_history_hands_a_run_over",
    "app.interrupt": "test_ctrl_c_hints_first_and_then_opens_the_stop_dialog",
    "app.theme": "test_f6_offers_the_themes_and_takes_one",
    "app.screenshot": "test_f12_saves_a_picture_of_the_screen_in_the_current_folder",
}
"""By the command's id, a test in this folder that presses one of its keys and looks at what comes of it."""


def words_in_tests() -> dict[str, set[str]]:
    """The strings in each test of this folder, and in what it calls of the functions that stand there beside it."""
    words: dict[str, set[str]] = {}
    called: dict[str, set[str]] = {}
    for file in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                strings = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
                words[node.name] = {each for each in strings if isinstance(each, str)}
                called[node.name] = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return {
        name: own.union(*(words[each] for each in called[name] & words.keys() if not each.startswith("test_")))
        for name, own in words.items()
        if name.startswith("test_")
    }


def test_each_command_has_a_test_of_what_it_does() -> None:
    """A new command needs one, too. That it presses the key can be seen from here; what it looks at cannot."""
    assert BEHAVIOURS.keys() == {command.id for command in COMMANDS}
    words = words_in_tests()
    for command in COMMANDS:
        test = BEHAVIOURS[command.id]
        assert test in words, f"{command.id}: there is no {test}"
        assert words[test] & {*command.keys.split(",")}, f"{test} presses none of the keys of {command.id}"


def test_no_place_is_without_commands() -> None:
    assert {command.place for command in COMMANDS} == set(Place)
