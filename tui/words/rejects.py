"""Rejected documents by collection, field and reason, and what became of them when they were written again."""

from __future__ import annotations

from engine.protocol import RejectGroup, RetryReport
from tui.words.format import number
from tui.words.safe import safe
from tui.words.sentences import altered_words
from tui.words.tables import text_table


def retry_text(report: RetryReport) -> str:
    """What became of rejected documents that were written again, harmless."""
    if not report.tried:
        return f"run {safe(report.run_id)}: no rejected documents"
    there = f", {number(report.already_there)} were there already" if report.already_there else ""
    verdict = (
        f"run {safe(report.run_id)}: {number(report.tried)} rejected documents tried again, "
        f"{number(report.written)} written{there}, {number(report.left)} left"
    )
    altered = [f"Altered by policy: {altered_words(report.altered)}"] if report.altered else []
    return "\n".join([verdict, *altered, *([reject_groups(report.groups)] if report.groups else [])])


def reject_groups(groups: list[RejectGroup]) -> str:
    """A table of them, harmless."""
    rows = [
        [group.namespace, group.field, group.reason, group.sqlstate, number(group.count), " ".join(group.samples)]
        for group in groups
    ]
    headings = ["collection", "field", "reason", "sqlstate", "documents", "such as _id"]
    return text_table(headings, rows, right={4})
