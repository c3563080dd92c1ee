"""What MongoDB says of itself: `serverStatus` and `replSetGetStatus`, asked so that a server in trouble is not waited for."""

from __future__ import annotations

from typing import Any

import pymongo

from engine.mongo.connect import Client, Document

ANSWER_S = 2.0
"""A server that takes longer is asked again later."""
_SECTIONS = ("wiredTiger", "queues", "globalLock", "flowControl", "oplog")


def server_status(client: Client) -> Document:
    """The sections of `serverStatus` that vitals are made of; servers that do not know `none` send the others, too.

    Raises:
        PyMongoError: the server does not answer, or not to this user.
    """
    command: dict[str, Any] = {"serverStatus": 1, "none": True} | dict.fromkeys(_SECTIONS, 1)
    return _asked(client, command)


def member_status(client: Client) -> Document:
    """`replSetGetStatus`: the members of the replica set, and how far each of them is.

    Raises:
        PyMongoError: the server does not answer, or not to this user, or is no member of one.
    """
    return _asked(client, {"replSetGetStatus": 1})


def _asked(client: Client, command: dict[str, Any]) -> Document:
    with pymongo.timeout(ANSWER_S):
        return client.admin.command(command, read_preference=client.read_preference)
