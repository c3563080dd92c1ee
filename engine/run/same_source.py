"""Whether the collections of a plan are still those that it was made of: MongoDB gives each a UUID for its life.

A collection that is dropped or renamed reads as empty from then on, and one made anew under its name as something else. Without
this look either would end a run as if everything had been copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import MigrationError
from engine.mapping.cautions import listed
from engine.mongo import catalogue
from engine.mongo import connect as mongo
from engine.plan import TablePlan


def require_same_collections(uri: str, app_name: str, tables: Sequence[TablePlan]) -> None:
    """Compare the UUIDs of all collections; views have none, and servers need not show any. Blocks.

    Raises:
        MigrationError: one was dropped, renamed or made anew.
    """
    client = mongo.connect(uri, app_name=app_name)
    try:
        known = [table for table in tables if table.uuid]
        found = catalogue.uuids_of(client, [(table.database, table.collection) for table in known])
        changed = [table.namespace for table in known if found.get((table.database, table.collection)) != table.uuid]
    finally:
        client.close()
    if changed:
        were = "was dropped or renamed" if len(changed) == 1 else "were dropped or renamed"
        raise MigrationError(
            f"{listed(changed)} {were}, and perhaps made anew, since the plan was made: what is copied stays, but it "
            "cannot be completed. Start a new run.",
            code="source_changed",
        )
