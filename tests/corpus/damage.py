"""Documents whose frame is whole and whose inside breaks the rules of BSON."""

from __future__ import annotations

import struct

from bson import Int64

from tests.corpus.case import (
    Case,
    Reject,
    element,
    encode,
    inner,
    raw,
    text,
)

_DEEP = b"\0"
for _ in range(201):
    _DEEP = struct.pack("<i", len(_DEEP) + 4 + 3) + b"\x03a\0" + _DEEP + b"\0" if len(_DEEP) > 1 else inner()

CORRUPT = [
    Case(
        "string longer than its document",
        raw(element(2, "v", struct.pack("<i", 1000) + b"a\0")),
        Reject("corrupt"),
        seen=({"v": "a"},),
    ),
    Case("string without a length", raw(element(2, "v", b"\1\0")), Reject("corrupt"), seen=({"v": "a"},)),
    Case(
        "string of negative length",
        raw(element(2, "v", struct.pack("<i", -1) + b"\0" * 9)),
        Reject("corrupt"),
        seen=({"v": "a"},),
    ),
    Case(
        "string without an end",
        raw(element(2, "v", struct.pack("<i", 1) + b"a")),
        Reject("corrupt"),
        seen=({"v": "a"},),
    ),
    Case("number cut off", raw(element(0x12, "v", b"\1\2\3")), Reject("corrupt"), seen=({"v": Int64(1)},)),
    Case("unknown element type", raw(element(0x44, "v", b"\0" * 20)), Reject("corrupt"), seen=({},)),
    Case("bool of 2", raw(element(8, "v", b"\2")), Reject("corrupt"), seen=({"v": True},)),
    Case(
        "bool of 2 in JSON", raw(element(4, "v", inner(element(8, "0", b"\2")))), Reject("corrupt"), seen=({"v": []},)
    ),
    Case(
        "key without an end",
        inner(element(0x10, "_id", b"\0" * 4), b"\x0avvv")[:-1] + b"v",
        Reject("corrupt"),
        seen=({},),
    ),
    Case(
        "document longer than the one around it",
        raw(element(3, "v", struct.pack("<i", 500) + b"\0")),
        Reject("corrupt"),
        seen=({"v": {}},),
    ),
    Case(
        "document shorter than itself",
        raw(element(3, "v", struct.pack("<i", 4) + b"\0")),
        Reject("corrupt"),
        seen=({"v": {}},),
    ),
    Case(
        "value that leaves its inner document",
        raw(element(3, "v", struct.pack("<i", 8) + b"\x12a\0\0" + b"\0" * 8)),
        Reject("corrupt"),
        seen=({"v": {}},),
    ),
    Case(
        "old binary of two lengths",
        raw(element(5, "v", struct.pack("<iBi", 6, 2, 3) + b"ab")),
        Reject("corrupt"),
        seen=({"v": b"a"},),
    ),
    Case(
        "code that leaves no room for its scope",
        raw(element(0x0F, "v", struct.pack("<i", 14) + text("abcde"))),
        Reject("corrupt"),
        seen=({"v": {}},),
    ),
    Case("nested too deep", raw(element(3, "v", _DEEP)), Reject("corrupt"), seen=({"v": {}},)),
    Case("no end", encode({"v": 1})[:-1] + b"\1", Reject("corrupt"), seen=({"v": 1},)),
]
