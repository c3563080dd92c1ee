"""What the census saw, in words: of a collection, and of one field. Every word is harmless."""

from __future__ import annotations

from engine.control.protocol import TableView, ValuesView
from tui.format import bytes_size, number
from tui.safe import safe


def census_words(table: TableView) -> str:
    """How many documents were looked at, and what was found of them as wholes."""
    if table.census == "full":
        words = [f"full census: all {number(table.sampled)} documents counted"]
    else:
        words = [f"{number(table.sampled)} documents sampled"]
    if table.largest:
        words.append(f"the largest has {bytes_size(table.largest)} in {table.depth} level{'s' * (table.depth != 1)}")
    if table.corrupt:
        words.append(f"{number(table.corrupt)} corrupt")
    return ", ".join(words)


def values_words(values: ValuesView | None) -> str:
    """Extremes and oddities of a field's values: `0 to 97, 3 null`."""
    if values is None:
        return ""
    words = []
    if values.low is not None:
        words.append(f"{_shown(values.low)} to {_shown(values.high)}")
    if values.longest:
        words.append(f"to {number(values.longest)} characters")
    if values.elements:
        words.append(f"of {'/'.join(safe(kind, 20) for kind in values.elements)}")
    if values.depth > 1:
        words.append(f"{values.depth} levels")
    for count, what in (
        (values.nulls, "null"),
        (values.nul, "with NUL"),
        (values.bad_utf8, "not UTF-8"),
        (values.bad_dates, "dates out of range"),
    ):
        if count:
            words.append(f"{number(count)} {what}")
    return ", ".join(words)


def _shown(extreme: int | float | None) -> str:
    """An integer whole, a double with as many digits as tell it apart at a glance."""
    return f"{extreme:g}" if isinstance(extreme, float) else str(extreme)
