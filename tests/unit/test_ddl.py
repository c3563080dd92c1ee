"""SQL text for target tables."""

from __future__ import annotations

from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres import ddl
from engine.postgres.page import column_of, line_of
from engine.postgres.tables import ExistingColumn, check_fits

ID = Column(name="_id", type=ColumnType.TEXT, role=Role.ID, kinds=frozenset({Kind.OBJECT_ID}), nullable=False)
MAPPING = Mapping(
    columns=(
        ID,
        Column(name='say "hi"', type=ColumnType.INTEGER),
        Column(name="tags", type=ColumnType.TEXT, array=True),
        Column(name="at", type=ColumnType.TIMESTAMPTZ, nullable=False),
    )
)


def test_create_table_quotes_every_name_and_keeps_the_key_not_null() -> None:
    assert ddl.create_table(TableName('my "schema"', "users; DROP TABLE x"), MAPPING) == (
        'CREATE TABLE "my ""schema"""."users; DROP TABLE x" (\n'
        '    "_id" text NOT NULL,\n'
        '    "say ""hi""" integer,\n'
        '    "tags" text[],\n'
        '    "at" timestamptz NOT NULL\n'
        ")"
    )


def test_an_id_that_some_documents_lack_may_be_null() -> None:
    mapping = Mapping(columns=(ID.model_copy(update={"nullable": True}),))
    assert ddl.create_table(TableName("public", "seen"), mapping) == 'CREATE TABLE "public"."seen" (\n    "_id" text\n)'


def test_upsert_changes_every_column_but_the_key() -> None:
    statement = ddl.upsert(TableName("public", "t"), TableName("pg_temp", "s"), ["_id", "a", "b"], "_id")
    assert statement == (
        'INSERT INTO "public"."t" ("_id", "a", "b") SELECT "_id", "a", "b" FROM "pg_temp"."s" '
        'ON CONFLICT ("_id") DO UPDATE SET "a" = EXCLUDED."a", "b" = EXCLUDED."b"'
    )
    assert ddl.upsert(TableName("public", "t"), TableName("pg_temp", "s"), ["_id"], "_id").endswith("DO NOTHING")


def test_derived_names_fit_63_bytes_and_stay_different() -> None:
    long, longer = TableName("s", "ü" * 30 + "a"), TableName("s", "ü" * 30 + "b")
    names = {
        made(table, "20261123-1402-k3f9").table
        for table in (long, longer, TableName("s", "users"))
        for made in (ddl.staging_name, ddl.old_name)
    }
    assert len(names) == 6
    assert all(len(name.encode()) <= 63 for name in names)
    assert ddl.staging_name(TableName("s", "users"), "r1") == TableName("s", "users__mongopg_r1")
    assert ddl.key_name(TableName("s", "users")) == "users_pkey"


def test_the_line_is_the_first_number_behind_the_tables_name() -> None:
    assert line_of("COPY users, line 7, column name", "users") == 7
    assert line_of("COPY users, Zeile 12", "users") == 12
    assert line_of("COPY t2024, line 3", "t2024") == 3
    assert line_of("PL/pgSQL function users() line 4 at RAISE\nCOPY users, line 5", "users") == 5
    assert line_of('JSON data, line 1: {"users 9\nCOPY users, line 6, column doc', "users") == 6
    assert line_of("users の COPY、行番号 8", "users") == 8
    assert line_of('SQL statement "SELECT 1 FROM ONLY parent x"', "users") is None
    assert line_of("", "users") is None


def test_what_a_trigger_says_is_no_line_of_copy() -> None:
    assert line_of("PL/pgSQL function users_check() line 3 at RAISE", "users") is None
    audit = (
        'SQL statement "INSERT INTO users_audit VALUES (1)"\nPL/pgSQL function users_check() line 3 at SQL statement'
    )
    assert line_of(audit, "users") is None
    assert line_of(f"{audit}\nCOPY users, Zeile 9", "users") == 9
    assert line_of('COPY a"b, line 7: x, line 12, column n', 'a"b, line 7: x') == 12
    assert line_of("COPY a\nb 3, line 12", "a\nb 3") == 12


def test_the_column_is_what_copys_words_end_with() -> None:
    columns = ["_id", "say 3", "3", "n"]
    assert column_of("COPY users, line 7, column say 3", "users", columns) == "say 3"
    assert column_of("COPY users, Zeile 7, Spalte n", "users", columns) == "n"
    assert column_of("users の COPY、行番号 8、列 _id", "users", columns) == "_id"
    assert column_of("COPY users, line 3", "users", columns) == ""
    assert column_of('SQL statement "SELECT column n"', "users", columns) == ""


def existing(
    name: str, type_: str, base: str = "", *, length: int = -1, nullable: bool = True, **other: bool
) -> ExistingColumn:
    return ExistingColumn(
        name, type_, base or type_, length, nullable, other.get("has_default", False), other.get("generated", False),
        other.get("rounds", False),
    )  # fmt: skip


FITTING = [
    existing("_id", "text", nullable=False),
    existing('say "hi"', "integer"),
    existing("tags", "text[]"),
    existing("at", "timestamp with time zone"),
]


def test_a_table_with_the_same_columns_in_any_order_fits() -> None:
    more = [existing("note", "text"), existing("made", "date", nullable=False, has_default=True)]
    assert check_fits(MAPPING, [*more, *reversed(FITTING)]) == []


def test_every_misfit_is_named() -> None:
    table = [
        existing("_id", "character varying(20)", "character varying", length=20),
        existing('say "hi"', "bigint"),
        existing("at", "timestamp with time zone", generated=True),
        existing("owner", "text", nullable=False),
    ]
    assert check_fits(MAPPING, table) == [
        "Column _id is character varying(20), too narrow for values of 24 characters.",
        'Column say "hi" is bigint, the plan needs integer.',
        "Column tags (text[]) is missing.",
        "Column at is generated and cannot be written.",
        "Column owner is NOT NULL without a default, and the plan has no value for it.",
    ]


def test_columns_that_would_change_values_do_not_fit() -> None:
    mapping = Mapping(
        columns=(ID, Column(name="price", type=ColumnType.NUMERIC), Column(name="code", type=ColumnType.TEXT))
    )
    table = [
        FITTING[0],
        existing("price", "numeric(10,2)", "numeric", rounds=True),
        existing("code", "character(3)", "character"),
    ]
    assert check_fits(mapping, table) == [
        "Column price is numeric(10,2), which would round values: the plan needs numeric.",
        "Column code is character(3), the plan needs text.",
    ]


def test_a_varchar_is_too_narrow_only_for_what_is_known_to_be_longer() -> None:
    mapping = Mapping(columns=(ID, Column(name="code", type=ColumnType.TEXT)))
    table = [FITTING[0], existing("code", "character varying(5)", "character varying", length=5)]
    assert check_fits(mapping, table, {"code": 5}) == []
    assert check_fits(mapping, table, {"code": 6}) == [
        "Column code is character varying(5), too narrow for values of 6 characters."
    ]
