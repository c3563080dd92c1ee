"""Rejected documents by collection, field and reason, and what became of them when they were written again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from engine.protocol import RejectedDocument, RejectGroup, RetryReport
from tui.words.format import counted, number
from tui.words.safe import safe
from tui.words.sentences import altered_words
from tui.words.tables import text_table


def retry_text(report: RetryReport) -> str:
    """What became of rejected documents that were written again, harmless."""
    if not report.tried:
        return f"run {safe(report.run_id)}: no rejected documents"
    there = f", {number(report.already_there)} already in the table" if report.already_there else ""
    verdict = (
        f"run {safe(report.run_id)}: retried {number(report.tried)}: {number(report.written)} written{there}, "
        f"{number(report.left)} still rejected"
    )
    altered = [f"Altered by policy: {altered_words(report.altered)}"] if report.altered else []
    return "\n".join([verdict, *altered, *([reject_groups(report.groups)] if report.groups else [])])


def reject_groups(groups: list[RejectGroup]) -> str:
    """A table of them, harmless."""
    rows = [
        [group.namespace, group.field, group.reason, group.sqlstate, number(group.count), group.detail]
        for group in groups
    ]
    headings = ["collection", "field", "reason", "sqlstate", "documents", "such as"]
    return text_table(headings, rows, right={4})


def group_words(group: RejectGroup) -> str:
    """`shop.legacy, field comment: nul, 80 documents (a NUL character, ...)`, harmless."""
    field = f", field {safe(group.field)}" if group.field else ""
    meaning = reason_words(group.reason)[0] or safe(group.detail)
    count = counted(group.count, "document")
    return f"{safe(group.namespace)}{field}: {safe(group.reason)}, {count}{f' ({meaning})' if meaning else ''}"


def reason_words(reason: str, mode: str = "") -> tuple[str, str]:
    """What a reason means, and what helps where no policy does; of those that PostgreSQL gives, the second only.

    Args:
        mode: of the run.
    """
    meaning, advice = _REASONS.get(reason, ("", "Change the table, the plan or the source, then retry."))
    return meaning, _IN_MODE.get((reason, mode), advice)


def meaning_words(document: RejectedDocument) -> str:
    """What the reason means, harmless; of a value that does not fit its column with its type."""
    return safe(document.detail, 1_000) if _is_misfit(document) else reason_words(document.reason)[0]


def detail_words(document: RejectedDocument) -> str:
    """What is known of the document beyond its reason, harmless; empty where that says the same in more words."""
    says_it = reason_words(document.reason)[0] and document.detail in _SAID
    return "" if says_it or _is_misfit(document) else safe(document.detail, 1_000)


def _is_misfit(document: RejectedDocument) -> bool:
    return document.reason == "overflow" and document.detail.endswith(_MISFIT)


_MISFIT = " does not fit the column"
"""The end of what is known of a value that does not fit its column: `string does not fit the column`."""
_SAID = frozenset(
    [
        "a NUL character",
        "not UTF-8",
        "a date outside PostgreSQL's range",
        "longer than an index entry can be",
        "no value for a column that is NOT NULL",
        "more characters than the column holds",
        "not BSON",
        "the table has another row of this key",
    ]
)
"""Details that say nothing beyond their reasons."""
_REASONS = {
    "nul": ("a NUL character, which PostgreSQL's text cannot hold", ""),
    "utf8": ("text that is not UTF-8", ""),
    "date_range": ("a date that PostgreSQL cannot hold", ""),
    "overflow": ("a value that does not fit its column", ""),
    "corrupt": (
        "the document breaks the rules of BSON",
        "Repair the document in the source; the original is kept here.",
    ),
    "id_kind": (
        "an _id of a type that the plan did not see",
        "Make a plan that has it; `rejects --retry --plan` takes it.",
    ),
    "not_null": ("no value for a column that is NOT NULL", "Drop NOT NULL from the column, then retry."),
    "too_long": ("a text longer than its column", "Widen the column, then retry."),
    "id_too_long": ("a key longer than PostgreSQL can index", "Choose another key; the original is kept here."),
    "key_taken": ("the table has another row of this key", "Remove that row or the document, then retry."),
}
_IN_MODE = {
    ("key_taken", "upsert"): "Give one of the two documents another _id; the row is another document's.",
}
"""What helps in one mode."""
_CHOICES = {
    ("nul", "strip"): "drop the NUL characters",
    ("nul", "replace"): "put U+FFFD in their place",
    ("utf8", "replace"): "put U+FFFD in the place of bad bytes",
    ("date_range", "null"): "write NULL",
    ("date_range", "clamp"): "write PostgreSQL's first or last date",
    ("date_range", "infinity"): "write -infinity or infinity",
    ("overflow", "overflow"): "write the value to _extra, NULL to its own column",
}


def policy_value(value: str) -> str:
    """A policy's value as people read it: where values go is called by its name, the column's."""
    return "_extra" if value == "overflow" else safe(value, 20)


def choice_words(policy: str, choice: str) -> str:
    """What a choice of a policy does: `drop the NUL characters`."""
    return "reject the document" if choice == "reject" else _CHOICES.get((policy, choice), "")


def can_change(group: RejectGroup, chosen: str = "") -> bool:
    """A retry under the chosen policy, or the one in force, may write these documents.

    Of reasons without a policy that cannot be told: the table may have been changed since.
    """
    return not group.policy or (chosen or group.in_force) != "reject"


def policy_words(group: RejectGroup, chosen: str = "") -> str:
    """The policy in force, and the one that was chosen: `policy nul: reject → strip (drop the NUL characters)`."""
    if not group.policy:
        return "no policy takes them; the table or the source may have been changed"
    words = f"policy {safe(group.policy, 20)}: {policy_value(group.in_force)}"
    if chosen:
        return f"{words} → {policy_value(chosen)} ({choice_words(group.policy, chosen)})"
    return words


def takers_words(group: RejectGroup) -> str:
    """Which choices would take documents that the policy in force rejects; empty where it takes them, or none would."""
    return (
        f"{' or '.join(map(policy_value, group.takes))} would take them"
        if group.in_force == "reject" and group.takes
        else ""
    )


def short_id(extended: str) -> str:
    """An `_id` without the type wrapper where it tells nothing: `0` for `{"$numberInt": "0"}`; harmless."""
    try:
        value = json.loads(extended)
    except ValueError:
        return safe(extended, 1_000)
    if isinstance(value, dict) and len(value) == 1:
        [(name, inner)] = value.items()
        if name in ("$numberInt", "$numberLong", "$numberDouble", "$oid") and isinstance(inner, str):
            return safe(inner, 1_000)
    return safe(extended, 1_000)


def document_lines(document: RejectedDocument) -> Iterator[tuple[str, bool]]:
    """The document line by line, harmless, and whether a line has the field at fault."""
    text = document.document or ""
    if not document.is_cut:
        with suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    name = document.field.rpartition(".")[2]
    wanted = f"{json.dumps(name, ensure_ascii=False)}:"
    for line in text.split("\n"):
        yield safe(line, 2_000), bool(name) and line.lstrip().startswith(wanted)
