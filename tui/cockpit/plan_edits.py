"""The operator's edits of a plan, and the way back: the last one is undone first, and what was undone can be done again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.errors import UsageError
from engine.protocol import (
    POLICIES,
    EditablePlan,
    LeaveOut,
    PlanEdit,
    PutBack,
    RenameColumn,
    RetypeColumn,
    SavedPlan,
    SavedTable,
    SetPolicies,
    apply,
)

Step = tuple[PlanEdit, ...]
"""What the operator does at once, and what is undone at once."""
Path = tuple[str, ...]
"""A field: its keys from the document's top."""

ID_PATH = ("_id",)


@dataclass(frozen=True, slots=True)
class ColumnState:
    """What a column is, or is to be."""

    name: str
    type: str
    policies: Mapping[str, str] = field(default_factory=dict)
    """The column's own; those that are missing are as set for all."""


@dataclass(frozen=True, slots=True)
class PlanEdits:
    """Edits of one proposal of the engine's. A value: each change makes another."""

    base: EditablePlan | None = None
    """The proposal."""
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()
    """The one that was undone last is the last."""

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
        return PlanEdits(proposal, undone=self.undone if is_same else ())

    # --- what they make of the plan -----------------------------------------------------------------------------------

    @property
    def edits(self) -> list[PlanEdit]:
        """All that are done, in order."""
        return [edit for step in self.done for edit in step]

    @property
    def text(self) -> str:
        """The TOML that they are made in; empty when there are none."""
        return self.base.toml if self.base is not None and self.done else ""

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

    def put_back(self, number: int, path: Path) -> Step:
        """What gives a field that is left out its column back: the one that it had last, where it was at first.

        Raises:
            UsageError: it never had one; or as `plans`.
        """
        before = [plan.tables[number] for plan in self.plans()]
        had = [table for table in before if any(column.path == path for column in table.columns or ())]
        if not had:
            raise UsageError(
                f"No plan of this screen had a column for {field_label(path)}; look at the source again without edits."
            )
        column = next(column for column in had[-1].columns or () if column.path == path)
        first = [(each.path, each.role) for each in had[0].columns or ()]
        above = first[: [path for path, _ in first].index(path)]
        now = before[-1]
        places = [place for place, each in enumerate(now.columns or (), 1) if (each.path, each.role) in above]
        return (PutBack(schema_name=now.schema_name, table=now.table, column=column, position=max(places, default=0)),)


def field_label(path: Sequence[str]) -> str:
    """A field as the plan's file names it: its keys with dots between them, or a list where a key holds a dot itself."""
    if any("." in key for key in path):
        return json.dumps(list(path), ensure_ascii=False)
    return ".".join(path)
