"""Drawing with ASCII characters only, for terminals and fonts that have nothing else.

One filter over every finished line, so borders, scroll bars, bars and foreign names are all covered; each character
keeps its width in cells.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ELLIPSIS = re.compile("…(  )?")
"""With two blanks behind it there is room for three dots."""
_SAME_WIDTH = str.maketrans(
    {
        "─": "-", "│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┌": "+", "┐": "+", "└": "+", "┘": "+", "┤": "|",
        "┼": "+", "├": "|", "┬": "+", "┴": "+", "━": "=", "╸": "-", "╺": "-", "┃": "|", "▔": "-", "▏": "|", "▎": "|",
        "▁": ".", "▂": ".", "▃": ":", "▄": ":", "▅": "+", "▆": "+", "▇": "#", "█": "#", "▊": "|", "▌": "|", "▐": "|",
        "✓": "+", "×": "x", "●": ">", "»": ">", "◐": ">", "◌": "o", "‖": "=", "▲": "^", "→": ">", "↑": "^", "↓": "v", "↻": "r",
        "◆": "*", "·": ".", "–": "-", "—": "-", "…": ".", "▼": "v", "•": "*", "Σ": "=", "⭘": "o", "≈": "~",
        "≠": "!", "›": ">", "‹": "<", "▷": ">", "←": "<", "░": ".", "▒": ":", "▓": "#", "✗": "x",
    }
)  # fmt: skip


@lru_cache(4_096)
def to_ascii(text: str) -> str:
    """`text` in ASCII and in the same number of cells; what has no likeness becomes `?`."""
    if text.isascii():
        return text
    text = _ELLIPSIS.sub(lambda found: "..." if found[1] else ".", text)
    return "".join(
        character if character.isascii() else "?" * cell_len(character) for character in text.translate(_SAME_WIDTH)
    )


class AsciiFilter(LineFilter):
    """Rewrites each line in ASCII as it is painted."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Replace the text of each segment, keeping its style."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
