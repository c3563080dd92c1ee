"""The mapping of a table that is there already: the table decides, and what earlier runs of ours have written into it.

A field keeps the column that an earlier run gave it, whatever name today's documents would have it called. The census of today
only adds fields for which the table has a column of their name; others go to `_extra`, and without `_extra` there can be no
plan, since a column is never added. What a type does not hold goes to `_extra` too, or makes a reject, as the policy says.

In mode upsert every column that a run of ours has ever written is written again, with NULL where no field goes there any more
(role `none`): otherwise a row would keep values beside others that contradict them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.errors import UsageError
from engine.mapping.cautions import cautions, describe_kinds, fate_words, holds_words
from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import INTEGER_TYPES, INTEGERS, JSON_TYPES, KIND_NAMES, kinds_that_always_fit, scalar_type
from engine.mapping.model import Column, ColumnType, EarlierMapping, Kind, Mapping, Role
from engine.mapping.names import DOCUMENT_NAME, EXTRA_NAME, ID_NAME, MISSING_NAME, column_names, show_path
from engine.mapping.options import POLICIES, MappingOptions
from engine.mapping.proposal import ID_PATH, Proposal
from engine.postgres.existing import ExistingTable
from engine.postgres.sqlstates import one_line
from engine.postgres.tables import ExistingColumn, has_limits, held_by, limits

GONE_WEIGHT, MISFIT_WEIGHT, BLANK_WEIGHT, PLACE_WEIGHT, OPTION_WEIGHT = 78, 75, 65, 55, 50
"""Weights of warnings, as in `engine.mapping.proposal`."""


def shape(existing: ExistingTable, namespace: str, options: MappingOptions) -> MappingOptions:
    """The options that fit the table: those of the newest run that wrote into it, with today's policies."""
    earlier = in_order(existing.earlier, namespace)
    if not earlier:
        return options
    policies = {name: getattr(options, name) for name in POLICIES}
    return earlier[0].mapping.options.model_copy(update=policies)


def levels_of(existing: ExistingTable) -> int:
    """How many levels of documents lie above the deepest field that has a column."""
    return max((len(column.path) - 1 for each in existing.earlier for column in each.mapping.columns), default=0)


def in_order(earlier: Sequence[EarlierMapping], namespace: str) -> list[EarlierMapping]:
    """The newest first; those of the same collection before others that went to the same table."""
    return sorted(earlier, key=lambda each: each.namespace != namespace)


def fit(
    proposal: Proposal,
    existing: ExistingTable,
    census: Census,
    *,
    target: str,
    namespace: str,
    mode: str,
    options: MappingOptions,
) -> Proposal:
    """A proposal for a table that is there.

    Args:
        proposal: what a table of its own would have, made with the options of `shape`.
        existing: the table.
        census: of the documents.
        target: the table's name, for people.
        namespace: the collection.
        mode: `append` or `upsert`.
        options: today's, as the settings have them.

    Raises:
        UsageError: a field has no place in the table, or the table wants a value that no field has.
    """
    earlier = in_order(existing.earlier, namespace)
    left_out = tuple(dict.fromkeys((*proposal.mapping.ignored, *(earlier[0].mapping.ignored if earlier else ()))))
    fitting = _Fitting(existing, mode, namespace, proposal.mapping.options, left_out)
    fitting.take_earlier()
    fitting.tell_options(options)
    fitting.take_own_columns(proposal.mapping, census)
    if not fitting.has_document:
        fitting.take_fields(proposal, census)
    fitting.require_all()
    if fitting.problems:
        raise UsageError(f"Table {target} does not fit the plan: {' '.join(fitting.problems)}", code="table_differs")
    return fitting.result(proposal, census)


def fit_given(
    mapping: Mapping, existing: ExistingTable, *, target: str, namespace: str, mode: str
) -> tuple[Mapping, list[tuple[int, str]]]:
    """A mapping that the operator has made, with the table's types; and weighed warnings about it.

    Raises:
        UsageError: the table has no such column, or it holds other kinds than the mapping says.
    """
    fitting = _Fitting(existing, mode, namespace, mapping.options, mapping.ignored)
    for column in mapping.columns:
        fitting.take_given(column)
    if mode == "upsert":
        fitting.take_earlier(only_blank=True)
    if fitting.problems:
        raise UsageError(f"Table {target} does not fit the plan: {' '.join(fitting.problems)}", code="table_differs")
    return mapping.model_copy(update={"columns": tuple(fitting.columns)}), fitting.warnings


@dataclass(slots=True)
class _Fitting:
    """Columns that are placed so far, and what there is to say."""

    existing: ExistingTable
    mode: str
    namespace: str
    options: MappingOptions
    ignored: tuple[tuple[str, ...], ...]
    columns: list[Column] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why there can be no plan."""
    warnings: list[tuple[int, str]] = field(default_factory=list)
    writers: dict[str, str] = field(default_factory=dict)
    """Column -> the run that has written it."""
    _table: dict[str, ExistingColumn] = field(init=False)
    _names: set[str] = field(init=False, default_factory=set)
    """Of the columns that are dealt with."""
    _roles: set[Role] = field(init=False, default_factory=set)
    _paths: set[tuple[str, ...]] = field(init=False, default_factory=set)
    _inner: set[tuple[str, ...]] = field(init=False, default_factory=set)
    """Paths above those that have a place."""
    _unplaced: list[str] = field(init=False, default_factory=list)
    """Fields without a column, each as the problem that it is without `_extra`."""

    def __post_init__(self) -> None:
        self._table = {column.name: column for column in self.existing.columns}
        for path in self.ignored:
            self._reserve(path)

    # --- what is placed -----------------------------------------------------------------------------------------------

    @property
    def has_document(self) -> bool:
        """One column takes the whole document."""
        return Role.DOCUMENT in self._roles

    def _reserve(self, path: tuple[str, ...]) -> None:
        self._paths.add(path)
        self._inner.update(path[:depth] for depth in range(1, len(path)))

    def _is_free(self, path: tuple[str, ...]) -> bool:
        """Neither the field, nor one above or below it, has a place."""
        above = (path[:depth] for depth in range(1, len(path)))
        return path not in self._paths and path not in self._inner and not any(each in self._paths for each in above)

    def _place(self, column: Column) -> None:
        self.columns.append(column)
        self._names.add(column.name)
        self._roles.add(column.role)
        if column.path:
            self._reserve(column.path)

    def _warn(self, weight: int, text: str) -> None:
        self.warnings.append((weight, text))

    # --- earlier runs -------------------------------------------------------------------------------------------------

    def take_earlier(self, *, only_blank: bool = False) -> None:
        """The columns that runs of ours have written.

        Args:
            only_blank: none of them gets a field.
        """
        for each in in_order(self.existing.earlier, self.namespace):
            for column in each.mapping.columns:
                found = self._table.get(column.name)
                self.writers.setdefault(column.name, each.run_id)
                if column.name in self._names:
                    continue
                if found is None:
                    if column.role is Role.FIELD and not only_blank and self._is_free(column.path):
                        self._warn(
                            GONE_WEIGHT,
                            f"Column {one_line(column.name)} of the field {show_path(column.path)}, which run {each.run_id} "
                            "wrote, is not in the table any more.",
                        )
                    continue
                self._take_over(column, found, is_blank=only_blank)

    def _take_over(self, column: Column, found: ExistingColumn, *, is_blank: bool) -> None:
        """A column that a run of ours has written."""
        if column.role is Role.FIELD:
            is_blank = is_blank or self.has_document or not self._is_free(column.path)
        elif column.role is not Role.NONE:
            is_blank = is_blank or column.role in self._roles
        if is_blank or column.role is Role.NONE:
            self._blank(column, found)
            return
        placed = self._retyped(column, found)
        if isinstance(placed, Column):
            self._place(placed)
        elif column.role is Role.ID:
            self.problems.append(placed)
            self._place(column)
        else:
            self._names.add(column.name)
            self._warn(MISFIT_WEIGHT, f"{placed} It is left alone.")
            if column.path and not self.has_document:
                self._unplaced.append(placed)

    def _blank(self, column: Column, found: ExistingColumn) -> None:
        """A column that is ours and that no field goes to any more."""
        self._names.add(column.name)
        if self.mode != "upsert":
            return
        writer = self.writers.get(column.name, "")
        what = f"Column {one_line(column.name)}, which run {writer} wrote, has no field in this plan"
        held = held_by(found)
        if held is None or not found.nullable or found.generated or found.is_identity:
            self._warn(BLANK_WEIGHT, f"{what}, and cannot be made NULL: it is left alone.")
            return
        self._warn(BLANK_WEIGHT, f"{what}: it becomes NULL in each row that is written.")
        self.columns.append(Column(name=column.name, type=held[0], array=held[1], role=Role.NONE))

    def _retyped(self, column: Column, found: ExistingColumn) -> Column | str:
        """A column of ours with the type that it has now; a sentence where it cannot be written any more."""
        held = self._held(found, column)
        if isinstance(held, str):
            return held
        type_, is_array = held
        update: dict[str, object] = {}
        if column.role in (Role.EXTRA, Role.DOCUMENT) and (is_array or type_ not in JSON_TYPES):
            return f"Column {one_line(column.name)} is {one_line(found.type)}, the plan needs {column.sql_type}."
        if column.role is Role.MISSING and (type_, is_array) != (ColumnType.TEXT, True):
            return f"Column {one_line(column.name)} is {one_line(found.type)}, the plan needs text[]."
        if (type_, is_array) != (column.type, column.array):
            update = {"type": type_, "array": is_array}
            if column.path:
                update["kinds"] = kinds_that_always_fit(type_, self.options)
        kinds = update.get("kinds", column.kinds)
        assert isinstance(kinds, frozenset)
        if _is_unknown(found) and not kinds <= INTEGERS:
            if not found.keeps_integers:
                return _rounds(found, type_)
            update["kinds"] = INTEGERS
        return column.model_copy(update=update | limits(found))

    def _held(self, found: ExistingColumn, wanted: Column) -> tuple[ColumnType, bool] | str:
        """What a column holds, or why it cannot be written."""
        name = f"Column {one_line(found.name)}"
        if found.generated:
            return f"{name} is generated and cannot be written."
        held = held_by(found)
        if held is None:
            return f"{name} is {one_line(found.type)}, the plan needs {wanted.sql_type}."
        return held

    def tell_options(self, options: MappingOptions) -> None:
        """Say which of today's options the table overrules."""
        for name in MappingOptions.model_fields:
            kept, asked = getattr(self.options, name), getattr(options, name)
            if name not in POLICIES and kept != asked:
                run_id = in_order(self.existing.earlier, self.namespace)[0].run_id
                self._warn(
                    OPTION_WEIGHT,
                    f'mapping.{name} = "{asked}" does not count here: the table keeps "{kept}", with which run {run_id} '
                    "wrote it.",
                )

    # --- what the operator has decided --------------------------------------------------------------------------------

    def take_given(self, column: Column) -> None:
        """A column of a saved plan."""
        found = self._table.get(column.name)
        if found is None:
            self.problems.append(f"Column {one_line(column.name)} ({column.sql_type}) is missing.")
            return
        held = self._held(found, column)
        if isinstance(held, str):
            self.problems.append(held)
            return
        type_, is_array = held
        is_own = column.role in (Role.ID, Role.FIELD)
        does_fit = type_ in JSON_TYPES or column.kinds <= kinds_that_always_fit(type_, self.options)
        are_both_json = {type_, column.type} <= JSON_TYPES and not is_array
        if (type_, is_array) == (column.type, column.array):
            self._place(column.model_copy(update=limits(found)))
        elif (is_own and is_array == column.array and does_fit) or (not is_own and are_both_json):
            self._place(column.model_copy(update={"type": type_} | limits(found)))
        else:
            self.problems.append(
                f"Column {one_line(column.name)} is {one_line(found.type)}, the plan needs {column.sql_type}."
            )

    # --- columns that the census or the options ask for ---------------------------------------------------------------

    def take_own_columns(self, proposed: Mapping, census: Census) -> None:
        """`_id`, and the columns without a field, where no earlier run has them."""
        wanted = {column.role: column for column in proposed.columns if column.role is not Role.FIELD}
        has_documents = bool(census.n_documents)
        if Role.ID not in self._roles:
            self._take_id(wanted[Role.ID], has_documents=has_documents)
        else:
            self._look_at_ids(wanted[Role.ID], has_documents=has_documents)
        if Role.DOCUMENT in wanted and not self._roles & {Role.DOCUMENT, Role.FIELD}:
            self._take_json(DOCUMENT_NAME, Role.DOCUMENT)
            if not self.has_document:
                self.problems.append(f"Column {DOCUMENT_NAME} ({wanted[Role.DOCUMENT].sql_type}) is missing.")
        if self.options.overflow == "overflow" and not self._roles & {Role.EXTRA, Role.DOCUMENT}:
            self._take_json(EXTRA_NAME, Role.EXTRA)
        if Role.MISSING in wanted and Role.MISSING not in self._roles:
            found = self._table.get(MISSING_NAME)
            placed = self._retyped(wanted[Role.MISSING], found) if found is not None else ""
            if isinstance(placed, Column):
                self._place(placed)
            else:
                self._warn(
                    OPTION_WEIGHT,
                    f'mapping.missing = "track" does not count here: the table has no column {MISSING_NAME} text[].',
                )

    def _take_json(self, name: str, role: Role) -> None:
        found = self._table.get(name)
        if found is None or name in self._names or found.generated:
            return
        held = held_by(found)
        if held is not None and held[0] in JSON_TYPES and not held[1]:
            self._place(Column(name=name, type=held[0], role=role))

    def _take_id(self, wanted: Column, *, has_documents: bool) -> None:
        """`_id` of a table that no run of ours has written into."""
        found = self._table.get(ID_NAME)
        if found is None:
            self.problems.append(f"Column {ID_NAME} ({wanted.sql_type}) is missing.")
            self._place(wanted)
            return
        placed = self._fitted(wanted, found, wanted.kinds if has_documents else frozenset())
        if isinstance(placed, str):
            self.problems.append(placed)
            self._place(wanted)
            return
        if placed.type is ColumnType.JSON or placed.array:
            self.problems.append(
                f"Column {ID_NAME} is {one_line(found.type)}, of which PostgreSQL has no keys: the plan needs "
                f"{wanted.sql_type}."
            )
        if placed.type is ColumnType.TEXT:  # a kind that does not occur would not be told apart from those that do
            placed = placed.model_copy(update={"kinds": placed.kinds & wanted.kinds or wanted.kinds})
        self._place(placed)
        self._look_at_ids(wanted, has_documents=has_documents)

    def _look_at_ids(self, wanted: Column, *, has_documents: bool) -> None:
        """A warning about kinds of `_id` that its column does not take; those that it would make one have no plan."""
        column = next(each for each in self.columns if each.role is Role.ID)
        found = self._table.get(column.name)
        if found is not None and _is_unknown(found) and has_documents and not wanted.kinds <= INTEGERS:
            self.problems.append(_rounds(found, column.type))
            return
        misfits = wanted.kinds - column.kinds if column.type not in JSON_TYPES else frozenset()
        if misfits and has_documents:
            named = " or ".join(KIND_NAMES[kind] for kind in sorted(misfits))
            self._warn(
                MISFIT_WEIGHT,
                f"Column {one_line(column.name)} is {column.sql_type} in the table: documents whose _id is {named} will be "
                "rejects.",
            )

    def _fitted(self, wanted: Column, found: ExistingColumn, kinds: frozenset[Kind]) -> Column | str:
        """A column for a field that has had none, with the type that the table has.

        Args:
            wanted: as it would be in a table of its own.
            found: the table's.
            kinds: those of the values that were seen; of an array column's elements, where the field holds arrays alone.
        """
        held = self._held(found, wanted)
        if isinstance(held, str):
            return held
        type_, is_array = held
        taken = natural_kinds(type_, kinds, self.options)
        if _is_unknown(found):
            if not found.keeps_integers or not kinds & INTEGERS or (wanted.role is Role.ID and not kinds <= INTEGERS):
                return _rounds(found, type_)
            taken = INTEGERS
        if kinds and not kinds & taken and type_ not in JSON_TYPES:
            return f"Column {one_line(found.name)} is {one_line(found.type)}, the plan needs {wanted.sql_type}."
        update = {"name": found.name, "type": type_, "array": is_array, "kinds": taken}
        return wanted.model_copy(update=update | limits(found))

    # --- fields -------------------------------------------------------------------------------------------------------

    def take_fields(self, proposal: Proposal, census: Census) -> None:
        """Fields that no earlier run has seen: into columns of their names, where the table has them."""
        proposed = [column for column in proposal.mapping.columns if column.role is Role.FIELD]
        seen_at = dict(census.walk())
        below: dict[tuple[str, ...], list[Column]] = {}
        for column in proposed:
            for depth in range(1, len(column.path) + 1):
                below.setdefault(column.path[:depth], []).append(column)
        new = {
            path: [column for column in below.get(path, ()) if self._is_free(column.path)]
            for path in self._new_paths(census.root, ())
        }
        json_type = ColumnType(self.options.documents)
        wholes = {path: Column(name=show_path(path), type=json_type, path=path) for path in new}
        paths = dict.fromkeys([column.path for each in new.values() for column in each] + [*wholes])
        own = {ID_NAME, EXTRA_NAME, MISSING_NAME}
        names, _ = column_names(paths, self.options.naming, own | self._names)
        for path, parts in new.items():
            is_flat = parts and parts[0].path != path
            if not parts or (is_flat and not any(names[part.path] in self._table for part in parts)):
                parts = [wholes[path]]
            for column in parts:
                self._take_field(column, names[column.path], seen_at.get(column.path), census.n_documents)

    def _new_paths(self, parent: FieldCensus, prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Fields that have no place, the uppermost of each."""
        for key, seen in parent.fields.items():
            path = (*prefix, key)
            if path == ID_PATH or path in self._paths:
                continue
            if path not in self._inner:
                yield path
                continue
            others = seen.kind_set - {Kind.DOCUMENT}
            if others:
                holds = holds_words(seen.kind_set, others)
                self._warn(
                    MISFIT_WEIGHT,
                    f"Field {show_path(path)} {holds}: such values do not fit and {self._fate}.",
                )
            yield from self._new_paths(seen, path)

    @property
    def _fate(self) -> str:
        return self._fate_by("")

    def _fate_by(self, own: str) -> str:
        """What becomes of values that do not fit a column with this policy of its own; empty follows the options."""
        return fate_words((own or self.options.overflow) if Role.EXTRA in self._roles else "reject")

    def _take_field(self, column: Column, name: str, seen: FieldCensus | None, n_documents: int) -> None:
        where = show_path(column.path)
        spellings = [name, where] if len(column.path) == 1 else [name]
        found = next((self._table[each] for each in spellings if each in self._table and each not in self._names), None)
        if found is None:
            named = "" if where == name else f" for the field {one_line(where)}"
            self._unplaced.append(f"Column {one_line(name)} ({column.sql_type}) is missing{named}.")
            self._warn(PLACE_WEIGHT, f"Field {where} has no column in the table: its values {self._fate}.")
            return
        kinds = seen.kind_set if seen is not None else frozenset[Kind]()
        held = held_by(found)
        if held is not None and held[1]:  # an array: what counts are its elements
            elements = seen.elements.kind_set if seen is not None and seen.elements is not None else frozenset[Kind]()
            kinds = kinds if kinds and Kind.ARRAY not in kinds else elements
            if kinds and seen is not None and Kind.ARRAY not in seen.kind_set:
                held = None
        placed: Column | str
        if found.is_identity and (seen is None or seen.present < n_documents or seen.n_null):
            placed = f"Column {one_line(found.name)} is GENERATED ALWAYS AS IDENTITY, and documents without a value were seen."
        elif held is None:
            placed = f"Column {one_line(found.name)} is {one_line(found.type)}, the plan needs {column.sql_type}."
        else:
            placed = self._fitted(column, found, kinds)
        if isinstance(placed, Column):
            self._place(placed)
            return
        self._unplaced.append(placed)
        self._warn(MISFIT_WEIGHT, f"{placed} Values of the field {where} {self._fate}.")

    def require_all(self) -> None:
        """Everything has a place, and the table gets every value that it insists on."""
        if self._unplaced and Role.EXTRA not in self._roles and not self.has_document:
            self.problems += self._unplaced
            self.problems.append(
                f"The table has no column {EXTRA_NAME} jsonb that could take what has no place: add that or the columns, or "
                "name the fields in exclude of a saved plan."
            )
        placed = {column.name for column in self.columns}
        self.problems += [
            f"Column {one_line(left.name)} is NOT NULL without a default, and the plan has no value for it."
            for left in self.existing.columns
            if left.name not in placed and not (left.nullable or left.has_default)
        ]

    # --- the outcome --------------------------------------------------------------------------------------------------

    def result(self, proposal: Proposal, census: Census) -> Proposal:
        """The proposal."""
        options, columns = self.options, self.columns
        if not self._roles & {Role.EXTRA, Role.DOCUMENT}:
            options = options.model_copy(update={"overflow": "reject"})
            columns = [each.model_copy(update={"overflow": "reject"}) if each.overflow else each for each in columns]
        seen_at = dict(census.walk())
        notes = {}
        for column in columns:
            seen = seen_at.get(column.path)
            if seen is not None and column.path:
                notes[column.name] = describe_kinds(seen)
                self._look_at_kinds(column, seen)
            elif column.path and census.n_documents:
                notes[column.name] = "not seen"
            if column.name in self.writers:
                written = f"as run {self.writers[column.name]} wrote it"
                notes[column.name] = "; ".join(filter(None, (notes.get(column.name, ""), written)))
        mapping = Mapping(columns=tuple(columns), options=options, ignored=self.ignored)
        weighed = sorted([*self.warnings, *cautions(census, mapping)], key=lambda each: -each[0])
        return Proposal(mapping, [text for _, text in weighed], notes, weighed)

    def _look_at_kinds(self, column: Column, seen: FieldCensus) -> None:
        """A warning about values that do not fit; `_id` has its own."""
        if column.type in JSON_TYPES or column.role is Role.ID:
            return
        others = seen.kind_set - (frozenset({Kind.ARRAY}) if column.array else column.kinds)
        if others:
            holds = holds_words(seen.kind_set, others)
            self._warn(
                MISFIT_WEIGHT,
                f"Field {show_path(column.path)} {holds}: such values do not fit and {self._fate_by(column.overflow)}.",
            )


def natural_kinds(type_: ColumnType, seen: frozenset[Kind], options: MappingOptions) -> frozenset[Kind]:
    """The kinds that a column of this type takes as they are.

    Args:
        seen: those that occur; a text column could take any as text, but takes no more than strings and what becomes text
            anyway.
        options: which kinds become text, and whether old UUIDs are known.
    """
    if type_ in JSON_TYPES:
        return seen
    if type_ is ColumnType.TEXT:
        texts = {kind for kind in seen if (scalar_type(frozenset({kind}), options) or ("",))[0] is ColumnType.TEXT}
        return frozenset({Kind.STRING, *texts, *({Kind.OBJECT_ID} & seen)})
    taken = kinds_that_always_fit(type_, options)
    if type_ in INTEGER_TYPES and seen & INTEGERS:  # doubles among integers are whole for the most part
        return taken | seen & {Kind.DOUBLE}
    return taken


def _is_unknown(found: ExistingColumn) -> bool:
    """The column rounds, and the converter cannot tell what."""
    return found.rounds and not has_limits(found)


def _rounds(found: ExistingColumn, type_: ColumnType) -> str:
    return f"Column {one_line(found.name)} is {one_line(found.type)}, which would round values: the plan needs {type_.value}."
