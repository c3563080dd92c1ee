"""What is asked for: names that are typed, checked whichever way they come in; and the request that a run is resumed by."""

from __future__ import annotations

import pytest

from engine.config import Settings, merged
from engine.errors import UsageError
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.notation import written
from engine.plan.model import Plan, TablePlan, fingerprint
from engine.plan.naming import own_names, with_own_names
from engine.plan.request import Choice, named_in, request_of, settings_of
from engine.postgres.indexes import Index, IndexKey


def settings(*collections: str, schema: str = "public") -> Settings:
    return Settings.model_validate({
        "source": {"uri": "mongodb://localhost/shop"}, "target": {"schema": schema}, "run": {"collections": collections},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("d.users:mongopg.event", "the schema mongopg is not for target tables"),
        ("d.users:information_schema.x", "the schema information_schema is not for target tables"),
        ("d.users:pg_catalog.x", "the schema pg_catalog is not for target tables"),
        ("d.users:pg_temp.x", "the schema pg_temp is not for target tables"),
        (f"d.users:{'t' * 64}", "is longer than the 63 bytes"),
        (f"d.users:{'t' * 70}", "is longer than the 63 bytes"),
        (f"d.users:{'ü' * 32}.t", "is longer than the 63 bytes"),
        (f"d.users:{'s' * 64}.", "is longer than the 63 bytes"),
        ("d.users:public.a\tb", "holds control or invisible characters"),
        ("d.users:public.a\u202eb", "holds control or invisible characters"),
        ("d\\b.users", "no database of MongoDB has"),
        ("a b.users", "no database of MongoDB has ' ' in its name"),
        ("d.us\0ers", "no name in MongoDB holds a NUL"),
        ("d.us\udcffers", "it is not text in UTF-8"),
    ],
)
def test_names_that_cannot_be_are_refused_with_the_setting_named(entry: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        named_in(settings(entry))
    assert caught.value.message.startswith("run.collections, d") or caught.value.message.startswith(
        "run.collections, a b"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("schema", ["mongopg", "information_schema", "pg_toast", "s" * 64, "", "a\nb"])
def test_the_schema_of_all_tables_is_no_way_around(schema: str) -> None:
    for collections in ((), ("d.users",), ("d.users:crm.users",)):
        with pytest.raises(UsageError, match=r"^target\.schema: "):
            named_in(settings(*collections, schema=schema))


@pytest.mark.parametrize(
    "entry", ["d.users:MONGOPG.t", "d.users:PG_x.t", "d.users:pgx.t", "d.users:public.می\u200cخواهم"]
)
def test_names_that_only_look_alike_are_taken(entry: str) -> None:
    (named,) = named_in(settings(entry))
    assert written(named.database, named.collection, named.schema, named.table).endswith(entry.partition(":")[2])


def test_both_tables_of_one_collection_are_in_the_request_whatever_their_order() -> None:
    choices = [Choice("d", "a:b", "public", "t1"), Choice("d", "a:b", "s.x", "t.2"), Choice("d", "c", "public", "c")]
    request = request_of(settings(), choices)
    assert request["collections"] == {"d.a:b": ["public.t1", r"s\.x.t\.2"], "d.c": "public.c"}
    assert fingerprint(request_of(settings(), choices[::-1])) == fingerprint(request)
    again = named_in(merged(Settings(), settings_of(request)))
    assert [(each.namespace, each.schema, each.table) for each in again] == [
        ("d.a:b", "public", "t1"), ("d.a:b", "s.x", "t.2"), ("d.c", "public", "c"),
    ]  # fmt: skip


def test_schemas_and_tables_with_dots_are_different_requests() -> None:
    one, other = Choice("d", "c", "a.b", "c"), Choice("d", "c", "a", "b.c")
    assert request_of(settings(), [one]) != request_of(settings(), [other])


# --- names of keys and indexes ----------------------------------------------------------------------------------------


def table(number: int, name: str, *columns: str, schema: str = "public", index: str = "") -> TablePlan:
    key = Column(
        name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.STRING}), nullable=False
    )
    return TablePlan(
        task_id=number, database="d", collection=name, schema_name=schema, table=name, has_range_reads=True, documents=0,
        size_bytes=0, mapping=Mapping(columns=(key,), options=MappingOptions()),
        indexes=(Index(name=index, source_name="i", keys=(IndexKey(column="c"),)),) if index else (),
    )  # fmt: skip


def names_of(tables: tuple[TablePlan, ...]) -> dict[str, tuple[str, ...]]:
    return {each.target: (each.key, *(index.name for index in each.indexes)) for each in tables}


def test_names_of_a_run_do_not_meet_whatever_the_order_of_its_tables() -> None:
    tables = [
        table(1, "a", index="a_b_c_idx"), table(2, "a_pkey"), table(3, "a_b", index="a_b_c_idx"), table(4, "a_b_c_2_idx"),
        table(5, "a", schema="s", index="a_b_c_idx"), table(6, "u", index="u_x_key"), table(7, "u_x_key"),
    ]  # fmt: skip
    wanted = {
        "public.a": ("a_2_pkey", "a_b_c_idx"), "public.a_pkey": ("a_pkey_pkey",), "public.a_b": ("a_b_pkey", "a_b_c_3_idx"),
        "public.a_b_c_2_idx": ("a_b_c_2_idx_pkey",), "s.a": ("a_pkey", "a_b_c_idx"), "public.u": ("u_pkey", "u_x_2_key"),
        "public.u_x_key": ("u_x_key_pkey",),
    }  # fmt: skip
    assert names_of(with_own_names(tables)) == wanted
    assert names_of(with_own_names(tables[::-1])) == wanted
    assert [each.task_id for each in with_own_names(tables)] == [1, 2, 3, 4, 5, 6, 7]


def test_names_that_the_target_has_get_a_number() -> None:
    tables = with_own_names(
        [table(1, "a", index="a_c_idx")], {"public": {"a_pkey", "a_c_idx", "a_c_2_idx"}, "s": {"a_2_pkey"}}
    )
    assert names_of(tables) == {"public.a": ("a_2_pkey", "a_c_3_idx")}
    assert own_names(tables) == {"public": {"a_2_pkey", "a_c_3_idx"}}


def test_long_names_get_a_number_within_63_bytes() -> None:
    name = "t" * 63
    (key,) = names_of(with_own_names([table(1, name)], {"public": {table(1, name).key}})).values()
    assert len(key[0].encode()) == 63
    assert key[0].endswith("_2_pkey")


def test_a_plan_of_before_has_the_names_of_before() -> None:
    plan = Plan(request={}, tables=(table(1, "users"),))
    assert (
        Plan.model_validate_json(plan.model_dump_json(exclude={"tables": {0: {"key_name"}}})).tables[0].key
        == "users_pkey"
    )


def test_tables_that_are_written_alike_have_labels_of_their_own() -> None:
    one, other = table(1, "c", schema="a.b"), table(2, "b.c", schema="a")
    plan = Plan(request={}, tables=(one, other))
    assert [plan.label(each) for each in plan.tables] == [r"a\.b.c", r"a.b\.c"]
    assert Plan(request={}, tables=(one,)).label(one) == "a.b.c"
