"""Tables of a run that are not any more what it wrote, as text."""

from __future__ import annotations

from engine.protocol import ReplacedTables
from tui.words.format import number
from tui.words.safe import safe


def replaced_mark(found: ReplacedTables | None) -> str:
    """Behind how a run was verified: `replaced since`, `in part dropped since`; empty where nothing was."""
    if found is None:
        return ""
    what = "replaced" if found.replaced else "dropped"
    return f"{'' if found.replaced + found.dropped == found.of else 'in part '}{what} since"


def replaced_words(found: ReplacedTables | None) -> str:
    """`2 of its 5 tables were replaced since by run X, and 1 was dropped.`; empty where nothing was."""
    if found is None:
        return ""
    if not found.replaced:
        return f"{_tables(found.dropped, found.of)} dropped since."
    words = f"{_tables(found.replaced, found.of)} replaced since by {_runs(found)}"
    return f"{words}, and {_number(found.dropped)} dropped." if found.dropped else f"{words}."


def replaced_table_words(found: ReplacedTables | None, table: str) -> str:
    """The same of one table: `replaced since by run X`; empty where nothing was, or it is not known which tables were."""
    by = found.tables.get(table) if found is not None else None
    if by is None:
        return ""
    return f"replaced since by run {safe(by, 40)}" if by else "dropped since"


def _tables(count: int, of: int) -> str:
    if count == of:
        return "Its table was" if of == 1 else f"All of its {number(of)} tables were"
    return f"{number(count)} of its {number(of)} tables {'was' if count == 1 else 'were'}"


def _number(count: int) -> str:
    return f"{number(count)} {'was' if count == 1 else 'were'}"


def _runs(found: ReplacedTables) -> str:
    names = [safe(run_id, 40) for run_id in found.by]
    if len(names) < found.n_by:
        return f"{number(found.n_by)} runs, such as {names[0]}"
    return f"run {names[0]}" if len(names) == 1 else f"runs {', '.join(names[:-1])} and {names[-1]}"
