"""A mapping made ready for walking documents: which field of which level goes to which column, by which encoder."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Lookup
from dataclasses import dataclass, field

from engine.convert.encoders import NULL, Encoder, EncoderFactory
from engine.convert.jsontext import JsonWriter
from engine.convert.strings import Hit, Policies
from engine.errors import UsageError
from engine.mapping.bson import FIXED_SIZES, STRING_KINDS
from engine.mapping.kinds import JSON_TYPES
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import show_path

STRING_SIZE, OTHER_SIZE = -1, -2
"""Instead of a size: the value begins with its length like a string; `value_end` knows."""
BELOW = -1
"""Instead of a column: the value is a document whose fields are columns."""


EncodersOf = Callable[[int], Lookup[int, Encoder]]
"""Gives the encoders of a column, by element type."""


@dataclass(slots=True)
class Level:
    """The fields of the documents at one path, the top of the document or a flattened field."""

    path: tuple[bytes, ...] = ()
    steps: dict[bytes, tuple[int, int, Encoder]] = field(default_factory=dict)
    """Element type and key, as they stand in the document -> column, size of the value, encoder."""
    columns: dict[bytes, int] = field(default_factory=dict)
    """Key -> column."""
    below: dict[bytes, Level] = field(default_factory=dict)
    """Key -> the level of a flattened field."""
    ignored: set[bytes] = field(default_factory=set)

    def all_columns(self) -> list[int]:
        """The columns of this level and those below."""
        return [*self.columns.values(), *(column for level in self.below.values() for column in level.all_columns())]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the table refuses in a column, whatever its type would take."""

    column: int
    path: tuple[bytes, ...]
    is_required: bool
    """NOT NULL."""
    length: int
    """Characters that fit; 0 is any number."""


def constraints(mapping: Mapping) -> list[Constraint]:
    """The constraints of all columns, in their order. What `_id` must be, and `_missing` always is, is not among them."""
    found = []
    for index, column in enumerate(mapping.columns):
        is_required = not column.nullable and column.role not in (Role.ID, Role.MISSING)
        is_varchar = column.type is ColumnType.TEXT and not (column.array or column.is_padded)
        length = column.length if is_varchar else 0
        if is_required or length:
            path = tuple(key.encode() for key in column.path or (column.name,))
            found.append(Constraint(index, path, is_required, length))
    return found


def json_writer(mapping: Mapping, column: Column | None, hit: Hit) -> JsonWriter:
    """The writer of JSON for one column, or for fields without a column."""
    options = mapping.options
    return JsonWriter(
        extended=options.json_values == "extended",
        uuid_legacy=options.uuid_legacy,
        policies=Policies.of(column, options),
        hit=hit,
    )


def encoders_of(mapping: Mapping, writers: list[JsonWriter], hits: list[str]) -> EncodersOf:
    """What gives the encoders of a column, by element type.

    Args:
        writers: those of the columns' JSON, by column.
        hits: where encoders append the names of policies that touched a value.
    """

    def of(index: int) -> Lookup[int, Encoder]:
        column = mapping.columns[index]
        policies = Policies.of(column, mapping.options)
        encoders = EncoderFactory(column, policies, writers[index], mapping.options.uuid_legacy, hits).encoders()
        if column.role is not Role.ID:
            encoders[int(Kind.NULL)] = _encode_null
        return encoders

    return of


def no_encoders(_: int) -> Lookup[int, Encoder]:
    """For what needs to know the fields alone: encoders take the longest to make."""
    return {}


def build_levels(mapping: Mapping, encoders: EncodersOf = no_encoders) -> Level:
    """The top level of a mapping, with all below it.

    Args:
        encoders: for the steps; without any, a level has its fields alone.

    Raises:
        UsageError: two columns want the same field, a field to ignore lies inside a column, or a column is an array of a
            type that there are no arrays of.
    """
    top = Level()
    for index, column in enumerate(mapping.columns):
        if column.role in (Role.ID, Role.FIELD):
            _add_column(top, mapping, index, encoders)
    for path in mapping.ignored:
        level = _level_of(top, path)
        key = path[-1].encode()
        if key in level.columns or key in level.below:
            raise UsageError(f"Field {show_path(path)} is ignored and has a column too: remove one from the plan.")
        level.ignored.add(key)
    return top


def _add_column(top: Level, mapping: Mapping, index: int, encoders: EncodersOf) -> None:
    column = mapping.columns[index]
    if column.array and not column.type.can_be_element and column.type not in JSON_TYPES:
        raise UsageError(f"Field {show_path(column.path)} has a column of type {column.sql_type}: make it jsonb.")
    level = _level_of(top, column.path)
    key = column.path[-1].encode()
    if key in level.columns or key in level.below:
        raise UsageError(f"Field {show_path(column.path)} has two columns: remove one from the plan.")
    level.columns[key] = index
    for kind, encoder in encoders(index).items():
        level.steps[bytes((kind,)) + key] = (index, _size(kind), encoder)


def _level_of(top: Level, path: tuple[str, ...]) -> Level:
    """The level that holds the last key of `path`, made when it is new."""
    level = top
    for depth, part in enumerate(path[:-1], start=1):
        key = part.encode()
        if key in level.columns:
            raise UsageError(
                f"Field {show_path(path)} lies inside the column of {show_path(path[:depth])}: flatten that field, "
                "or leave the inner one out of the plan."
            )
        if key not in level.below:
            level.below[key] = Level(path=(*level.path, key))
            level.steps[bytes((Kind.DOCUMENT,)) + key] = (BELOW, OTHER_SIZE, _encode_null)
        level = level.below[key]
    return level


def _size(kind: int) -> int:
    if kind in STRING_KINDS:
        return STRING_SIZE
    return FIXED_SIZES.get(Kind(kind), OTHER_SIZE)


def _encode_null(document: bytes, start: int, end: int) -> bytes:
    return NULL
