"""The types that suit a column and the policies that can apply to it, for front ends to let an operator choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.mapping.kinds import INTEGER_TYPES, JSON_TYPES, KIND_NAMES, VECTORS, kinds_to_take
from engine.mapping.model import SQL_TYPES, Column, ColumnType, Kind, Role
from engine.mapping.options import POLICIES, MappingOptions
from engine.protocol.plans import ColumnView

PROPOSED_TYPES = (
    ColumnType.TEXT, ColumnType.INTEGER, ColumnType.BIGINT, ColumnType.NUMERIC, ColumnType.DOUBLE, ColumnType.BOOLEAN,
    ColumnType.TIMESTAMPTZ, ColumnType.UUID, ColumnType.BYTEA, ColumnType.JSONB, ColumnType.JSON,
)  # fmt: skip
"""Types that tables are made with, but for vectors."""
_OWN_TYPES = {Role.EXTRA: ("jsonb",), Role.MISSING: ("text[]",), Role.DOCUMENT: ("jsonb", "json")}
_OF_VECTORS = {
    ColumnType.REAL_ARRAY: Kind.VECTOR_FLOAT32,
    ColumnType.SMALLINT_ARRAY: Kind.VECTOR_INT8,
    ColumnType.BIT_VARYING: Kind.VECTOR_BITS,
}
_RANGES = {ColumnType.INTEGER: 1 << 31, ColumnType.BIGINT: 1 << 63}
_EVERY_KIND = frozenset(Kind) - {Kind.NULL}
_TEXT_TYPES = JSON_TYPES | {ColumnType.TEXT}
_DATE_TYPES = frozenset({ColumnType.TIMESTAMPTZ, ColumnType.DATE})


@dataclass(frozen=True, slots=True)
class TypeChoice:
    """A type that a column may have."""

    type: str
    """As DDL spells it."""
    takes: float | None
    """Per cent of the values seen, nulls apart, that are of a BSON type which it takes; None when none were seen."""
    is_exceeded: bool = False
    """Some numbers that were seen are out of its range."""
    wants_whole: bool = False
    """Doubles were seen, of which it takes those that are whole."""


def types_for(column: Column, seen: ColumnView, options: MappingOptions) -> list[TypeChoice]:
    """The types that take some of what was seen, and the one that the column has; all when nothing was seen.

    Args:
        column: as the plan has it.
        seen: what the census saw in its field.
        options: of the plan.
    """
    if column.role in _OWN_TYPES:
        return [TypeChoice(each, None) for each in dict.fromkeys((column.sql_type, *_OWN_TYPES[column.role]))]
    values = {name: share for name, share in seen.kinds.items() if name != KIND_NAMES[Kind.NULL]}
    elements = dict(seen.values.elements) if seen.values is not None else {}
    whole = [each for each in PROPOSED_TYPES if not (column.role is Role.ID and each is ColumnType.JSON)]
    whole += [each for each, kind in _OF_VECTORS.items() if KIND_NAMES[kind] in values]
    found = [_choice(each, values, seen, options) for each in whole]
    if column.role is not Role.ID and elements:
        arrays = [each for each in PROPOSED_TYPES if each.can_be_element]
        share = 100 * values.get(KIND_NAMES[Kind.ARRAY], 0.0) / sum(values.values())
        found += [_array_choice(each, elements, share, options) for each in arrays]
    kept = [each for each in found if each.takes != 0 or each.type == column.sql_type]
    if column.sql_type not in {each.type for each in kept}:
        kept.append(TypeChoice(column.sql_type, None))
    return kept


def _choice(type_: ColumnType, values: Mapping[str, float], seen: ColumnView, options: MappingOptions) -> TypeChoice:
    kinds = kinds_to_take(type_, options)
    if not values:
        return TypeChoice(type_.value, None)
    if kinds >= _EVERY_KIND:
        return TypeChoice(type_.value, 100.0)
    names = {KIND_NAMES[kind] for kind in kinds}
    takes = 100 * sum(share for name, share in values.items() if name in names) / sum(values.values())
    wants_whole = type_ in INTEGER_TYPES and Kind.DOUBLE in kinds and KIND_NAMES[Kind.DOUBLE] in values
    return TypeChoice(type_.value, takes, takes > 0 and _is_exceeded(type_, seen), wants_whole)


def _array_choice(
    type_: ColumnType, elements: Mapping[str, float], share: float, options: MappingOptions
) -> TypeChoice:
    names = {KIND_NAMES[kind] for kind in kinds_to_take(type_, options) - VECTORS} | {KIND_NAMES[Kind.NULL]}
    scalars = {name for name in elements if name not in (KIND_NAMES[Kind.ARRAY], KIND_NAMES[Kind.DOCUMENT])}
    fits = elements.keys() <= (names & scalars if type_ is ColumnType.TEXT else names)
    return TypeChoice(f"{type_.value}[]", share if fits else 0.0)


def _is_exceeded(type_: ColumnType, seen: ColumnView) -> bool:
    if type_ not in INTEGER_TYPES or seen.values is None:
        return False
    extremes = [each for each in (seen.values.low, seen.values.high) if isinstance(each, int)]
    return any(not -_RANGES[type_] <= each < _RANGES[type_] for each in extremes)


def is_type(text: str) -> bool:
    """Whether a column may be of the type that is spelled so, whatever was seen."""
    found = SQL_TYPES.get(text)
    return found is not None and (found[0].can_be_element or not found[1]) and not found[0].is_of_extension


def policies_for(type_: str) -> tuple[str, ...]:
    """The policies that can apply to values of a column.

    Args:
        type_: of the column, as DDL spells it.
    """
    plain, _ = SQL_TYPES.get(type_, (ColumnType.TEXT, False))
    applies = {
        "nul": plain in _TEXT_TYPES,
        "utf8": plain in _TEXT_TYPES,
        "date_range": plain in _DATE_TYPES,
        "overflow": plain not in JSON_TYPES,
    }
    return tuple(policy for policy in POLICIES if applies[policy])
