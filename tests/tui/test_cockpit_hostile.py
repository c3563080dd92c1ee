"""Foreign text, bugs and poor terminals: nothing acts on the terminal, nothing secret is printed, nothing crashes."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App

import tui
from engine.config import Loaded, merged
from engine.errors import UsageError
from engine.protocol import CollectionInfo, ErrorInfo, ProblemView, RunState
from tests.tui.driving import (
    NEVER_S,
    SOURCE_URI,
    on_run,
    on_setup,
    process_of,
    screen_text,
    settings_with_servers,
    until_shown,
)
from tests.tui.scripted_engine import ScriptedEngine, completed, running, table, worker
from tui.cli.cockpit import attach_cockpit, open_cockpit
from tui.cockpit.app import Cockpit
from tui.cockpit.ascii_filter import to_ascii
from tui.cockpit.crash import crash_words

HOSTILE = "AB\x1b]52;c;aGk=\x07\x9b31m\u202eCD[@click=app.bell]x[/][/red][b"
VISIBLE = "AB\\u{1b}]52"
FILES = sorted(Path(tui.__file__).parent.rglob("*.py"))


def control_characters(app: App[Any]) -> set[str]:
    return {character for character in screen_text(app) if not character.isprintable()} - {"\n"}


async def test_hostile_text_on_the_run_screen_is_shown_and_does_nothing(engine: ScriptedEngine) -> None:
    hostile = running(
        source=f"mongodb://{HOSTILE}/shop",
        phase=HOSTILE,
        bottleneck=HOSTILE,
        converter=HOSTILE,
        eta_s=None,
        eta_reason=HOSTILE,
        workers=[worker(1, collection=f"shop.{HOSTILE}")],
        problems=[ProblemView(code=HOSTILE, message=HOSTILE, count=1, collection=HOSTILE, advice=HOSTILE)],
    )
    app = on_run(engine, hostile)
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        await until_shown(pilot, f"shop.{VISIBLE}", "● running")
        await pilot.press("l")
        engine.tell("problem", 3.0, code=HOSTILE, message=HOSTILE)
        engine.tell("knob", 3.0, knob=HOSTILE, old=HOSTILE, value=HOSTILE, by=HOSTILE)
        await until_shown(pilot, f"problem      {VISIBLE}")
        await pilot.press("e")
        await until_shown(pilot, "Enter details")
        assert control_characters(app) == set()
        await pilot.press("enter")
        await until_shown(pilot, "What to do", "No documents were rejected.")
        assert control_characters(app) == set()
        await pilot.press("y", "escape", "escape")
        assert "\x1b" not in app.clipboard
        engine.refusals["pause"] = ("state", HOSTILE)
        await pilot.press("space")
        await until_shown(pilot, "[@click=app.bell]x[/][/red]")
        assert control_characters(app) == set()
        error = ErrorInfo(code="x", message=HOSTILE)
        engine.show(completed(state=RunState.FAILED, error=error, tables=[table("t", 1, table=HOSTILE)]))
        await until_shown(pilot, "! failed", "Report")
        assert control_characters(app) == set()
        await pilot.press("y")
        await until_shown(pilot, "Copied")
        assert control_characters(app) == set()
        assert {character for character in app.clipboard if not character.isprintable()} <= {"\n"}


async def test_hostile_text_on_the_setup_screen_is_shown_and_does_nothing(engine: ScriptedEngine) -> None:
    engine.collections = [CollectionInfo(namespace=f"shop.{HOSTILE}", kind="view", documents=5, size_bytes=5)]
    engine.reports["target"] = engine.reports["target"].model_copy(update={"ok": False, "message": HOSTILE})
    engine.reports["source"] = engine.reports["source"].model_copy(update={"detail": HOSTILE, "version": HOSTILE})
    app = on_setup(engine)
    async with app.run_test(size=(150, 45), notifications=True) as pilot:
        await until_shown(pilot, f"[ ] {VISIBLE}", f"│ {VISIBLE}", "12 ms")
        assert control_characters(app) == set()
        await pilot.press("y")
        await until_shown(pilot, "Copied the error:", f" {VISIBLE};c;aGk=")
        assert control_characters(app) == set()
        assert app.clipboard.startswith(VISIBLE)
        assert app.clipboard.isprintable()
        await pilot.press("f9")
        await until_shown(pilot, "The target is not connected.", VISIBLE)
        assert control_characters(app) == set()


async def test_the_name_of_a_hostile_collection_is_copied_without_what_acts(engine: ScriptedEngine) -> None:
    engine.collections = [CollectionInfo(namespace=f"shop.\n{HOSTILE}", kind="collection", documents=5, size_bytes=5)]
    app = on_setup(engine)
    async with app.run_test(size=(150, 45), notifications=True) as pilot:
        await until_shown(pilot, "1 of 1 selected", "TLS, verified")
        await pilot.press("y")
        await until_shown(pilot, "Copied the collection's name: shop.")
        assert control_characters(app) == set()
        assert {character for character in app.clipboard if not character.isprintable()} <= {"\n"}


def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_widget_is_given_text_that_it_would_read_as_markup(path: Path) -> None:
    for call in calls_in(path):
        where = f"{path.name}:{call.lineno}"
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if name_of(call) in {"notify", "Static", "Label", "OptionList"} and name_of(call) != "OptionList":
            markup = keywords.get("markup")
            assert isinstance(markup, ast.Constant), f"{where}: {name_of(call)} without markup=False"
            assert markup.value is False, where
        if name_of(call) in {"update", "add_row", "Option", "Button"} and call.args:
            is_text = isinstance(call.args[0], ast.JoinedStr | ast.BinOp) or (
                isinstance(call.args[0], ast.Constant)
                and isinstance(call.args[0].value, str)
                and "[" in call.args[0].value
            )
            assert not is_text, f"{where}: {name_of(call)} is given a str; build a Content"
        assert name_of(call) not in {"from_markup", "Markdown"}, where


def test_a_crash_is_told_without_secrets(tmp_path: Path) -> None:
    uris = [SOURCE_URI, "postgresql://mig@pg1/x?sslpassword=pa55"]
    try:
        raise ValueError("cannot use s3cret nor pa55 of " + SOURCE_URI)
    except ValueError as error:
        words = crash_words(error, tmp_path, uris)
    log = (tmp_path / "cockpit.log").read_text()
    assert "ValueError" in words
    assert str(tmp_path) in words
    assert "test_a_crash_is_told" in log
    for text in (words, log):
        assert "s3cret" not in text
        assert "pa55" not in text


async def test_a_bug_prints_a_sentence_and_no_values_of_variables(engine: ScriptedEngine) -> None:
    app = Cockpit(settings_with_servers(), {}, process=process_of(engine), silent_s=NEVER_S)

    def fail() -> None:
        password = settings_with_servers().source.uri.get_secret_value()
        raise RuntimeError(f"no luck with {password}")

    async def drive() -> None:
        async with app.run_test() as pilot:
            await until_shown(pilot, "3 of 4 selected")
            app.call_later(fail)
            await asyncio.sleep(1.0)

    with pytest.raises(RuntimeError):
        await drive()
    assert app.leaving.farewell.startswith("The cockpit failed (RuntimeError).")
    log = (engine.log.parent / "cockpit.log").read_text()
    assert "no luck with" in log
    assert "s3cret" not in log + app.leaving.farewell


def test_every_character_that_the_cockpit_writes_has_a_likeness_in_ascii() -> None:
    """What becomes `?` tells nothing."""
    for file in FILES:
        if file.name not in {
            "ascii_filter.py",
            "safe.py",
        }:  # the likenesses themselves; what is taken out of foreign text
            tree = ast.parse(file.read_text(encoding="utf-8"))
            prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                    unknown = [each for each in node.value if not each.isascii() and "?" in to_ascii(each)]
                    assert not unknown, f"{file.name}:{node.lineno}: {unknown}"


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_ascii_draws_with_nothing_else(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    settings = settings_with_servers()
    settings = merged(settings, {"cockpit": {"ascii": True}})
    engine.samples = [(float(second), 1_000.0 * second) for second in range(1, 70)]
    app = on_run(engine, running(workers=[worker(1), worker(2, collection="shop.größe・計")]), settings)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "> running", "r??e")
        for key in ("x", "escape", "t", "escape", "question_mark", "escape", "l", "1"):
            await pilot.press(key)
            await pilot.pause()
            assert screen_text(app).isascii()


async def test_without_colour_states_are_words_and_symbols(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = on_run(engine, running(workers=[worker(1, state="stalled", idle_s=12.0)]))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "● running", "! stalled 12s")
        colours = {
            segment.style.color.name
            for strip in app.screen._compositor.render_strips(app.size)
            for segment in strip
            if segment.style is not None and segment.style.color is not None
        }
        assert all(len({name[1:3], name[3:5], name[5:7]}) == 1 for name in colours if name.startswith("#"))


@pytest.mark.parametrize("open_it", [open_cockpit, lambda loaded: attach_cockpit(loaded, None)])
def test_an_unknown_theme_is_refused_before_anything_starts(
    open_it: Callable[[Loaded], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("an engine was started or looked for")

    settings = settings_with_servers()
    settings = merged(settings, {"cockpit": {"theme": "neon"}})
    monkeypatch.setattr("tui.cli.output.has_terminal", lambda: True)
    monkeypatch.setattr("tui.cli.cockpit.launch", never)
    monkeypatch.setattr("tui.cli.cockpit.find_run", never)
    with pytest.raises(UsageError, match=r"cockpit.theme \(flag --theme\) is 'neon', but there is no such theme"):
        open_it(Loaded(settings, {"cockpit.theme": "flag --theme"}))
