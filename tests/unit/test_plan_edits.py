"""Edits of a plan: what each makes of it, what the engine judges, and that undoing and redoing lead back and forth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.mapping.kinds import kinds_to_take
from engine.mapping.model import SQL_TYPES, Column, ColumnType, Kind, Role
from engine.mapping.options import POLICIES, MappingOptions, choices
from engine.plan.reading import asked_plan, read_plan
from engine.plan.writing import write_plan
from engine.protocol import (
    EditablePlan,
    MakePlan,
    OfferedColumns,
    RenameColumn,
    RetypeColumn,
    SavedPlan,
    SavedTable,
    apply,
)
from tests.saved_plans import NAMES, plans
from tui.cockpit.plan_edits import ColumnState, PlanEdits, PlanFile, Step, TableState, field_label


def of(plan: SavedPlan) -> PlanEdits:
    """No edits yet, as after a proposal."""
    return PlanEdits(EditablePlan(fingerprint="", mode=plan.mode, tables=[], toml=write_plan(plan), saved=plan))


def columns_of(edits: PlanEdits, number: int) -> tuple[Column, ...]:
    return edits.table(number).columns or ()


def small_plan() -> SavedPlan:
    """Two tables of one collection, with the fields a to d."""
    fields = [Column(name=name, type=ColumnType.TEXT, path=(name,), kinds=frozenset({Kind.STRING})) for name in "abcd"]
    id_column = Column(name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.OBJECT_ID}))
    extra = Column(name="_extra", type=ColumnType.JSONB, role=Role.EXTRA)
    tables = [
        SavedTable(
            database="shop", collection="orders", schema_name="crm", table=table, ignored=(("old",),),
            columns=(id_column, *fields, extra),
        )
        for table in ("orders", "copies")
    ]  # fmt: skip
    return SavedPlan(tables=tuple(tables))


@st.composite
def steps(draw: st.DrawFn, edits: PlanEdits) -> Step:
    """Something that an operator may do now, whether the engine takes it or not."""
    number = draw(st.integers(0, len(edits.plans()[-1].tables) - 1))
    columns = columns_of(edits, number)
    had = {column.path for plan in edits.plans() for column in plan.tables[number].columns or ()}
    back = [path for path in edits.table(number).ignored if path in had]
    fields = [column for column in columns if column.path]
    kinds = ["change"] * bool(columns) + ["leave out", "flatten"] * bool(fields) + ["put back"] * bool(back) + ["table"]
    match draw(st.sampled_from(kinds)) if kinds else "nothing":
        case "change":
            now, as_set = edits.column(number, draw(st.sampled_from(columns)).name)
            policies = {policy: draw(st.sampled_from(["", *choices(policy)])) for policy in POLICIES if as_set}
            name = draw(st.just(now.name) | NAMES)
            kind = draw(st.just(now.type) | st.sampled_from(list(SQL_TYPES)))
            return edits.change(
                number, now, ColumnState(name, kind, {key: word for key, word in policies.items() if word})
            )
        case "leave out":
            return edits.leave_out(number, draw(st.sampled_from(fields)).name)
        case "put back":
            return edits.put_back(number, draw(st.sampled_from(back)))
        case "flatten":
            return edits.flatten(number, (column := draw(st.sampled_from(fields))).name, inside(column))
        case "table":
            state = edits.table_state(number)
            filter_ = draw(st.sampled_from(["", '{"a": 1}', "{", state.filter]))
            return edits.change_table(
                number,
                state,
                TableState(draw(st.just(state.schema) | NAMES), draw(st.just(state.table) | NAMES), filter_),
            )
    return ()


def inside(column: Column) -> OfferedColumns:
    """Two columns for what is in a field."""
    found = [
        Column(
            name=f"{column.name}_{key}", type=ColumnType.TEXT, path=(*column.path, key), kinds=frozenset({Kind.STRING})
        )
        for key in ("x", "y")
    ]
    return OfferedColumns(inside={column.name: found})


@given(plans(), st.data())
def test_undoing_everything_leads_back_and_redoing_it_forth(plan: SavedPlan, data: st.DataObject) -> None:
    edits = of(plan)
    seen = [edits]
    for _ in range(data.draw(st.integers(0, 6))):
        edits = edits.doing(data.draw(steps(edits)))
        seen.append(edits)
    for before in reversed(seen[:-1]):
        edits = edits.undoing()
        assert edits.plans() == before.plans()
    assert edits.plans() == [plan]
    assert edits.undoing().plans() == [plan]
    for after in seen[1:]:
        edits = edits.redoing()
        assert edits.plans() == after.plans()
    assert edits.redoing().done == edits.done


@given(plans(), st.data())
def test_a_plan_that_is_another_has_changes_and_one_that_is_not_has_none(plan: SavedPlan, data: st.DataObject) -> None:
    edits = of(plan)
    for _ in range(data.draw(st.integers(0, 4))):
        edits = edits.doing(data.draw(steps(edits)))
    assert bool(edits.n_changes()) == (edits.plans()[-1] != plan)
    assert edits.n_changes(edits.done) == 0


def test_changes_are_counted_in_the_plan_not_by_what_was_pressed() -> None:
    edits = of(small_plan())
    once = changed(edits, "a", name="x")
    assert once.n_changes() == 1
    twice = changed(once, "x", name="y")
    assert (len(twice.done), twice.n_changes(), twice.n_changes(once.done)) == (2, 1, 1)
    assert changed(twice, "y", name="a").n_changes() == 0
    both = changed(edits, "a", name="x", type="jsonb")
    assert (len(both.done), both.n_changes()) == (1, 1)  # all about one field
    excluded = both.doing(both.leave_out(0, "b"))
    assert excluded.n_changes() == 2
    flat = excluded.doing(excluded.flatten(0, "c", inside(columns_of(excluded, 0)[2])))
    assert flat.n_changes() == 3
    moved = flat.doing(flat.change_table(0, flat.table_state(0), TableState("crm", "o", '{"a": 1}')))
    assert moved.n_changes() == 4  # all about one table, too
    strict = changed(moved, "d", policies={"nul": "strip", "overflow": "overflow"})
    assert strict.changes() == [
        "shop.orders: table crm.o, filter", "shop.orders, a: column name x, type jsonb",
        "shop.orders, d: nul strip, overflow _extra", "shop.orders, b: excluded", "shop.orders, c: flattened",
    ]  # fmt: skip
    back = strict.doing(
        strict.put_back(
            0, ("old",), OfferedColumns(others=[columns_of(edits, 0)[1].model_copy(update={"path": ("old",)})])
        )
    )
    assert back.changes()[-1] == "shop.orders, old: included"


@given(plans(), st.data())
def test_the_engine_makes_the_same_of_edits_and_what_it_takes_is_what_it_writes(
    plan: SavedPlan, data: st.DataObject
) -> None:
    edits = of(plan)
    for _ in range(data.draw(st.integers(1, 4))):
        edits = edits.doing(data.draw(steps(edits)))
    command = MakePlan(plan=edits.text, edits=edits.edits)
    received = MakePlan.model_validate_json(command.model_dump_json())
    assert received == command
    try:
        judged = asked_plan(received.plan, received.edits)
    except UsageError:
        return
    assert judged == edits.plans()[-1]
    assert read_plan(write_plan(judged)) == judged


@given(plans(), st.data())
def test_fields_that_are_left_out_and_put_back_are_as_they_were(plan: SavedPlan, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(plan.tables) - 1))
    before = plan.tables[number]
    fields = [column for column in before.columns or () if column.path and column.role is not Role.ID]
    left_out = data.draw(st.lists(st.sampled_from(fields), unique=True)) if fields else []
    edits = of(plan)
    for column in left_out:
        edits = edits.doing(edits.leave_out(number, column.name))
    assert edits.table(number).ignored == (*before.ignored, *(column.path for column in left_out))
    for path in edits.table(number).ignored[len(before.ignored) :]:
        edits = edits.doing(edits.put_back(number, path))
    assert edits.plans()[-1] == plan


@pytest.mark.parametrize("left_out", [["a", "b"], ["b", "a"], ["c", "a", "b"], ["b", "c", "a"]])
def test_fields_that_are_put_back_stand_in_the_order_they_had(left_out: list[str]) -> None:
    edits = of(small_plan())
    for name in left_out:
        edits = edits.doing(edits.leave_out(0, name))
    for name in left_out:
        edits = edits.doing(edits.put_back(0, (name,)))
    assert edits.plans()[-1] == small_plan()


def test_a_field_that_is_put_back_is_as_it_was_last_whatever_was_edited_since() -> None:
    edits = of(small_plan())
    edits = edits.doing(edits.change(0, ColumnState("b", "text"), ColumnState("B", "jsonb", {"nul": "strip"})))
    edits = edits.doing(edits.leave_out(0, "B"))
    edits = edits.doing(edits.change(0, ColumnState("a", "text"), ColumnState("A", "text")))
    edits = edits.doing(edits.put_back(0, ("b",)))
    assert [column.name for column in columns_of(edits, 0)] == ["_id", "A", "B", "c", "d", "_extra"]
    assert edits.column(0, "B")[0] == ColumnState("B", "jsonb", {"nul": "strip"})
    with pytest.raises(UsageError, match="No document that was sampled has the field old"):
        edits.put_back(0, ("old",))


def test_a_column_is_changed_in_its_own_table_only() -> None:
    edits = of(small_plan())
    edits = edits.doing(edits.change(1, ColumnState("a", "text"), ColumnState('the "a"', "text")))
    assert [column.name for column in columns_of(edits, 1)][1] == 'the "a"'
    assert edits.table(0) == small_plan().tables[0]
    edits = edits.doing(edits.leave_out(1, 'the "a"'))
    assert (edits.table(0).ignored, edits.table(1).ignored) == ((("old",),), (("old",), ("a",)))


def test_another_type_takes_every_kind_that_it_holds_and_another_name_keeps_them() -> None:
    edits = of(small_plan())
    renamed = edits.doing(edits.change(0, ColumnState("a", "text"), ColumnState("x", "text")))
    assert columns_of(renamed, 0)[1].kinds == {Kind.STRING}
    retyped = edits.doing(edits.change(0, ColumnState("a", "text"), ColumnState("x", "numeric[]")))
    column = columns_of(retyped, 0)[1]
    assert (column.name, column.type, column.array) == ("x", ColumnType.NUMERIC, True)
    assert column.kinds == kinds_to_take(ColumnType.NUMERIC, MappingOptions())


def test_policies_are_a_column_s_own_and_not_of_id_or_of_a_column_without_a_field() -> None:
    edits = of(small_plan())
    now, as_set = edits.column(0, "a")
    assert as_set == {policy: getattr(MappingOptions(), policy) for policy in POLICIES}
    every = {policy: choices(policy)[-1] for policy in POLICIES}
    edits = edits.doing(edits.change(0, now, ColumnState("a", "text", every)))
    assert edits.column(0, "a")[0].policies == every
    edits = edits.doing(edits.change(0, ColumnState("a", "text", every), ColumnState("a", "text")))
    assert edits.plans()[-1] == small_plan()
    assert [edits.column(0, name)[1] for name in ("_id", "_extra")] == [None, None]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"kind": "leave_out", "column": "_extra"}, "Column _extra is not made from a field: it cannot be excluded."),
        ({"kind": "leave_out", "column": "weight"}, "The plan of shop.orders has no column weight."),
        ({"kind": "rename_column", "column": "x\n", "new_name": "y"}, "The plan of shop.orders has no column x?."),
        ({"kind": "leave_out", "column": "a", "table": "x"}, "The plan has no table crm.x."),
        ({"kind": "set_filter", "filter": "{"}, "The plan, shop.orders, filter: it must be Extended JSON"),
        (
            {"kind": "move_table", "new_schema": "crm", "new_table": "copies"},
            "2 entries of [[tables]] have this collection and the same table",
        ),
        (
            {"kind": "move_table", "new_schema": "mongopg", "new_table": "a"},
            "the schema mongopg is not for target tables",
        ),
        (
            {"kind": "flatten", "column": "a", "columns": [{"name": "x", "type": "text", "path": ["b", "x"]}]},
            "Column a cannot be flattened",
        ),
        ({"kind": "leave_out", "column": "_id"}, "The plan, shop.orders: there must be one column for the field _id"),
        (
            {"kind": "rename_column", "column": "a", "new_name": "b"},
            "The plan, shop.orders: 2 columns are called b; rename all but one.",
        ),
        (
            {"kind": "rename_column", "column": "a", "new_name": "xmin"},
            "every table of PostgreSQL has a column xmin of its own; choose another name.",
        ),
        (
            {"kind": "retype_column", "column": "a", "type": "bigints"},
            "The plan, shop.orders, field a: type must be one of text, integer, bigint",
        ),
        (
            {"kind": "retype_column", "column": "_extra", "type": "text"},
            "The plan, shop.orders, column _extra: the column of role extra has to be jsonb, not text.",
        ),
    ],
)
def test_what_an_edit_cannot_do_is_one_sentence(edit: dict[str, Any], message: str) -> None:
    command = MakePlan.model_validate(
        {"plan": write_plan(small_plan()), "edits": [{"schema_name": "crm", "table": "orders"} | edit]}
    )
    with pytest.raises(UsageError) as caught:
        asked_plan(command.plan, command.edits)
    assert message in caught.value.message


def test_an_edit_without_a_plan_is_refused() -> None:
    edit = RenameColumn(schema_name="crm", table="orders", column="a", new_name="b")
    with pytest.raises(UsageError, match="no plan that they are made in"):
        asked_plan("", [edit])
    assert asked_plan("", []) is None


def test_an_edit_changes_nothing_of_the_plan_that_it_is_made_in() -> None:
    plan = small_plan()
    edit = RetypeColumn(schema_name="crm", table="orders", column="a", type="jsonb")
    assert apply(plan, edit) != plan
    assert plan == small_plan()


def test_what_was_undone_can_be_done_again_as_long_as_the_proposal_says_the_same() -> None:
    edits = of(small_plan())
    undone = edits.doing(edits.leave_out(0, "a")).undoing()
    assert undone.text == ""
    same, other = of(small_plan()).base, of(small_plan().model_copy(update={"mode": "append"})).base
    assert same is not None
    assert other is not None
    assert undone.over(same).redoing().done == (edits.leave_out(0, "a"),)
    assert not undone.over(other).undone


def test_fields_are_named_as_the_file_names_them() -> None:
    assert field_label(("address", "city")) == "address.city"
    assert field_label(("a.b", "c")) == '["a.b", "c"]'


def test_f6_a_flattened_column_is_replaced_in_its_place_under_names_that_are_free() -> None:
    edits = of(small_plan())
    edits = edits.doing(edits.change(0, ColumnState("c", "text"), ColumnState("b_x", "text")))
    edits = edits.doing(edits.flatten(0, "b", inside(columns_of(edits, 0)[2])))
    assert [column.name for column in columns_of(edits, 0)] == ["_id", "a", "b_x_2", "b_y", "b_x", "d", "_extra"]
    assert edits.edited_columns(0) == {"b_x_2", "b_y", "b_x"}
    assert edits.is_edited_table(0)
    assert not edits.is_edited_table(1)


def test_f6_a_table_is_moved_and_edited_further_under_its_new_name() -> None:
    edits = of(small_plan())
    edits = edits.doing(edits.change_table(0, edits.table_state(0), TableState("sales", "orders", '{"a": 1}')))
    edits = edits.doing(edits.leave_out(0, "a"))
    assert edits.table_state(0) == TableState("sales", "orders", '{"a": 1}')
    assert [column.name for column in columns_of(edits, 0)][1] == "b"
    assert edits.table(1) == small_plan().tables[1]


def test_f6_a_plan_that_was_opened_is_the_operators_without_an_edit() -> None:
    text = write_plan(small_plan())
    opened = PlanEdits(file=PlanFile("plan.toml", text))
    assert (opened.is_own, opened.text) == (True, text)
    base = of(small_plan()).base
    assert base is not None
    assert opened.over(base).text == base.toml
    assert not of(small_plan()).is_own


@given(plans(), st.data())
def test_edits_that_are_moved_to_the_same_plan_make_the_same_of_it(plan: SavedPlan, data: st.DataObject) -> None:
    edits = of(plan)
    for _ in range(data.draw(st.integers(1, 4))):
        edits = edits.doing(data.draw(steps(edits)))
    moved = edits.moved_to(proposal(plan))
    assert (moved.plans()[-1], moved.aside) == (edits.plans()[-1], ())


def test_edits_find_their_collection_and_field_under_other_names() -> None:
    edits = of(one_table())
    edits = changed(edits, "a", name="x", type="jsonb")
    edits = edits.doing(edits.leave_out(0, "b"))
    edits = edits.doing(edits.change_table(0, edits.table_state(0), TableState("crm", "sales", '{"a": 1}')))
    other = one_table(schema="archive", names={"a": "A", "b": "B"})
    moved = edits.moved_to(proposal(other))
    (table,) = moved.plans()[-1].tables
    assert (table.target, table.filter) == ("archive.sales", '{"a": 1}')
    assert [column.name for column in table.columns or ()] == ["_id", "x", "c", "d", "_extra"]
    assert (table.column("x").sql_type, table.ignored) == ("jsonb", (("old",), ("b",)))
    assert moved.aside == ()


def test_edits_without_a_place_are_put_aside_and_come_back() -> None:
    edits = changed(of(one_table()), "a", type="jsonb")
    edits = edits.doing(edits.leave_out(0, "b"))
    without_a = edits.moved_to(proposal(one_table(without=("a",))))
    assert len(without_a.done) == 1
    assert [each.words for each in without_a.aside] == ["shop.orders, a: type jsonb"]
    assert without_a.aside[0].why_not == "the field has no column in the plan"
    elsewhere = without_a.moved_to(proposal(one_table(collection="users")))
    assert (elsewhere.done, len(elsewhere.aside)) == ((), 2)
    assert {each.why_not for each in elsewhere.aside} == {"the collection is not in the plan"}
    back = elsewhere.moved_to(proposal(one_table()))
    assert (back.plans()[-1], back.aside) == (edits.plans()[-1], ())


def proposal(plan: SavedPlan) -> EditablePlan:
    """The same as the engine's."""
    base = of(plan).base
    assert base is not None
    return base


def changed(edits: PlanEdits, column: str, **then: object) -> PlanEdits:
    """With a column of the first table changed."""
    now, _ = edits.column(0, column)
    return edits.doing(edits.change(0, now, replace(now, **then)))  # type: ignore[arg-type]


def one_table(
    collection: str = "orders", schema: str = "crm", names: dict[str, str] | None = None, without: tuple[str, ...] = ()
) -> SavedPlan:
    """The first table of `small_plan`, otherwise called and without some fields."""
    table = small_plan().tables[0]
    columns = tuple(
        column.model_copy(update={"name": (names or {}).get(column.name, column.name)})
        for column in table.columns or ()
        if column.name not in without
    )
    update = {"collection": collection, "schema_name": schema, "columns": columns}
    return SavedPlan(tables=(table.model_copy(update=update),))
