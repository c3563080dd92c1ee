"""MongoDB's own block of all writes of users, from 6.0 on.

It holds for the whole cluster, all databases of it, until it is lifted; who has the right `bypassWriteBlockingMode` writes on.
https://www.mongodb.com/docs/manual/reference/command/setUserWriteBlockMode/
"""

from __future__ import annotations

from pymongo import ReadPreference
from pymongo.errors import OperationFailure, PyMongoError

from engine.mongo.connect import Client
from engine.mongo.faults import failure_of

ACTION = "setUserWriteBlockMode"
LIFT = "db.adminCommand({setUserWriteBlockMode: 1, global: false})"
"""What lifts it."""
_FIRST_VERSION = (6, 0)
_BLOCKED = 2
"""Of `repl.userWriteBlockMode` in what `serverStatus` says."""


def why_not(client: Client) -> str:
    """Why writes cannot be blocked, in a few words; empty where they can. Blocks.

    Raises:
        PyMongoError: the server is away.
    """
    version = tuple(client.server_info()["versionArray"][:2])
    if version < _FIRST_VERSION:
        return "MongoDB has a write block from 6.0 on"
    status = client.admin.command("connectionStatus", showPrivileges=True, read_preference=ReadPreference.PRIMARY)
    users = status["authInfo"]["authenticatedUsers"]
    allowed = {
        action
        for privilege in status["authInfo"]["authenticatedUserPrivileges"]
        if privilege["resource"].get("cluster") or privilege["resource"].get("anyResource")
        for action in privilege["actions"]
    }
    if users and ACTION not in allowed:
        return f"the source's user lacks the right {ACTION} on the cluster"
    return ""


def is_blocked(client: Client) -> bool:
    """Writes of users are blocked already, as far as may be seen. Blocks.

    Raises:
        PyMongoError: the server is away.
    """
    try:
        status = client.admin.command({"serverStatus": 1}, read_preference=ReadPreference.PRIMARY)
    except OperationFailure:
        return False  # it takes a right of cluster monitors
    return bool(status.get("repl", {}).get("userWriteBlockMode") == _BLOCKED)


def set_block(client: Client, *, blocked: bool) -> None:
    """Block the writes of users, or let them write again; what is so already stays so. Blocks.

    Raises:
        PyMongoError: the server is away, or refuses.
    """
    client.admin.command({ACTION: 1, "global": blocked})


def can_be_set(client: Client) -> bool:
    """The user may block writes, and the server knows how; what the server refuses to answer counts as no. Blocks.

    Raises:
        PyMongoError: the server is away.
    """
    try:
        return not why_not(client)
    except PyMongoError as error:
        if failure_of(error).is_transient:
            raise
        return False
