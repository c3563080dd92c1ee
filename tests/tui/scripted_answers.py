"""What a scripted engine knows besides its run: a ledger, a recording, a plan of two collections, a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from engine.mapping.model import Column, ColumnType, Kind
from engine.plan.reading import read_plan
from engine.plan.writing import write_plan
from engine.protocol import (
    CheckView,
    ColumnView,
    CutOverFacts,
    DifferenceView,
    DiscardedTable,
    DiscardPreview,
    EditablePlan,
    EstimateView,
    Event,
    KnobChanged,
    OfferedColumns,
    PlanEdit,
    Preflight,
    PreflightReport,
    PreviewRowView,
    Recording,
    RejectedDocument,
    RejectedPage,
    RejectGroup,
    RejectsReport,
    ReportedColumn,
    ReportedTable,
    RetriedOnce,
    RunFinished,
    RunInfo,
    RunReport,
    RunState,
    SavedTable,
    Snapshot,
    StateEntered,
    TableCounts,
    TableProgress,
    TableView,
    TargetTable,
    Verification,
    VerifyReport,
    WorkerState,
    WorkerView,
)

STARTED = 1_792_000_000.0
TOML = """\
version = 1
mode = "create"

[options]
overflow = "reject"

[[tables]]
collection = "shop.orders"
schema = "public"
table = "orders"
filter = ""
exclude = []
columns = [
  { field = "_id", column = "_id", type = "text" },
  { field = "total", column = "total", type = "double precision" },
  { field = "address.city", column = "address_city", type = "text", kinds = ["string"] },  # seen in 3 %
]

[[tables]]
collection = "shop.customers"
schema = "public"
table = "customers"
filter = ""
exclude = ["old"]
columns = [
  { field = "_id", column = "_id", type = "text" },
  { field = "total", column = "total", type = "text" },
]
"""


def run_info(run_id: str, **changes: Any) -> RunInfo:
    """A run of the ledger that ended well."""
    facts: dict[str, Any] = {
        "run_id": run_id, "state": "completed", "started_unix": STARTED, "ended_unix": STARTED + 126, "source": "db1/shop",
        "target": "pg1/shop", "collections": ["shop.orders"], "mode": "create", "read": 5_063_558, "written": 5_063_544,
        "rejected": 14, "seconds": 126.0, "verification": "verified", "resumable": False,
        "heartbeat_unix": STARTED + 126,
    }  # fmt: skip
    return RunInfo(**(facts | changes))


RUNS = [
    run_info("20261123-1402-k3f9"),
    run_info(
        "20261123-1320-b7aa", state="cancelled", verification="none", written=912_000, read=912_000, rejected=0,
        seconds=31.0, resumable=True,
    ),
    run_info("20261122-0900-c1de", state="running", verification="none", written=100, read=100, resumable=True),
]  # fmt: skip


def recording(info: RunInfo, seconds: int = 60) -> Recording:
    """A run of 60,000 rows, a frame a second, a knob turned in its middle."""
    frames = []
    for second in range(seconds + 1):
        is_over = second == seconds
        worker = WorkerView(
            id=1, pid=41, state=WorkerState.WRITING, partition=second, written=1_000 * second, rows_per_s=1_000.0
        )
        table = TableProgress(
            namespace="shop.orders", table="public.orders", total=1_000 * seconds, read=1_000 * second,
            written=1_000 * second, rejected=0, source_count=1_000 * second, target_count=1_000 * second,
            ok=None if info.state == "running" else True,
        )  # fmt: skip
        frames.append(
            Snapshot(
                run_id=info.run_id, state=RunState.COMPLETED if is_over else RunState.RUNNING,
                phase="completed" if is_over else "copying", source=info.source, target=info.target,
                verification=Verification.VERIFIED if is_over else Verification.NONE, elapsed=float(second),
                read=1_000 * second, written=1_000 * second, total=1_000 * seconds, rows_per_s=1_000.0,
                rows_per_s_mean=1_000.0, cluster_size=1, page_size=8_000 if second < seconds // 2 else 16_000,
                workers=[] if is_over else [worker], tables=[table] if is_over else [],
                exit_code=0 if is_over else None,
            )
        )  # fmt: skip
    events: list[Event] = [
        StateEntered(at=0.0, state=RunState.RUNNING, phase="copying"),
        KnobChanged(at=seconds / 2, knob="page_size", old=8_000, value=16_000),
        RunFinished(at=float(seconds), state=RunState.COMPLETED, written=1_000 * seconds),
    ]
    settings = {"run": {"collections": ["shop.orders:public.orders"], "mode": "append", "limit": 0}, "mapping": {}}
    return Recording(run=info, frames=frames, events=events, settings=settings)


def preflight_report(command: Preflight) -> PreflightReport:
    """Both ends answer, and every table is new."""
    run = command.settings.get("run", {})
    names = (
        [each.namespace for each in read_plan(command.plan, ()).tables] if command.plan else run.get("collections", [])
    )
    return found_tables(*((name, f"public.{name.partition('.')[2]}") for name in names), mode=run.get("mode", "create"))


def found_tables(*tables: tuple[str, str] | TargetTable, mode: str = "create", **changes: Any) -> PreflightReport:
    """What preflight found of some tables; a collection and a name are a new one."""
    found = [
        each
        if isinstance(each, TargetTable)
        else TargetTable(namespace=each[0], table=each[1], state="new", fate="created")
        for each in tables
    ]
    status = "stop" if any(each.status == "stop" for each in found) else "ok"
    facts: dict[str, Any] = {
        "status": status, "target": "checked", "mode": mode, "database": "shop", "tables": found,
        "checks": [
            CheckView(what="source", status="ok", message="MongoDB 7.0.12 (replica set rs0) answers, and all can be read."),
            CheckView(what="target", status="ok", message="PostgreSQL 16.4 answers: database shop at pg1:5432."),
            CheckView(what="rights", status="ok", message="The user mig has the rights that the run needs."),
            CheckView(what="connections", status="ok", message="88 connections are free, and 4 workers and the engine need 6."),
        ],
    }  # fmt: skip
    return PreflightReport(**(facts | changes))


PLAN_WARNINGS = ("total: 2% of the values are ints", "3 documents are larger than 1 MiB")


def plan_view(
    toml: str = TOML,
    edits: Sequence[PlanEdit] = (),
    preflight: PreflightReport | None = None,
    warnings: Sequence[str] = PLAN_WARNINGS,
) -> EditablePlan:
    """A plan of two collections with warnings and a preview, as it is after edits."""
    saved = read_plan(toml, edits)
    columns = [
        ColumnView(
            field="_id", column="_id", type="text", seen_percent=100.0, kinds={"objectId": 100.0}, note="primary key",
            nullable=False,
        ),
        ColumnView(
            field="total", column="total", type="double precision", seen_percent=99.0,
            kinds={"double": 98.0, "int": 2.0}, note="ints widen",
        ),
        ColumnView(
            field="address.city", column="address_city", type="text", seen_percent=3.0, kinds={"string": 100.0}
        ),
    ]  # fmt: skip
    facts = {each.field: each for each in columns}

    def columns_of(table: SavedTable) -> list[ColumnView]:
        shown = [(".".join(column.path), column) for column in table.columns or ()]
        return [
            facts.get(field, facts["total"]).model_copy(
                update={"field": field, "column": column.name, "type": column.sql_type}
            )
            for field, column in shown
        ]

    preview = [
        PreviewRowView(id='"64f0c1"', values=["64f0c1", "19.9", None]),
        PreviewRowView(id='"64f0c2"', values=[], reject="nul in name"),
    ]
    planned = read_plan(toml).tables
    tables = [
        TableView(
            namespace=f"shop.{name}", table=f"public.{name}" if table.target == was.target else table.target,
            documents=4_210_334, size_bytes=2_040_109_466, filter=table.filter,
            ignored=[".".join(path) for path in table.ignored],
            columns=columns_of(table), ddl=f"CREATE TABLE public.{name} (\n  _id text\n);\n",
            warnings=list(warnings) if first else [],
            sampled=10_000, preview=preview, primary_key="_id",
            order="natural" if first else "id",
            order_reason="its _ids are in no order on disk" if first else "its documents lie in that order",
            estimate=EstimateView(
                table_bytes=1_900_000_000, index_bytes=90_000_000, seconds=126.0, rows_per_s=40_000.0, basis="guess"
            ),
        )
        for table, was, name, first in zip(
            saved.tables,
            planned,
            ("orders", "customers") if len(planned) == 2 else [each.collection for each in planned],
            (True, *[False] * (len(planned) - 1)),
            strict=True,
        )
    ]  # fmt: skip
    return EditablePlan(
        fingerprint="f",
        mode=saved.mode,
        tables=tables,
        warnings=[f"shop.orders: {each}" for each in warnings],
        toml=write_plan(saved) if edits else toml,
        preflight=preflight or found_tables(*((each.namespace, each.target) for each in saved.tables)),
        saved=saved,
        offered=[_offered(table) for table in saved.tables],
    )


def _offered(table: SavedTable) -> OfferedColumns:
    """Columns for what is in an address, and for the field that the proposal excludes."""
    inside = [
        Column(name=f"address_{key}", type=ColumnType.TEXT, path=("address", key), kinds=frozenset({Kind.STRING}))
        for key in ("city", "street")
    ]
    old = Column(name="old", type=ColumnType.BIGINT, path=("old",), kinds=frozenset({Kind.INT32, Kind.INT64}))
    return OfferedColumns(
        inside={column.name: inside for column in table.columns or () if column.path == ("address",)},
        others=[old] if ("old",) in table.ignored else [],
    )


def rejects_report(run_id: str) -> RejectsReport:
    """Documents that are kept because of a NUL."""
    group = RejectGroup(
        namespace="shop.orders", reason="nul", field="name", count=14, samples=['{"$oid":"64f0c1"}', '"[b]two[/b]"'],
        policy="nul", in_force="reject", takes=["strip", "replace"],
    )  # fmt: skip
    other = RejectGroup(
        namespace="shop.customers", reason="utf8", field="", count=1, samples=["7"],
        policy="utf8", in_force="reject", takes=["replace"],
    )  # fmt: skip
    return RejectsReport(run_id=run_id, total=15, groups=[group, other])


def rejected_page(command: Mapping[str, Any], groups: Sequence[RejectGroup], begin: int) -> RejectedPage:
    """The documents of a reason, in pages of ten, their `_id`s from `begin` on."""
    first = int(command["after"] or 0)
    only = command["only"]
    documents = [
        RejectedDocument(
            id=f'{{"$numberInt": "{number}"}}', namespace=group.namespace, reason=group.reason, field=group.field,
            detail="NUL at byte 3", size=40, document=f'{{"_id": {number}, "name": "a\\u0000\\u001b[31mb"}}',
        )
        for group in groups
        if group.reason == only["reason"]
        for number in range(begin, begin + group.count)
    ]  # fmt: skip
    page = documents[first : first + 10]
    return RejectedPage(run_id=RUNS[0].run_id, documents=page, following=str(first + len(page)) if page else "")


def discard_preview(run_id: str) -> DiscardPreview:
    """Two tables of the run's own, and one that was there before."""
    tables = [
        DiscardedTable(table="public.orders", rows=4_210_320),
        DiscardedTable(table="public.customers", rows=812_004, is_exact=False),
        DiscardedTable(table="public.log", rows=7, is_own=False),
    ]
    return DiscardPreview(run_id=run_id, tables=tables, rejected=14, events=61)


def run_report(info: RunInfo) -> RunReport:
    """All that a ledger has of a run, with some hostile text in it."""
    counts = TableCounts(
        namespace="shop.orders", table="public.orders", source=60_000, read=60_000, written=59_986, rejected=14,
        target=59_986, ok=True, altered={"nul.strip": 132},
    )  # fmt: skip
    columns = [
        ReportedColumn(field="_id", column="_id", type="text", nullable=False),
        ReportedColumn(field="a|b<i>", column="a_b_i", type="jsonb", policies={"nul": "strip"}),
    ]
    return RunReport(
        run=info, made_unix=STARTED + 600, made_by="ann@db1", made_with="0.1.0", started_by="ops@jump",
        program="0.1.0", source_version="7.0.12", target_version="16.4", options={"nul": "reject", "overflow": "overflow"},
        plan=TOML, plan_sha256=hashlib.sha256(TOML.encode()).hexdigest(), rejects=rejects_report("").groups,
        tables=[
            ReportedTable(
                namespace="shop.orders", table="public.orders", filter='{"live": true}', columns=columns,
                excluded=["secret.ssn"], counts=counts,
            )
        ],
        cut_over=CutOverFacts(
            unix=STARTED + 200, write_stop_s=2.31, sequences=["orders_id_seq = 70"]
        ),
        retried=[RetriedOnce(tried=132, written=132, left=0, policies={"nul": "strip"}, unix=STARTED + 300)],
        knobs={"cluster_size": [4, 6], "throttle": [6_000, 3_000, 0]},
        samples=[(float(second), 900.0 + 10 * (second % 7)) for second in range(60)],
    )  # fmt: skip


def verify_report(run_id: str, level: str) -> VerifyReport:
    """One table that agrees, and one of which two documents differ."""
    tables = [
        TableCounts(
            namespace="shop.customers", table="public.customers", source=812_004, read=812_004, written=812_004,
            rejected=0, target=812_004, ok=True, equal=812_004, level=level,
        ),
        TableCounts(
            namespace="shop.orders", table="public.orders", source=4_210_334, read=4_210_334, written=4_210_320,
            rejected=14, target=4_210_319, ok=False, message="the table gained 4,210,319 rows, 4,210,320 were written",
            equal=4_210_318, different=1, missing=1, kept=14, level=level,
        ),
    ]  # fmt: skip
    differences = [
        DifferenceView(
            namespace="shop.orders", table="public.orders", kind="different", id='"64f1a9"', field="email",
            column="email", source="A@x.io", target="=a@x.io",
        ),
        DifferenceView(namespace="shop.orders", table="public.orders", kind="missing", id='"64f1aa"'),
    ]  # fmt: skip
    return VerifyReport(
        run_id=run_id or RUNS[0].run_id, level=level, verification_level=level, result=Verification.MISMATCH, tables=tables,
        differences=differences if level == "full" else [], unix=STARTED + 600,
    )  # fmt: skip
