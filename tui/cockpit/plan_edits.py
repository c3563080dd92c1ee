"""The operator's edits of a plan, and the way back: the last one is undone first, and what was undone can be done again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.errors import UsageError
from engine.protocol import (
    POLICIES,
    Column,
    EditablePlan,
    Flatten,
    LeaveOut,
    MoveTable,
    OfferedColumns,
    PlanEdit,
    PutBack,
    RenameColumn,
    RetypeColumn,
    SavedPlan,
    SavedTable,
    SetFilter,
    SetPolicies,
    apply,
    policies_for,
)
from tui.words.rejects import policy_value

Step = tuple[PlanEdit, ...]
"""What the operator does at once, and what is undone at once."""
Path = tuple[str, ...]
"""A field: its keys from the document's top."""

ID_PATH = ("_id",)
_OF_COLUMNS = (RenameColumn, RetypeColumn, SetPolicies, LeaveOut, Flatten)
"""Edits that name a column that is there."""


@dataclass(frozen=True, slots=True)
class ColumnState:
    """What a column is, or is to be."""

    name: str
    type: str
    policies: Mapping[str, str] = field(default_factory=dict)
    """The column's own; those that are missing are as set for all."""


@dataclass(frozen=True, slots=True)
class TableState:
    """Where a collection goes to, and which of its documents."""

    schema: str
    table: str
    filter: str = ""
    """Extended JSON; empty takes every document."""


@dataclass(frozen=True, slots=True)
class PlacedEdit:
    """An edit with what it was made of: by the collection and the field it finds its place in another plan."""

    edit: PlanEdit
    table: SavedTable
    """As it was before the edit."""
    column: Column | None
    """The one that is edited, as it was before; None for an edit of the table, or of a field without a column."""
    why_not: str = ""
    """Why it has no place in the plan that there is; empty for one that has."""

    @property
    def words(self) -> str:
        """What it is: `shop.orders, total: type text`."""
        edit = self.edit
        match edit:
            case RenameColumn():
                what = f"column name {edit.new_name}"
            case RetypeColumn():
                what = f"type {edit.type}"
            case SetPolicies():
                what = "policies"
            case LeaveOut():
                what = "excluded"
            case PutBack():
                what = "included"
            case Flatten():
                what = "flattened"
            case MoveTable():
                what = f"table {edit.new_schema}.{edit.new_table}"
            case SetFilter():
                what = "filter"
        path = edit.column.path if isinstance(edit, PutBack) else self.column.path if self.column is not None else ()
        return f"{_about(self.table, path)}: {what}"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A saved plan that was opened."""

    path: str
    text: str
    """Its TOML."""


@dataclass(frozen=True, slots=True)
class PlanEdits:
    """Edits of a plan: of a proposal of the engine's, or of a file that was opened. A value: each change makes another."""

    base: EditablePlan | None = None
    """The plan before the edits."""
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()
    """The one that was undone last is the last."""
    file: PlanFile | None = None
    """Where the plan came from; None for a proposal."""
    aside: tuple[PlacedEdit, ...] = ()
    """Those that have no place in the plan since it was made of something else; they come back with the next that has one."""

    # --- steps --------------------------------------------------------------------------------------------------------

    def doing(self, step: Step) -> PlanEdits:
        """One step further. Raises UsageError when the step cannot be made."""
        further = replace(self, done=(*self.done, step), undone=())
        further.plans()
        return further

    def undoing(self) -> PlanEdits:
        """One step back, if there is one."""
        return replace(self, done=self.done[:-1], undone=(*self.undone, *self.done[-1:]))

    def redoing(self) -> PlanEdits:
        """With the step that was undone last, if there is one."""
        return replace(self, done=(*self.done, *self.undone[-1:]), undone=self.undone[:-1])

    def over(self, proposal: EditablePlan) -> PlanEdits:
        """No edits, of a new proposal; those that were undone can be done again while it says the same as the last one."""
        is_same = self.base is not None and self.base.saved == proposal.saved
        return PlanEdits(proposal, undone=self.undone if is_same else (), file=self.file, aside=self.aside)

    # --- in another plan ----------------------------------------------------------------------------------------------

    def moved_to(self, proposal: EditablePlan) -> PlanEdits:
        """The same edits of another proposal, of other settings perhaps: each goes to the collection and the field that it was
        made of, whatever table and column they have now. Those that have no place are put aside. Raises as `plans`.
        """
        moved = PlanEdits(proposal)
        for step in (*((each,) for each in self.aside), *self.placed()):
            moved = moved.taking(step)
        return moved

    def needless(self, before: PlanEdits) -> list[str]:
        """Changes that the same edits made of another plan, and need not make of this one, in words. Raises as `plans`."""
        now = self._facts()
        aside = {each.words.partition(": ")[0] for each in self.aside}
        return [
            f"{where}: {what}" for where, what in before._facts() if (where, what) not in now and where not in aside
        ]

    def taking(self, step: Sequence[PlacedEdit]) -> PlanEdits:
        """One step further with edits of another plan; those that have no place here are put aside. Raises as `plans`."""
        taken, aside = self, list[PlacedEdit]()
        edits = list[PlanEdit]()
        for placed in step:
            try:
                edit = _in_place(placed, taken.plans()[-1])
                if edit is not None:
                    taken = taken.doing((edit,))
                    edits.append(edit)
            except UsageError as error:
                aside.append(replace(placed, why_not=error.message))
        done = (*self.done, tuple(edits)) if edits else self.done
        return replace(self, done=done, aside=(*self.aside, *aside))

    def refusing_last(self, message: str) -> PlanEdits:
        """With the last step put aside, which the engine has refused. Raises as `plans`."""
        refused = [replace(each, why_not=message) for each in self.placed()[-1]]
        return replace(self, done=self.done[:-1], aside=(*self.aside, *refused))

    def placed(self) -> list[tuple[PlacedEdit, ...]]:
        """The steps that are done, each edit with what it was made of."""
        plan, steps = self.plans()[0], []
        for step in self.done:
            placed = []
            for edit in step:
                table = next(
                    each for each in plan.tables if (each.schema_name, each.table) == (edit.schema_name, edit.table)
                )
                name = edit.column if isinstance(edit, _OF_COLUMNS) else ""
                placed.append(PlacedEdit(edit, table, table.column(name) if name else None))
                plan = apply(plan, edit)
            steps.append(tuple(placed))
        return steps

    # --- what they make of the plan -----------------------------------------------------------------------------------

    @property
    def edits(self) -> list[PlanEdit]:
        """All that are done, in order."""
        return [edit for step in self.done for edit in step]

    @property
    def text(self) -> str:
        """The TOML that they are made in; empty for a proposal without edits."""
        if self.base is not None and (self.done or self.file is not None):
            return self.base.toml
        return self.file.text if self.file is not None else ""

    @property
    def is_own(self) -> bool:
        """The plan is the operator's: edited, or opened from a file."""
        return bool(self.done) or self.file is not None

    def plans(self) -> list[SavedPlan]:
        """The proposal, and the plan after each step.

        Raises:
            UsageError: a step cannot be made, or there is no plan that can be edited.
        """
        if self.base is None or self.base.saved is None:
            raise UsageError(
                "The engine is of another version, whose plans cannot be edited here: save the plan and edit the file."
            )
        plans = [self.base.saved]
        for step in self.done:
            plan = plans[-1]
            for edit in step:
                plan = apply(plan, edit)
            plans.append(plan)
        return plans

    def changes(self, kept: Sequence[Step] = ()) -> list[str]:
        """What is otherwise in the plan, in words: everything about one field is one change, as it was applied at once perhaps;
        two names for a column, one after the other, are one as well, and back again is none.

        Args:
            kept: the steps after which it is looked at; without them, all.
        """
        found: dict[str, list[str]] = {}
        for where, what in self._facts(kept):
            found.setdefault(where, []).append(what)
        return [f"{where}: {', '.join(whats)}" for where, whats in found.items()]

    def _facts(self, kept: Sequence[Step] = ()) -> list[tuple[str, str]]:
        """The same, each with the table or the field that it is about."""
        if self.done == tuple(kept):
            return []
        before = replace(self, done=tuple(kept)).plans()[-1]
        pairs = zip(before.tables, self.plans()[-1].tables, strict=True)
        return [fact for was, now in pairs for fact in _changes(was, now)]

    def n_changes(self, kept: Sequence[Step] = ()) -> int:
        """How many they are."""
        return len(self.changes(kept))

    def table(self, number: int) -> SavedTable:
        """A table as it is now, by its place in the plan. Raises as `plans`."""
        return self.plans()[-1].tables[number]

    def column(self, number: int, name: str) -> tuple[ColumnState, dict[str, str] | None]:
        """A column of a table as it is now, and the policies that are set for all columns; None when it takes none of its own.

        Raises:
            UsageError: there is no such column; or as `plans`.
        """
        plan = self.plans()[-1]
        column = plan.tables[number].column(name)
        own = {policy: word for policy in POLICIES if (word := str(getattr(column, policy)))}
        # An altered _id could become another's, and a column without a field takes what others leave.
        has_policies = column.path not in ((), ID_PATH)
        as_set = {policy: str(getattr(plan.options, policy)) for policy in POLICIES} if has_policies else None
        return ColumnState(column.name, column.sql_type, own), as_set

    def own_policies(self, number: int) -> dict[str, tuple[str, ...]]:
        """What was chosen for single columns of a table, by their names: of the policies that their types have, and where it is
        another than that of all columns.
        """
        try:
            plan = self.plans()[-1]
        except UsageError:
            return {}
        return {
            column.name: tuple(
                word
                for policy in POLICIES
                if (word := str(getattr(column, policy))) not in ("", str(getattr(plan.options, policy)))
                and policy in policies_for(column.sql_type)
            )
            for column in plan.tables[number].columns or ()
        }

    def table_state(self, number: int) -> TableState:
        """Where a collection goes to now, by its place in the plan. Raises as `plans`."""
        table = self.table(number)
        return TableState(table.schema_name, table.table, table.filter)

    def is_edited_table(self, number: int) -> bool:
        """Anything of a table is not as it was before the edits."""
        return bool(self.done) and self.plans()[-1].tables[number] != self.plans()[0].tables[number]

    def edited_columns(self, number: int) -> frozenset[str]:
        """Names of a table's columns that are new, or not as they were before the edits."""
        if not self.done:
            return frozenset()
        plans = self.plans()
        before = set(plans[0].tables[number].columns or ())
        return frozenset(column.name for column in plans[-1].tables[number].columns or () if column not in before)

    def first_places(self, number: int) -> dict[Path, int]:
        """Fields of a table that have or had a column, by their places in the plan that had them first."""
        try:
            tables = [plan.tables[number] for plan in self.plans()]
        except UsageError:
            return {}
        places: dict[Path, int] = {}
        for table in tables:
            for place, column in enumerate(table.columns or ()):
                if column.path:
                    places.setdefault(column.path, place)
        return places

    # --- steps to take ------------------------------------------------------------------------------------------------

    def change(self, number: int, now: ColumnState, then: ColumnState) -> Step:
        """What makes one column of a table another. Raises as `plans`."""
        table = self.table(number)
        at = {"schema_name": table.schema_name, "table": table.table, "column": now.name}
        step: list[PlanEdit] = []
        if then.type != now.type:
            step.append(RetypeColumn(**at, type=then.type))
        if then.policies != now.policies:
            step.append(SetPolicies.model_validate({**at, **then.policies}))
        if then.name != now.name:
            step.append(RenameColumn(**at, new_name=then.name))
        return tuple(step)

    def leave_out(self, number: int, name: str) -> Step:
        """What leaves the field of a column out. Raises as `plans`."""
        table = self.table(number)
        return (LeaveOut(schema_name=table.schema_name, table=table.table, column=name),)

    def put_back(self, number: int, path: Path, offered: OfferedColumns | None = None) -> Step:
        """What gives a field that is left out its column back: the one that it had last, where it was at first.

        Args:
            offered: columns for fields that never had one here.

        Raises:
            UsageError: there is no column for it; or as `plans`.
        """
        before = [plan.tables[number] for plan in self.plans()]
        now = before[-1]
        had = [table for table in before if any(column.path == path for column in table.columns or ())]
        if not had:
            own = next((each for each in offered.others if each.path == path), None) if offered is not None else None
            if own is None:
                raise UsageError(
                    f"No document that was sampled has the field {field_label(path)}: edit the plan's file."
                )
            (column,) = _renamed([own], {each.name for each in now.columns or ()})
            places = [place for place, each in enumerate(now.columns or (), 1) if each.path]
            return (
                PutBack(schema_name=now.schema_name, table=now.table, column=column, position=max(places, default=0)),
            )
        column = next(column for column in had[-1].columns or () if column.path == path)
        first = [(each.path, each.role) for each in had[0].columns or ()]
        above = first[: [path for path, _ in first].index(path)]
        places = [place for place, each in enumerate(now.columns or (), 1) if (each.path, each.role) in above]
        return (PutBack(schema_name=now.schema_name, table=now.table, column=column, position=max(places, default=0)),)

    def flatten(self, number: int, name: str, offered: OfferedColumns) -> Step:
        """What puts the columns of a document's fields in the place of its own.

        Raises:
            UsageError: there are none; or as `plans`.
        """
        table = self.table(number)
        inside = offered.inside.get(name)
        if not inside:
            raise UsageError(
                f"Column {name} cannot be flattened: only a field whose every value is a document, with fields that were "
                "counted, has columns to put in its place. Refresh counts one level further down."
            )
        others = {each.name for each in table.columns or () if each.name != name}
        columns = tuple(_renamed(inside, others))
        return (Flatten(schema_name=table.schema_name, table=table.table, column=name, columns=columns),)

    def change_table(self, number: int, now: TableState, then: TableState) -> Step:
        """What sends a collection to another table, or others of its documents. Raises as `plans`."""
        at = {"schema_name": now.schema, "table": now.table}
        step: list[PlanEdit] = []
        if then.filter != now.filter:
            step.append(SetFilter(**at, filter=then.filter))
        if (then.schema, then.table) != (now.schema, now.table):
            step.append(MoveTable(**at, new_schema=then.schema, new_table=then.table))
        return tuple(step)


def _in_place(placed: PlacedEdit, plan: SavedPlan) -> PlanEdit | None:
    """An edit as it is made in another plan; None where that plan has it already.

    Raises:
        UsageError: it has no place there.
    """
    edit, was = placed.edit, placed.table
    tables = [each for each in plan.tables if each.namespace == was.namespace]
    if len(tables) > 1:  # one collection may go to several tables
        tables = [each for each in tables if each.target == was.target]
    if not tables:
        raise UsageError("the collection is not in the plan")
    table = tables[0]
    at = {"schema_name": table.schema_name, "table": table.table}
    if isinstance(edit, PutBack):
        has_it = any(each.path == edit.column.path for each in table.columns or ())
        (put_back,) = _renamed([edit.column], {each.name for each in table.columns or ()})
        position = min(edit.position, len(table.columns or ()))
        return None if has_it else edit.model_copy(update={**at, "column": put_back, "position": position})
    if isinstance(edit, MoveTable):
        # What was not changed by it is as the plan has it now.
        schema = table.schema_name if edit.new_schema == was.schema_name else edit.new_schema
        name = table.table if edit.new_table == was.table else edit.new_table
        return edit.model_copy(update={**at, "new_schema": schema, "new_table": name})
    if isinstance(edit, SetFilter):
        return edit.model_copy(update=at)
    assert placed.column is not None
    if isinstance(edit, LeaveOut) and placed.column.path in table.ignored:
        return None
    key = (placed.column.path, placed.column.role)
    column = next((each for each in table.columns or () if (each.path, each.role) == key), None)
    if column is None:
        raise UsageError("the field has no column in the plan")
    return edit.model_copy(update={**at, "column": column.name})


def _changes(was: SavedTable, now: SavedTable) -> Iterator[tuple[str, str]]:
    """In what a table is another, each with what it is about: its place, its filter; of each column name, type and policies;
    fields that came or went, where the columns that take a document's place are one change.
    """
    if (was.schema_name, was.table) != (now.schema_name, now.table):
        yield _about(was, ()), f"table {now.schema_name}.{now.table}"
    if was.filter != now.filter:
        yield _about(was, ()), "filter"
    before = {(each.path, each.role): each for each in was.columns or ()}
    after = {(each.path, each.role): each for each in now.columns or ()}
    for key in (key for key in before if key in after):
        one, other = before[key], after[key]
        if one.name != other.name:
            yield _about(was, key[0]), f"column name {other.name}"
        if one.sql_type != other.sql_type:
            yield _about(was, key[0]), f"type {other.sql_type}"
        policies = [policy for policy in POLICIES if getattr(one, policy) != getattr(other, policy)]
        if policies:
            words = (f"{policy} {policy_value(str(getattr(other, policy))) or 'inherit'}" for policy in policies)
            yield _about(was, key[0]), ", ".join(words)
    gone = dict.fromkeys(path for path, role in before if (path, role) not in after)
    come = dict.fromkeys(path for path, role in after if (path, role) not in before)
    inside = {
        path: next((above for above in gone if path != above and path[: len(above)] == above), None) for path in come
    }
    for path in gone:
        yield _about(was, path), "flattened" if path in inside.values() else "excluded"
    for path in (path for path in come if inside[path] is None):
        yield _about(was, path), "included"


def _about(table: SavedTable, path: Sequence[str]) -> str:
    """The collection, and the field: `shop.orders, total`."""
    return f"{table.namespace}{f', {field_label(path)}' if path else ''}"


def _renamed(columns: Sequence[Column], taken: set[str]) -> list[Column]:
    """The columns under names that no other has."""
    used, found = set(taken), []
    for column in columns:
        name, number = column.name, 2
        while name in used:
            name, number = f"{column.name}_{number}", number + 1
        used.add(name)
        found.append(column.model_copy(update={"name": name}))
    return found


def field_label(path: Sequence[str]) -> str:
    """A field as the plan's file names it: its keys with dots between them, or a list where a key holds a dot itself."""
    if any("." in key for key in path):
        return json.dumps(list(path), ensure_ascii=False)
    return ".".join(path)
