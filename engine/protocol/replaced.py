"""What became of the tables of a run that is over."""

from __future__ import annotations

from engine.protocol.wire import Wire


class ReplacedTables(Wire):
    """Tables of a run that are not any more what it wrote."""

    of: int
    """All tables of the run."""
    replaced: int = 0
    """Those of them that later runs replaced."""
    dropped: int = 0
    """Those that are gone, and that no run in the ledger has replaced."""
    by: list[str] = []
    """Later runs that replaced some, at most three."""
    n_by: int = 0
    """How many runs did."""
    tables: dict[str, str] = {}
    """The tables, each with the run that replaced it, or with an empty text when it was dropped; not in a list of runs."""
