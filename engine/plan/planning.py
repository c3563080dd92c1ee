"""The plan for people: surveys of the source as the `EditablePlan` that screens and the command line show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from engine.config import Settings
from engine.convert.rejection import CORRUPT
from engine.errors import MigrationError
from engine.mapping.cautions import corrupt_caution, too_wide
from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import KIND_NAMES
from engine.mapping.model import Column, Kind, Role
from engine.mapping.names import TableName, quote_identifier, show_path
from engine.mapping.proposal import propose
from engine.mongo import connect as mongo
from engine.mongo.catalogue import UNKNOWN
from engine.plan import Plan, TablePlan, select
from engine.plan.estimate import assumptions, estimate
from engine.plan.making import Survey, survey_all
from engine.plan.preview import Preview, preview
from engine.plan.reading import asked_plan
from engine.plan.saved import saved_of
from engine.plan.target_tables import NOT_SEEN_WEIGHT, existing_tables, warn_of_closed
from engine.plan.writing import Remarks, harmless, write_plan
from engine.postgres import ddl
from engine.postgres.existing import EarlierOf
from engine.postgres.indexes import create_index
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.protocol import (
    ColumnView,
    EditablePlan,
    EstimateView,
    IndexView,
    PlanEdit,
    PreviewRowView,
    TableView,
    ValuesView,
)

REJECT_WEIGHT, OVERFLOW_WEIGHT, SELECTION_WEIGHT = 88, 45, 40
"""Weights of warnings, as in `engine.mapping.proposal`."""
WARNINGS_IN_FILE = 10
"""Of one table, in the comments of a saved plan."""


def view_plan(
    settings: Settings,
    uri: str,
    text: str,
    full: dict[int, Census] | None = None,
    known: KnownNames = NOTHING_KNOWN,
    *,
    edits: Sequence[PlanEdit] = (),
    earlier_of: EarlierOf,
) -> EditablePlan:
    """Look at the source and show what a run would do. Blocks: call it in a thread.

    Args:
        uri: of the source.
        text: a saved plan's TOML to look at; empty looks at what the settings ask for.
        full: censuses of all documents, by task; a sample is drawn of other collections.
        known: names that the target has.
        edits: to be made in the saved plan.
        earlier_of: reads what earlier runs wrote into a table.

    Raises:
        UsageError, MissingCollection, ConnectError: one sentence about what is wrong.
    """
    saved = asked_plan(text, edits)
    if saved is not None:
        settings = saved.over(settings)
    client = mongo.connect(uri, app_name="mongopg-tui plan")
    try:
        selection = select(client, settings, saved, known)
        existing, not_seen = existing_tables(settings, selection.choices, earlier_of)
        plan, surveys = survey_all(client, settings, selection.choices, full, existing)
    finally:
        client.close()
    surveys = warn_of_closed(settings, surveys)
    tables, remarks = [], []
    weighed = [(SELECTION_WEIGHT, text) for text in selection.warnings]
    for survey in surveys:
        shown, failure = _preview(survey, settings)
        warnings = warnings_of(survey, shown, failure)
        tables.append(_table_view(settings, plan, survey, shown, [text for _, text in warnings]))
        weighed += [(weight, f"{survey.table.namespace}: {text}") for weight, text in warnings]
        remarks.append(_remarks(survey, settings, [text for _, text in warnings]))
    if not_seen:
        weighed.append((NOT_SEEN_WEIGHT, not_seen))
    weighed.sort(key=lambda each: -each[0])
    estimates = [table.estimate for table in tables if table.estimate is not None]
    kept = saved_of(plan, settings.run.mode, settings.mapping)
    if saved is not None and all(table.columns is not None for table in saved.tables):
        kept = saved  # word for word: what was edited is what is saved and started
    return EditablePlan(
        fingerprint=plan.fingerprint,
        mode=settings.run.mode,
        tables=tables,
        warnings=[text for _, text in weighed],
        estimated_seconds=round(sum(each.seconds for each in estimates), 1),
        toml=write_plan(kept, table_remarks=remarks),
        saved=kept,
    )


def _preview(survey: Survey, settings: Settings) -> tuple[Preview, str]:
    """Some rows, and why there are none when converting failed as nothing foresaw: the rest of the plan is without them."""
    try:
        return preview(survey.documents, survey.table.mapping, settings.run.converter), ""
    except MigrationError:
        raise
    except Exception as error:
        return Preview(), f"There is no preview: converting the sample failed ({type(error).__name__}: {error})."


def warnings_of(survey: Survey, shown: Preview, failure: str = "") -> list[tuple[int, str]]:
    """The table's warnings, with their weights, and those that only converting could tell; the weightiest first.

    Args:
        failure: why there is no preview; empty when there is one.
    """
    own = corrupt_caution(survey.census.n_corrupt, survey.census.n_documents)
    found = [each for each in zip(survey.weights, survey.table.warnings, strict=True) if each != own]
    if failure:
        found.append((REJECT_WEIGHT, failure))
    if n_corrupt := _n_corrupt(survey, shown):
        found.append(corrupt_caution(n_corrupt, survey.census.n_documents or shown.n_read))
    others = {each: count for each, count in shown.rejects.items() if each[0] != CORRUPT}
    if others:
        ranked = sorted(others.items(), key=lambda entry: -entry[1])
        reasons = ", ".join(f"{count:,} {reason} in {name or 'the document'}" for (reason, name), count in ranked[:5])
        n_rejects = sum(others.values())
        found.append((REJECT_WEIGHT, f"{n_rejects:,} of {shown.n_read:,} documents converted are rejected: {reasons}."))
    if shown.n_too_wide:
        beginning = (
            f"Rows of {shown.n_too_wide:,} of {shown.n_read:,} documents converted have up to {shown.widest:,} bytes"
        )
        found.append((REJECT_WEIGHT, too_wide(beginning)))
    if shown.n_overflow:
        found.append(
            (OVERFLOW_WEIGHT, f"{shown.n_overflow:,} values of {shown.n_read:,} documents converted go to _extra.")
        )
    return sorted(found, key=lambda each: -each[0])


def _n_corrupt(survey: Survey, shown: Preview) -> int:
    """Documents that are corrupt: converting decides it, as in a run, where all were converted that the census looked at."""
    converted = sum(count for (reason, _), count in shown.rejects.items() if reason == CORRUPT)
    is_all = shown.n_read >= survey.census.n_documents
    return converted if is_all else max(converted, survey.census.n_corrupt)


def _table_view(settings: Settings, plan: Plan, survey: Survey, shown: Preview, warnings: list[str]) -> TableView:
    table = survey.table
    workers, with_indexes = settings.run.cluster_size, settings.run.indexes
    found = None
    if survey.is_counted:
        found = estimate(table, shown, average_bytes=survey.average_bytes, workers=workers, with_indexes=with_indexes)
    name = TableName(table.schema_name, table.table)
    by_path = dict(survey.census.walk())
    return TableView(
        namespace=table.namespace,
        table=plan.label(table),
        kind=survey.kind,
        documents=table.documents if survey.is_counted else UNKNOWN,
        size_bytes=table.size_bytes,
        sampled=survey.census.n_documents,
        sampled_bytes=survey.census.n_bytes,
        census=table.census,
        largest=survey.census.largest,
        depth=survey.census.depth,
        corrupt=_n_corrupt(survey, shown),
        untracked=survey.census.n_untracked,
        filter=table.filter,
        columns=[_column_view(table, column, by_path.get(column.path)) for column in table.mapping.columns],
        ignored=[".".join(path) for path in table.mapping.ignored],
        primary_key=table.mapping.id_column.name if table.has_key else "",
        ddl=script(table, with_indexes=with_indexes, is_there=survey.is_there),
        indexes=[
            IndexView(
                name=index.name, source_name=index.source_name, unique=index.unique, sql=create_index(index, name)
            )
            for index in table.indexes
        ],
        preview=[PreviewRowView(id=row.id, values=list(row.values), reject=row.reject) for row in shown.rows],
        estimate=None
        if found is None
        else EstimateView(
            table_bytes=found.table_bytes,
            index_bytes=found.index_bytes,
            seconds=found.seconds,
            rows_per_s=found.rows_per_s,
            basis=assumptions(shown, workers),
        ),
        warnings=warnings,
    )


def _column_view(table: TablePlan, column: Column, seen: FieldCensus | None) -> ColumnView:
    presence, kinds = table.seen.get(column.name, (0.0, {}))
    return ColumnView(
        field=(show_path(column.path) or '""') if column.path else column.role.value,
        column=column.name,
        type=column.sql_type,
        nullable=column.nullable and column.role is not Role.ID,
        seen_percent=100 * presence,
        kinds={name: 100 * share for name, share in kinds.items()},
        note=table.notes.get(column.name, ""),
        values=_values_view(seen) if seen is not None else None,
    )


def _values_view(seen: FieldCensus) -> ValuesView:
    elements = seen.elements
    return ValuesView(
        present=seen.present,
        nulls=seen.n_null,
        longest=seen.longest,
        nul=sum(each.n_nul for each in _with_inner(seen)),
        bad_utf8=sum(each.n_bad_utf8 for each in _with_inner(seen)),
        bad_dates=seen.n_bad_dates,
        low=_extreme(min, seen.low, seen.low_double, seen.low_decimal),
        high=_extreme(max, seen.high, seen.high_double, seen.high_decimal),
        depth=seen.depth,
        elements={KIND_NAMES[Kind(kind)]: 100 * count / elements.present for kind, count in elements.kinds.items()}
        if elements is not None
        else {},
    )


def _extreme(
    choose: Callable[..., Any], integer: int | None, double: float | None, text: str | None
) -> int | float | str | None:
    """The least or greatest of what was seen; a Decimal128 as text, since JSON's readers would round it."""
    numbers = [each for each in (integer, double, Decimal(text) if text is not None else None) if each is not None]
    found = choose(numbers, default=None)
    return text if isinstance(found, Decimal) else found


def _with_inner(seen: FieldCensus) -> Iterator[FieldCensus]:
    """A field, and whatever was told apart inside its values."""
    yield seen
    for inner in (*seen.fields.values(), *([seen.elements] if seen.elements is not None else ())):
        yield from _with_inner(inner)


def script(table: TablePlan, *, with_indexes: bool, is_there: bool = False) -> str:
    """SQL that psql accepts: schema, table, key and indexes; without `with_indexes` those are comments.

    Indexes that are not carried over are comments in either case: why, and what could be built by hand.
    """
    name = TableName(table.schema_name, table.table)
    if is_there:
        return _commented(f"The table {name.sql} is there, and stays as it is.")
    statements = []
    if table.schema_name != "public":
        statements.append(f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(table.schema_name)}")
    statements.append(ddl.create_table(name, table.mapping))
    if table.has_key:
        statements.append(ddl.add_primary_key(name, table.mapping.id_column.name, table.key))
    text = "".join(f"{statement};\n" for statement in statements)
    indexes = "".join(f"{create_index(index, name)};\n" for index in table.indexes)
    return text + (indexes if with_indexes else _commented(indexes)) + _commented(left_indexes(table))


def left_indexes(table: TablePlan) -> str:
    """Why some of MongoDB's indexes are not carried over, and below each the SQL that would serve the same queries."""
    lines = []
    for sentence, statements in zip(table.left_indexes, table.by_hand, strict=False):
        lines += [sentence, *(f"    {line}" for line in statements.split("\n") if line)]
    return "".join(f"{line}\n" for line in lines)


def _commented(text: str) -> str:
    """`text` as comments of SQL, which no character within it ends before its line does."""
    return "".join(f"-- {harmless(line)}\n" for line in text.split("\n") if line)


def _remarks(survey: Survey, settings: Settings, warnings: list[str]) -> Remarks:
    """What the comments of a saved plan say of a table."""
    table = survey.table
    documents = f"{table.documents:,} documents" if survey.is_counted else "an unknown number of documents"
    size = f"{documents}, {table.size_bytes / (1 << 20):,.1f} MiB"
    looked_at = "all" if table.census == "full" else f"{survey.census.n_documents:,}"
    heading = [f"{table.namespace}: {size}; {looked_at} of them were looked at"]
    heading += [f"! {text}" for text in warnings[:WARNINGS_IN_FILE]]
    if len(warnings) > WARNINGS_IN_FILE:
        heading.append(f"! and {len(warnings) - WARNINGS_IN_FILE} more: `mongopg-tui plan` shows them")
    footing = []
    if table.indexes:
        footing.append("Built after the load with --indexes, or indexes = true in [run] of config.toml:")
        name = TableName(table.schema_name, table.table)
        footing += [f"  {create_index(index, name)}" for index in table.indexes]
    footing += left_indexes(table).splitlines()
    return Remarks(heading, table.notes, _flattened(survey, settings), footing)


def _flattened(survey: Survey, settings: Settings) -> dict[str, list[Column]]:
    """For each column of documents, the columns that its fields would get one level further down."""
    options = settings.mapping
    deeper = options.model_copy(update={"flatten": survey.census.flatten})
    kinds = survey.table.mapping.id_column.kinds
    columns = propose(survey.census, kinds, deeper).mapping.columns
    documents = {
        column.path: column.name
        for column in survey.table.mapping.columns
        if column.role is Role.FIELD and survey.table.seen.get(column.name, (0, {}))[1].keys() == {_DOCUMENT}
    }
    found: dict[str, list[Column]] = {}
    for column in columns:
        name = documents.get(column.path[:-1])
        if name is not None:
            found.setdefault(name, []).append(column)
    return found


_DOCUMENT = KIND_NAMES[Kind.DOCUMENT]
