"""Whether the source of a run can be followed: each reason why not is one sentence, found before anything is written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.errors import UsageError
from engine.mapping.equal_keys import key_doubts
from engine.plan import TablePlan

_CHANGES_BY_ITSELF = re.compile(r'"\$(?:where|rand|function)"|"\$\$(?:NOW|CLUSTER_TIME)\b')
"""What a filter may ask that has another answer tomorrow, for a document that did not change."""


def cannot_follow(why: str) -> UsageError:
    """That a run cannot be followed, and why."""
    return UsageError(f"The source cannot be followed: {why}.", code="cannot_follow")


def require_followable(tables: Sequence[TablePlan], mode: str, limit: int) -> None:
    """Raise UsageError for a plan whose source cannot be followed; all tables at fault are named."""
    if mode == "append":
        raise cannot_follow("in mode append rows of the run cannot be told from others; use create, replace or upsert")
    if limit:
        raise cannot_follow("run.limit copies a part of each collection")
    found = [f"{table.namespace} {why}" for table in tables if (why := _obstacle(table))]
    if found:
        raise cannot_follow("; ".join(found))


def _obstacle(table: TablePlan) -> str:
    if not table.has_range_reads:
        return "is a view or a time series, which have no stream of changes"
    if not table.uuid:
        return "has no UUID that the user may see, by which a drop can be told from deletes"
    if not table.has_key:
        return "has no _id that can be a primary key"
    if _CHANGES_BY_ITSELF.search(table.filter):
        return "has a filter whose answer changes by itself ($$NOW, $rand, $where or $function)"
    if doubts := key_doubts(table.mapping, "upsert"):
        return f"has keys that may become one in the table ({doubts.rstrip('.')})"
    return ""
