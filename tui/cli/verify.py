"""`verify`: compare both sides of a run, and print what differs."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

import typer

from engine.config import Loaded
from engine.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from engine.knobs import THROTTLE
from engine.protocol import (
    ComparingView,
    DifferenceView,
    LessStrictView,
    ProblemReported,
    Snapshot,
    TableCounts,
    Verification,
    Verify,
    VerifyReport,
)
from engine.redaction import may_be_repeated
from engine.service.client import EngineClient
from tui.cli.json_lines import progress_record
from tui.cli.one_question import ask
from tui.cli.options import Given, JsonOption, RunArgument, require, takes
from tui.cli.output import note, say, say_json
from tui.words.events import words
from tui.words.format import counted, duration, number, percent, rate, share
from tui.words.knobs import value_text
from tui.words.replaced import replaced_words
from tui.words.run_status import result_word, verification_words
from tui.words.safe import safe
from tui.words.sentences import altered_words
from tui.words.tables import text_table

JSON_EVERY_S = 0.5
LINE_EVERY_S = 3.0
NULL = "NULL"


@takes("source", "target", "cluster_size", "dask")
def verify(
    given: Given,
    run: RunArgument = None,
    level: Annotated[
        str,
        typer.Option(
            "--level", metavar="LEVEL", help="How deep: counts, or full to read both sides again and compare."
        ),
    ] = "counts",
    redact: Annotated[bool, typer.Option("--redact", help="Name what differs without its values.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Compare both sides of a run; without RUN, of the newest. Exit code 4 when they differ, or documents are rejected."""
    if level not in ("counts", "full"):
        shown = f", not {level!r}" if may_be_repeated(level) else ""
        raise UsageError(f"--level must be counts or full{shown}.")
    command = Verify(run=run or "", level="full" if level == "full" else "counts", redact=redact)
    return show_verification(given.load(), command, as_json=as_json)


def show_verification(loaded: Loaded, command: Verify, *, as_json: bool) -> int:
    """Compare both sides and print what differs.

    Exit code 4 when something does, documents were left as rejects, or a table has the rows of a later run.
    """
    require(loaded, "source", "target")
    answer = ask(loaded.settings, command, partial(_follow, as_json=as_json))
    report = VerifyReport.model_validate(answer)
    if as_json:
        say_json(answer)
        for problem in _problems(report.tables):
            note(problem)
    else:
        say(verification_text(report))
    is_whole = (
        report.result is Verification.VERIFIED
        and report.replaced_since is None  # what was compared are not the run's rows
        and not any(table.rejected for table in report.tables)
    )
    return EXIT_DONE if is_whole else EXIT_INCOMPLETE


async def _follow(client: EngineClient, *, as_json: bool) -> None:
    every = JSON_EVERY_S if as_json else LINE_EVERY_S
    last = time.monotonic() - (every if as_json else 0)
    async for message in client.messages():
        if isinstance(message, ProblemReported):
            note(words(message) or "")
        if not isinstance(message, Snapshot) or message.comparing is None or time.monotonic() - last < every:
            continue
        last = time.monotonic()
        if as_json:
            say_json(_record(message, message.comparing))
        else:
            note(_sentence(message, message.comparing))


def _record(snapshot: Snapshot, comparing: ComparingView) -> dict[str, Any]:
    """A progress line of `verify --level full --json`."""
    return progress_record(snapshot) | {
        "run_id": comparing.run_id,
        "state": "verifying",
        "verification": snapshot.verification.value,
        "checked": comparing.checked,
        "total": comparing.total,
        "different": comparing.different,
        "missing": comparing.missing,
        "rows_per_s": round(comparing.rows_per_s, 1),
        "eta_s": comparing.eta_s,
    }


def _sentence(snapshot: Snapshot, comparing: ComparingView) -> str:
    words = [
        safe(snapshot.phase),
        percent(share(comparing.checked, comparing.total)),
        f"{number(comparing.checked)} / {number(comparing.total)}",
        rate(comparing.rows_per_s),
        f"workers {snapshot.workers_alive}",
    ]
    if snapshot.throttle:
        words.append(f"throttle {value_text(THROTTLE, snapshot.throttle)} rows/s")
    if comparing.eta_s is not None:
        words.append(f"ETA {duration(comparing.eta_s)}")
    for what, count in (("different", comparing.different), ("missing", comparing.missing)):
        if count:
            words.append(f"{what} {number(count)}")
    return "  ".join(words)


# --- the report -------------------------------------------------------------------------------------------------------


def verification_text(report: VerifyReport) -> str:
    """The report as text, harmless."""
    rejected = sum(table.rejected for table in report.tables)
    replaced = report.replaced_since
    words = verification_words(report.result.value, report.verification_level, rejected, replaced=replaced)
    lines = [f"run {safe(report.run_id)}: {words}{_how(report)}", _counts(report.tables)]
    if any(table.level == "full" for table in report.tables):
        lines += ["", _comparison(report.tables)]
    lines += [f"! {sentence}" for sentence in [replaced_words(replaced)] if sentence]
    lines += [f"! {problem}" for problem in _problems(report.tables)]
    lines += [
        f"{safe(table.table)}: altered by policy when they were written: {altered_words(table.altered)}"
        for table in report.tables
        if table.altered
    ]
    if report.differences:
        lines += ["", _differences(report)]
    if report.less_strict:
        lines += ["", _less_strict(report.less_strict)]
    return "\n".join(lines)


def _how(report: VerifyReport) -> str:
    """How much of it was compared, where that is not all or nothing."""
    if report.level != "full":
        return ""
    full = sum(table.level == "full" for table in report.tables)
    return f" ({number(full)} of {counted(len(report.tables), 'table')} compared in full)"


def _problems(tables: list[TableCounts]) -> list[str]:
    return [f"{safe(table.namespace)}: {safe(table.message)}." for table in tables if table.message]


def _less_strict(found: list[LessStrictView]) -> str:
    """Where numbers were not compared by all their digits."""
    rows = [[each.table, each.field, number(each.count), each.reason] for each in found]
    heading = "Compared less strictly, by value:"
    return "\n".join([heading, text_table(["table", "field", "values", "why"], rows, right={2})])


def _counts(tables: list[TableCounts]) -> str:
    rows = [
        [
            table.namespace, table.table, number(table.source), number(table.read), number(table.written),
            number(table.rejected), number(table.target), result_word(table),
        ]
        for table in tables
    ]  # fmt: skip
    headings = ["collection", "table", "source", "read", "written", "rejected", "target", ""]
    return text_table(headings, rows, right={2, 3, 4, 5, 6})


def _comparison(tables: list[TableCounts]) -> str:
    rows = [
        [
            table.table, number(table.equal), number(table.different), number(table.missing), number(table.extra),
            number(table.kept),
            f"{number(table.slices - table.slices_changed - table.slices_unknown)} of {number(table.slices)}",
        ]
        for table in tables
        if table.level == "full"
    ]  # fmt: skip
    headings = ["table", "equal", "different", "missing", "extra", "rejected", "slices with unchanged source"]
    return text_table(headings, rows, right={1, 2, 3, 4, 5, 6})


def _differences(report: VerifyReport) -> str:
    total = sum(table.different + table.missing + table.extra for table in report.tables)
    rows = [
        [
            each.table, each.kind, each.id, each.field, *_values(each, is_redacted=report.redacted), each.reason,
            "source changed since" if each.source_changed else "",
        ]
        for each in report.differences
    ]  # fmt: skip
    named = len({(each.table, each.kind, each.id) for each in report.differences})
    headings = ["table", "what", "_id", "field", "source", "target", "reason", ""]
    heading = counted(total, "difference") + (f", the first {number(named)}:" if named < total else ":")
    return "\n".join([heading, text_table(headings, rows)])


def _values(difference: DifferenceView, *, is_redacted: bool) -> tuple[str, str]:
    """Both values of a field; nothing where it is not about one."""
    if not difference.column:
        return "", ""
    if is_redacted:
        return "(hidden)", "(hidden)"
    source, target = (NULL if value is None else value for value in (difference.source, difference.target))
    return source, target
