"""What the fuzzer's bytes mean: a mapping, and a batch as it stands or written by a little program.

Mutated BSON is mostly rejected at its first length. So most inputs are programs: each step writes an element whose
lengths are right, and only then, perhaps, some bytes of the batch are spoiled.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings

from engine.convert.interface import Converter
from engine.mapping.bson import document_end
from engine.mapping.model import Mapping
from tests.agreement import both_converters
from tests.corpus import CASES, encode
from tests.corpus.case import element, inner, text
from tests.mappings import any_mappings

N_RANDOM_MAPPINGS = 400
RAW, FRAMED, WRITTEN, SPOILED = range(4)
"""How the rest of an input becomes a batch."""
AT_START, AT_SECOND, AT_LAST, ANYWHERE = range(4)
"""Where in the batch the work begins."""
FAR = 2**40
HEADER = struct.Struct("<HB")
"""Number of the mapping, way."""

_KEYS = (
    b"_id",
    b"v",
    b"a",
    b"b",
    b"c",
    b"",
    b"\xff",
    b'q"\n',
    b"\xef\xbf\xbd",
    b"w",
    b"a.b",
    b"address",
    *(b"k%d" % number for number in range(20)),
)
_SIZES = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x06: 0, 0x7F: 0, 0xFF: 0}
_KINDS = (*_SIZES, 0x02, 0x02, 0x0D, 0x0E, 0x03, 0x03, 0x04, 0x04, 0x05, 0x0B, 0x0C, 0x0F)
_END = 31
"""A step that ends the innermost document, array or scope."""
_NEST = 0xF0
"""Steps from here on begin a document or array, so that the deepest nesting takes few bytes."""
_DEEPEST = 250
"""Levels of nesting; the converters take 200."""
_LONGEST = 24
"""Bytes of a text or binary; two of its values ask for more."""


@dataclass(slots=True)
class _Program:
    """Bytes to read steps from; they never run out, but become zeros."""

    content: bytes
    position: int = 0

    @property
    def is_over(self) -> bool:
        return self.position >= len(self.content)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        taken = self.content[self.position : self.position + size]
        self.position += size
        return taken.ljust(size, b"\0")

    def number(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def some(self) -> bytes:
        """Some bytes, mostly few."""
        size = self.number() % (_LONGEST + 2)
        if size >= _LONGEST:
            return self.take(4) * (100 if size == _LONGEST else 1000)
        return self.take(size)


def batch_of(way: int, content: bytes) -> bytes:
    """The batch that an input stands for."""
    if way == RAW:
        return content
    if way == FRAMED:
        return inner(content)
    program = _Program(content)
    spots = program.take(8) if way == SPOILED else b""
    documents = [_document(program)]
    while not program.is_over:
        documents.append(_document(program))
    batch = bytearray(b"".join(documents))
    for spot, value in zip(spots[::2], spots[1::2], strict=True):
        batch[spot * len(batch) // 256] ^= value
    return bytes(batch)


def offset_of(where: int, batch: bytes, content: bytes) -> int:
    """Where the work on a batch begins: at one of its documents, or at any byte, those behind its end included.

    Args:
        content: the whole input; its last bytes choose among any.
    """
    if where == ANYWHERE:
        offset = int.from_bytes(content[-2:]) % (len(batch) + 4)
        return FAR if offset == len(batch) + 3 else offset
    starts, end = [0], 0
    while where != AT_START:
        try:
            end = document_end(batch, end)
        except ValueError:
            break
        if end == len(batch) or (where == AT_SECOND and len(starts) == 2):
            break
        starts.append(end)
    return starts[-1]


def _document(program: _Program, depth: int = 0) -> bytes:
    elements = []
    while not program.is_over:
        step = program.number()
        if step % 32 == _END or depth > _DEEPEST:
            break
        if step >= _NEST:
            elements.append(element(0x03 + step % 2, b"v", _document(program, depth + 1)))
            continue
        kind = _KINDS[step % len(_KINDS)]
        elements.append(element(kind, _KEYS[program.number() % len(_KEYS)], _payload(kind, program, depth)))
    return inner(*elements)


def _payload(kind: int, program: _Program, depth: int) -> bytes:
    if kind == 0x08:
        return bytes((min(program.number() >> 6, 2),))
    if kind in _SIZES:
        return program.take(_SIZES[kind])
    if kind in (0x03, 0x04):
        return _document(program, depth + 1)
    if kind == 0x05:
        subtype = program.number() % 6
        content = program.take(16) if program.number() % 2 else program.some()
        return struct.pack("<iB", len(content), subtype) + content
    if kind == 0x0B:
        return program.some().replace(b"\0", b"") + b"\0" + program.some().replace(b"\0", b"") + b"\0"
    if kind == 0x0C:
        return text(program.some()) + program.take(12)
    if kind == 0x0F:
        content = text(program.some()) + _document(program, depth + 1)
        return struct.pack("<i", len(content) + 4) + content
    return text(program.some())


def converters() -> list[tuple[Converter, Converter]]:
    """The plain and the native converter for each mapping that an input may choose, always in the same order."""
    mappings = [case.mapping() for case in CASES]

    slowly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # all is, under sanitizers

    @settings(slowly, max_examples=N_RANDOM_MAPPINGS, derandomize=True, database=None)
    @given(any_mappings())
    def collect(mapping: Mapping) -> None:
        mappings.append(mapping)

    collect()
    return [both for both in map(both_converters, mappings) if both is not None]


def seeds() -> list[bytes]:
    """Inputs to begin with: every edge of the corpus under its own mapping, a few programs, and many keys at once."""
    found = [HEADER.pack(number, RAW) + encode(case.document) for number, case in enumerate(CASES)]
    for number in range(0, N_RANDOM_MAPPINGS, 8):
        program = bytes((number * step * 37 + step) % 256 for step in range(64))
        found.append(HEADER.pack(len(CASES) + number, WRITTEN + number // 8 % 4 * 0x20) + program)
    members = [element(0x0A, f"k{number % 40}") for number in range(50)]
    wide = inner(element(0x10, "_id", bytes(4)), *members)
    found.extend(HEADER.pack(number, RAW) + wide for number in range(0, len(CASES), 4))
    return found
