"""What is at both ends, and how every field maps to a column."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

from engine.mapping.model import Column
from engine.protocol.preflight import PreflightReport
from engine.protocol.saved_plan import SavedPlan
from engine.protocol.wire import Wire


class ServerReport(Wire):
    """One side's connection, as tested."""

    side: str
    uri: str
    """Redacted."""
    ok: bool
    message: str
    """"connected" or the one sentence that says what to do."""
    version: str = ""
    latency_ms: float = 0.0
    detail: str = ""
    """MongoDB: "replica set rs0"; PostgreSQL: "88 of 100 connections free"."""
    tls: str = ""
    """"TLS, verified", "TLS, host not verified", "TLS, not verified" or "no TLS"."""
    tls_is_weak: bool = False
    """What is sent could be read or forged in the network; "no TLS" on this machine itself is not weak."""
    free_connections: int | None = None
    warnings: list[str] = []
    """A sentence for each option of the connection string that is left out."""
    wants_password: bool = False
    """The server refuses the password, or the lack of one."""


class DatabaseInfo(Wire):
    """One database of the source's server."""

    name: str
    size_bytes: int
    """On the server's disk, compressed and with indexes; 0 when not known."""


class CollectionInfo(Wire):
    """One collection of the source."""

    namespace: str
    """`db.collection`."""
    kind: str
    """"collection", "view", "timeseries", "capped", "clustered"."""
    documents: int
    """Estimated; -1 when it cannot be known cheaply."""
    size_bytes: int


class ValuesView(Wire):
    """What the census saw in one field. Counts are of the documents looked at: of a sample, or of all."""

    present: int
    """Occurrences, nulls included."""
    nulls: int = 0
    longest: int = 0
    """Characters of the longest string."""
    nul: int = 0
    """Strings with a NUL character, which PostgreSQL refuses, also in nested values; likewise the next."""
    bad_utf8: int = 0
    bad_dates: int = 0
    """Dates that PostgreSQL cannot hold."""
    low: int | float | str | None = None
    """Smallest integer or finite double, or, as text, Decimal128; None without one."""
    high: int | float | str | None = None
    depth: int = 0
    """Levels of documents and arrays in the deepest value; 0 when there are only scalars."""
    elements: dict[str, float] = {}
    """Kind name -> per cent of the elements of all its arrays."""


class ColumnView(Wire):
    """A column of the plan, for people."""

    field: str
    column: str
    type: str
    seen_percent: float
    kinds: dict[str, float]
    """Kind name -> per cent of the documents that have the field."""
    note: str = ""
    """Why the column has its type."""
    nullable: bool = True
    values: ValuesView | None = None
    """What the census saw in the field; None when the column has no field, or no document has it."""


class PreviewRowView(Wire):
    """A sampled document as it would be written. Foreign text: make it harmless before showing it."""

    id: str
    """As Extended JSON."""
    values: list[str | None] = []
    """As PostgreSQL would show them, in the order of the columns, cut to some length; None is NULL."""
    reject: str = ""
    """Why the document would be rejected; empty for a row."""


class IndexView(Wire):
    """An index of the collection, as PostgreSQL could have it."""

    name: str
    source_name: str
    """In MongoDB."""
    unique: bool
    sql: str


class EstimateView(Wire):
    """An estimate of what a table comes to; `basis` says what it rests on."""

    table_bytes: int
    index_bytes: int
    """Of the key, and of the indexes where they are asked for."""
    seconds: float
    rows_per_s: float
    basis: str


class TableView(Wire):
    """What becomes of one collection."""

    namespace: str
    table: str
    """`schema.table`."""
    kind: str = "collection"
    """`"collection"`, `"view"`, `"timeseries"`, `"capped"` or `"clustered"`."""
    documents: int
    """To be copied: estimated, with a filter counted; -1 when it cannot be known cheaply."""
    size_bytes: int
    sampled: int = 0
    """Documents that the census looked at."""
    sampled_bytes: int = 0
    """Of these."""
    census: Literal["sample", "full"] = "sample"
    """`full`: it looked at all of them."""
    largest: int = 0
    """Bytes of the largest of them."""
    depth: int = 0
    """Levels of documents and arrays in the deepest of them, itself included."""
    corrupt: int = 0
    """Those that break the rules of BSON."""
    untracked: int = 0
    """Values in fields too many to tell apart, or not named in UTF-8."""
    filter: str = ""
    """Extended JSON; empty takes every document."""
    order: Literal["id", "natural"] = "id"
    """In which a run would read it: by `_id`, or as it lies on disk."""
    order_reason: str = ""
    """Why, in a few words."""
    columns: list[ColumnView]
    ignored: list[str] = []
    """Fields left out on purpose."""
    primary_key: str = ""
    ddl: str = ""
    indexes: list[IndexView] = []
    """Built after the load where they are asked for; why others are left is among the warnings."""
    preview: list[PreviewRowView] = []
    estimate: EstimateView | None = None
    """None when there was nothing to estimate from."""
    warnings: list[str] = []
    """The weightiest first."""


class PlanView(Wire):
    """The whole plan, for people; `fingerprint` guards resume."""

    fingerprint: str
    mode: str
    tables: list[TableView]
    warnings: list[str] = []
    """Of all tables, the weightiest first."""
    estimated_seconds: float = 0.0
    toml: str = ""
    """The plan to save, edit, and give back with `--plan`."""
    preflight: PreflightReport | None = None
    """What a run of the plan would meet at both ends; null from an engine that did not look."""


class OfferedColumns(Wire):
    """Columns that a table does not have, and could have."""

    inside: dict[str, list[Column]] = {}
    """Name of a column of documents -> columns of their fields, one level down, which could stand in its place."""
    others: list[Column] = []
    """Of fields that have none: those that are excluded, and those that the plan does not know."""


class EditablePlan(PlanView):
    """A plan, and what of it may be edited."""

    saved: SavedPlan | None = None
    """What `toml` says; None when the engine is of a version whose plans this one cannot edit."""
    offered: list[OfferedColumns] = []
    """For each table in order; empty when they are not known."""

    @field_validator("saved", "offered", mode="wrap")
    @classmethod
    def _as_far_as_known(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> SavedPlan | list[OfferedColumns] | None:
        """A newer engine may have options and types that are not known here: its plan is shown all the same."""
        try:
            found: SavedPlan | list[OfferedColumns] | None = handler(value)
        except ValidationError:
            return [] if info.field_name == "offered" else None
        return found
