"""`rejects`: list the documents that could not be written, or have them written again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import typer

from engine.config import Loaded
from engine.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from engine.protocol import (
    ListRejected,
    ListRejects,
    RejectChoice,
    RejectedDocument,
    RejectedPage,
    RejectsReport,
    RetryRejects,
    RetryReport,
)
from engine.service.client import EngineClient
from tui.cli.one_question import ask, talk
from tui.cli.options import Given, JsonOption, PlanOption, RunArgument, require, takes
from tui.cli.output import say, say_json
from tui.cli.plan_files import read_plan
from tui.words.format import counted
from tui.words.rejects import group_words, reject_groups, retry_text, short_id
from tui.words.safe import safe


@takes("target")
def rejects(
    given: Given,
    run: RunArgument = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Write them again under the current policies, into the table as it is; 4: some are left."
        ),
    ] = False,
    file: PlanOption = None,
    documents: Annotated[bool, typer.Option("--documents", help="Also print each document, as Extended JSON.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Documents that could not be written as mapped, by reason, each with its _id; without RUN, of the newest run."""
    if documents and retry:
        raise UsageError("--documents lists documents: leave --retry out.")
    if file is not None and not retry:
        raise UsageError("--plan says how rejects are to be written: give --retry with it.")
    loaded = given.load()
    if retry:
        return retry_rejects(loaded, run or "", plan=read_plan(file) if file else "", as_json=as_json)
    return show_rejects(loaded, run or "", documents=documents, as_json=as_json)


def show_rejects(loaded: Loaded, run_id: str, *, documents: bool, as_json: bool) -> int:
    """Print rejected documents by reason, then every one of them; with `as_json` the summary is the last line."""
    require(loaded, "target")
    talk(loaded.settings, partial(_list, run_id=run_id, documents=documents, as_json=as_json))
    return EXIT_DONE


async def _list(client: EngineClient, *, run_id: str, documents: bool, as_json: bool) -> None:
    report = await client.ask(RejectsReport, ListRejects(run=run_id))
    if as_json:
        async for each in _each(client, ListRejected(run=report.run_id, limit=1_000, documents=documents)):
            say_json(_record(report.run_id, each))
        say_json(report.model_dump(mode="json"))
        return
    say(_rejects_text(report))
    for group in report.groups:
        only = RejectChoice(namespace=group.namespace, reason=group.reason, field=group.field, sqlstate=group.sqlstate)
        say(f"\n{group_words(group)}")
        async for each in _each(client, ListRejected(run=report.run_id, only=only, limit=1_000, documents=documents)):
            say(f"  {short_id(each.id) or 'no _id'}")
            if each.document is not None:
                say(f"    {each.document}")


async def _each(client: EngineClient, command: ListRejected) -> AsyncIterator[RejectedDocument]:
    """The documents, a page at a time: there may be more than fit into memory."""
    while True:
        page = await client.ask(RejectedPage, command)
        for document in page.documents:
            yield document
        if not page.following:
            return
        command = command.model_copy(update={"after": page.following})


def _record(run_id: str, document: RejectedDocument) -> dict[str, Any]:
    """A line of `rejects --json`: the document as an object, where it was asked for."""
    record = {"event": "reject", "run_id": run_id} | document.model_dump(mode="json")
    if document.document is None:
        del record["document"]
    elif not document.is_cut:
        with suppress(ValueError, RecursionError):
            record["document"] = json.loads(document.document)
    return record


def retry_rejects(loaded: Loaded, run_id: str, *, plan: str, as_json: bool) -> int:
    """Have them written again, and print what became of them; exit code 4 when some are left.

    Args:
        plan: a saved plan's TOML, or nothing.
    """
    require(loaded, "target")
    answer = ask(loaded.settings, RetryRejects(run=run_id, plan=plan))
    report = RetryReport.model_validate(answer)
    if as_json:
        say_json(answer)
    else:
        say(retry_text(report))
    return EXIT_INCOMPLETE if report.left else EXIT_DONE


def _rejects_text(report: RejectsReport) -> str:
    if not report.total:
        return f"run {safe(report.run_id)}: no rejected documents"
    verdict = f"run {safe(report.run_id)}: {counted(report.total, 'rejected document')}, kept in mongopg.reject"
    return "\n".join([verdict, reject_groups(report.groups)])
