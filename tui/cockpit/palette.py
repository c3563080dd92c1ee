"""The command palette: the same commands as the keys, knobs by value ("workers 12"), and modes ("mode append")."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial

from rich.console import RenderableType
from textual.await_complete import AwaitComplete
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape
from textual.visual import Visual

from engine.config import Mode
from tui.cockpit.commands import Command, Place, commands_for, knob_offers, knob_wish
from tui.cockpit.consequences import MODES
from tui.cockpit.dialogs.modal import Kept
from tui.cockpit.keymap import Keymap
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.textual_internals.command_palette import CalmPalette, LastingPalette
from tui.cockpit.textual_internals.dimming import dimming
from tui.words.knobs import value_text

_OFFERS = 0.9
"""The rank of values that are offered, below one that was typed."""


class Palette(CalmPalette):
    """Textual's, over the screen as other dialogs are, and left once."""

    def render(self) -> RenderableType | Visual:  # type: ignore[override]  # a screen may be as visual as any widget
        """The screen below it, dimmed."""
        return dimming(super().render())

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Leave, unless that has happened."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


class CommandsPalette(Kept[None], Palette, LastingPalette):
    """That of the commands, kept."""

    KEPT_AS = "palette"

    def on_screen_resume(self) -> None:
        """Nothing is typed; what works now is offered."""
        self.begin_anew()


class CommandProvider(Provider):
    """Offers what works now on the screen that the palette was opened from."""

    async def discover(self) -> Hits:
        """Every command that works now."""
        if isinstance(self.screen, CockpitScreen):
            for command in self._working():
                run, help_text = partial(self._run, command), _help(command, self.screen.cockpit.keymap)
                yield DiscoveryHit(Content(command.label), run, text=command.label, help=help_text)

    async def search(self, query: str) -> Hits:
        """Commands whose label or id matches, and a knob's value."""
        if not isinstance(self.screen, CockpitScreen):
            return
        cockpit, wish = self.screen.cockpit, knob_wish(query)
        if wish is not None and wish.value is not None:
            now = cockpit.situation
            when = "" if now.is_live else " in the comparison" if now.is_comparing else ", for the next run"
            what = f"Set {wish.knob.label.lower()} to {value_text(wish.knob, wish.value)}{when}"
            turn = partial(cockpit.orders.turn, wish.knob, wish.value)
            auto = ", or auto" if wish.knob.can_be_auto else ""
            bounds = escape(f"{wish.knob.help} Takes a value {wish.knob.bounds}{auto}.")
            yield Hit(1.0, Content(what), turn, text=what, help=bounds)
        elif wish is not None:
            yield Hit(1.0, Content(wish.problem), partial(cockpit.say_problem, wish.problem), text=wish.problem)
        for place, offer in enumerate(knob_offers(query)):
            if offer.value is not None and (wish is None or wish.value != offer.value):
                words = f"{offer.knob.label.lower()} {value_text(offer.knob, offer.value)}"
                turn = partial(cockpit.orders.turn, offer.knob, offer.value)
                yield Hit(_OFFERS - place / 1_000, Content(words), turn, text=words, help=escape(offer.knob.help))
        matcher = self.matcher(query)
        for mode, means in MODES.items():
            words = f"mode {mode}"
            score = matcher.match(f"{words} existing tables")
            if score > 0:
                help_text = escape(f"Existing tables, for the next run: {means}.")
                yield Hit(score, Content(words), partial(self._choose_mode, mode), text=words, help=help_text)
        for command in self._working():
            score = matcher.match(f"{command.label} {command.id}")
            if score > 0:
                run, help_text = partial(self._run, command), _help(command, cockpit.keymap)
                yield Hit(score, Content(command.label), run, text=command.label, help=help_text)

    def _working(self) -> Iterator[Command]:
        if isinstance(self.screen, CockpitScreen):
            for command in commands_for(self.screen.PLACE):
                if command.works(self.screen.cockpit.situation):
                    yield command

    def _choose_mode(self, mode: Mode) -> None:
        if isinstance(self.screen, CockpitScreen):
            self.screen.cockpit.orders.choose_mode(mode)
            if self.screen.PLACE is Place.PLAN:
                self.screen.shown()  # the plan follows it at once

    async def _run(self, command: Command) -> None:
        # Not as an action of Textual's: what only the palette gives is none that a key may give.
        done = getattr(self.app if command.place == "app" else self.screen, f"action_{command.action}")()
        if inspect.isawaitable(done):
            await done


def _help(command: Command, keymap: Keymap) -> str:
    return escape(f"{keymap.shown(command.id)} - {command.help}")
