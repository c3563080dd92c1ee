"""Host processes of other hosts, spoken to as an engine speaks to them."""

from __future__ import annotations

import secrets

from engine.cluster.host_start import StartedHost, start_early, started_host
from engine.cluster.host_words import CODEC, ENGINE, HOST, Said, Tell
from engine.cluster.mailbox import Mailbox
from engine.work.frames import LENGTH, framed
from engine.work.messages import CopyLease, NewLease, Returned

ENDS_S = 30.0
DRAIN = b""
"""A parcel that says that the host is taken away."""


def leave(host: StartedHost) -> None:
    """Nothing is said to it any more: it ends."""
    host.socket.close()
    host.process.wait(ENDS_S)


def test_one_that_was_started_early_is_taken_once_and_none_that_has_ended() -> None:
    early = start_early()
    assert started_host() is early
    leave(early)
    ended = start_early()
    leave(ended)
    other = started_host()
    assert other is not ended
    leave(other)


def test_a_lease_that_comes_after_its_host_was_told_to_finish_is_given_back() -> None:
    lease = CopyLease(1, 3, 0, None, True, None)
    key = secrets.token_bytes(32)
    mailbox = Mailbox(CODEC, key, ENGINE, HOST)
    mailbox.put(Tell(1, NewLease(lease)))
    host = started_host()
    host.socket.sendall(b"".join(map(framed, (key, DRAIN, mailbox.parcel()))))
    heard = []
    with host.socket.makefile("rb") as stream:
        while head := stream.read(LENGTH.size):
            (length,) = LENGTH.unpack(head)
            messages, _ = mailbox.open(stream.read(length))
            heard += messages
    leave(host)
    assert [message for message in heard if isinstance(message, Said)] == [
        Said(1, Returned(lease, finished=False, rest=lease))
    ]
