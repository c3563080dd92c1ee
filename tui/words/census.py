"""What the census saw, as text: of a collection, and of one field. Every word is harmless."""

from __future__ import annotations

import re

from engine.protocol import ColumnView, CountingView, RunState, Snapshot, TableView, ValuesView
from tui.words.format import bytes_size, counted, duration, number, part
from tui.words.run_status import state_words
from tui.words.safe import safe
from tui.words.vitals import steps_words

_TYPE_IN_FILE = re.compile(r'type = "([^"]+)" in a saved plan')
_POLICY = re.compile(r"\bpolicy \w+ = \w+(?=\.$)")
LEAST_SHARE = 1.0
"""Per cent below which a BSON type is told with a count."""


def documents_words(table: TableView) -> str:
    """How many documents there are to copy."""
    return counted(table.documents, "document") if table.documents >= 0 else "an unknown number of documents"


def census_words(table: TableView) -> str:
    """How many documents were read, and what was found of them as wholes."""
    if table.census == "full":
        words = [f"full census: all {counted(table.sampled, 'document')} counted"]
    else:
        size = f", {bytes_size(table.sampled_bytes)}" if table.sampled_bytes else ""
        words = [f"{counted(table.sampled, 'document')}{size} sampled"]
    if table.largest:
        words.append(f"the largest has {bytes_size(table.largest)} in {counted(table.depth, 'level')}")
    if table.corrupt:
        words.append(f"{number(table.corrupt)} corrupt")
    return ", ".join(words)


def order_words(table: TableView) -> str:
    """In which order a run would read the collection, and why; nothing where the engine does not say."""
    if not table.order_reason:
        return ""
    order = "in natural order" if table.order == "natural" else "in the order of _id"
    return f"read {order}: {safe(table.order_reason, 160)}"


def counting_words(counting: CountingView) -> str:
    """How far a full census is."""
    words = [f"counting fields: {number(counting.seen)} of {counted(counting.total, 'document')}"]
    if counting.rows_per_s:
        words.append(f"{number(counting.rows_per_s)} a second")
    if counting.eta_s is not None:
        words.append(f"{duration(counting.eta_s)} left")
    return ", ".join(words)


def phase_words(snapshot: Snapshot) -> str:
    """What the engine does now, and how far it is with what is no copying."""
    if snapshot.counting is not None:
        return counting_words(snapshot.counting)
    if steps := steps_words(snapshot):
        return steps
    if snapshot.state is RunState.CANCELLING and snapshot.tables and not snapshot.workers_alive:
        return "stopping: reading the last counts from the ledger"
    return safe(state_words(snapshot.phase or snapshot.state.value), 80)


def with_keys(warning: str, *, edit: str, exclude: str) -> str:
    """A plan's warning where keys edit the plan: they stand in the place of what its file would say.

    Args:
        edit: the key that edits a column, and the screen that it works on.
        exclude: likewise the one that excludes a field.
    """
    words = _TYPE_IN_FILE.sub(lambda found: f"type {found[1]} ({edit})", warning)
    words = _POLICY.sub(lambda found: f"{found[0]} ({edit} changes it)", words)
    return words.replace("Exclude fields in a saved plan", f"Exclude fields ({exclude})")


def kinds_words(column: ColumnView) -> list[str]:
    """The BSON types of a field, the most frequent first; of rare ones how often they were seen: `int64 40 of 8,000`."""
    present = column.values.present if column.values is not None else 0
    words = []
    for kind, share in sorted(column.kinds.items(), key=lambda each: -each[1]):
        count = round(share * present / 100)
        if share >= LEAST_SHARE or not present:
            words.append(f"{safe(kind, 20)} {part(share)}")
        else:
            words.append(f"{safe(kind, 20)} {number(count)} of {number(present)}")
    return words


def values_words(values: ValuesView | None) -> str:
    """Oddities and extremes of a field's values, what may be trouble first: `2 with NUL, 0 to 97, 3 nulls`."""
    if values is None:
        return ""
    words = []
    for count, what in (
        (values.nul, "with NUL"),
        (values.bad_utf8, "not UTF-8"),
        (values.bad_dates, "date out of range" if values.bad_dates == 1 else "dates out of range"),
    ):
        if count:
            words.append(f"{number(count)} {what}")
    if values.low is not None:
        words.append(f"{_shown(values.low)} to {_shown(values.high)}")
    if values.longest:
        words.append(f"max {counted(values.longest, 'char')}")
    if values.elements:
        words.append(f"array of {'/'.join(f'{safe(kind, 20)}s' for kind in values.elements)}")
    if values.depth > 1:
        words.append(f"{values.depth} levels")
    if values.nulls:
        words.append(f"{counted(values.nulls, 'null')}")
    return ", ".join(words)


def _shown(extreme: int | float | str | None) -> str:
    """An integer or a decimal whole, a double with as many digits as tell it apart at a glance."""
    return f"{extreme:g}" if isinstance(extreme, float) else safe(str(extreme), 60)
