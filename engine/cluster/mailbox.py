"""A conversation with another host over a transport that may lose, repeat and interrupt: each message arrives once, in order.

Both ends keep what they have sent until the other one says that it has it, and send all of it again when that takes long.
Parcels are sealed with a key of the conversation: what belongs to another one, or was made by others, is not taken.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.work.codec import BadMessage, Codec
from engine.work.frames import FORMAT

RESEND_S = 2.0
"""What was sent and not acknowledged for so long is sent again."""
PARCEL_BYTES = 1_000_000
"""A parcel takes no further message from here on."""
_SEAL = hashlib.sha256
_SEAL_BYTES = 32


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is in a parcel."""

    format: int
    first: int
    """Number of the first message."""
    acknowledged: int
    """The other end's messages up to this number have arrived."""
    messages: tuple[str, ...]
    note: str
    """What only the newest one counts of, such as counters; may be lost. Empty for none."""


_envelopes = Codec([Envelope])


class Mailbox:
    """One end."""

    def __init__(
        self, codec: Codec, key: bytes, ours: str, theirs: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing was said yet.

        Args:
            codec: of the messages.
            key: of the conversation, the same at both ends.
            ours: name of this end; a parcel that comes back is not taken.
            theirs: name of the other one.
            clock: in seconds.
        """
        self._codec, self._key, self._clock = codec, key, clock
        self._ours, self._theirs = ours.encode(), theirs.encode()
        self._kept: deque[str] = deque()
        """Said and not acknowledged, from number `_acknowledged + 1` on."""
        self._acknowledged = 0
        self._n_sent = 0
        """Of those kept."""
        self._waits_since = 0.0
        """When the oldest one that is kept was sent, or the last acknowledgement came."""
        self._taken = 0
        """Number of the last message that was taken."""

    @property
    def has_news(self) -> bool:
        """There is something to send."""
        return self._n_sent < len(self._kept) or self._is_overdue

    @property
    def _is_overdue(self) -> bool:
        return self._n_sent > 0 and self._clock() - self._waits_since > RESEND_S

    def put(self, message: object) -> None:
        """Say something."""
        self._kept.append(self._codec.encode(message).decode())

    def parcel(self, note: object = None) -> bytes:
        """What is to be sent next, perhaps no more than which messages have arrived; call again as long as there is news."""
        if self._is_overdue:
            self._n_sent = 0
        if self._n_sent == 0:
            self._waits_since = self._clock()
        first = self._acknowledged + self._n_sent + 1
        messages: list[str] = []
        size = 0
        while self._n_sent < len(self._kept) and size < PARCEL_BYTES:
            messages.append(self._kept[self._n_sent])
            size += len(messages[-1])
            self._n_sent += 1
        noted = "" if note is None else self._codec.encode(note).decode()
        envelope = Envelope(FORMAT, first, self._taken, tuple(messages), noted)
        content = _envelopes.encode(envelope)
        return self._seal(self._ours, content) + content

    def open(self, parcel: bytes) -> tuple[list[Any], Any]:
        """The messages of a parcel that are new, and its note.

        Raises:
            BadMessage: it is not of this conversation.
        """
        seal, content = parcel[:_SEAL_BYTES], parcel[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(self._theirs, content)):
            raise BadMessage("a parcel of another conversation")
        envelope: Envelope = _envelopes.decode(content)
        if envelope.format != FORMAT:
            raise BadMessage(f"a parcel of format {envelope.format}, and this is {FORMAT}")
        self._acknowledge(envelope.acknowledged)
        found = []
        if envelope.first <= self._taken + 1:  # else one is missing in between, and all will come again
            found = [
                self._codec.decode(each.encode()) for each in envelope.messages[self._taken + 1 - envelope.first :]
            ]
            self._taken += len(found)
        return found, self._codec.decode(envelope.note.encode()) if envelope.note else None

    def _acknowledge(self, upto: int) -> None:
        n = min(upto - self._acknowledged, len(self._kept))
        if n <= 0:
            return
        for _ in range(n):
            self._kept.popleft()
        self._acknowledged += n
        self._n_sent = max(0, self._n_sent - n)
        self._waits_since = self._clock()

    def _seal(self, sender: bytes, content: bytes) -> bytes:
        return hmac.new(self._key, sender + b"\0" + content, _SEAL).digest()
