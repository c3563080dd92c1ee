"""What every dialog is, and what makes one appear at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from rich.console import RenderableType
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen
from textual.visual import Visual

from tui.cockpit.textual_internals.dimming import dimming
from tui.cockpit.textual_internals.mounting import mount_behind
from tui.cockpit.textual_internals.restyling import KeepsStyles

Result = TypeVar("Result")


class Modal(ModalScreen[Result], Generic[Result]):
    """A dialog that is left once, however fast keys come: a second answer would take the screen below it away."""

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

    KEPT_AS: ClassVar[str]
    """The name that it is installed under."""

    @property
    def kept_as(self) -> str:
        """The same, of this one."""
        return self.KEPT_AS

    async def keep(self, app: App[None]) -> None:
        """Mount it behind everything."""
        self._installed(app)
        await mount_behind(app, self.kept_as)
        self.mark_styled()

    def open(self, app: App[None], answered: Callable[[Result | None], None] | None = None) -> None:
        """Show it, mounted or not; it is there once, however often it is asked for."""
        screen = self._installed(app)
        if screen not in app.screen_stack:
            app.push_screen(screen, answered)

    def _installed(self, app: App[None]) -> Screen[Result]:
        assert isinstance(self, Screen)
        if not app.is_screen_installed(self):
            app.install_screen(self, self.kept_as)
        return self


class KeptModal(Kept[Result], Modal[Result], Generic[Result]):
    """A dialog that is kept."""

    def redraws(self, every_s: float, draw: Callable[[], None]) -> None:
        """Call `draw` by the clock, but only while the dialog is the one in front.

        Args:
            every_s: seconds.
        """
        self.set_interval(every_s, lambda: draw() if self.is_current else None)
