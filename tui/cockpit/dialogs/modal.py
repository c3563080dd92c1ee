"""What every dialog is, and what makes one appear at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from rich.console import RenderableType
from rich.segment import Segment
from rich.style import Style
from textual.await_complete import AwaitComplete
from textual.color import Color
from textual.css.styles import RulesMap
from textual.geometry import Size
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.style import Style as TextualStyle
from textual.visual import RenderOptions, Visual

from tui.cockpit.textual_internals.restyling import KeepsStyles

if TYPE_CHECKING:
    from tui.cockpit.app import Cockpit

Result = TypeVar("Result")


class Modal(ModalScreen[Result], Generic[Result]):
    """A dialog that is left once, however fast keys come: a second answer would take the screen below it away."""

    @property
    def cockpit(self) -> Cockpit:
        """The app, by its own type."""
        return cast("Cockpit", self.app)

    @property
    def copy_key(self) -> str:
        """The key that copies, here as everywhere, for hints."""
        return self.cockpit.keymap.first("app.copy")

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leave, unless that has happened."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def render(self) -> RenderableType | Visual:  # type: ignore[override]  # a screen may be as visual as any widget
        """The screen below it, dimmed."""
        return dimming(super().render())


class Kept(KeepsStyles, Generic[Result]):
    """A screen that is mounted once and shown again and again.

    Mounting a dialog is most of what opening it takes: 30 to 60 ms of processor, and while workers keep every core busy
    the cockpit gets a quarter of one. A subclass takes what it is to show in `on_screen_resume`, whenever it is opened.
    """

    KEPT_AS: str
    """The name that it is installed under."""

    async def keep(self, cockpit: Cockpit) -> None:
        """Mount it behind everything."""
        self._installed(cockpit)
        # Textual mounts an installed screen when it is pushed for the first time, and has no other name for that.
        await cockpit._get_screen(self.KEPT_AS)[1]
        self.has_newest_styles()

    def open(self, cockpit: Cockpit, answered: Callable[[Result | None], None] | None = None) -> None:
        """Show it, mounted or not; it is there once, however often it is asked for."""
        screen = self._installed(cockpit)
        if screen not in cockpit.screen_stack:
            cockpit.push_screen(screen, answered)

    def _installed(self, cockpit: Cockpit) -> Screen[Result]:
        screen = cast("Screen[Result]", self)
        if not cockpit.is_screen_installed(screen):
            cockpit.install_screen(screen, self.KEPT_AS)
        return screen


class KeptModal(Kept[Result], Modal[Result], Generic[Result]):
    """A dialog that is kept."""

    def redraws(self, every_s: float, draw: Callable[[], None]) -> None:
        """Call `draw` by the clock, but only while the dialog is the one in front.

        Args:
            every_s: seconds.
        """
        self.set_interval(every_s, lambda: draw() if self.is_current else None)


def dimming(below: RenderableType) -> RenderableType | Visual:
    """What a modal screen of Textual draws, drawn faster."""
    return _Dimmed(below.screen, below.color) if isinstance(below, BackgroundScreen) else below


class _Dimmed(Visual):
    """The screen below a dialog.

    Textual's own goes through rich's console, and computes two colours for each of some 400 pieces of text, whenever something
    moves below a dialog.
    """

    def __init__(self, screen: Screen[Any], tint: Color) -> None:
        self._screen = screen
        self._tint = tint

    def render_strips(self, width: int, height: int | None, style: TextualStyle, options: RenderOptions) -> list[Strip]:
        """Its lines, with their colours towards that of the dialog's screen."""
        tint = self._tint
        return [
            Strip(
                [Segment(text, _dimmed(own or Style.null(), tint), control) for text, own, control in strip],
                strip.cell_length,
            )
            for strip in self._screen._compositor.render_strips(Size(width, height or self._screen.size.height))
        ]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """All there is."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        """That of the screen."""
        return self._screen.size.height


@lru_cache(1024)
def _dimmed(style: Style, tint: Color) -> Style:
    [dimmed] = BackgroundScreen.process_segments([Segment(" ", style)], tint)
    return dimmed.style or Style.null()
