"""The command that gives a MongoDB user what it lacks, for an administrator to run in mongosh."""

from __future__ import annotations

import json
from collections.abc import Iterable


def grant_command(user: str, defined_in: str, role: str, databases: Iterable[str]) -> str:
    """`db.getSiblingDB("admin").grantRolesToUser("app", [{role: "read", db: "shop"}]);`, in ASCII whatever the names hold.

    Args:
        user: its name.
        defined_in: the database that the user is defined in.
        role: a built-in role.
        databases: where it is lacking.
    """
    roles = ", ".join(f'{{role: "{role}", db: {json.dumps(database)}}}' for database in sorted(databases))
    return f"db.getSiblingDB({json.dumps(defined_in)}).grantRolesToUser({json.dumps(user)}, [{roles}]);"
