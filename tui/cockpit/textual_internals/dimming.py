"""The screen below a dialog, dimmed: `Screen._compositor`, which has its lines.

Textual 8.2.8 draws it through rich's console, and computes two colours for each of some 400 pieces of text, whenever something
moves below a dialog.
"""

from __future__ import annotations

from functools import lru_cache

from rich.console import RenderableType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.css.styles import RulesMap
from textual.geometry import Size
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen
from textual.strip import Strip
from textual.style import Style as TextualStyle
from textual.visual import RenderOptions, Visual


def dimming(below: RenderableType) -> RenderableType | Visual:
    """What a modal screen of Textual draws, drawn faster; as it is where Textual has no compositor."""
    if isinstance(below, BackgroundScreen) and hasattr(below.screen, "_compositor"):
        return _Dimmed(below.screen, below.color)
    return below


class _Dimmed(Visual):
    """Lines of the screen below, their colours towards that of the dialog's screen."""

    def __init__(self, screen: Screen[object], tint: Color) -> None:
        self._screen = screen
        self._tint = tint

    def render_strips(self, width: int, height: int | None, style: TextualStyle, options: RenderOptions) -> list[Strip]:
        """Its lines."""
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
