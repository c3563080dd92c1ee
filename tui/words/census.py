"""What the census saw, as text: of a collection, and of one field. Every word is harmless."""

from __future__ import annotations

from engine.protocol import CountingView, Snapshot, TableView, ValuesView
from tui.words.format import bytes_size, duration, number
from tui.words.safe import safe


def documents_words(table: TableView) -> str:
    """How many documents there are to copy."""
    return f"{number(table.documents)} documents" if table.documents >= 0 else "an unknown number of documents"


def census_words(table: TableView) -> str:
    """How many documents were read, and what was found of them as wholes."""
    if table.census == "full":
        words = [f"full census: all {number(table.sampled)} documents counted"]
    else:
        size = f", {bytes_size(table.sampled_bytes)}" if table.sampled_bytes else ""
        words = [f"{number(table.sampled)} documents{size} sampled"]
    if table.largest:
        words.append(f"the largest has {bytes_size(table.largest)} in {table.depth} level{'s' * (table.depth != 1)}")
    if table.corrupt:
        words.append(f"{number(table.corrupt)} corrupt")
    return ", ".join(words)


def counting_words(counting: CountingView) -> str:
    """How far a full census is."""
    words = [f"counting fields: {number(counting.seen)} of {number(counting.total)} documents"]
    if counting.rows_per_s:
        words.append(f"{number(counting.rows_per_s)} a second")
    if counting.eta_s is not None:
        words.append(f"{duration(counting.eta_s)} left")
    return ", ".join(words)


def phase_words(snapshot: Snapshot) -> str:
    """What the engine does now, and how far it is with what is no copying."""
    if snapshot.counting is not None:
        return counting_words(snapshot.counting)
    return safe(snapshot.phase or snapshot.state.value, 80)


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
        (values.bad_dates, "date out of range" if values.bad_dates == 1 else "dates out of range"),
    ):
        if count:
            words.append(f"{number(count)} {what}")
    return ", ".join(words)


def _shown(extreme: int | float | str | None) -> str:
    """An integer or a decimal whole, a double with as many digits as tell it apart at a glance."""
    return f"{extreme:g}" if isinstance(extreme, float) else safe(str(extreme), 60)
