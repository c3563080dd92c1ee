"""Cursors that are open in MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Source


def open_cursors(source: Source) -> list[dict[str, Any]]:
    """Cursors on the source's database, idle or at work."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {"$match": {"cursor": {"$exists": True}, "ns": {"$regex": f"^{source.database}\\."}}},
    ]
    return list(source.client.admin.aggregate(pipeline))
