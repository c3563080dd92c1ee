"""The kinds of BSON: their names for people, and the columns each fits."""

from __future__ import annotations

from engine.mapping.model import ColumnType, Kind
from engine.mapping.options import MappingOptions

KIND_NAMES = {
    Kind.DOUBLE: "double",
    Kind.STRING: "string",
    Kind.DOCUMENT: "document",
    Kind.ARRAY: "array",
    Kind.BINARY: "binary",
    Kind.UUID: "uuid",
    Kind.UUID_LEGACY: "legacy uuid",
    Kind.UNDEFINED: "undefined",
    Kind.OBJECT_ID: "objectId",
    Kind.BOOL: "bool",
    Kind.DATE: "date",
    Kind.NULL: "null",
    Kind.REGEX: "regex",
    Kind.DB_POINTER: "dbPointer",
    Kind.JAVASCRIPT: "javascript",
    Kind.SYMBOL: "symbol",
    Kind.CODE_WITH_SCOPE: "code with scope",
    Kind.INT32: "int32",
    Kind.TIMESTAMP: "timestamp",
    Kind.INT64: "int64",
    Kind.DECIMAL128: "decimal128",
    Kind.VECTOR_FLOAT32: "float32 vector",
    Kind.VECTOR_INT8: "int8 vector",
    Kind.VECTOR_BITS: "bit vector",
    Kind.MAX_KEY: "maxKey",
    Kind.MIN_KEY: "minKey",
}

INTEGERS = frozenset({Kind.INT32, Kind.INT64})
NUMBERS = INTEGERS | {Kind.DOUBLE, Kind.DECIMAL128}
NUMBERS_THAT_FIT = {
    ColumnType.INTEGER: INTEGERS,
    ColumnType.BIGINT: INTEGERS,
    ColumnType.DOUBLE: INTEGERS | {Kind.DOUBLE},
    ColumnType.NUMERIC: NUMBERS,
    ColumnType.SMALLINT: INTEGERS,
    ColumnType.REAL: INTEGERS | {Kind.DOUBLE},
}
"""Kinds a number column takes as they are, each value as long as it is in range and exact."""
INTEGER_TYPES = frozenset({ColumnType.SMALLINT, ColumnType.INTEGER, ColumnType.BIGINT})
JSON_TYPES = frozenset({ColumnType.JSONB, ColumnType.JSON})
VECTORS = frozenset({Kind.VECTOR_FLOAT32, Kind.VECTOR_INT8, Kind.VECTOR_BITS})
JSON_STRINGS = VECTORS | frozenset(
    {
        Kind.STRING,
        Kind.JAVASCRIPT,
        Kind.SYMBOL,
        Kind.REGEX,
        Kind.OBJECT_ID,
        Kind.DATE,
        Kind.UUID,
        Kind.UUID_LEGACY,
        Kind.BINARY,
        Kind.DOUBLE,
        Kind.DECIMAL128,
    }
)
"""Kinds whose values, or some of them, such as NaN, are strings in plain JSON."""

_TYPES = {
    Kind.STRING: ColumnType.TEXT,
    Kind.JAVASCRIPT: ColumnType.TEXT,
    Kind.SYMBOL: ColumnType.TEXT,
    Kind.REGEX: ColumnType.TEXT,
    Kind.BOOL: ColumnType.BOOLEAN,
    Kind.DATE: ColumnType.TIMESTAMPTZ,
    Kind.UUID: ColumnType.UUID,
    Kind.BINARY: ColumnType.BYTEA,
    Kind.INT32: ColumnType.INTEGER,
    Kind.INT64: ColumnType.BIGINT,
    Kind.DOUBLE: ColumnType.DOUBLE,
    Kind.DECIMAL128: ColumnType.NUMERIC,
    Kind.VECTOR_FLOAT32: ColumnType.REAL_ARRAY,
    Kind.VECTOR_INT8: ColumnType.SMALLINT_ARRAY,
    Kind.VECTOR_BITS: ColumnType.BIT_VARYING,
}

_KINDS_OF_TYPES = {
    **NUMBERS_THAT_FIT,
    ColumnType.BOOLEAN: frozenset({Kind.BOOL}),
    ColumnType.TIMESTAMPTZ: frozenset({Kind.DATE}),
    ColumnType.DATE: frozenset({Kind.DATE}),
    ColumnType.UUID: frozenset({Kind.UUID, Kind.UUID_LEGACY}),
    ColumnType.BYTEA: frozenset({Kind.BINARY, Kind.UUID, Kind.UUID_LEGACY, Kind.OBJECT_ID}) | VECTORS,
    ColumnType.REAL_ARRAY: frozenset({Kind.VECTOR_FLOAT32}),
    ColumnType.SMALLINT_ARRAY: frozenset({Kind.VECTOR_INT8}),
    ColumnType.BIT_VARYING: frozenset({Kind.VECTOR_BITS}),
    ColumnType.VECTOR: frozenset({Kind.ARRAY, Kind.VECTOR_FLOAT32}),
}
_ANY_KIND = frozenset(Kind) - {Kind.NULL}


def kinds_that_always_fit(column_type: ColumnType, options: MappingOptions) -> frozenset[Kind]:
    """Every kind whose values a column of this type takes unless one is out of its range; text holds any, as jsonb's text."""
    found = _KINDS_OF_TYPES.get(column_type, _ANY_KIND)
    if column_type is ColumnType.UUID and not options.uuid_legacy:
        return found - {Kind.UUID_LEGACY}
    return found


def kinds_that_fit(column_type: ColumnType, options: MappingOptions) -> frozenset[Kind]:
    """Every kind that a column of this type can be told to take.

    An integer column can be told to take doubles: those that are whole and in its range become integers, the others are
    values that do not fit.
    """
    found = kinds_that_always_fit(column_type, options)
    return found | {Kind.DOUBLE} if column_type in INTEGER_TYPES else found


def kinds_to_take(column_type: ColumnType, options: MappingOptions) -> frozenset[Kind]:
    """Those that it takes when a plan names none: bigint takes doubles, as it is chosen for numbers that are whole."""
    found = kinds_that_fit if column_type is ColumnType.BIGINT else kinds_that_always_fit
    return found(column_type, options)


def scalar_type(
    kinds: frozenset[Kind], options: MappingOptions, *, has_inexact_integers: bool = False
) -> tuple[ColumnType, frozenset[Kind]] | None:
    """The one scalar type that takes all these kinds unchanged, and every kind it takes; None: only jsonb does.

    Args:
        has_inexact_integers: whether among the integers are some beyond 53 bits, which a double would change.
    """
    if kinds and kinds <= NUMBERS:
        chosen = _number_type(kinds, has_inexact_integers)
        return chosen, NUMBERS_THAT_FIT[chosen]
    if not options.uuid_legacy and kinds and kinds <= {Kind.BINARY, Kind.UUID_LEGACY}:
        return ColumnType.BYTEA, frozenset({Kind.BINARY, Kind.UUID_LEGACY})
    if len(kinds) > 1 and kinds <= VECTORS | {Kind.BINARY}:
        return ColumnType.BYTEA, VECTORS | {Kind.BINARY}
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    if kind == Kind.OBJECT_ID:
        return (ColumnType.TEXT if options.objectid == "text" else ColumnType.BYTEA), kinds
    if kind == Kind.UUID_LEGACY:
        return ColumnType.UUID, kinds
    found = _TYPES.get(kind)
    return (found, kinds) if found else None


def element_type(
    kinds: frozenset[Kind], options: MappingOptions, *, has_inexact_integers: bool = False
) -> tuple[ColumnType, frozenset[Kind]] | None:
    """The same for the elements of an array; None also where some are vectors, which are arrays themselves."""
    if kinds & VECTORS:
        return None
    return scalar_type(kinds, options, has_inexact_integers=has_inexact_integers)


def _number_type(kinds: frozenset[Kind], has_inexact_integers: bool) -> ColumnType:
    if Kind.DECIMAL128 in kinds:
        return ColumnType.NUMERIC
    if Kind.DOUBLE in kinds:
        return ColumnType.NUMERIC if has_inexact_integers and kinds & INTEGERS else ColumnType.DOUBLE
    return ColumnType.BIGINT if Kind.INT64 in kinds else ColumnType.INTEGER
