"""What becomes what, as data: the mapping of one collection to one table.

A mapping is plain data (it goes into the plan, its fingerprint, the ledger and the workers); a converter compiles it
into whatever it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from engine.mapping.options import MappingOptions


class Kind(IntEnum):
    """BSON kinds by their element type byte (bsonspec.org); UUIDs are told apart from other binaries."""

    DOUBLE = 0x01
    STRING = 0x02
    DOCUMENT = 0x03
    ARRAY = 0x04
    BINARY = 0x05
    UNDEFINED = 0x06
    OBJECT_ID = 0x07
    BOOL = 0x08
    DATE = 0x09
    NULL = 0x0A
    REGEX = 0x0B
    DB_POINTER = 0x0C
    JAVASCRIPT = 0x0D
    SYMBOL = 0x0E
    CODE_WITH_SCOPE = 0x0F
    INT32 = 0x10
    TIMESTAMP = 0x11
    INT64 = 0x12
    DECIMAL128 = 0x13
    UUID = 0x105
    """Binary of subtype 4, 16 bytes."""
    UUID_LEGACY = 0x205
    """Binary of subtype 3, 16 bytes."""
    VECTOR_FLOAT32 = 0x305
    """Binary of subtype 9, a vector: 32-bit floats; likewise the next two."""
    VECTOR_INT8 = 0x405
    VECTOR_BITS = 0x505
    MAX_KEY = 0x7F
    MIN_KEY = 0xFF


class ColumnType(StrEnum):
    """The PostgreSQL types that columns are made with, as DDL spells them."""

    TEXT = "text"
    INTEGER = "integer"
    BIGINT = "bigint"
    DOUBLE = "double precision"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    TIMESTAMPTZ = "timestamptz"
    UUID = "uuid"
    BYTEA = "bytea"
    JSONB = "jsonb"
    JSON = "json"
    REAL_ARRAY = "real[]"
    """Of vectors, like the next two: one value is a whole array."""
    SMALLINT_ARRAY = "smallint[]"
    BIT_VARYING = "bit varying"
    VECTOR = "vector"
    """Of the extension pgvector, in tables that are there already."""
    SMALLINT = "smallint"
    """Integers and doubles of its range; like the next two, proposed only where a table has it already."""
    REAL = "real"
    """Numbers that are the same with 32 bits."""
    DATE = "date"
    """Dates whose time of day in UTC is midnight."""

    @property
    def can_be_element(self) -> bool:
        """Whether there are columns of arrays of it; vectors are arrays themselves, and JSON has its own."""
        return self not in _NEVER_ELEMENTS

    @property
    def is_of_extension(self) -> bool:
        """PostgreSQL alone does not have it, so no table is made with it."""
        return self is ColumnType.VECTOR


_NEVER_ELEMENTS = frozenset(
    {
        ColumnType.JSONB,
        ColumnType.JSON,
        ColumnType.REAL_ARRAY,
        ColumnType.SMALLINT_ARRAY,
        ColumnType.BIT_VARYING,
        ColumnType.VECTOR,
        ColumnType.SMALLINT,
        ColumnType.REAL,
    }
)

SQL_TYPES: dict[str, tuple[ColumnType, bool]] = {f"{each}[]": (each, True) for each in ColumnType} | {
    each.value: (each, False) for each in ColumnType
}
"""How DDL spells a type -> the type, and whether it is an array of it. Of some there are no columns of arrays."""


class Role(StrEnum):
    """Where a column's value comes from."""

    ID = "id"
    """The document's `_id`."""
    FIELD = "field"
    """The value at `path`."""
    DOCUMENT = "document"
    """The whole document without its `_id` (layout "document")."""
    EXTRA = "extra"
    """`_extra`: an object of the fields that did not fit, NULL when all did."""
    MISSING = "missing"
    """`_missing`: names of the mapped fields that the document does not have."""
    NONE = "none"
    """Nowhere: always NULL. An earlier run wrote the column, and no field goes there any more."""


class Column(BaseModel):
    """One column of the target table."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Column name in PostgreSQL, unquoted, at most 63 bytes."""
    type: ColumnType
    role: Role = Role.FIELD
    path: tuple[str, ...] = ()
    """Keys from the document's top to the value, several when flattened; empty for `_extra` and `_missing`."""
    kinds: frozenset[Kind] = frozenset()
    """Kinds that the column takes as they are. For jsonb and json columns every kind fits, whatever is here."""
    array: bool = False
    """A PostgreSQL array of `type`; `kinds` are then those of the elements."""
    nullable: bool = True
    """False: a document without a value for it is a reject."""
    length: int = 0
    """Characters that fit into a varchar(n) that is there already, or a character(n); 0 is any number."""
    is_padded: bool = False
    """character(n): PostgreSQL fills values up with blanks, so that a text which ends in one does not fit."""
    labels: tuple[str, ...] = ()
    """Of the enum that is there already: other texts do not fit. Empty for columns that are none."""
    precision: int = 0
    """Digits of the numeric(p,s) that is there already; 0 is any number. Numbers with more do not fit."""
    scale: int = 0
    """Its digits behind the point."""
    step_us: int = 1
    """Microseconds of which a time has to be a multiple to fit: that of a timestamp(p) that is there already."""
    nul: str = ""
    """Policy of this field alone; empty follows the mapping's options. Likewise the next three."""
    date_range: str = ""
    utf8: str = ""
    overflow: str = ""

    @property
    def without_limits(self) -> Column:
        """The column as it is without what a table that is there already says of it."""
        return self.model_copy(update={name: Column.model_fields[name].default for name in LIMITS})

    @property
    def sql_type(self) -> str:
        """The type as DDL spells it, `text[]` for arrays."""
        return f"{self.type.value}[]" if self.array else self.type.value


LIMITS = ("length", "is_padded", "labels", "precision", "scale", "step_us")
"""What only a table that is there already says of a column; no saved plan has it."""


def _shared(columns: tuple[Column, ...], info: ValidationInfo) -> tuple[Column, ...]:
    """With a dictionary as context, equal columns are one object: thousands of tables have most of theirs in common."""
    return share(columns, info.context) if isinstance(info.context, dict) else columns


def share(columns: Iterable[Column], known: dict[Column, Column]) -> tuple[Column, ...]:
    """The same columns, those that are known already as the objects that are known."""
    return tuple(known.setdefault(column, column) for column in columns)


class Mapping(BaseModel):
    """One collection's columns, in table order, with the options they were made under."""

    model_config = ConfigDict(frozen=True)

    columns: Annotated[tuple[Column, ...], AfterValidator(_shared)]
    options: MappingOptions = MappingOptions()
    ignored: tuple[tuple[str, ...], ...] = ()
    """Paths that are left out on purpose: neither a column nor `_extra`."""

    @property
    def id_column(self) -> Column:
        """The column that holds `_id`."""
        return next(column for column in self.columns if column.role is Role.ID)


@dataclass(frozen=True, slots=True)
class EarlierMapping:
    """The mapping with which a run wrote into a table."""

    run_id: str
    namespace: str
    """The collection."""
    mapping: Mapping
    made: bool = field(default=False, compare=False)
    """The run made the table, and the ledger has not forgotten the run; no part of what was written."""
    by_name: bool = field(default=False, compare=False)
    """The table that the run wrote into is gone, and this one has its name and columns: nothing of it is known to be ours."""
