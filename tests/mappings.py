"""Random mappings: what a census proposes, and what an operator with bad intentions could write into a plan."""

from __future__ import annotations

from hypothesis import strategies as st

from engine.mapping.census import Census
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from tests.documents import OPTIONS

_KEYS = st.sampled_from(["a", "b", "c", "", "\N{REPLACEMENT CHARACTER}", "_id", 'q"\n', "a\0"])
_PATHS = st.lists(_KEYS, min_size=1, max_size=3).map(tuple)
_POLICIES = {
    "nul": st.sampled_from(["", "reject", "strip", "replace"]),
    "date_range": st.sampled_from(["", "reject", "null", "clamp", "infinity"]),
    "utf8": st.sampled_from(["", "reject", "replace"]),
    "overflow": st.sampled_from(["", "overflow", "reject"]),
}
_KINDS = st.frozensets(st.sampled_from(list(Kind)), max_size=len(Kind))
_ANY_TYPE = st.sampled_from(list(ColumnType))


def proposed(seen: list[bytes], options: MappingOptions) -> Mapping:
    """The mapping that a census of these documents leads to."""
    census = Census(options.flatten)
    for document in seen:
        census.add(document)
    return propose(census, census.id_kinds, options).mapping


@st.composite
def any_mappings(draw: st.DrawFn) -> Mapping:
    """Any types for any kinds at any paths, columns in any order; many contradict themselves."""
    columns = [
        Column(
            name="_id",
            type=draw(_ANY_TYPE),
            role=Role.ID,
            path=("_id",),
            kinds=draw(_KINDS),
            nullable=draw(st.booleans()),
            length=draw(st.sampled_from([0, 0, 0, 1])),
            array=draw(st.sampled_from([False, False, True])),
        )
    ]
    for number, path in enumerate(draw(st.lists(_PATHS, max_size=6, unique=True))):
        columns.append(
            Column(
                name=f"c{number}",
                type=draw(_ANY_TYPE),
                path=path,
                kinds=draw(_KINDS),
                array=draw(st.sampled_from([False, False, True])),
                nullable=draw(st.sampled_from([True, True, False])),
                length=draw(st.sampled_from([0, 0, 1, 2, 5])),
                is_padded=draw(st.sampled_from([False, False, True])),
                labels=draw(st.sampled_from([(), (), ("a", "", "é")])),
                precision=draw(st.sampled_from([0, 0, 1, 5])),
                scale=draw(st.sampled_from([-2, 0, 2, 7])),
                step_us=draw(st.sampled_from([1, 1, 10_000, 1_000_000])),
                **{name: draw(policy) for name, policy in _POLICIES.items()},
            )
        )
    for role, type_, array in ((Role.EXTRA, ColumnType.JSONB, False), (Role.MISSING, ColumnType.TEXT, True)):
        if draw(st.booleans()):
            columns.append(Column(name=f"_{role}", type=type_, role=role, array=array))
    if draw(st.sampled_from([False, False, True])):
        columns.append(
            Column(name="doc", type=draw(st.sampled_from([ColumnType.JSON, ColumnType.JSONB])), role=Role.DOCUMENT)
        )
    return Mapping(
        columns=tuple(draw(st.permutations(columns))),
        options=draw(OPTIONS),
        ignored=tuple(draw(st.lists(_PATHS, max_size=1))),
    )
