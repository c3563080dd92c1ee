"""A source that answers as the router of a sharded cluster does is copied, and not followed.

Behind the proxy stands a replica set, whose answers to `hello` are made those of a mongos: no package of Python has one. What a
real one answers to the reads of a copy is not seen here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import bson

from tests.engine.test_follow_halts import documents, fill, values
from tests.faults.proxy import proxy_to
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

HEADER = struct.Struct("<iiii")
BEFORE_THE_DOCUMENT = {1: 36, 2013: 21}
"""By operation, OP_REPLY or OP_MSG: bytes from the beginning of a message
(https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md)."""
OF_A_SET = ("setName", "setVersion", "hosts", "primary", "me", "electionId", "secondary", "lastWrite")


def as_router(chunk: bytes) -> bytes:
    """What a server sends, with answers to `hello` as a mongos gives them.

    An answer to `hello` is small, and comes in one piece. The pieces of a larger answer are passed on as they are.
    """
    messages = list(_messages(chunk))
    return b"".join(map(_of_router, messages)) if messages else chunk


def _messages(chunk: bytes) -> Iterator[bytes]:
    """The messages that a chunk consists of; none where it is a piece of one."""
    found, offset = [], 0
    while len(chunk) - offset >= HEADER.size:
        size, _, _, operation = HEADER.unpack_from(chunk, offset)
        if operation not in BEFORE_THE_DOCUMENT or not HEADER.size < size <= len(chunk) - offset:
            return
        found.append(chunk[offset : offset + size])
        offset += size
    if offset == len(chunk):
        yield from found


def _of_router(message: bytes) -> bytes:
    if b"isWritablePrimary" not in message and b"ismaster" not in message:
        return message
    _, request, response, operation = HEADER.unpack_from(message)
    begin = BEFORE_THE_DOCUMENT[operation]
    answer: dict[str, Any] = bson.decode(message[begin:])
    if "maxWireVersion" not in answer:
        return message
    for name in OF_A_SET:
        answer.pop(name, None)
    body = message[HEADER.size : begin] + bson.encode(answer | {"msg": "isdbgrid"})
    return HEADER.pack(HEADER.size + len(body), request, response, operation) + body


async def test_a_sharded_source_is_refused_where_it_is_to_be_followed_and_copied_otherwise(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, "things")
    async with proxy_to(source.uri) as proxy:
        proxy.rewrite = as_router
        engines.source = replace(source, uri=proxy.uri.partition("?")[0])
        settings = engines.settings("things")
        refused, end = await engines.run(settings, follow=True)
        assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "cannot_follow")
        assert "the source is a sharded cluster" in end["error"]["message"]
        assert not target.value("SELECT count(*) FROM pg_tables WHERE tablename = 'things'"), "nothing is written"
        copied, end = await engines.run(settings)
        assert (end["state"], values(target)) == ("completed", documents(source))
        assert target.value("SELECT cannot_follow FROM mongopg.run") == "the source is a sharded cluster"
        for engine in (refused, copied):
            await engine.leave()
            await engine.until_gone()
        engines.source = source
