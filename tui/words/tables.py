"""Tables of plain text, for pipes, logs and small terminals."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from engine.protocol import DiscardedTable
from tui.words.format import counted
from tui.words.safe import safe

CELL_LIMIT = 60
"""Characters of one cell; headings and numbers never reach it, foreign names may."""
GAP = "  "


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Lines of aligned columns, `right` of them flush right. Cells are made harmless here."""
    cells = [list(headings), *([safe(cell, CELL_LIMIT) for cell in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        padded = [_padded(cell, widths[column], column in right) for column, cell in enumerate(row)]
        lines.append(GAP.join(padded).rstrip())
    return "\n".join(lines)


def table_words(table: DiscardedTable) -> str:
    """`public.orders (468,000 rows)`, harmless."""
    if table.rows < 0:
        return f"{safe(table.table)} (not there any more)"
    about = "" if table.is_exact else "about "
    return f"{safe(table.table)} ({about}{counted(table.rows, 'row')})"


def _padded(cell: str, width: int, is_right: bool) -> str:
    blank = " " * (width - _width(cell))
    return blank + cell if is_right else cell + blank


def _width(text: str) -> int:
    """Columns that `text` takes: wide East Asian characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
