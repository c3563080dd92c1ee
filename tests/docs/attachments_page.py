"""What becomes of what hangs on a table in mode replace, from the list that the engine goes by."""

from __future__ import annotations

from engine.postgres.attachments import ATTACHMENTS
from tests.docs.markdown import table


def section() -> str:
    """A line for each kind, in the order of the list."""
    rows = [[each.title, each.fate.value, f"`{each.kind}`" if each.may_go else ""] for each in ATTACHMENTS]
    return table(["what hangs on a table", "what becomes of it", "`replace_drops`"], rows)
