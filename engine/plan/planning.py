"""The plan for people: surveys of the source as the `EditablePlan` that screens and the command line show."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from engine.config import Settings
from engine.convert.rejection import CORRUPT, DATE_RANGE, NUL, UTF8
from engine.errors import MigrationError
from engine.mapping.cautions import corrupt_caution, percent, too_wide
from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import KIND_NAMES
from engine.mapping.model import Column, Kind, Role
from engine.mapping.names import TableName, quote_identifier, show_path
from engine.mapping.proposal import propose
from engine.mongo import connect as mongo
from engine.mongo.catalogue import UNKNOWN
from engine.mongo.faults import explained
from engine.plan import Choice, Plan, TablePlan, select
from engine.plan.estimate import assumptions, estimate
from engine.plan.looks import KnownLooks
from engine.plan.making import Source, Survey, survey_all
from engine.plan.preview import Preview, preview
from engine.plan.reading import asked_plan
from engine.plan.request import as_saved
from engine.plan.saved import saved_of
from engine.plan.target_tables import NOT_SEEN_WEIGHT, existing_tables, warn_of_closed
from engine.plan.writing import Remarks, harmless, write_plan
from engine.plurals import counted
from engine.postgres import ddl
from engine.postgres.existing import EarlierOf
from engine.postgres.indexes import create_index
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.protocol import (
    ColumnView,
    EditablePlan,
    EstimateView,
    IndexView,
    OfferedColumns,
    PlanEdit,
    PreflightReport,
    PreviewRowView,
    TableView,
    ValuesView,
)

Preflight = Callable[[mongo.Client | None, Settings, Sequence[Choice], Sequence[Survey]], PreflightReport]
"""Looks at what a run of the surveyed collections would meet at both ends (`engine.preflight`). Blocks. The client is of the
source, None where nothing had to be read there."""

REJECT_WEIGHT, OVERFLOW_WEIGHT, SELECTION_WEIGHT = 88, 45, 40
"""Weights of warnings, as in `engine.mapping.proposal`."""
_REASONS = {NUL: "NUL", UTF8: "invalid UTF-8", DATE_RANGE: "date out of range"}
"""Why documents are rejected, for people; other reasons are as they are."""
WARNINGS_IN_FILE = 10
"""Of one table, in the comments of a saved plan."""


@explained()
def view_plan(
    settings: Settings,
    uri: str,
    text: str,
    full: dict[int, Census] | None = None,
    known: KnownNames = NOTHING_KNOWN,
    *,
    edits: Sequence[PlanEdit] = (),
    earlier_of: EarlierOf,
    looks: KnownLooks | None = None,
    rereads: bool = True,
    preflight: Preflight | None = None,
    unreachable: str = "",
) -> EditablePlan:
    """Look at the source and show what a run would do. Blocks: call it in a thread.

    Args:
        uri: of the source.
        text: a saved plan's TOML to look at; empty looks at what the settings ask for.
        full: censuses of all documents, by task; a sample is drawn of other collections.
        known: names that the target has.
        edits: to be made in the saved plan.
        earlier_of: reads what earlier runs wrote into a table.
        looks: what was read of the source for earlier plans, and where it is kept for later ones.
        rereads: read it again, instead of using what is known.
        preflight: looks at both ends; None leaves them out.
        unreachable: why there is no connection with the target, where that is known already.

    Raises:
        UsageError, MissingCollection, ConnectError: one sentence about what is wrong.
    """
    saved = asked_plan(text, edits)
    if saved is not None:
        settings = saved.over(settings)
    connection = _Connection(uri)
    source = Source(connection.client, looks or KnownLooks(), rereads)
    try:
        selection = as_saved(saved) if saved is not None else select(connection.client(), settings, None, known)
        existing, not_seen = existing_tables(settings, selection.choices, earlier_of, unreachable)
        plan, surveys = survey_all(source, settings, selection.choices, full, existing)
        report = preflight(connection.made, settings, selection.choices, surveys) if preflight is not None else None
    finally:
        connection.close()
    surveys = warn_of_closed(settings, surveys)
    tables, remarks, offers = [], [], list[OfferedColumns]()
    weighed = [(SELECTION_WEIGHT, text) for text in selection.warnings]
    for survey in surveys:
        shown, failure = _preview(survey, settings)
        warnings = warnings_of(survey, shown, failure)
        tables.append(_table_view(settings, plan, survey, shown, [text for _, text in warnings]))
        weighed += [(weight, f"{survey.table.namespace}: {text}") for weight, text in warnings]
        offers.append(offered(survey, settings))
        remarks.append(_remarks(survey, offers[-1], [text for _, text in warnings]))
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
        preflight=report,
        saved=kept,
        offered=offers,
    )


class _Connection:
    """With the source, made when something is to be read there: an edit needs nothing that was not read before."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: mongo.Client | None = None
        self._lock = threading.Lock()

    def client(self) -> mongo.Client:
        """Threads may ask at the same time."""
        with self._lock:
            if self._client is None:
                self._client = mongo.connect(self._uri, app_name="mongopg-tui plan")
            return self._client

    @property
    def made(self) -> mongo.Client | None:
        """What was connected to; None when nothing had to be read."""
        return self._client

    def close(self) -> None:
        """Nothing is read any more."""
        if self._client is not None:
            self._client.close()


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
    is_all = shown.n_read >= survey.census.n_documents

    def sampled(count: int) -> str:
        """Converted were fewer than were sampled, perhaps: then a share is told, and one size of the sample, the heading's."""
        return (
            f"{count:,} of {counted(shown.n_read, 'sampled document')}"
            if is_all
            else f"{percent(count, shown.n_read)} of the sampled documents"
        )

    own = corrupt_caution(survey.census.n_corrupt, survey.census.n_documents)
    found = [each for each in zip(survey.weights, survey.table.warnings, strict=True) if each != own]
    if failure:
        found.append((REJECT_WEIGHT, failure))
    if n_corrupt := _n_corrupt(survey, shown):
        found.append(corrupt_caution(n_corrupt, survey.census.n_documents or shown.n_read))
    others = {each: count for each, count in shown.rejects.items() if each[0] != CORRUPT}
    if others:
        ranked = sorted(others.items(), key=lambda entry: -entry[1])
        n_rejects = sum(others.values())
        if is_all:
            reasons = ", ".join(f"{count:,} × {_reason(*each)}" for each, count in ranked[:5])
        else:
            reasons = ", ".join(
                _reason(*each) + (f" in {percent(count, shown.n_read)}" if len(ranked) > 1 else "")
                for each, count in ranked[:5]
            )
        found.append((REJECT_WEIGHT, f"{sampled(n_rejects)} would be rejected: {reasons}."))
    if shown.n_too_wide:
        beginning = f"Rows of {sampled(shown.n_too_wide)} have up to {shown.widest:,} bytes"
        found.append((REJECT_WEIGHT, too_wide(beginning, survey.table.mapping.options)))
    if shown.n_overflow:
        values = f"{counted(shown.n_overflow, 'value')} of {counted(shown.n_read, 'sampled document')}"
        if not is_all:
            values = f"{shown.n_overflow / shown.n_read:.2g} values of each sampled document, on average,"
        found.append((OVERFLOW_WEIGHT, f"{values} {'goes' if is_all and shown.n_overflow == 1 else 'go'} to _extra."))
    return sorted(found, key=lambda each: -each[0])


def _reason(reason: str, name: str) -> str:
    return f"{_REASONS.get(reason, reason)} in {name or 'the document'}"


def _n_corrupt(survey: Survey, shown: Preview) -> int:
    """Documents that are corrupt: converting decides it, as in a run, where all were converted that the census looked at."""
    converted = sum(count for (reason, _), count in shown.rejects.items() if reason == CORRUPT)
    is_all = shown.n_read >= survey.census.n_documents
    return converted if is_all else max(converted, survey.census.n_corrupt)


def _table_view(settings: Settings, plan: Plan, survey: Survey, shown: Preview, warnings: list[str]) -> TableView:
    table = survey.table
    workers, with_indexes, throttle = settings.run.workers, settings.run.indexes, settings.run.throttle
    found = None
    if survey.is_counted:
        found = estimate(
            table,
            shown,
            average_bytes=survey.average_bytes,
            workers=workers,
            throttle=throttle,
            with_indexes=with_indexes,
        )
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
        order=table.order,
        order_reason=table.order_reason,
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
            basis=assumptions(shown, workers, throttle),
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


def _remarks(survey: Survey, offers: OfferedColumns, warnings: list[str]) -> Remarks:
    """What the comments of a saved plan say of a table."""
    table = survey.table
    documents = counted(table.documents, "document") if survey.is_counted else "an unknown number of documents"
    size = f"{documents}, {table.size_bytes / (1 << 20):,.1f} MiB"
    sampled = "all counted" if table.census == "full" else f"{survey.census.n_documents:,} sampled"
    heading = [f"{table.namespace}: {size}; {sampled}"]
    heading += [f"! {text}" for text in warnings[:WARNINGS_IN_FILE]]
    if len(warnings) > WARNINGS_IN_FILE:
        heading.append(f"! and {len(warnings) - WARNINGS_IN_FILE} more: `mongopg-tui plan` shows them")
    footing = []
    if table.indexes:
        footing.append("Built after the load with --indexes, or indexes = true in [run] of config.toml:")
        name = TableName(table.schema_name, table.table)
        footing += [f"  {create_index(index, name)}" for index in table.indexes]
    footing += left_indexes(table).splitlines()
    return Remarks(heading, table.notes, offers.inside, footing)


def offered(survey: Survey, settings: Settings) -> OfferedColumns:
    """Columns that the table could have: of the fields of its documents, one level down, and of fields that have none."""
    mapping, options = survey.table.mapping, settings.mapping
    if options.layout == "document":
        return OfferedColumns()
    deeper = options.model_copy(update={"flatten": survey.census.flatten})
    kinds = mapping.id_column.kinds
    below = propose(survey.census, kinds, deeper).mapping.columns
    own = propose(survey.census, kinds, options).mapping.columns
    documents = {
        column.path: column.name
        for column in mapping.columns
        if column.role is Role.FIELD and survey.table.seen.get(column.name, (0, {}))[1].keys() == {_DOCUMENT}
    }
    inside: dict[str, list[Column]] = {}
    for column in below:
        name = documents.get(column.path[:-1])
        if name is not None:
            inside.setdefault(name, []).append(column)
    placed = {column.path[:depth] for column in mapping.columns for depth in range(1, len(column.path) + 1)}
    excluded = set(mapping.ignored)
    taken = placed | excluded
    proposed = {column.path for column in own}

    def is_missing(path: tuple[str, ...]) -> bool:
        """The field has no column, and lies in none; it is not excluded with one above it."""
        return path in proposed and not any(path[:depth] in taken for depth in range(1, len(path) + 1))

    candidates = {column.path: column for column in (*below, *own) if column.role is Role.FIELD}
    others = [column for path, column in candidates.items() if path in excluded or is_missing(path)]
    return OfferedColumns(inside=inside, others=others)


_DOCUMENT = KIND_NAMES[Kind.DOCUMENT]
