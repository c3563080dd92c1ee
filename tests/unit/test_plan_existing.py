"""Plans for tables that are there: the table and what earlier runs wrote into it decide, today's documents only add."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from engine.convert import Preference
from engine.convert.census import make_counter
from engine.errors import UsageError
from engine.mapping.model import Column, ColumnType, EarlierMapping, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import Proposal, propose
from engine.plan.existing import fit, fit_given, levels_of, shape
from engine.postgres.existing import ExistingTable
from engine.postgres.tables import ExistingColumn

NAMESPACE = "shop.users"
SPELLINGS = {"timestamptz": "timestamp with time zone", "varchar": "character varying"}
EXTRA = "_extra jsonb"
PREFERENCES: tuple[Preference, ...] = ("plain", "auto")


def table(
    *columns: str, earlier: tuple[EarlierMapping, ...] = (), facts: dict[str, dict[str, Any]] | None = None
) -> ExistingTable:
    """A table of columns such as `n integer`; `facts` are what is unusual of one of them."""
    found = []
    for text in columns:
        name, _, kind = text.partition(" ")
        spelled = SPELLINGS.get(kind, kind)
        known: dict[str, Any] = {
            "name": name, "type": spelled, "base": spelled, "length": -1, "nullable": True, "has_default": False,
            "generated": False,
        }  # fmt: skip
        found.append(ExistingColumn(**known | (facts or {}).get(name, {})))
    return ExistingTable(tuple(found), earlier)


def proposed(documents: list[dict[str, Any]], options: MappingOptions, levels: int = 0) -> tuple[Proposal, Any]:
    counter = make_counter(max(levels, options.flatten), "plain")
    for document in documents:
        counter.add_batch(bson.encode({"_id": 1} | document))
    census = counter.result()
    return propose(census, frozenset({Kind.INT32}), options), census


def run_of(
    documents: list[dict[str, Any]], run_id: str = "first", namespace: str = NAMESPACE, **options: Any
) -> EarlierMapping:
    """What a run that made its table for these documents left in the ledger."""
    return EarlierMapping(run_id, namespace, proposed(documents, MappingOptions(**options))[0].mapping)


def fitted(existing: ExistingTable, documents: list[dict[str, Any]], mode: str = "upsert", **options: Any) -> Proposal:
    asked = MappingOptions(**options)
    shaped = shape(existing, NAMESPACE, asked)
    proposal, census = proposed(documents, shaped, levels_of(existing))
    return fit(
        proposal, existing, census, target="public.users", namespace=NAMESPACE, mode=mode, options=asked
    )  # fmt: skip


def places(mapping: Mapping) -> dict[str, str]:
    """Column -> its field, or its role in parentheses."""
    return {column.name: ".".join(column.path) or f"({column.role})" for column in mapping.columns}


def column_of(proposal: Proposal, name: str) -> Column:
    return next(column for column in proposal.mapping.columns if column.name == name)


def refused(existing: ExistingTable, documents: list[dict[str, Any]], **options: Any) -> str:
    with pytest.raises(UsageError) as raised:
        fitted(existing, documents, **options)
    assert raised.value.code == "table_differs"
    return str(raised.value)


FOLDED = run_of([{"createdAt": "x", "created_at": "y"}])
FOLDED_TABLE = ("_id bigint", "created_at_2 text", "created_at text", EXTRA)


@pytest.mark.parametrize("today", [{"createdAt": "x"}, {"created_at": "y"}, {"Created_At": 1}, {}, {"createdAt": 5}])
def test_a_field_keeps_the_column_that_an_earlier_run_gave_it(today: dict[str, Any]) -> None:
    found = fitted(table(*FOLDED_TABLE, earlier=(FOLDED,)), [today])

    assert places(found.mapping) == {
        "_id": "_id", "created_at_2": "createdAt", "created_at": "created_at", "_extra": "(extra)",
    }  # fmt: skip


def test_a_field_that_no_document_has_any_more_is_still_mapped() -> None:
    earlier = run_of([{"name": "a", "nick": "b", "age": 3}])
    existing = table("_id bigint", "name text", "nick text", "age integer", EXTRA, "mine text", earlier=(earlier,))

    found = fitted(existing, [{"name": "c"}])

    assert places(found.mapping) == {
        "_id": "_id", "name": "name", "nick": "nick", "age": "age", "_extra": "(extra)",
    }  # fmt: skip
    assert "nick" in found.notes
    assert "first" in found.notes["nick"]


def test_columns_of_all_earlier_runs_are_written_the_newest_deciding() -> None:
    before = run_of([{"a": 1, "b": {"c": 1}, "gone": 2}], "before")
    newest = run_of([{"a": 1, "b": {"c": 1}}], "newest", flatten=1)
    existing = table(
        "_id bigint", "a integer", "b jsonb", "b_c integer", "gone integer", EXTRA, earlier=(newest, before)
    )

    upsert, append = fitted(existing, [{"a": 1}]), fitted(existing, [{"a": 1}], mode="append")

    assert places(upsert.mapping) == {
        "_id": "_id", "a": "a", "b_c": "b.c", "_extra": "(extra)", "b": "(none)", "gone": "gone",
    }  # fmt: skip
    assert "b" not in places(append.mapping)
    assert any("Column b, which run before wrote" in text for text in upsert.warnings)


def test_the_collection_that_is_copied_goes_before_others_that_went_to_the_table() -> None:
    ours = run_of([{"createdAt": "x"}], "ours")
    theirs = run_of([{"created_at": "x"}], "theirs", "shop.people")
    existing = table("_id bigint", "created_at text", EXTRA, earlier=(theirs, ours))

    assert places(fitted(existing, [{"createdAt": "x"}]).mapping)["created_at"] == "createdAt"


@pytest.mark.parametrize(
    ("kind", "values", "kinds"),
    [
        ("integer", [bson.Int64(2**40)], {Kind.INT32, Kind.INT64}),
        ("text", [None], {Kind.STRING}),
        ("text", [7, "x"], {Kind.STRING}),
        ("varchar", ["x"], {Kind.STRING}),
        ("citext", ["x"], {Kind.STRING}),
        ("bigint", [1], {Kind.INT32, Kind.INT64}),
        ("numeric", [1], {Kind.INT32, Kind.INT64, Kind.DOUBLE, Kind.DECIMAL128}),
        ("double precision", [1, 1.5], {Kind.INT32, Kind.INT64, Kind.DOUBLE}),
        ("boolean", [True, "x"], {Kind.BOOL}),
        ("timestamp without time zone", [None], {Kind.DATE}),
        ("text", [bson.ObjectId(), "x"], {Kind.STRING, Kind.OBJECT_ID}),
    ],
)
def test_the_type_of_the_table_holds_and_takes_its_own_kinds(kind: str, values: list[Any], kinds: set[Kind]) -> None:
    found = fitted(table("_id bigint", f"n {kind}", EXTRA), [{"n": value} for value in values])

    assert column_of(found, "n").kinds == kinds


def test_an_earlier_columns_kinds_hold_while_its_type_does() -> None:
    earlier = run_of([{"n": 1, "s": "x", "d": {"x": 1}}])
    existing = table("_id bigint", "n bigint", "s text", "d text", EXTRA, earlier=(earlier,))

    found = fitted(existing, [{"n": "many", "s": 5}])

    assert (column_of(found, "n").type, column_of(found, "s").kinds) == (ColumnType.BIGINT, frozenset({Kind.STRING}))
    assert column_of(found, "d").type is ColumnType.TEXT
    assert Kind.DOCUMENT in column_of(found, "d").kinds
    assert [text for text in found.warnings if "go to _extra" in text] == [
        "Field n holds string: such values do not fit and go to _extra.",
        "Field s holds int32: such values do not fit and go to _extra.",
    ]


def test_a_columns_own_policy_decides_what_becomes_of_values_that_do_not_fit() -> None:
    (options, mapping) = (MappingOptions(), run_of([{"n": 1, "s": "x"}]).mapping)
    columns = [each.model_copy(update={"overflow": "reject"} if each.name == "n" else {}) for each in mapping.columns]
    earlier = EarlierMapping("first", NAMESPACE, Mapping(columns=tuple(columns), options=options))

    found = fitted(table("_id bigint", "n bigint", "s text", EXTRA, earlier=(earlier,)), [{"n": "many", "s": 5}])

    assert [text for text in found.warnings if "do not fit" in text] == [
        "Field n holds string: such values do not fit and have their documents rejected.",
        "Field s holds int32: such values do not fit and go to _extra.",
    ]


def test_a_new_field_goes_to_extra_or_into_a_column_of_its_name() -> None:
    earlier = run_of([{"a": 1}])
    existing = table("_id bigint", "a integer", EXTRA, "added_later text", "rawName text", earlier=(earlier,))

    found = fitted(existing, [{"a": 1, "b": 2, "addedLater": "x", "rawName": "y"}])

    assert places(found.mapping) == {
        "_id": "_id", "a": "a", "_extra": "(extra)", "added_later": "addedLater", "rawName": "rawName",
    }  # fmt: skip
    assert "Field b has no column in the table: its values go to _extra." in found.warnings


def test_a_new_document_is_one_field_unless_the_table_has_columns_for_its_own() -> None:
    documents = [{"home": {"city": "x", "zip": 1}, "work": {"city": "y"}, "other": {"city": "z"}}]
    existing = table("_id bigint", "home_city text", "work jsonb", EXTRA)

    found = fitted(existing, documents, flatten=1)

    assert places(found.mapping) == {"_id": "_id", "_extra": "(extra)", "home_city": "home.city", "work": "work"}
    told = [text.partition(" has no column")[0] for text in found.warnings if " has no column" in text]
    assert told == ["Field home.zip", "Field other"]


def test_without_extra_a_new_field_ends_the_plan_and_is_named() -> None:
    earlier = run_of([{"a": 1}], overflow="reject")
    existing = table("_id bigint", "a integer", earlier=(earlier,))

    message = refused(existing, [{"a": 1, "nickName": "x", "also": {"x": 1}}])

    assert "Table public.users does not fit the plan: " in message
    assert "Column nick_name (text) is missing for the field nickName." in message
    assert "Column also (jsonb) is missing." in message
    assert "_extra jsonb" in message
    found = fitted(existing, [{"a": 1}, {"a": "text"}])
    assert found.mapping.options.overflow == "reject"
    assert "Field a also holds string: such values do not fit and have their documents rejected." in found.warnings


def test_a_column_by_hand_that_takes_none_of_the_values_is_left_alone_or_ends_the_plan() -> None:
    documents = [{"n": "x", "when": "y", "price": 1.5, "g": 1, "tags": ["a"], "e": "x"}]
    columns = ("_id bigint", "n integer", "when date", "price numeric", "g integer", "tags integer[]", "e my.mood")
    facts: dict[str, dict[str, Any]] = {
        "price": {"type": "numeric(10,2)", "rounds": True, "keeps_integers": True},
        "g": {"generated": True},
        "e": {"type": "mood"},
    }

    message = refused(table(*columns, facts=facts), documents)

    for problem in (
        "Column n is integer, the plan needs text.",
        "Column when is date, the plan needs text.",
        "Column price is numeric(10,2), which would round values: the plan needs numeric.",
        "Column g is generated and cannot be written.",
        "Column tags is integer[], the plan needs jsonb.",
        "Column e is mood, the plan needs text.",
    ):
        assert problem in message
    assert list(places(fitted(table(*columns, EXTRA, facts=facts), documents).mapping)) == ["_id", "_extra"]


def test_a_numeric_with_a_scale_takes_integers() -> None:
    facts: dict[str, dict[str, Any]] = {"price": {"type": "numeric(10,2)", "rounds": True, "keeps_integers": True}}
    found = fitted(table("_id bigint", "price numeric", EXTRA, facts=facts), [{"price": 5}, {"price": 1.5}])

    assert column_of(found, "price").kinds == {Kind.INT32, Kind.INT64}


def test_arrays_go_into_arrays_of_their_elements() -> None:
    found = fitted(
        table("_id bigint", "tags text[]", "ns bigint[]", "s text[]", EXTRA),
        [{"tags": ["a"], "ns": [1, bson.Int64(2)], "s": "scalar"}],
    )

    assert column_of(found, "tags").array
    assert column_of(found, "ns").kinds == {Kind.INT32, Kind.INT64}
    assert "s" not in places(found.mapping)


def test_the_table_keeps_the_options_that_made_it_and_says_so() -> None:
    earlier = run_of(
        [{"userName": "x", "address": {"city": "x"}}],
        naming="preserve",
        flatten=1,
        objectid="bytea",
        json_values="extended",
    )
    existing = table("_id bigint", "userName text", "address_city text", EXTRA, earlier=(earlier,))

    found = fitted(existing, [{"userName": "x", "address": {"city": "y", "zip": 1}}], nul="strip")

    assert places(found.mapping) == {
        "_id": "_id", "userName": "userName", "address_city": "address.city", "_extra": "(extra)",
    }  # fmt: skip
    options = found.mapping.options
    assert (options.naming, options.flatten, options.nul, options.json_values) == ("preserve", 1, "strip", "extended")
    assert any(text.startswith('mapping.naming = "snake_case" does not count here') for text in found.warnings)
    assert "Field address.zip has no column in the table: its values go to _extra." in found.warnings


def test_a_table_of_whole_documents_stays_one() -> None:
    earlier = run_of([{"a": 1}], layout="document")

    found = fitted(table("_id bigint", "doc jsonb", earlier=(earlier,)), [{"a": 1, "new": 2}])

    assert places(found.mapping) == {"_id": "_id", "doc": "(document)"}
    assert "Column doc (jsonb) is missing" in refused(table("_id bigint", EXTRA), [{"a": 1}], layout="document")


def test_ids_of_other_kinds_than_the_tables_are_told_of_and_never_change_its_type() -> None:
    counter = make_counter(0, "plain")
    counter.add_batch(bson.encode({"_id": 1}) + bson.encode({"_id": "x"}))
    census = counter.result()
    earlier = run_of([{"a": 1}])
    for existing in (table("_id bigint", EXTRA, earlier=(earlier,)), table("_id bigint", EXTRA)):
        proposal = propose(census, census.id_kinds, MappingOptions())
        found = fit(
            proposal, existing, census, target="t", namespace=NAMESPACE, mode="upsert", options=MappingOptions()
        )
        assert found.mapping.id_column.kinds == {Kind.INT32, Kind.INT64}
        assert any("documents whose _id is string will be rejects" in text for text in found.warnings)
    assert "Column _id is uuid, the plan needs bigint" in refused(table("_id uuid", EXTRA), [{}])


def test_what_the_table_insists_on_and_no_field_has_ends_the_plan() -> None:
    existing = table("_id bigint", "owner text", EXTRA, facts={"owner": {"nullable": False}})

    assert "Column owner is NOT NULL without a default, and the plan has no value for it." in refused(
        existing, [{"a": 1}]
    )
    assert "owner" in places(fitted(existing, [{"owner": "x"}]).mapping)


def test_an_identity_column_is_written_where_all_documents_have_a_value() -> None:
    facts = {name: {"is_identity": True, "has_default": True, "nullable": False} for name in ("_id", "seq")}
    existing = table("_id bigint", "seq integer", EXTRA, facts=facts)

    for mode in ("upsert", "append"):
        assert list(places(fitted(existing, [{"seq": 1}], mode=mode).mapping)) == ["_id", "_extra", "seq"]
        assert list(places(fitted(existing, [{"seq": 1}, {}], mode=mode).mapping)) == ["_id", "_extra"]


def test_what_an_earlier_run_left_out_on_purpose_stays_out() -> None:
    earlier = run_of([{"a": 1}])
    mapping = earlier.mapping.model_copy(update={"ignored": (("secret",),)})
    existing = table("_id bigint", "a integer", EXTRA, earlier=(EarlierMapping("first", NAMESPACE, mapping),))

    found = fitted(existing, [{"a": 1, "secret": "x"}])

    assert found.mapping.ignored == (("secret",),)
    assert not [text for text in found.warnings if "secret" in text]


def test_keys_that_a_scale_would_make_one_have_no_plan() -> None:
    facts = {"_id": {"type": "numeric(10,0)", "rounds": True, "keeps_integers": True}}
    earlier = run_of([{}])
    for existing in (
        table("_id numeric", EXTRA, facts=facts),
        table("_id numeric", EXTRA, earlier=(earlier,), facts=facts),
    ):
        counter = make_counter(0, "plain")
        counter.add_batch(bson.encode({"_id": 1.2}) + bson.encode({"_id": 1.4}))
        census = counter.result()
        proposal = propose(census, census.id_kinds, MappingOptions())
        with pytest.raises(UsageError, match=r"Column _id is numeric\(10,0\), which would round values"):
            fit(proposal, existing, census, target="t", namespace=NAMESPACE, mode="upsert", options=MappingOptions())
        assert fitted(existing, [{}]).mapping.id_column.kinds == {Kind.INT32, Kind.INT64}


def test_a_saved_plan_has_the_tables_types_and_leaves_no_stale_column() -> None:
    earlier = run_of([{"n": 1, "left": "x", "ignored": 1}])
    existing = table("_id bigint", "n bigint", "left text", "ignored integer", EXTRA, earlier=(earlier,))
    saved = earlier.mapping.model_copy(
        update={"columns": tuple(each for each in earlier.mapping.columns if each.name not in ("left", "ignored")),
                "ignored": (("ignored",),)}
    )  # fmt: skip

    mapping, warnings = fit_given(saved, existing, target="t", namespace=NAMESPACE, mode="upsert")

    assert places(mapping) == {"_id": "_id", "n": "n", "_extra": "(extra)", "left": "(none)", "ignored": "(none)"}
    assert next(each for each in mapping.columns if each.name == "n").type is ColumnType.BIGINT
    assert len(warnings) == 2
    with pytest.raises(UsageError, match=r"Column n \(integer\) is missing"):
        fit_given(earlier.mapping, table("_id bigint", EXTRA), target="t", namespace=NAMESPACE, mode="append")


def test_a_column_without_a_field_is_null_in_both_converters() -> None:
    from engine.convert import make_converter

    columns = (
        Column(name="_id", type=ColumnType.BIGINT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.INT32})),
        *(Column(name=f"c{number}", type=each, role=Role.NONE) for number, each in enumerate(ColumnType)),
        Column(name="l", type=ColumnType.TEXT, role=Role.NONE, array=True),
        Column(name="_missing", type=ColumnType.TEXT, role=Role.MISSING, array=True, nullable=False),
        Column(name="_extra", type=ColumnType.JSONB, role=Role.EXTRA),
    )
    batch = bson.encode({"_id": 1, "c0": "x", "": 2, "none": None})
    rows = {make_converter(Mapping(columns=columns), each).convert(batch, 0, 1).copy for each in PREFERENCES}
    assert len(rows) == 1
    [row] = rows
    assert bytes(row).count(b"\xff\xff\xff\xff") >= len(ColumnType) + 1
