"""BSON documents as JSON text, for jsonb and json columns.

The text is defined to the byte, because the native converter writes the same: no spaces; keys in the document's order,
one that comes twice at its first place with its last value; `"`, `\\` and control characters escaped (`\\b \\f \\n \\r
\\t`, else `\\u00xx` in small hex digits), everything else as UTF-8; numbers as in `engine.convert.scalars`, and a double
that is whole as exactly its value: all its digits, or its shortest text where that is the number itself and shorter (`1e+22`).

Extended JSON: canonical format of the MongoDB Extended JSON specification, version 2.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring

from engine.convert.decimals import is_number_itself
from engine.convert.rejection import RejectedError
from engine.convert.scalars import (
    PLAIN_TEXTS,
    Text,
    base64_text,
    bool_text,
    decimal128_text,
    double_text,
    int32_text,
    int64_text,
    is_huge,
    object_id_text,
    regex_parts,
    unpack_double,
    unpack_timestamp,
    uuid_bytes,
    uuid_text,
)
from engine.convert.strings import Hit, Policies, clean_text
from engine.mapping.bson import CorruptDocumentError, binary_kind, unpack_int32, value_end
from engine.mapping.limits import MAX_DEPTH
from engine.mapping.model import Kind

MAX_CACHED_KEYS = 10_000
"""Keys whose JSON is kept; documents used as dictionaries may have any number."""

quote: Callable[[str], str] = encode_basestring
"""A string as JSON, by the C function behind `json.dumps(..., ensure_ascii=False)`."""

STRING, DOCUMENT, ARRAY = int(Kind.STRING), int(Kind.DOCUMENT), int(Kind.ARRAY)
"""Compared with each value's type byte; a plain int compares three times as fast as an enum's member."""


class JsonWriter:
    """Writes values as JSON under one set of policies.

    Args:
        extended: canonical Extended JSON; otherwise plain JSON.
        uuid_legacy: byte order of binary subtype 3, or empty: it is then a binary like others.
        hit: told of each value that a policy touched.
    """

    def __init__(self, *, extended: bool, uuid_legacy: str, policies: Policies, hit: Hit) -> None:
        self._policies = policies
        self._hit = hit
        self._uuid_legacy = uuid_legacy
        self._names: dict[bytes, str] = {}
        self._texts: dict[int, Text] = {
            Kind.BOOL: bool_text,
            Kind.NULL: lambda document, start, end: "null",
            Kind.UNDEFINED: lambda document, start, end: '{"$undefined":true}',
            Kind.MIN_KEY: lambda document, start, end: '{"$minKey":1}',
            Kind.MAX_KEY: lambda document, start, end: '{"$maxKey":1}',
            Kind.DB_POINTER: self._db_pointer,
        }
        self._texts.update(self._extended_texts() if extended else self._plain_texts())
        self._scope_writer = self
        if not extended:
            self._scope_writer = JsonWriter(extended=True, uuid_legacy=uuid_legacy, policies=policies, hit=hit)

    def document(self, raw: bytes, start: int, end: int, depth: int = 1, without: bytes | None = None) -> str:
        """The document in `raw[start:end]` as a JSON object.

        Args:
            depth: levels of nesting, this document included.
            without: a key that is left out.

        Raises:
            RejectedError: a policy says so; its keys lead from this document to the value.
            CorruptDocumentError: the inside of the document breaks the rules of BSON.
        """
        members: dict[str, str] = {}
        n_members = 0
        position, last = start + 4, end - 1
        key = b""
        names = self._names
        if depth > MAX_DEPTH:
            raise CorruptDocumentError
        try:
            while position < last:
                kind = raw[position]
                value_start = raw.find(0, position + 1, last) + 1
                if not value_start:
                    raise CorruptDocumentError
                key = raw[position + 1 : value_start - 1]
                if kind == STRING:
                    position = value_start + 4 + unpack_int32(raw, value_start)[0]
                    if position < value_start + 5 or position > last or raw[position - 1]:
                        raise CorruptDocumentError
                else:
                    position = value_end(raw, kind, value_start, last)
                if key == without:
                    continue
                n_members += 1
                name = names.get(key) or self.name(key)
                if kind == STRING:
                    content = raw[value_start + 4 : position - 1]
                    if 0 in content or not content.isascii():
                        members[name] = name + quote(clean_text(content, self._policies, self._hit))
                    else:
                        members[name] = name + quote(content.decode())
                else:
                    members[name] = name + self.value(raw, kind, value_start, position, depth)
        except RejectedError as rejection:
            rejection.keys.append(key)
            raise
        for _ in range(n_members - len(members)):
            self._hit("duplicate_key")
        return "{" + ",".join(members.values()) + "}"

    def array(self, raw: bytes, start: int, end: int, depth: int = 1) -> str:
        """The array in `raw[start:end]` as a JSON array; the keys of its elements say nothing and go unread.

        Raises:
            RejectedError, CorruptDocumentError: as `document`.
        """
        elements: list[str] = []
        position, last = start + 4, end - 1
        key = b""
        if depth > MAX_DEPTH:
            raise CorruptDocumentError
        try:
            while position < last:
                kind = raw[position]
                value_start = raw.find(0, position + 1, last) + 1
                if not value_start:
                    raise CorruptDocumentError
                key = raw[position + 1 : value_start - 1]
                position = value_end(raw, kind, value_start, last)
                elements.append(self.value(raw, kind, value_start, position, depth))
        except RejectedError as rejection:
            rejection.keys.append(key)
            raise
        return "[" + ",".join(elements) + "]"

    def value(self, raw: bytes, kind: int, start: int, end: int, depth: int = 0) -> str:
        """Any value as JSON.

        Args:
            depth: levels of nesting around it.

        Raises:
            RejectedError, CorruptDocumentError: as `document`.
        """
        if kind == STRING:
            return quote(clean_text(raw[start + 4 : end - 1], self._policies, self._hit))
        if kind == DOCUMENT:
            return self.document(raw, start, end, depth + 1)
        if kind == ARRAY:
            return self.array(raw, start, end, depth + 1)
        if kind == Kind.CODE_WITH_SCOPE:
            return self._code_with_scope(raw, start, end, depth)
        return self._texts[kind](raw, start, end)

    def name(self, key: bytes) -> str:
        """A key as it is in an object, colon included; kept for the next time.

        Raises:
            RejectedError: the key is not UTF-8 and the policy is `reject`.
        """
        name = quote(clean_text(key, self._policies, self._hit)) + ":"
        if key.isascii() and len(self._names) < MAX_CACHED_KEYS:
            self._names[key] = name
        return name

    def _string(self, document: bytes, start: int, end: int) -> str:
        """A value stored like a string, quoted."""
        return quote(clean_text(document[start + 4 : end - 1], self._policies, self._hit))

    def _code_with_scope(self, raw: bytes, start: int, end: int, depth: int) -> str:
        last = end - 1
        code_end = value_end(raw, Kind.JAVASCRIPT, start + 4, last)
        if value_end(raw, Kind.DOCUMENT, code_end, end) != end:
            raise CorruptDocumentError
        code = self._string(raw, start + 4, code_end)
        scope = self._scope_writer.document(raw, code_end, end, depth + 1)
        return f'{{"$code":{code},"$scope":{scope}}}'

    def _db_pointer(self, document: bytes, start: int, end: int) -> str:
        namespace = self._string(document, start, end - 12)
        return f'{{"$dbPointer":{{"$ref":{namespace},"$id":{{"$oid":"{document[end - 12 : end].hex()}"}}}}}}'

    def _regex_parts(self, document: bytes, start: int, end: int) -> tuple[str, str]:
        pattern, options = regex_parts(document, start, end)
        return clean_text(pattern, self._policies, self._hit), clean_text(options, self._policies, self._hit)

    def _plain_texts(self) -> dict[int, Text]:
        return {
            Kind.DOUBLE: _plain_double,
            Kind.BINARY: self._plain_binary,
            Kind.OBJECT_ID: lambda document, start, end: f'"{document[start:end].hex()}"',
            Kind.DATE: lambda document, start, end: f'"{PLAIN_TEXTS[Kind.DATE](document, start, end)}"',
            Kind.REGEX: self._plain_regex,
            Kind.JAVASCRIPT: self._string,
            Kind.SYMBOL: self._string,
            Kind.INT32: int32_text,
            Kind.INT64: int64_text,
            Kind.TIMESTAMP: _timestamp,
            Kind.DECIMAL128: _plain_decimal128,
        }

    def _plain_binary(self, document: bytes, start: int, end: int) -> str:
        kind = binary_kind(document, start, end)
        if kind is Kind.UUID or (kind is Kind.UUID_LEGACY and self._uuid_legacy):
            return f'"{uuid_text(uuid_bytes(document, start, end, self._uuid_legacy))}"'
        return f'"{base64_text(document, start, end)}"'

    def _plain_regex(self, document: bytes, start: int, end: int) -> str:
        pattern, options = self._regex_parts(document, start, end)
        return quote(f"/{pattern}/{options}")

    def _extended_texts(self) -> dict[int, Text]:
        return {
            Kind.DOUBLE: lambda document, start, end: f'{{"$numberDouble":"{double_text(document, start, end)}"}}',
            Kind.BINARY: _extended_binary,
            Kind.OBJECT_ID: lambda document, start, end: f'{{"$oid":"{object_id_text(document, start, end)}"}}',
            Kind.DATE: lambda document, start, end: (
                f'{{"$date":{{"$numberLong":"{int64_text(document, start, end)}"}}}}'
            ),
            Kind.REGEX: self._extended_regex,
            Kind.JAVASCRIPT: lambda document, start, end: f'{{"$code":{self._string(document, start, end)}}}',
            Kind.SYMBOL: lambda document, start, end: f'{{"$symbol":{self._string(document, start, end)}}}',
            Kind.INT32: lambda document, start, end: f'{{"$numberInt":"{int32_text(document, start, end)}"}}',
            Kind.INT64: lambda document, start, end: f'{{"$numberLong":"{int64_text(document, start, end)}"}}',
            Kind.TIMESTAMP: lambda document, start, end: f'{{"$timestamp":{_timestamp(document, start, end)}}}',
            Kind.DECIMAL128: lambda document, start, end: (
                f'{{"$numberDecimal":"{decimal128_text(document, start, end)}"}}'
            ),
        }

    def _extended_regex(self, document: bytes, start: int, end: int) -> str:
        pattern, options = self._regex_parts(document, start, end)
        return f'{{"$regularExpression":{{"pattern":{quote(pattern)},"options":{quote(options)}}}}}'


def _plain_double(document: bytes, start: int, end: int) -> str:
    number = unpack_double(document, start)[0]
    text = double_text(document, start, end)
    if is_huge(number):
        digits = str(int(number))
        return text if len(text) < len(digits) and is_number_itself(text, number) else digits
    return f'"{text}"' if text[-1] in "Ny" else text


def _plain_decimal128(document: bytes, start: int, end: int) -> str:
    text = decimal128_text(document, start, end)
    return f'"{text}"' if text[-1] in "Ny" else text


def _timestamp(document: bytes, start: int, end: int) -> str:
    increment, seconds = unpack_timestamp(document, start)
    return f'{{"t":{seconds},"i":{increment}}}'


def _extended_binary(document: bytes, start: int, end: int) -> str:
    payload = base64_text(document, start, end)
    return f'{{"$binary":{{"base64":"{payload}","subType":"{document[start + 4]:02x}"}}}}'
