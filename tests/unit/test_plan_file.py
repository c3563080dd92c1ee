"""A plan's TOML: what is saved is what is loaded, and every mistake in an edit is one sentence that names its place."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Settings
from engine.convert.encoders import EncoderFactory
from engine.convert.jsontext import JsonWriter
from engine.convert.plain import PlainConverter
from engine.convert.strings import Policies
from engine.errors import UsageError
from engine.mapping.kinds import JSON_TYPES, kinds_that_fit
from engine.mapping.model import LIMITS, Column, ColumnType, Kind, Mapping
from engine.mapping.options import POLICIES, MappingOptions
from engine.plan.model import differences
from engine.plan.reading import read_plan
from engine.plan.request import Choice, choose, request_of
from engine.plan.writing import Remarks, quoted, write_plan
from engine.protocol.saved_plan import SavedPlan
from tests.saved_plans import plans

PLAN = """
version = 1
mode = "create"

[options]
nul = "strip"

[[tables]]
collection = "shop.orders"
schema = "crm"
table = "orders"
filter = '{"active": true}'
ignore = ["debug", ["a.b", "c"]]
columns = [
  { field = "_id", column = "_id", type = "text", kinds = ["objectId"] },
  { field = "total", column = "amount", type = "numeric" },
  { field = "address.city", column = "city", type = "text", kinds = ["string"], nul = "reject" },
  { field = "tags", column = "tags", type = "text[]", kinds = ["string"], nullable = false },
  { role = "extra", column = "_extra", type = "jsonb" },
]
"""

# --- save and load ----------------------------------------------------------------------------------------------------

REMARKS = {
    "shop.orders": Remarks(
        heading=["one\nversion = 2", "bell \a"],
        columns={"amount": "a note\n]"},
        flattened={"city": [Column(name="x\n", type=ColumnType.TEXT, path=("a", "b"))]},
        footing=["x\r\ny"],
    )
}


@given(plans())
def test_what_is_saved_is_what_is_loaded(plan: SavedPlan) -> None:
    assert read_plan(write_plan(plan)) == plan


def test_a_column_has_nothing_but_what_a_plan_says_and_what_a_table_says() -> None:
    said = {"name", "type", "role", "path", "kinds", "array", "nullable", *POLICIES}
    assert said | set(LIMITS) == set(Column.model_fields)
    assert not said & set(LIMITS)


def test_comments_cannot_change_what_is_loaded() -> None:
    plan = read_plan(PLAN)
    text = write_plan(plan, REMARKS)
    assert "# one\\u000aversion = 2\n" in text
    assert read_plan(text) == plan


WRITTEN = """\
overflow = "overflow"

# shop.orders: 3 documents
# ! a warning
[[tables]]
collection = "shop.orders"
schema = "crm"
table = "orders"
filter = '{"active": true}'
exclude = ["debug", ["a.b", "c"]]
columns = [
  { field = "_id", column = "_id", type = "text", kinds = ["objectId"] },
  { field = "total", column = "amount", type = "numeric" },  # whole and broken numbers
  { field = "address.city", column = "city", type = "text", kinds = ["string"], nul = "reject" },
  # to flatten it, in place of the line above:
  # { field = "address.city.zip", column = "zip", type = "text", kinds = [] },
  { field = "tags", column = "tags", type = "text[]", kinds = ["string"], nullable = false },
  { role = "extra", column = "_extra", type = "jsonb" },
]
# an index

# shop.items: no document
[[tables]]
collection = "shop.items"
schema = "crm"
table = "items"
filter = ""
exclude = []
"""


def test_the_layout_that_an_operator_edits() -> None:
    plan = read_plan(PLAN + '[[tables]]\ncollection = "shop.items"\nschema = "crm"\ntable = "items"\n')
    zip_code = Column(name="zip", type=ColumnType.TEXT, path=("address", "city", "zip"))
    orders = Remarks(
        heading=["shop.orders: 3 documents", "! a warning"],
        columns={"amount": "whole and broken numbers"},
        flattened={"city": [zip_code]},
        footing=["an index"],
    )
    text = write_plan(plan, table_remarks=[orders, Remarks(heading=["shop.items: no document"])])
    assert text.startswith("# A plan of mongopg-tui: ")
    assert '\n\nversion = 1\nmode = "create"\n\n[options]\n# nul, date_range, ' in text
    assert text.endswith(WRITTEN)
    assert read_plan(text) == plan


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_string_of_toml_with_nothing_hidden_in_it(text: str) -> None:
    written = quoted(text).as_string()
    assert tomllib.loads(f"x = {written}") == {"x": text}
    assert written.isprintable()


def test_what_an_edited_plan_says() -> None:
    (table,) = read_plan(PLAN).tables
    assert (table.namespace, table.target, table.ignored) == ("shop.orders", "crm.orders", (("debug",), ("a.b", "c")))
    assert table.columns is not None
    total, city, tags = table.columns[1:4]
    assert total.kinds == {Kind.INT32, Kind.INT64, Kind.DOUBLE, Kind.DECIMAL128}
    assert (city.path, city.nul) == (("address", "city"), "reject")
    assert (tags.sql_type, tags.nullable) == ("text[]", False)
    mapping = table.mapping(read_plan(PLAN).options)
    assert mapping is not None
    PlainConverter(mapping)


def test_columns_may_be_left_to_the_documents() -> None:
    plan = read_plan('version = 1\n[[tables]]\ncollection = "shop.a.b"\ntable = "t"\n')
    (table,) = plan.tables
    assert (table.collection, table.target, table.columns) == ("a.b", "public.t", None)
    assert (plan.mode, plan.options) == ("create", MappingOptions())


def test_a_plan_goes_over_the_settings_that_it_decides() -> None:
    settings = Settings.model_validate({"run": {"mode": "append", "page_size": 500}, "mapping": {"nul": "replace"}})
    changed = read_plan(PLAN).over(settings)
    assert (changed.run.mode, changed.mapping.nul, changed.run.page_size) == ("create", "strip", 500)
    assert settings.run.mode == "append"


# --- mistakes ---------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("version = 1", "version = 2", "version: it must be 1"),
    ('mode = "create"', 'mode = "truncate"', "mode: it must be one of create, append, replace, upsert, not 'truncate'."),
    ('nul = "strip"', 'nul = "drop"', "options.nul: it must be one of reject, strip, replace, not 'drop'."),
    ('nul = "strip"', 'nulls = "drop"', "options: there is no nulls here; did you mean nul."),
    ('collection = "shop.orders"', 'collection = "orders"', "collection must be \"database.collection\", not 'orders'."),
    ('table = "orders"', "", 'shop.orders: table is missing; put it in, such as table = "orders".'),
    ('table = "orders"', "table = 5", "shop.orders: table must be text in quotes, not 5."),
    ('table = "orders"', f'table = "{"x" * 64}"', "is longer than the 63 bytes of PostgreSQL's names; shorten it."),
    ('table = "orders"', 'table = "a\\nb"', "table a?b holds control or invisible characters; leave them out."),
    ('schema = "crm"', 'schema = "mongopg"', "the schema mongopg is not for target tables; choose another."),
    ('schema = "crm"', 'scheme = "crm"', "shop.orders: there is no scheme here; did you mean schema."),
    ('\'{"active": true}\'', '"{active}"', "shop.orders, filter: it must be Extended JSON"),
    ('\'{"active": true}\'', '"[1]"', "shop.orders, filter: it must be Extended JSON"),
    ('type = "numeric"', 'typ = "numeric"', "field total: there is no typ here; did you mean type."),
    ('type = "numeric"', 'type = "varchar"', "field total: type must be one of text, integer, bigint"),
    ('type = "numeric"', 'type = "jsonb[]"', "field total: there are no arrays of jsonb here; use jsonb."),
    ('type = "numeric"', 'type = "real[][]"', "field total: there are no arrays of real[] here; use jsonb."),
    ('type = "numeric"', 'type = "bit varying[]"', "field total: there are no arrays of bit varying here; use jsonb."),
    ('type = "numeric"', 'type = "uuid", kinds = ["legacy uuid"]', "set uuid_legacy in [options], or use bytea."),
    ('type = "numeric"', 'type = "integer", kinds = []', "field total: kinds is empty, so nothing would fit"),
    ('type = "numeric"', 'type = "numeric", kinds = ["strin"]',
     "kinds has 'strin', which is not a kind of BSON; did you mean string."),
    ('type = "numeric"', 'type = "numeric", kinds = [["int32"]]', "kinds has ['int32'], which is not a kind of BSON"),
    ('type = "numeric"', 'type = "integer", kinds = ["int32", "string"]',
     "shop.orders, field total: a column of type integer cannot hold string; use text or jsonb, or take string out of kinds"),
    ('type = "text[]", kinds = ["string"]', 'type = "integer[]", kinds = ["array"]',
     "kinds of integer[] are those of its elements"),
    ('nul = "reject"', 'nul = "drop"', "field address.city: nul must be one of reject, strip, replace, not 'drop'."),
    ('nullable = false', 'nullable = 0', "field tags: nullable must be true or false, not 0."),
    ('column = "amount"', 'column = "city"', "shop.orders: 2 columns are called city; rename all but one."),
    ('column = "amount"', 'column = "xmin"', "every table of PostgreSQL has a column xmin of its own; choose another name."),
    ('column = "amount"', 'column = ""', "field total: column is empty; give it a name."),
    ('field = "total"', 'field = "address.city"', "field address.city: it has two columns; remove one."),
    ('field = "total"', 'field = "address"', "field address.city: it lies inside the column of address; remove that column"),
    ('field = "total"', 'field = "debug"', "field debug: it is excluded and has a column; remove one of them."),
    ('field = "total"', 'field = "debug.level"', "debug.level: the field debug above it is excluded; remove one of them."),
    ('field = "total"', "field = 5", 'a field is text such as "_id" or "address.city", or a list of keys, not 5.'),
    ('field = "total"', 'fields = "total"', "'amount': a column has either a field or a role"),
    ('ignore = ["debug"', 'ignore = ["_id"', "_id cannot be excluded; take it out of exclude."),
    ('kinds = ["objectId"]', 'kinds = ["objectId"], nul = "strip"', "field _id: nul cannot be set"),
    ('type = "text", kinds = ["objectId"]', 'type = "json"', "field _id: PostgreSQL has no keys of type json; use jsonb."),
    ('field = "_id", column', 'field = "id", column', "shop.orders: there must be one column for the field _id"),
    ('  { role = "extra", column = "_extra", type = "jsonb" },\n', "", 'overflow = "overflow" needs the column of role extra'),
    ('role = "extra"', 'role = "rest"', "column _extra: role must be one of extra, missing, document, not 'rest'."),
    ('type = "jsonb"', 'type = "text"', "the column of role extra has to be jsonb, not text."),
    ("[[tables]]", "[tables]", "tables: there must be a [[tables]] for each collection."),
    ("[options]", "[options", "The plan is not valid TOML:"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_that_names_its_place(before: str, after: str, sentence: str) -> None:
    assert before in PLAN
    with pytest.raises(UsageError) as caught:
        read_plan(PLAN.replace(before, after, 1))
    message = caught.value.message
    assert sentence in message
    assert message.startswith("The plan")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("own", "of_all", "fate"),
    [
        ("", "overflow", "such values go to _extra."),
        ("", "reject", "such values have their documents rejected."),
        (', overflow = "reject"', "overflow", "such values have their documents rejected."),
    ],
)
def test_a_kind_that_cannot_be_held_goes_where_the_policy_says(own: str, of_all: str, fate: str) -> None:
    plan = PLAN.replace("[options]", f'[options]\noverflow = "{of_all}"', 1)
    with pytest.raises(UsageError) as caught:
        read_plan(plan.replace('type = "numeric"', f'type = "integer", kinds = ["int32", "string"]{own}', 1))
    assert caught.value.message.endswith(f"or take string out of kinds, and {fate}")


def test_an_id_that_cannot_be_held_never_goes_to_extra() -> None:
    with pytest.raises(UsageError, match=r"take string out of kinds, and such values have their documents rejected\.$"):
        read_plan(re.sub(r'(field = "_id", .*?type = )"\w+"[^}]*', r'\1"uuid", kinds = ["string"] ', PLAN, count=1))


def test_no_two_tables_and_no_two_collections_are_the_same() -> None:
    other = PLAN[PLAN.index("[[tables]]") :]
    with pytest.raises(UsageError, match=r"shop.orders: 2 entries of \[\[tables\]\] have this collection"):
        read_plan(PLAN + other)
    with pytest.raises(UsageError, match=r"crm.orders: 2 entries of \[\[tables\]\] have this table"):
        read_plan(PLAN + other.replace("shop.orders", "shop.items"))


def test_one_collection_may_go_to_several_tables() -> None:
    other = PLAN[PLAN.index("[[tables]]") :].replace('table = "orders"', 'table = "copies"')
    text = write_plan(read_plan(PLAN + other))
    assert [table.target for table in read_plan(text).tables] == ["crm.orders", "crm.copies"]
    both = choose(None, SETTINGS, read_plan(text))  # type: ignore[arg-type]
    one = choose(None, SETTINGS, read_plan(PLAN))  # type: ignore[arg-type]
    assert request_of(SETTINGS, both) != request_of(SETTINGS, one)
    assert request_of(SETTINGS, both) == request_of(SETTINGS, both[::-1])


# --- types and kinds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column_type", sorted(set(ColumnType) - JSON_TYPES))
def test_a_plan_takes_exactly_the_kinds_that_the_converter_has_an_encoder_for(column_type: ColumnType) -> None:
    options = MappingOptions(uuid_legacy="python")
    taken = set()
    for kind in set(Kind) - {Kind.NULL}:
        column = Column(name="c", type=column_type, path=("c",), kinds=frozenset({kind}))
        hits: list[str] = []
        policies = Policies.of(column, options)
        writer = JsonWriter(extended=False, uuid_legacy="python", policies=policies, hit=hits.append)
        if EncoderFactory(column, policies, writer, "python", hits).encoders():
            taken.add(kind)
    assert taken == kinds_that_fit(column_type, options)


# --- the fingerprint --------------------------------------------------------------------------------------------------

SETTINGS = Settings.model_validate({"source": {"uri": "mongodb://localhost/shop"}})


def request(plan: SavedPlan) -> dict[str, Any]:
    return request_of(plan.over(SETTINGS), choose(None, SETTINGS, plan))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ('column = "amount"', 'column = "total"', "plan.shop.orders.columns.amount is missing"),
        ('type = "numeric"', 'type = "bigint"', 'plan.shop.orders.columns.amount.type was "numeric" and is "bigint"'),
        ('nul = "reject"', 'nul = "replace"', 'plan.shop.orders.columns.city.nul was "reject" and is "replace"'),
        ('ignore = ["debug", ', 'ignore = [', 'plan.shop.orders.ignore was [["a.b", "c"], ["debug"]] and is [["a.b", "c"]]'),
        ('{"active": true}', '{"active": false}', 'plan.shop.orders.filter was "{\\"active\\": true}" and is'),
        ('mode = "create"', 'mode = "append"', 'mode was "create" and is "append"'),
        ('nul = "strip"', 'nul = "reject"', 'mapping.nul was "strip" and is "reject"'),
        ('schema = "crm"', 'schema = "public"', 'collections.shop.orders was "crm.orders" and is "public.orders"'),
    ],
)  # fmt: skip
def test_every_edit_is_another_request_and_is_named(before: str, after: str, difference: str) -> None:
    found = differences(request(read_plan(PLAN)), request(read_plan(PLAN.replace(before, after, 1))))
    assert any(each.startswith(difference) for each in found), found


def test_what_means_the_same_is_the_same_request() -> None:
    plan = PLAN.replace('{"active": true}', '{ "active" :true }').replace("[[tables]]", "# a comment\n[[tables]]")
    assert differences(request(read_plan(PLAN)), request(read_plan(plan))) == []


def test_a_plan_where_there_was_none_is_a_difference() -> None:
    plain = request_of(read_plan(PLAN).over(SETTINGS), [Choice("shop", "orders", "crm", "orders")])
    assert differences(plain, request(read_plan(PLAN))) == ["plan is new"]
    assert differences(request(read_plan(PLAN)), plain) == ["plan is missing"]


def test_a_mapping_is_what_the_converter_gets() -> None:
    table = read_plan(PLAN).tables[0]
    mapping = table.mapping(MappingOptions())
    assert isinstance(mapping, Mapping)
    assert mapping.ignored == table.ignored
