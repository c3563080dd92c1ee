"""What the user of `source.uri` may do, asked before anything is read, and the command that grants what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from engine.errors import UsageError
from engine.mongo.connect import Client
from engine.mongo.faults import explained
from engine.mongo.grants import grant_command

Role = Literal["read", "readWrite"]

_ACTIONS: Mapping[Role, frozenset[str]] = {
    "read": frozenset({"find"}),
    "readWrite": frozenset({"find", "insert", "createCollection", "createIndex"}),
}
"""What we need of each built-in role: https://www.mongodb.com/docs/manual/reference/built-in-roles/"""


@explained()
def require(client: Client, namespaces: Iterable[tuple[str, str]], role: Role = "read") -> None:
    """Make sure that the user may do what `role` allows on each (database, collection).

    Raises:
        UsageError: it may not; the message holds the command that changes that.
    """
    status = client.admin.command("connectionStatus", showPrivileges=True, read_preference=client.read_preference)
    users = status["authInfo"]["authenticatedUsers"]
    if not users:
        return  # the server asks for no login; one that does has refused before
    privileges = status["authInfo"]["authenticatedUserPrivileges"]
    lacking = {
        database
        for database, collection in namespaces
        if not _ACTIONS[role] <= _allowed(privileges, database, collection)
    }
    if lacking:
        user = users[0]
        raise UsageError(
            f"The source's user {json.dumps(user['user'])} lacks rights; as an administrator, run: "
            f"{grant_command(user['user'], user['db'], role, lacking)}",
            code="rights",
        )


def _allowed(privileges: Iterable[Mapping[str, Any]], database: str, collection: str) -> set[str]:
    """Actions on a collection; an empty name in a privilege's resource stands for every one."""
    actions: set[str] = set()
    for privilege in privileges:
        resource = privilege["resource"]
        if resource.get("anyResource") or (
            resource.get("db") in ("", database) and resource.get("collection") in ("", collection)
        ):
            actions.update(privilege["actions"])
    return actions
