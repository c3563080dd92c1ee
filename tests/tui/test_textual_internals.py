"""Private names of Textual: each that is used is there, does what it is used for, and is used in one place only."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import textual
from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.color import Color
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen
from textual.visual import Visual

import tui.cockpit
from tui.cockpit import textual_internals
from tui.cockpit.textual_internals.bindings import rebind
from tui.cockpit.textual_internals.caches import forget_closed_widgets
from tui.cockpit.textual_internals.command_palette import CalmPalette, LastingPalette
from tui.cockpit.textual_internals.dimming import dimming
from tui.cockpit.textual_internals.driver import CockpitDriver
from tui.cockpit.textual_internals.failing import FailsQuietly
from tui.cockpit.textual_internals.mounting import mount_behind
from tui.cockpit.textual_internals.restyling import KeepsStyles
from tui.cockpit.textual_internals.telling import tell_terminal
from tui.cockpit.textual_internals.timers import let_late_timers_end

INTERNALS = textual_internals.__name__


def missing(owner: str, name: str, module: str) -> str:
    return f"Textual {textual.__version__} has no {owner}.{name}: see tui/cockpit/textual_internals/{module}.py"


class Plain(FailsQuietly):
    """An application that takes no error for harmless."""

    said: BaseException | None = None

    def is_harmless(self, error: Exception) -> bool:
        return False

    def say_bug(self, error: BaseException | None) -> None:
        self.said = error


# --- one test a name --------------------------------------------------------------------------------------------------


def test_bindings_of_a_node() -> None:
    node = DOMNode()
    assert hasattr(node, "_bindings"), missing("DOMNode", "_bindings", "bindings")
    rebind(node, [Binding("a", "one", id="x.one"), Binding("c", "three")], lambda _: False)
    rebind(node, [Binding("b", "one", id="x.one")], lambda binding: binding.id == "x.one")
    assert [(key, binding.action) for key, binding in node._bindings] == [("b", "one"), ("c", "three")]


def test_styles_cache_inner_outer() -> None:
    cache = importlib.import_module("textual._styles_cache").StylesCache
    assert hasattr(cache, "get_inner_outer"), missing("StylesCache", "get_inner_outer", "caches")
    forget_closed_widgets()
    assert cache.get_inner_outer.__module__ == f"{INTERNALS}.caches"


async def test_timer_interval() -> None:
    """A notification whose time is over when its toast is mounted would stop the whole program."""
    let_late_timers_end()
    app = App[None]()
    async with app.run_test() as pilot:
        ticked = asyncio.Event()
        late = app.set_timer(-0.0047, ticked.set)
        assert hasattr(late, "_interval"), missing("Timer", "_interval", "timers")
        assert late._interval > 0
        await pilot.pause()
        await asyncio.wait_for(ticked.wait(), 30)


@pytest.mark.parametrize(
    "name", ["_action_command_list", "_watch__list_visible", "_watch__show_busy", "_on_mount", "_list_visible"]
)
def test_command_palette(name: str) -> None:
    assert hasattr(CommandPalette, name), missing("CommandPalette", name, "command_palette")


def test_command_palette_selected_command() -> None:
    found = hasattr(CommandPalette(), "_selected_command")
    assert found, missing("CommandPalette", "_selected_command", "command_palette")


def test_a_palette_that_lasts_is_one_of_textual_before_anything_else() -> None:
    assert issubclass(LastingPalette, CalmPalette)
    assert LastingPalette.begin_anew.__module__ == f"{INTERNALS}.command_palette"


async def test_screen_compositor() -> None:
    app = App[None]()
    async with app.run_test():
        assert hasattr(app.screen, "_compositor"), missing("Screen", "_compositor", "dimming")
        below = BackgroundScreen(app.screen, Color.parse("black").with_alpha(0.6))
        dimmed = dimming(below)
        assert isinstance(dimmed, Visual)
        assert dimmed.get_height({}, 80) == app.size.height


def test_driver_file() -> None:
    source = inspect.getsource(LinuxDriver.__init__)
    assert "self._file" in source, missing("LinuxDriver", "_file", "driver")
    assert issubclass(CockpitDriver, LinuxDriver)


@pytest.mark.parametrize("name", ["_handle_exception", "_fatal_error", "_close_messages_no_wait"])
def test_failing(name: str) -> None:
    assert hasattr(App, name), missing("App", name, "failing")


async def test_a_bug_is_said_and_is_the_exit_code() -> None:
    app = Plain()

    async def fail() -> None:
        async with app.run_test() as pilot:
            app.call_later(lambda: 1 / 0)
            await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert isinstance(app.said, ZeroDivisionError)
    assert app.return_code == 1


async def test_what_fails_with_words_of_its_own_has_the_same_exit_code() -> None:
    app = Plain()
    async with app.run_test():
        assert app.return_code is None
        app.fail([Text("the end")])
    assert app.return_code == 1


async def test_app_get_screen() -> None:
    app = App[None]()
    async with app.run_test():
        assert hasattr(app, "_get_screen"), missing("App", "_get_screen", "mounting")
        screen = Screen[None]()
        app.install_screen(screen, "behind")
        await mount_behind(app, "behind")
        assert screen.is_mounted
        assert screen not in app.screen_stack


async def test_app_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App[None]()
    async with app.run_test():
        assert hasattr(app, "_driver"), missing("App", "_driver", "telling")
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        tell_terminal(app, "\x1b]9;ended\x1b\\")
        assert written == ["\x1b]9;ended\x1b\\"]


async def test_css_update_count() -> None:
    class Kept(KeepsStyles, Screen[None]):
        pass

    app = App[None]()
    async with app.run_test() as pilot:
        screen = Kept()
        for owner in (app, screen):
            assert hasattr(owner, "_css_update_count"), missing(type(owner).__name__, "_css_update_count", "restyling")
        before = app._css_update_count
        app.theme = "textual-light"
        await pilot.pause()
        assert app._css_update_count > before
        screen.start_styled()
        assert screen._css_update_count == app._css_update_count


# --- in one place only ------------------------------------------------------------------------------------------------


def modules_outside() -> list[str]:
    found = pkgutil.walk_packages(tui.cockpit.__path__, "tui.cockpit.")
    return sorted(module.name for module in found if not module.name.startswith(INTERNALS))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_of_textual() -> set[str]:
    """Private names of Textual's applications, screens, widgets and drivers, those of their instances included."""
    found: set[str] = set()
    for path in Path(textual.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_private(node.attr):
                found.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_private(node.name):
                found.add(node.name)
    return found


def own_names(tree: ast.Module) -> set[str]:
    """Private names that a module makes: its functions and classes, and attributes that its objects give themselves."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
    return found


@pytest.mark.parametrize("name", modules_outside())
def test_no_private_name_of_textual_is_used_elsewhere(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    own = own_names(tree)
    used = [
        f"line {node.lineno}: {node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and (node.attr not in own or not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")))
        and node.attr in NAMES_OF_TEXTUAL
    ]
    imported = [
        f"line {node.lineno}: {node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual._")
    ]
    assert not used + imported


@pytest.mark.parametrize("name", modules_outside())
def test_no_private_name_of_textual_is_hidden_by_one_of_ours(name: str) -> None:
    hidden: list[Any] = []
    for _, each in inspect.getmembers(importlib.import_module(name), inspect.isclass):
        if each.__module__ != name or not issubclass(each, MessagePump):
            continue
        theirs = [base for base in each.__mro__ if base.__module__.startswith("textual.")]
        own = [own for own in vars(each) if is_private(own) and not own.startswith(("_abc", "_css", "_merged"))]
        hidden += [(each.__name__, own) for own in own if any(own in vars(base) for base in theirs)]
    # Textual itself gives every class of nodes these.
    assert [each for each in hidden if each[1] not in GIVEN_TO_EVERY_CLASS] == []


NAMES_OF_TEXTUAL = names_of_textual()
GIVEN_TO_EVERY_CLASS = frozenset(name for name in vars(type("Node", (DOMNode,), {})) if is_private(name))
