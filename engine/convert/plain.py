"""The plain converter: BSON documents to COPY bytes in readable Python, the reference for the native converter.

A document is walked once, element by element. Its type byte and key together name a step (`engine.convert.layout`):
the column, the size of the value, the encoder. What has no step, because the field is unknown or the value's kind is
not the column's, is dealt with in `_unusual`.

Rules beyond docs/types.md, for both converters:

- The first thing wrong in the order of the document's bytes decides the reason of a reject; then `_id`'s rules; then
  NOT NULL and lengths, in the order of the columns.
- Policy hits count only for documents that become rows.
- A key that comes twice in one document has its last value, and each value before it is a hit `duplicate_key`.
- `_extra` nests like the document: `{"address":{"city":5}}`.
- An empty document at a flattened path has none of the fields below it: their columns are NULL, and `_missing` lists them.
- A null at a flattened path makes the columns below it NULL; `_missing` does not list them.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import Counter

from engine.convert.encoders import ELEMENT_OIDS, JSONB_VERSION, NULL, encode_array, with_length
from engine.convert.keysize import ALWAYS_SHORT, jsonb_size
from engine.convert.layout import BELOW, STRING_SIZE, Level, build_levels, constraints, encoders_of, json_writer
from engine.convert.rejection import (
    CORRUPT,
    DETAILS,
    ID_KIND,
    ID_TOO_LONG,
    MISSING_ID_DETAIL,
    NOT_NULL,
    OVERFLOW,
    TOO_LONG,
    UNKNOWN_FIELD_DETAIL,
    RejectedError,
    misfit_detail,
)
from engine.convert.strings import Policies
from engine.mapping.bson import (
    CorruptDocumentError,
    binary_kind,
    document_end,
    unpack_int32,
    value_end,
)
from engine.mapping.limits import MAX_KEY_BYTES
from engine.mapping.model import ColumnType, Kind, Mapping, Role
from engine.mapping.names import show_path
from engine.rows import Converted, Reject

MISSING = bytes(bytearray(NULL))
"""A field not met yet: the bytes of NULL, but another object, so that `is` tells it from a null in the document."""
ID_PATH = (b"_id",)

Extra = dict[str, "str | Extra"]
"""Fields without a place of their own, by their key as it is in JSON: JSON text, or those of a flattened field."""


class PlainConverter:
    """Converts documents for one mapping; see `engine.convert.interface.Converter`.

    Raises:
        UsageError: the mapping contradicts itself.
    """

    name = "plain"

    def __init__(self, mapping: Mapping, *, has_checksum: bool = True) -> None:
        options = mapping.options
        self._has_checksum = has_checksum
        self._hits: list[str] = []
        self._header = struct.pack(">h", len(mapping.columns))
        self._blank = [MISSING] * len(mapping.columns)
        self._column_policies = [Policies.of(column, options) for column in mapping.columns]
        self._column_writers = [json_writer(mapping, column, self._hits.append) for column in mapping.columns]
        self._top = build_levels(mapping, encoders_of(mapping, self._column_writers, self._hits))
        self._rest_policies = Policies.of(None, options)
        self._rest_writer = json_writer(mapping, None, self._hits.append)
        roles = {column.role: index for index, column in enumerate(mapping.columns)}
        self._id_index = roles[Role.ID]
        self._has_to_have_id = not mapping.id_column.nullable
        self._document_index = roles.get(Role.DOCUMENT)
        self._extra_index = roles.get(Role.EXTRA)
        self._missing_index = roles.get(Role.MISSING)
        self._versions = [JSONB_VERSION if column.type is ColumnType.JSONB else b"" for column in mapping.columns]
        self._missing_names = [
            (index, with_length(show_path(column.path).encode()))
            for index, column in enumerate(mapping.columns)
            if column.role is Role.FIELD
        ]
        self._constraints = constraints(mapping)
        self._extra: Extra = {}

    def convert(self, batch: bytes, offset: int, limit: int) -> Converted:
        """Convert at most `limit` documents of `batch`, from byte `offset` on.

        Raises:
            ValueError: `batch` is not a sequence of whole documents; the message says at which offset it breaks.
        """
        rows: list[bytes] = []
        row_ends, row_documents = array("Q"), array("Q")
        rejects: list[Reject] = []
        policy_hits: Counter[str] = Counter()
        copied, checksum, n_read, last = 0, 0, 0, offset
        hits, size = self._hits, len(batch)
        while offset < size and n_read < limit:
            last = offset
            offset = document_end(batch, last)
            document = batch[last:offset]
            if self._has_checksum:
                checksum += zlib.crc32(document)
            n_read += 1
            try:
                row = self._row(document)
            except RejectedError as rejection:
                rejects.append(Reject(last, offset - last, rejection.reason, rejection.field, rejection.detail))
                hits.clear()
                continue
            except (CorruptDocumentError, struct.error):
                rejects.append(Reject(last, offset - last, CORRUPT, "", DETAILS[CORRUPT]))
                hits.clear()
                continue
            if hits:
                policy_hits.update(hits)
                hits.clear()
            rows.append(row)
            copied += len(row)
            row_ends.append(copied)
            row_documents.append(last)
        return Converted(
            copy=b"".join(rows),
            row_ends=row_ends,
            row_documents=row_documents,
            n_read=n_read,
            end=offset,
            last=last,
            checksum=checksum & 0xFFFF_FFFF_FFFF_FFFF,
            rejects=rejects,
            policy_hits=dict(policy_hits),
        )

    def _row(self, document: bytes) -> bytes:
        fields = self._blank.copy()
        last = len(document) - 1
        if document[last]:
            raise CorruptDocumentError
        if self._extra:
            self._extra = {}
        self._walk(self._top, document, 4, last, fields)
        key = fields[self._id_index]
        if key is MISSING and self._has_to_have_id:
            raise _rejected(ID_KIND, ID_PATH, MISSING_ID_DETAIL)
        if len(key) > ALWAYS_SHORT and self._key_size(key) > MAX_KEY_BYTES:
            raise _rejected(ID_TOO_LONG, ID_PATH)
        if self._document_index is not None:
            text = self._column_writers[self._document_index].document(document, 0, last + 1, without=b"_id")
            fields[self._document_index] = with_length(self._versions[self._document_index] + text.encode())
        if self._missing_index is not None:
            names = [name for index, name in self._missing_names if fields[index] is MISSING]
            fields[self._missing_index] = encode_array(names, ELEMENT_OIDS[ColumnType.TEXT])
        if self._extra and self._extra_index is not None:
            text = _object_text(self._extra)
            fields[self._extra_index] = with_length(self._versions[self._extra_index] + text.encode())
        if self._constraints:
            self._check(fields)
        return self._header + b"".join(fields)

    def _check(self, fields: list[bytes]) -> None:
        """Reject a row that the table would refuse, or cut: PostgreSQL drops blanks that are too many for a varchar(n)."""
        for constraint in self._constraints:
            field = fields[constraint.column]
            if field == NULL:
                if constraint.is_required:
                    raise _rejected(NOT_NULL, constraint.path)
            elif constraint.length and len(field[len(NULL) :].decode()) > constraint.length:
                raise _rejected(TOO_LONG, constraint.path)

    def _key_size(self, field: bytes) -> int:
        """Bytes of an `_id`'s field as an index would hold it."""
        content = field[len(NULL) :]
        if self._versions[self._id_index]:
            return max(len(content), jsonb_size(content[len(JSONB_VERSION) :].decode()))
        return len(content)

    def _walk(self, level: Level, document: bytes, position: int, last: int, fields: list[bytes]) -> None:
        """Encode the elements between `position` and `last` into `fields`."""
        steps, find = level.steps, document.find
        element = b""
        try:
            while position < last:
                start = find(0, position + 1, last) + 1
                if not start:
                    raise CorruptDocumentError
                element = document[position : start - 1]
                step = steps.get(element)
                if step is None:
                    position = self._unusual(level, document, element, start, last, fields)
                    continue
                index, size, encode = step
                if size > 0:
                    position = start + size
                    if position > last:
                        raise CorruptDocumentError
                elif size == STRING_SIZE:
                    position = start + 4 + unpack_int32(document, start)[0]
                    if position < start + 5 or position > last or document[position - 1]:
                        raise CorruptDocumentError
                else:
                    position = value_end(document, element[0], start, last)
                    if index == BELOW:
                        self._descend(level, document, element[1:], start, position, fields)
                        continue
                if fields[index] is not MISSING:
                    self._forget(level, element[1:], fields)
                value = encode(document, start, position)
                if value is None:
                    fields[index] = NULL
                    self._overflow(level, document, element, start, position, index)
                else:
                    fields[index] = value
        except RejectedError as rejection:
            rejection.keys.append(element[1:])
            raise

    def _descend(self, level: Level, document: bytes, key: bytes, start: int, end: int, fields: list[bytes]) -> None:
        """Walk the document of a flattened field."""
        self._forget(level, key, fields)
        self._walk(level.below[key], document, start + 4, end - 1, fields)

    def _unusual(
        self, level: Level, document: bytes, element: bytes, start: int, last: int, fields: list[bytes]
    ) -> int:
        """Deal with an element that no step takes; returns where its value ends."""
        kind, key = element[0], element[1:]
        end = value_end(document, kind, start, last)
        if key in level.ignored:
            return end
        index = level.columns.get(key)
        if index is not None:
            if fields[index] is not MISSING:
                self._forget(level, key, fields)
            fields[index] = NULL
        elif key in level.below:
            self._forget(level, key, fields)
            if kind == Kind.NULL:
                for column in level.below[key].all_columns():
                    fields[column] = NULL
                return end
        elif self._document_index is not None:
            return end
        self._overflow(level, document, element, start, end, index)
        return end

    def _overflow(self, level: Level, document: bytes, element: bytes, start: int, end: int, index: int | None) -> None:
        """Put a value that has no column, or does not fit it, into `_extra`, or reject the document.

        Args:
            index: the column it was meant for; None: the field has none.
        """
        kind = binary_kind(document, start, end) if element[0] == Kind.BINARY else Kind(element[0])
        if index == self._id_index:
            raise RejectedError(ID_KIND, misfit_detail(kind))
        policies = self._rest_policies if index is None else self._column_policies[index]
        if policies.overflow == "reject" or self._extra_index is None:
            known = index is not None or element[1:] in level.below
            raise RejectedError(OVERFLOW, misfit_detail(kind) if known else UNKNOWN_FIELD_DETAIL)
        writer = self._rest_writer if index is None else self._column_writers[index]
        place, name = self._place(level, element[1:])
        place[name] = writer.value(document, element[0], start, end)

    def _place(self, level: Level, key: bytes) -> tuple[Extra, str]:
        """Where in `_extra` a field of this level belongs, and its name there."""
        place = self._extra
        for above in level.path:
            name = self._rest_writer.name(above)
            inner = place.get(name)
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = inner
        name = self._rest_writer.name(key)
        self._hits.append("overflow")
        if name in place:
            self._hits.append("duplicate_key")
        return place, name

    def _forget(self, level: Level, key: bytes, fields: list[bytes]) -> None:
        """Undo what an earlier element with the same key left, if there was one: the last wins."""
        columns = [level.columns[key]] if key in level.columns else level.below[key].all_columns()
        place: Extra | str | None = self._extra
        for above in level.path:
            place = place.get(self._rest_writer.name(above)) if isinstance(place, dict) else None
        left = place.pop(self._rest_writer.name(key), None) if isinstance(place, dict) else None
        if left is not None or any(fields[column] is not MISSING for column in columns):
            self._hits.append("duplicate_key")
            for column in columns:
                fields[column] = MISSING


def _object_text(members: Extra) -> str:
    texts = (name + (_object_text(value) if isinstance(value, dict) else value) for name, value in members.items())
    return "{" + ",".join(texts) + "}"


def _rejected(reason: str, path: tuple[bytes, ...], detail: str = "") -> RejectedError:
    rejection = RejectedError(reason, detail)
    rejection.keys.extend(reversed(path))
    return rejection
