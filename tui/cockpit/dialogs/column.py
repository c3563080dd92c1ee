"""The dialog that renames or retypes a column of the plan, and says what becomes of values that it cannot hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.loading import choices_of
from engine.protocol import POLICIES, ColumnView, TypeChoice, is_type, policies_for
from tui.cockpit.dialogs.plan_form import Attempt, PlanForm
from tui.cockpit.plan_edits import ColumnState
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.fields import ChoiceField
from tui.words.census import kinds_words
from tui.words.format import part
from tui.words.rejects import policy_value, reason_words
from tui.words.safe import safe

_OTHER_NAMES = {
    "varchar": "text", "string": "text", "char": "text", "character varying": "text", "int": "integer", "int4": "integer",
    "int8": "bigint", "long": "bigint", "decimal": "numeric", "float": "double precision", "float8": "double precision",
    "double": "double precision", "bool": "boolean", "timestamp": "timestamptz", "datetime": "timestamptz",
    "date": "timestamptz", "timestamp with time zone": "timestamptz", "binary": "bytea", "blob": "bytea", "object": "jsonb",
}  # fmt: skip
"""What types are called elsewhere."""
_FITS, _NO_PART = 100.0, 0.0
_KEYS = dict(zip(POLICIES, ("f2", "f3", "f4", "f5"), strict=True))
"""The key that leads to each policy: a letter would be typed into a field."""


class PolicyChoice(ChoiceField):
    """A choice of one policy of the column."""

    def shown_as(self, word: str) -> str:
        """Where values are kept is told as that."""
        return "keep in _extra" if word == "_extra" else word


class ColumnDialog(PlanForm[ColumnState]):
    """Returns the column as edited, once the engine has taken it; what it refuses is said here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", "Type before", show=False),
        Binding("down", "step(1)", "Next type", show=False),
        Binding("enter", "apply", "Apply", show=False, priority=True),
        *(Binding(key, f"policy('{policy}')", policy, show=False) for policy, key in _KEYS.items()),
    ]
    HINT: ClassVar[str] = "Enter apply · ↑↓ type · Tab next field · ←→ choose · Esc back"

    def __init__(
        self,
        column: ColumnView,
        now: ColumnState,
        as_set: Mapping[str, str] | None,
        types: Sequence[TypeChoice],
        attempt: Attempt[ColumnState],
    ) -> None:
        """Nothing is changed yet.

        Args:
            column: what was seen of it.
            now: the column as it is.
            as_set: the policies that are set for all columns; None for a column that takes none of its own.
            types: that it may have.
            attempt: makes the change; returns why it cannot be.
        """
        super().__init__(f"Field {safe(column.field, 50)}", attempt)
        self._column = column
        self._now = now
        self._as_set = as_set
        self._types = types
        self._listed: list[TypeChoice] = []

    def fields(self) -> ComposeResult:
        """Name and type, the types to choose from, and a choice for each policy."""
        for label, value in (("Column", self._now.name), ("Type", self._now.type)):
            with Horizontal(classes="named-field"):
                yield Static(label, classes="field-label", markup=False)
                yield Input(value, id=label.lower(), compact=True)
        yield OptionList(id="types", markup=False, compact=True)
        with VerticalScroll(id="policies", can_focus=False):
            for policy in POLICIES if self._as_set is not None else ():
                words = (self._inherit(policy), *map(policy_value, choices_of(f"mapping.{policy}")))
                own = self._now.policies.get(policy)
                with Horizontal(classes="named-field", id=f"line-{policy}"):
                    yield Static(
                        Content.assemble((_KEYS[policy], "bold"), f" {policy}"), classes="field-label", markup=False
                    )
                    yield PolicyChoice(words, words[0] if own is None else policy_value(own), id=policy)
        yield Static(f"Seen: {', '.join(kinds_words(self._column)) or 'nothing'}", classes="note", markup=False)
        if self._as_set:
            yield Static(self._defaults, id="policy-note", classes="note", markup=False)

    @property
    def _defaults(self) -> str:
        said = (f"{policy} → {policy_value(word)}" for policy, word in (self._as_set or {}).items())
        return f"Plan defaults: {', '.join(said)}"

    @on(DescendantFocus)
    def _explain(self) -> None:
        """What the policy with the cursor is for."""
        for note in self.query("#policy-note").results(Static):
            policy = self.focused.id or "" if isinstance(self.focused, PolicyChoice) else ""
            note.update(
                f"{policy}: what becomes of {reason_words(policy)[0]}" if policy else self._defaults, layout=False
            )

    @staticmethod
    def _meant(choice: ChoiceField) -> str:
        """The policy's value, as a plan has it."""
        values = choices_of(f"mapping.{choice.id}")
        return next((value for value in values if policy_value(value) == choice.selected), choice.selected)

    def _inherit(self, policy: str) -> str:
        return f"inherit ({policy_value((self._as_set or {}).get(policy, ''))})"

    def on_mount(self) -> None:
        """Start with the name: it is what is changed most."""
        self._list(self._types, self._now.type)
        self._show_policies(self._now.type)
        # At once: a message would come when the cursor may have left the list already.
        self.watch(self.query_one("#types"), "highlighted", self._take_marked, init=False)
        self.set_focus(self.query_one("#column", Input))

    # --- types ---

    def _list(self, types: Sequence[TypeChoice], current: str) -> None:
        self._listed = list(types)
        width = max((cell_len(each.type) for each in self._types), default=0) + 2
        options = self.query_one("#types", OptionList)
        where = self._misfits()
        options.set_options(Option(type_line(each, width, where), id=each.type) for each in types)
        names = [each.type for each in types]
        if names:
            options.highlighted = names.index(current) if current in names else 0

    def _misfits(self) -> str:
        """What becomes of values that a type does not take, as the policy is now."""
        chosen = [self._meant(choice) for choice in self.query(ChoiceField) if choice.id == "overflow"]
        as_set = (self._as_set or {}).get("overflow", "reject")
        policy = as_set if not chosen or chosen[0] == self._inherit("overflow") else chosen[0]
        return "go to _extra" if policy == "overflow" else "are rejected"

    @on(ChoiceField.Changed)
    def _policy_chosen(self, event: ChoiceField.Changed) -> None:
        event.stop()
        if event.choice.id == "overflow":
            options = self.query_one("#types", OptionList)
            at = options.highlighted
            self._list(self._listed, self._listed[at].type if at is not None and self._listed else self._now.type)

    @on(Input.Changed, "#type")
    def _narrow(self, event: Input.Changed) -> None:
        """What is typed narrows the list; a type's whole name shows all again, with that one marked."""
        event.stop()
        self.say("")
        typed = event.value.strip()
        if typed == self._marked and self._is_in_list:  # which stays as it is under its own cursor
            self._show_policies(typed)
            return
        meant = _OTHER_NAMES.get(typed.lower(), typed)
        if not typed or any(each.type == typed for each in self._types):
            self._list(self._types, typed or self._now.type)
        else:
            self._list(
                [each for each in self._types if typed.lower() in each.type or each.type == meant], self._now.type
            )
        self._show_policies(self._chosen() or self._now.type)

    def action_step(self, by: int) -> None:
        """Another type of the list, while the cursor is in its field, or in the name's, where the keys mean nothing else."""
        field, options = self.query_one("#type", Input), self.query_one("#types", OptionList)
        if not isinstance(self.focused, Input) or not self._listed:
            return
        self.set_focus(field)
        at = ((options.highlighted or 0) + by) % len(self._listed)
        field.value = self._listed[at].type
        field.action_select_all()

    def action_policy(self, policy: str) -> None:
        """To the choice of a policy, where the type has it."""
        for line in self.query(f"#line-{policy}"):
            if line.display:
                self.set_focus(line.query_one(ChoiceField))

    def action_apply(self) -> None:
        """Apply from a policy's row and from the list of types; elsewhere Enter has a meaning already."""
        if not isinstance(self.focused, ChoiceField | OptionList):
            raise SkipAction
        self.focused.call_later(self._apply)  # after the keys before it, which may still be on their way there

    def _take_marked(self) -> None:
        """The type under the cursor of the list is the one that is meant, and the field says it."""
        if self._is_in_list and self._marked:
            self.query_one("#type", Input).value = self._marked

    @on(OptionList.OptionSelected, "#types")
    def _picked(self, event: OptionList.OptionSelected) -> None:
        """A click, from which the cursor goes to the field."""
        event.stop()
        field = self.query_one("#type", Input)
        field.value = event.option_id or field.value
        self.set_focus(field)

    @property
    def _is_in_list(self) -> bool:
        """The cursor is in the list of types; the list itself is told of it later than the next key, which may come at once."""
        return self.focused is self.query_one("#types")

    @property
    def _marked(self) -> str:
        """The type under the cursor of the list; empty where the list is."""
        at = self.query_one("#types", OptionList).highlighted
        return self._listed[at].type if at is not None and at < len(self._listed) else ""

    def _chosen(self) -> str:
        """The type that is meant: as typed, else the one that is marked; empty when there is none."""
        typed = self.query_one("#type", Input).value.strip()
        if typed in {self._now.type, *(each.type for each in self._types)} or is_type(typed):
            return typed
        return self._marked

    def _show_policies(self, type_: str) -> None:
        applying = policies_for(type_)
        for policy in POLICIES if self._as_set is not None else ():
            self.query_one(f"#line-{policy}").display = policy in applying

    # --- the answer ---

    def answer(self) -> ColumnState | None:
        """The column as it is to be; None when there is no such type, which is said."""
        type_ = self._chosen()
        if not type_:
            typed = self.query_one("#type", Input).value.strip()
            near = difflib.get_close_matches(typed, [each.type for each in self._types], 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ": the list shows all when it is empty."
            self.say(f"There is no type {safe(typed, 40)} for this field{hint}")
            return None
        applying = policies_for(type_)
        said = {choice.id or "": self._meant(choice) for choice in self.query(ChoiceField)}
        policies = {
            policy: word for policy, word in said.items() if policy in applying and word != self._inherit(policy)
        }
        typed, before = self.query_one("#column", Input).value, self._now.name
        return ColumnState(before if typed == before else typed.strip(), type_, policies)


def type_line(choice: TypeChoice, width: int, where: str) -> Content:
    """A type, and what becomes of the values that were seen.

    Args:
        width: of the type, in cells.
        where: what becomes of those that it does not take: "go to _extra".
    """
    # As short as the dialog is on a small screen: a line each.
    misfits = ["fractions" if choice.is_exceeded else "fractions (1.5)"] if choice.wants_whole else []
    misfits += ["too large" if misfits else "too large numbers"] if choice.is_exceeded else []
    if choice.takes is None:
        words = ""
    elif choice.takes >= _FITS:
        words = f"{', '.join(misfits)} {where}" if misfits else "takes all values seen"
    elif choice.takes > _NO_PART:
        words = f"{'up to' if misfits else 'takes'} {part(choice.takes)}; others {where}"
    else:
        words = "takes none of the values seen"
    return Content.assemble(f"{choice.type:<{width}}", (words, MUTED))
