"""What every dialog is, and what makes one appear at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from rich.console import RenderableType
from rich.segment import Segment
from rich.style import Style
from textual.await_complete import AwaitComplete
from textual.color import Color
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen, Screen

if TYPE_CHECKING:
    from tui.app import Cockpit

Result = TypeVar("Result")


class Modal(ModalScreen[Result], Generic[Result]):
    """A dialog that is left once, however fast keys come: a second answer would take the screen below it away."""

    @property
    def copy_key(self) -> str:
        """The key that copies, here as everywhere, for hints."""
        return cast("Cockpit", self.app).keymap.first("app.copy")

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leave, unless that has happened."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def render(self) -> RenderableType:
        """The screen below it, dimmed."""
        return dimming(super().render())


class Kept(Generic[Result]):
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


def dimming(below: RenderableType) -> RenderableType:
    """What a modal screen of Textual draws, drawn faster."""
    return _Dimmed(below.screen, below.color) if isinstance(below, BackgroundScreen) else below


class _Dimmed(BackgroundScreen):
    """Textual's own computes two colours for each of some 400 pieces of text, whenever something moves below a dialog."""

    @classmethod
    def process_segments(cls, segments: Iterable[Segment], color: Color) -> Iterable[Segment]:
        """The same with the colours of a style remembered."""
        for segment in segments:
            yield segment if segment.control else Segment(segment.text, _dimmed(segment.style or Style.null(), color))


@lru_cache(1024)
def _dimmed(style: Style, tint: Color) -> Style:
    [dimmed] = BackgroundScreen.process_segments([Segment(" ", style)], tint)
    return dimmed.style or Style.null()
