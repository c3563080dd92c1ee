"""Where the fuzzer's inputs let the work on a batch begin."""

from __future__ import annotations

from tests.corpus.case import inner
from tests.fuzz.batches import ANYWHERE, AT_LAST, AT_SECOND, AT_START, FAR, offset_of

DOCUMENT = inner()
THREE = DOCUMENT * 3


def test_the_work_begins_at_a_document() -> None:
    size = len(DOCUMENT)
    assert [offset_of(where, THREE, b"") for where in (AT_START, AT_SECOND, AT_LAST)] == [0, size, 2 * size]
    assert [offset_of(where, DOCUMENT, b"") for where in (AT_START, AT_SECOND, AT_LAST)] == [0, 0, 0]
    assert offset_of(AT_LAST, b"", b"") == 0


def test_in_a_batch_that_breaks_off_it_begins_at_what_is_left() -> None:
    size = len(DOCUMENT)
    assert offset_of(AT_LAST, DOCUMENT + b"\xff\0", b"") == size
    assert offset_of(AT_SECOND, b"\xff\0", b"") == 0


def test_it_begins_at_any_byte_and_behind_the_end() -> None:
    offsets = {offset_of(ANYWHERE, THREE, number.to_bytes(2)) for number in range(1000)}
    assert offsets == {*range(len(THREE) + 3), FAR}
