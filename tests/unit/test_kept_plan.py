"""A plan as the ledger keeps it: what tables have in common is in memory once."""

from __future__ import annotations

from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.plan.model import Plan, TablePlan, kept_plan


def table(number: int, last: str) -> TablePlan:
    columns = (
        Column(name="_id", type=ColumnType.BIGINT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.INT64})),
        Column(name=last, type=ColumnType.TEXT, path=(last,), kinds=frozenset({Kind.STRING})),
    )
    return TablePlan(
        task_id=number, database="shop", collection=f"c{number}", schema_name="public", table=f"c{number}",
        mapping=Mapping(columns=columns), has_range_reads=True, documents=1, size_bytes=1,
    )  # fmt: skip


def test_equal_columns_of_a_kept_plan_are_one_object_and_others_are_their_own() -> None:
    plan = Plan(request={}, tables=(table(1, "name"), table(2, "name"), table(3, "other")))
    kept = kept_plan(plan.model_dump_json(), "run")
    assert kept == plan
    first, second, third = (each.mapping.columns for each in kept.tables)
    assert first[0] is second[0] is third[0]
    assert first[1] is second[1]
    assert third[1].name == "other"
    assert plan.tables[0].mapping.columns[0] is not plan.tables[1].mapping.columns[0]


def test_two_tables_of_one_name_are_told_apart_by_their_labels() -> None:
    one, two = table(1, "name"), table(2, "name").model_copy(update={"schema_name": "public.c1", "table": "x"})
    three = table(3, "name").model_copy(update={"table": "c1.x"})
    plan = Plan(request={}, tables=(one, two, three))
    assert plan.label(one) == "public.c1"
    assert plan.label(two) != plan.label(three)
