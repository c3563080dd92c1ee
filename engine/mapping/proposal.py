"""From a census to a mapping: which column each field gets, and what to know before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.mapping.cautions import (
    OWN_NAMES,
    cautions,
    describe_kinds,
    dictionary,
    id_cautions,
    keys_are_data,
    name_cautions,
    percent,
    several_kinds,
)
from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import INTEGERS, JSON_TYPES, KIND_NAMES, NUMBERS, VECTORS, element_type, scalar_type
from engine.mapping.limits import MAX_COLUMNS
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import DOCUMENT_NAME, EXTRA_NAME, ID_NAME, MISSING_NAME, column_names, show_path
from engine.mapping.options import MappingOptions

ID_PATH = ("_id",)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping with its reasons."""

    mapping: Mapping
    warnings: list[str] = field(default_factory=list)
    """One sentence each, the weightiest first."""
    notes: dict[str, str] = field(default_factory=dict)
    """Column name -> why it has its type: kinds with percentages, how often it is present."""
    weighed: list[tuple[int, str]] = field(default_factory=list)
    """The warnings with their weights."""


@dataclass(frozen=True, slots=True)
class _Field:
    path: tuple[str, ...]
    seen: FieldCensus


def propose(census: Census, id_kinds: frozenset[Kind], options: MappingOptions) -> Proposal:
    """The mapping that suits what the census saw.

    Args:
        id_kinds: the kinds of `_id` found by asking the index; those that the census saw are added.
        options: the operator's choices; `options.flatten` levels must have been in the census.
    """
    proposer = _Proposer(census, options)
    id_column = proposer.id_column(id_kinds | census.id_kinds)
    if options.layout == "document":
        json_type = ColumnType(options.documents)
        columns = [id_column, Column(name=DOCUMENT_NAME, type=json_type, role=Role.DOCUMENT)]
        proposer.notes[DOCUMENT_NAME] = "the whole document without its _id"
    else:
        columns = [id_column, *proposer.field_columns(), *_own_columns(options)]
    mapping = Mapping(columns=tuple(columns), options=options)
    found = proposer.warnings + cautions(census, mapping) + name_cautions(mapping.columns)
    weighed = sorted(found, key=lambda each: -each[0])
    return Proposal(mapping, [text for _, text in weighed], proposer.notes, weighed)


def note_of(column: Column, seen: FieldCensus, census: Census, options: MappingOptions) -> str:
    """Why a field has its column: its kinds with their shares, how often it is present, and what else there is to say."""
    note = describe_kinds(seen)
    if census.n_documents:
        note += f"; in {percent(seen.present, census.n_documents)} of the documents"
    if column.type in JSON_TYPES and seen.kind_set == {Kind.ARRAY} and seen.elements is not None:
        inexact = seen.elements.has_inexact_integers
        found = element_type(seen.elements.kind_set, options, has_inexact_integers=inexact)
        note += f'; arrays = "native" would make it {found[0].value}[]' if found else ""
    if column.type is ColumnType.NUMERIC and seen.kind_set <= NUMBERS - {Kind.DECIMAL128} and seen.has_inexact_integers:
        note += "; some integers are not exact as double precision"
    return note


def note_of_id(kinds: Iterable[Kind]) -> str:
    """The same of `_id`: its kinds are asked of the index, which knows no shares."""
    return ", ".join(sorted(KIND_NAMES[kind] for kind in kinds))


def _own_columns(options: MappingOptions) -> list[Column]:
    columns = []
    if options.missing == "track":
        columns.append(Column(name=MISSING_NAME, type=ColumnType.TEXT, role=Role.MISSING, array=True, nullable=False))
    if options.overflow == "overflow":
        columns.append(Column(name=EXTRA_NAME, type=ColumnType.JSONB, role=Role.EXTRA))
    return columns


class _Proposer:
    """Gathers columns, notes and weighed warnings for one proposal."""

    def __init__(self, census: Census, options: MappingOptions) -> None:
        self.census = census
        self.options = options
        self.notes: dict[str, str] = {}
        self.warnings: list[tuple[int, str]] = []

    def id_column(self, kinds: frozenset[Kind]) -> Column:
        """The column of `_id`, whatever its kinds."""
        seen = self.census.fields.get("_id")
        always_there = not self.census.n_documents or (seen is not None and seen.present >= self.census.n_documents)
        if kinds & VECTORS:
            kinds = kinds - VECTORS | {Kind.BINARY}  # the index, which is asked for them, does not tell them apart
        if not kinds:
            kinds = frozenset({Kind.OBJECT_ID})
            self.notes[ID_NAME] = "no document seen: the usual kind"
        else:
            self.notes[ID_NAME] = note_of_id(kinds)
        column_type, fitting = ColumnType.JSONB, kinds
        if kinds <= INTEGERS:
            column_type, fitting = ColumnType.BIGINT, INTEGERS
        elif len(kinds) == 1 or not kinds & NUMBERS:
            found = scalar_type(kinds, self.options)
            column_type = found[0] if found else ColumnType.JSONB
        if column_type is ColumnType.BYTEA and Kind.BINARY in fitting:
            fitting |= VECTORS
        column = Column(
            name=ID_NAME, type=column_type, role=Role.ID, path=ID_PATH, kinds=fitting, nullable=not always_there
        )
        self.warnings += id_cautions(self.census, column, kinds)
        return column

    def field_columns(self) -> list[Column]:
        """The columns of the fields, in order of first appearance; the rarest have none when there are too many."""
        fields = list(self._flattened(self.census.root, (), self.options.flatten))
        room = MAX_COLUMNS - 1 - len(_own_columns(self.options))
        if len(fields) > room:
            fields = self._most_frequent(fields, room)
        names, collisions = column_names([entry.path for entry in fields], self.options.naming, OWN_NAMES)
        for text in collisions:
            self.warn(50, text)
        return [self._column(entry, names[entry.path]) for entry in fields]

    def warn(self, weight: int, text: str) -> None:
        """Keep a warning; the greater the weight, the further up it is shown."""
        self.warnings.append((weight, text))

    def _flattened(self, parent: FieldCensus, prefix: tuple[str, ...], levels: int) -> Iterator[_Field]:
        for key, seen in parent.fields.items():
            path = (*prefix, key)
            if path == ID_PATH:
                continue
            is_flat = levels and seen.fields and seen.kind_set == {Kind.DOCUMENT}
            if is_flat and not keys_are_data(seen):
                yield from self._flattened(seen, path, levels - 1)
                continue
            if is_flat:
                self.warnings.append(dictionary(path, seen))
            yield _Field(path, seen)

    def _most_frequent(self, fields: list[_Field], room: int) -> list[_Field]:
        ranked = sorted(range(len(fields)), key=lambda index: (-fields[index].seen.present, index))
        kept = set(ranked[:room])
        rarest = fields[ranked[room]]
        place = "go to _extra" if self.options.overflow == "overflow" else "will have their documents rejected"
        self.warn(
            90,
            f"{len(fields)} fields are more than the {MAX_COLUMNS} columns of a PostgreSQL table: "
            f"the {len(fields) - room} rarest {place}, such as {show_path(rarest.path)}.",
        )
        return [entry for index, entry in enumerate(fields) if index in kept]

    def _column(self, entry: _Field, name: str) -> Column:
        seen = entry.seen
        kinds = seen.kind_set
        json_type = ColumnType(self.options.documents)
        column_type, fitting, is_array = json_type, kinds, False
        found = scalar_type(kinds, self.options, has_inexact_integers=seen.has_inexact_integers)
        elements = self._native_elements(seen, kinds)
        if found:
            column_type, fitting = found
        elif elements:
            column_type, fitting = elements
            is_array = True
        elif not kinds:
            # Nothing but null: a text is what most fields turn out to be, and what is none goes to _extra.
            column_type, fitting = ColumnType.TEXT, frozenset({Kind.STRING})
        column = Column(name=name, type=column_type, path=entry.path, kinds=fitting, array=is_array)
        if len(kinds) > 1 and column_type is json_type:
            self.warnings += several_kinds(entry.path, seen, column, self.options)
        self.notes[name] = note_of(column, seen, self.census, self.options)
        return column

    def _native_elements(self, seen: FieldCensus, kinds: frozenset[Kind]) -> tuple[ColumnType, frozenset[Kind]] | None:
        if self.options.arrays != "native" or kinds != {Kind.ARRAY} or seen.elements is None:
            return None
        inexact = seen.elements.has_inexact_integers
        return element_type(seen.elements.kind_set, self.options, has_inexact_integers=inexact)
