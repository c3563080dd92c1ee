"""`plan`: ask an engine for it, print it as text, SQL or JSON, and save it for editing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from engine.config import Loaded
from engine.errors import EXIT_CONNECT, EXIT_DONE, UsageError
from engine.protocol import CheckStatus, MakePlan, PlanView, PreflightReport, Snapshot, TableView
from engine.service.client import EngineClient
from tui.cli.one_question import ask
from tui.cli.options import Given, JsonOption, PlanOption, require, takes
from tui.cli.output import note, say, say_json
from tui.cli.plan_files import check_plan_decides, read_plan, save_plan
from tui.words.census import census_words, counting_words, documents_words, kinds_words, order_words, values_words
from tui.words.format import about_copy, bytes_size, part, rate
from tui.words.preflight import lines, summary
from tui.words.safe import safe, safe_block
from tui.words.tables import text_table

ROWS_SHOWN = 3
"""Rows of a preview in text; JSON has all of them."""
LINE_EVERY_S = 3.0
"""How often a full census is told of."""
VALUE_SHOWN = 32
"""Characters of one of their values."""


@takes("source", "target", "collection", "exclude", "mode", "indexes", "census", "dask")
def plan(
    given: Given,
    file: PlanOption = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the plan to be edited, for --plan.")
    ] = None,
    as_json: JsonOption = False,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the SQL that would create the tables.")] = False,
) -> int:
    """Look before writing: census, mapping, preview, DDL, warnings, and what the target has. Nothing is written.

    Without a target, it is not checked. Ends with 3 when there is one that cannot be reached, after the plan.
    """
    if ddl and as_json:
        raise UsageError("Give --ddl or --json, not both.")
    check_plan_decides(file, given)
    return show_plan(given.load(), as_json=as_json, ddl=ddl, file=file, save=save)


def show_plan(loaded: Loaded, *, as_json: bool, ddl: bool, file: Path | None, save: Path | None) -> int:
    """Print what would go where.

    Args:
        file: a saved plan to show.
        save: where to save the plan for editing.
    """
    require(loaded, "source")
    if save is not None and save.exists():
        raise UsageError(f"{save} exists already, and edits may be in it: save the plan under another name.")
    question = MakePlan(collections=loaded.settings.run.collections, plan=read_plan(file) if file else "")
    answer = ask(loaded.settings, question, _follow)
    plan = PlanView.model_validate(answer)
    if save is not None:
        save_plan(save, plan.toml)
    if as_json:
        say_json(
            {name: value for name, value in answer.items() if name in PlanView.model_fields}
        )  # `toml` says the rest
    elif ddl:
        statements = "\n".join(table.ddl for table in plan.tables)
        # A pipe gets the exact statements; on a terminal, a field's name could be an escape sequence.
        say(safe_block(statements, len(statements)) if sys.stdout.isatty() else statements)
    elif save is None:
        say(plan_text(plan))
    if as_json or ddl or save is not None:
        for warning in plan.warnings:
            note(f"! {warning}")
    if save is not None:
        note(f"The plan is in {save}: edit it, see it with `mongopg-tui plan --plan {save}`, run it with run --plan.")
    found = plan.preflight
    if found is not None and found.status != "ok" and (as_json or ddl or save is not None):
        note(f"preflight: {summary(found)}")
    return EXIT_CONNECT if found is not None and found.target == "unreachable" else EXIT_DONE


async def _follow(client: EngineClient) -> None:
    last = time.monotonic()
    async for message in client.messages():
        if isinstance(message, Snapshot) and message.counting is not None and time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            note(counting_words(message.counting))


def plan_text(plan: PlanView) -> str:
    """The whole plan as text: every text in it is harmless."""
    blocks = [f"plan {safe(plan.fingerprint)}, mode {safe(plan.mode)}"]
    blocks += [_table_text(table) for table in plan.tables]
    if plan.warnings:
        blocks.append("\n".join(f"! {safe(warning)}" for warning in plan.warnings))
    if plan.preflight is not None:
        blocks.append(preflight_text(plan.preflight))
    return "\n\n".join(blocks)


def preflight_text(report: PreflightReport) -> str:
    """What a run would meet at both ends, a line for each thing."""
    found = lines(report, "command line")
    return "\n".join(
        [f"preflight: {summary(report)}", *(f"  {_SIGNS[line.status]} {line.what}: {line.text}" for line in found)]
    )


_SIGNS: dict[CheckStatus, str] = {"ok": "ok     ", "warning": "warning", "stop": "STOP   "}


def _table_text(table: TableView) -> str:
    key = f", primary key {safe(table.primary_key)}" if table.primary_key else ""
    only = f", filter {safe(table.filter)}" if table.filter else ""
    lines = [
        f"{safe(table.namespace)} → {safe(table.table)}: {documents_words(table)}{only}, "
        f"{bytes_size(table.size_bytes)}{key}",
        census_words(table),
        *filter(None, [order_words(table)]),
        _columns_text(table),
    ]
    if table.ignored:
        lines.append(f"excluded: {', '.join(map(safe, table.ignored))}")
    if table.preview:
        lines += ["", _preview_text(table)]
    if table.indexes:
        lines += ["", *(f"index {safe(index.name)}: {safe(index.sql)}" for index in table.indexes)]
    if table.estimate is not None:
        lines += ["", _estimate_text(table)]
    return "\n".join(lines)


def _columns_text(table: TableView) -> str:
    rows = [
        [
            column.field,
            part(column.seen_percent),
            ", ".join(kinds_words(column)),
            column.column,
            column.type,
            values_words(column.values),
            column.note,
        ]
        for column in table.columns
    ]
    return text_table(["field", "seen", "BSON types", "column", "type", "values", "note"], rows, right={1})


def _preview_text(table: TableView) -> str:
    """The first rows, a line for each column; below them the documents that would have no row."""
    shown = [row for row in table.preview if not row.reject][:ROWS_SHOWN]
    lines = []
    if shown:
        cells = [
            [
                column.column,
                *("NULL" if (value := row.values[place]) is None else safe(value, VALUE_SHOWN) for row in shown),
            ]
            for place, column in enumerate(table.columns)
        ]
        lines.append(text_table(["Preview", *(f"row {n}" for n in range(1, len(shown) + 1))], cells))
    lines += [f"rejected: _id {safe(row.id, VALUE_SHOWN)}: {safe(row.reject)}" for row in table.preview if row.reject]
    return "\n".join(lines)


def _estimate_text(table: TableView) -> str:
    found = table.estimate
    assert found is not None
    return (
        f"estimate: {bytes_size(found.table_bytes)} and {bytes_size(found.index_bytes)} of keys and indexes, "
        f"{about_copy(found.seconds)} at {rate(found.rows_per_s)}\n{safe(found.basis)}"
    )
