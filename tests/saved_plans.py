"""Random saved plans, with names and fields that hold whatever MongoDB and PostgreSQL allow in them."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from engine.config import Mode
from engine.mapping.kinds import kinds_that_fit
from engine.mapping.model import Column, ColumnType, Kind, Role
from engine.mapping.names import SYSTEM_COLUMNS
from engine.mapping.options import MappingOptions
from engine.protocol.saved_plan import SavedPlan, SavedTable

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=15).filter(
    lambda name: name not in SYSTEM_COLUMNS
)
SCHEMAS = NAMES.filter(lambda name: name != "mongopg" and not name.startswith("pg_"))
CHOICES = {name: get_args(field.annotation) for name, field in MappingOptions.model_fields.items()}
OPTIONS = st.builds(
    MappingOptions,
    **{name: st.sampled_from(choices) for name, choices in CHOICES.items() if choices},
    flatten=st.integers(0, 10),
)


@st.composite
def columns(draw: st.DrawFn, options: MappingOptions) -> tuple[Column, ...]:
    """Columns as a plan may have them: `_id`, fields of which none is inside another, `_extra`."""
    keys = draw(st.lists(KEYS.filter(lambda key: key != "_id"), unique=True, max_size=5))
    paths = [(key, *draw(st.lists(KEYS, max_size=2))) for key in keys]
    names = draw(st.lists(NAMES, unique=True, min_size=len(paths) + 3, max_size=len(paths) + 3))
    found = [Column(name=names[0], type=ColumnType.TEXT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.STRING}))]
    for name, path in zip(names[1:], paths, strict=False):
        column_type = draw(st.sampled_from(list(ColumnType)))
        found.append(
            Column(
                name=name,
                type=column_type,
                path=path,
                kinds=draw(st.frozensets(st.sampled_from(sorted(kinds_that_fit(column_type, options))), min_size=1)),
                array=column_type.can_be_element and draw(st.booleans()),
                nullable=draw(st.booleans()),
                nul=draw(st.sampled_from(["", "reject", "strip", "replace"])),
                overflow=draw(st.sampled_from(["", "reject", "overflow"])),
            )
        )
    found = [column for column in found if not (column.array and Kind.ARRAY in column.kinds)]
    found.append(Column(name=names[-1], type=ColumnType.JSONB, role=Role.EXTRA))
    if draw(st.booleans()):
        found.append(Column(name=names[-2], type=ColumnType.TEXT, role=Role.MISSING, array=True, nullable=False))
    return tuple(draw(st.permutations(found)))


def ignored(given: tuple[Column, ...] | None) -> st.SearchStrategy[list[tuple[str, ...]]]:
    """Fields that have no column and lie in none."""
    taken = {"_id", *(column.path[0] for column in given or () if column.path)}
    return st.lists(st.tuples(KEYS.filter(lambda key: key not in taken)), max_size=2)


@st.composite
def plans(draw: st.DrawFn) -> SavedPlan:
    options = draw(OPTIONS)
    collections = draw(st.lists(KEYS.filter(bool), unique=True, min_size=1, max_size=3))
    tables = draw(st.lists(NAMES, unique=True, min_size=len(collections), max_size=len(collections)))
    chosen = [draw(st.none() | columns(options)) for _ in collections]
    return SavedPlan(
        mode=draw(st.sampled_from(get_args(Mode))),
        options=options,
        tables=tuple(
            SavedTable(
                database=draw(st.sampled_from(["shop", "böse"])),
                collection=collection,
                schema_name=draw(SCHEMAS),
                table=table,
                filter=draw(st.sampled_from(["", "{}", '{"a": {"$gt": 1}}', '{"a": "it\'s\\n"}'])),
                ignored=tuple(draw(ignored(given))),
                columns=given,
            )
            for collection, table, given in zip(collections, tables, chosen, strict=True)
        ),
    )
