"""From a census to a mapping: which column each field gets, and what to know before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import INTEGERS, KIND_NAMES, NUMBERS, scalar_type
from engine.mapping.limits import LONGEST_INSIDE, MAX_COLUMNS, MAX_ROW_BYTES
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import DOCUMENT_NAME, EXTRA_NAME, ID_NAME, MISSING_NAME, column_names, show_path
from engine.mapping.options import MappingOptions

_WIDTHS = {
    ColumnType.INTEGER: 4,
    ColumnType.BIGINT: 8,
    ColumnType.DOUBLE: 8,
    ColumnType.BOOLEAN: 1,
    ColumnType.TIMESTAMPTZ: 8,
    ColumnType.UUID: 16,
    ColumnType.NUMERIC: 10,
}
"""Bytes of a value in a row; numeric has no fixed width, and seldom more."""
BIG_DOCUMENT = 1 << 20
"""Bytes of a document that is worth a warning."""
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
    proposer.warn_about_documents()
    weighed = sorted(proposer.warnings, key=lambda each: -each[0])
    mapping = Mapping(columns=tuple(columns), options=options)
    return Proposal(mapping, [text for _, text in weighed], proposer.notes, weighed)


def document_warnings(census: Census, options: MappingOptions) -> list[tuple[int, str]]:
    """Weighed warnings about the documents themselves, whatever columns they get."""
    proposer = _Proposer(census, options)
    proposer.warn_about_documents()
    return proposer.warnings


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
        if not always_there:
            self.warn(80, "Some documents have no _id: the column _id is nullable and there can be no primary key.")
        if not kinds:
            kinds = frozenset({Kind.OBJECT_ID})
            self.notes[ID_NAME] = "no document seen: the usual kind"
        else:
            self.notes[ID_NAME] = ", ".join(sorted(KIND_NAMES[kind] for kind in kinds))
        column_type, fitting = ColumnType.JSONB, kinds
        if kinds <= INTEGERS:
            column_type, fitting = ColumnType.BIGINT, INTEGERS
        elif len(kinds) == 1 or not kinds & NUMBERS:
            found = scalar_type(kinds, self.options)
            column_type = found[0] if found else ColumnType.JSONB
        if column_type is ColumnType.JSONB and len(kinds) > 1:
            self.warn(
                60, f"_id has several kinds ({self.notes[ID_NAME]}): its column is jsonb, its key is built first."
            )
        return Column(
            name=ID_NAME, type=column_type, role=Role.ID, path=ID_PATH, kinds=fitting, nullable=not always_there
        )

    def field_columns(self) -> list[Column]:
        """The columns of the fields, in order of first appearance; the rarest have none when there are too many."""
        fields = list(self._flattened(self.census.root, (), self.options.flatten))
        room = MAX_COLUMNS - 1 - len(_own_columns(self.options))
        if len(fields) > room:
            fields = self._most_frequent(fields, room)
        taken = {ID_NAME, EXTRA_NAME, MISSING_NAME}
        names, collisions = column_names([entry.path for entry in fields], self.options.naming, taken)
        for text in collisions:
            self.warn(50, text)
        columns = [self._column(entry, names[entry.path]) for entry in fields]
        self._warn_about_width(zip(columns, (entry.seen for entry in fields), strict=True))
        return columns

    def warn_about_documents(self) -> None:
        """Warnings that belong to no column."""
        census = self.census
        if census.n_corrupt:
            self.warn(
                95, f"{census.n_corrupt} of {census.n_documents} documents seen are corrupt and will be rejected."
            )
        if census.largest >= BIG_DOCUMENT:
            self.warn(20, f"The largest document seen has {census.largest / (1 << 20):.1f} MiB.")
        if census.n_untracked:
            place = "go to _extra" if self.options.overflow == "overflow" else "reject their documents"
            self.warn(
                40,
                f"{census.n_untracked} values are in fields too many to track or not named in UTF-8: they {place}.",
            )
        for path, seen in census.walk():
            self._warn_about_values(path, seen)
            if seen.elements is not None:
                self._warn_about_values((*path, "[]"), seen.elements)

    def warn(self, weight: int, text: str) -> None:
        """Keep a warning; the greater the weight, the further up it is shown."""
        self.warnings.append((weight, text))

    def _flattened(self, parent: FieldCensus, prefix: tuple[str, ...], levels: int) -> Iterator[_Field]:
        for key, seen in parent.fields.items():
            path = (*prefix, key)
            if path == ID_PATH:
                continue
            if levels and seen.fields and seen.kind_set == {Kind.DOCUMENT}:
                yield from self._flattened(seen, path, levels - 1)
            else:
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
        elif len(kinds) > 1:
            self.warn(
                70, f"Field {show_path(entry.path)} holds {describe_kinds(seen)}: its column is {json_type.value}."
            )
        note = describe_kinds(seen)
        if self.census.n_documents:
            note += f"; in {_percent(seen.present, self.census.n_documents)} of the documents"
        if column_type is ColumnType.NUMERIC and Kind.DECIMAL128 not in kinds:
            note += "; some integers are not exact as double precision"
        self.notes[name] = note
        return Column(name=name, type=column_type, path=entry.path, kinds=fitting, array=is_array)

    def _native_elements(self, seen: FieldCensus, kinds: frozenset[Kind]) -> tuple[ColumnType, frozenset[Kind]] | None:
        if self.options.arrays != "native" or kinds != {Kind.ARRAY} or seen.elements is None:
            return None
        inexact = seen.elements.has_inexact_integers
        return scalar_type(seen.elements.kind_set, self.options, has_inexact_integers=inexact)

    def _warn_about_width(self, columns: Iterable[tuple[Column, FieldCensus]]) -> None:
        """A warning when rows of all these columns would not fit into a page of PostgreSQL."""
        n_bytes = sum(_width(column, seen) * seen.present for column, seen in columns) / max(1, self.census.n_documents)
        if n_bytes > MAX_ROW_BYTES:
            self.warn(
                88,
                f"Rows would have about {n_bytes:,.0f} bytes without what PostgreSQL stores outside of them, and "
                f"{MAX_ROW_BYTES:,} is the most: such documents will be rejected. Leave fields without a column in a saved "
                'plan, so that they go to _extra, or set mapping.layout to "document".',
            )

    def _warn_about_values(self, path: tuple[str, ...], seen: FieldCensus) -> None:
        options, name = self.options, show_path(path)
        for count, what, policy, choice in (
            (seen.n_nul, "strings with a NUL character", "nul", options.nul),
            (seen.n_bad_utf8, "strings that are not UTF-8", "utf8", options.utf8),
            (seen.n_bad_dates, "dates beyond PostgreSQL's range", "date_range", options.date_range),
        ):
            if count:
                weight = 85 if choice == "reject" else 45
                self.warn(weight, f"Field {name}: {what} among those seen: {count}; policy {policy} = {choice}.")


def _width(column: Column, seen: FieldCensus) -> int:
    """Bytes of a value that stay within its row, at most."""
    fixed = _WIDTHS.get(column.type)
    if fixed is not None and not column.array:
        return fixed
    if column.type is ColumnType.TEXT and seen.kind_set == {Kind.STRING}:
        return min(seen.longest, LONGEST_INSIDE) + 1
    return LONGEST_INSIDE + 1


def describe_kinds(seen: FieldCensus) -> str:
    """The kinds with their shares, the most frequent first: `string 97 %, int32 3 %`."""
    ranked = sorted(seen.kinds.items(), key=lambda item: -item[1])
    return ", ".join(f"{KIND_NAMES[Kind(kind)]} {_percent(count, seen.present)}" for kind, count in ranked)


def _percent(part: int, whole: int) -> str:
    """A share that is 100 or 0 only when it is exactly so."""
    share = 100 * part / whole if whole else 0.0
    if 99.9 < share < 100 or 0 < share < 0.1:
        return "> 99.9 %" if share > 50 else "< 0.1 %"
    return f"{share:.3g} %"
