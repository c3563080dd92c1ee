"""The section on mapping, made from the code's own definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import JSON_TYPES, KIND_NAMES, kinds_that_fit
from engine.mapping.limits import EXACT_INTEGER
from engine.mapping.model import Column, ColumnType, Kind, Role
from engine.mapping.options import POLICIES, MappingOptions
from engine.mapping.proposal import propose
from tests.docs.markdown import spelled, table, texts_below

FIELD = "field"
NOT_TYPES = frozenset({"layout", "missing", "naming", *POLICIES})
"""Options that do not change the type of a field's column."""
MIXTURES: Sequence[tuple[tuple[Kind, ...], int, str]] = (
    ((Kind.INT32, Kind.INT64), 1, ""),
    ((Kind.INT64, Kind.DOUBLE), 1, ", integers up to 2^53"),
    ((Kind.INT64, Kind.DOUBLE), EXACT_INTEGER + 1, ", integers beyond 2^53"),
    ((Kind.DOUBLE, Kind.DECIMAL128), 1, ""),
    ((Kind.BINARY, Kind.UUID_LEGACY), 1, ""),
    ((Kind.STRING, Kind.NULL), 1, ""),
    ((Kind.STRING, Kind.INT32), 1, ""),
    ((Kind.ARRAY, Kind.DOCUMENT), 1, ""),
)
"""Kinds in one field, the largest integer among them, and a remark."""
ID_KINDS: Sequence[tuple[Kind, ...]] = (
    (Kind.OBJECT_ID,),
    (Kind.STRING,),
    (Kind.INT32,),
    (Kind.DOUBLE,),
    (Kind.UUID,),
    (Kind.DOCUMENT,),
    (Kind.OBJECT_ID, Kind.STRING),
)


def page() -> str:
    """The section."""
    parts = [
        "**Columns.** What one BSON type in a field becomes, and with which option something else:",
        table(["in MongoDB", "column", "with an option"], kind_rows()),
        "Several BSON types in one field share a scalar column only where no value changes; null goes with any:",
        table(["BSON types in one field", "column"], mixture_rows()),
        "`_id` is always kept, and becomes the primary key:",
        table(["BSON types of `_id`", "column"], id_rows()),
        "**Retyping.** The BSON types (`kinds` in a plan) that a column of each type can be told to take:",
        table(["type", "BSON types"], fitting_rows()),
        "**Policies**, in `[mapping]` for all fields and in a plan for one; each value they touch is counted:",
        table(["policy", "choices, the default first", "what for"], option_rows(POLICIES)),
        "**Options** of `[mapping]`:",
        table(
            ["option", "choices, the default first", "what it does"],
            option_rows(name for name in MappingOptions.model_fields if name not in POLICIES),
        ),
    ]
    return "\n\n".join(parts)


def kind_rows() -> Iterator[list[str]]:
    for kind, name in KIND_NAMES.items():
        if kind is Kind.NULL:
            continue
        usual = columns_of((kind,), MappingOptions())
        others = [
            f"{columns_of((kind,), chosen)} with `{option} = {spelled(value)}`"
            for option, value, chosen in alternatives()
            if columns_of((kind,), chosen) != usual
        ]
        yield [name, usual, "; ".join(others)]


def alternatives() -> Iterator[tuple[str, Any, MappingOptions]]:
    """Every choice of an option that is not its default and may change a column's type."""
    for name, field in MappingOptions.model_fields.items():
        if name not in NOT_TYPES:
            for value in get_args(field.annotation) or (1,):
                if value != field.default:
                    yield name, value, MappingOptions(**{name: value})
                    if name == "uuid_legacy":
                        break  # the byte order does not change the type


def mixture_rows() -> Iterator[list[str]]:
    for kinds, high, remark in MIXTURES:
        yield [" and ".join(KIND_NAMES[kind] for kind in kinds) + remark, columns_of(kinds, MappingOptions(), high)]


def id_rows() -> Iterator[list[str]]:
    for kinds in ID_KINDS:
        column = propose(Census(), frozenset(kinds), MappingOptions()).mapping.id_column
        yield [" and ".join(KIND_NAMES[kind] for kind in kinds), f"`{column.sql_type}`"]


def fitting_rows() -> Iterator[list[str]]:
    every = frozenset(Kind) - {Kind.NULL}
    for column_type in ColumnType:
        fitting = kinds_that_fit(column_type, MappingOptions(uuid_legacy="python"))
        named = "any" if column_type in JSON_TYPES or fitting == every else ", ".join(
            KIND_NAMES[kind] for kind in KIND_NAMES if kind in fitting
        )  # fmt: skip
        yield [f"`{column_type}`", named]


def option_rows(names: Iterable[str]) -> Iterator[list[str]]:
    for name in names:
        field = MappingOptions.model_fields[name]
        choices = [*get_args(field.annotation)]
        if choices:
            choices.sort(key=lambda choice: choice != field.default)
            shown = ", ".join(f"`{spelled(choice)}`" for choice in choices)
        else:
            low, high = (getattr(limit, side) for limit, side in zip(field.metadata, ("ge", "le"), strict=True))
            shown = f"`{field.default}`, whole numbers from {low} to {high}"
        yield [f"`{name}`", shown, texts_below(MappingOptions)[name]]


def columns_of(kinds: tuple[Kind, ...], options: MappingOptions, high: int = 1) -> str:
    """What a field that has held these kinds becomes."""
    seen = FieldCensus(present=len(kinds), kinds=dict.fromkeys(map(int, kinds), 1), high=high)
    if Kind.ARRAY in kinds:
        seen.elements = FieldCensus(present=1, kinds={int(Kind.STRING): 1})
    if Kind.DOCUMENT in kinds:
        seen.fields["inner"] = FieldCensus(present=1, kinds={int(Kind.STRING): 1})
    census = Census(options.flatten)
    census.n_documents = len(kinds)
    census.fields[FIELD] = seen
    found = [column for column in propose(census, frozenset(), options).mapping.columns if column.role is Role.FIELD]
    return ", ".join(map(column_text, found))


def column_text(column: Column) -> str:
    """The type, with the name where it is not the field's."""
    return f"`{column.sql_type}`" if column.name == FIELD else f"`{column.name} {column.sql_type}`"
