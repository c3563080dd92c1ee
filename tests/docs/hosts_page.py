"""What a document costs on its way, and how many hosts help: the tables of `docs/cluster.md`."""

from __future__ import annotations

from tests.docs.markdown import table
from tests.tuning.hosts import Found, figures, simulate

HOSTS = (1, 2, 4, 8, 16, 32, 64)
CASES = ((1, 1, 1), (10, 1, 1), (10, 1, 10), (10, 8, 10))
"""Gbit/s of each server's line, tables, and how many times as long as measured a table lets only one session go on."""


def costs_section() -> str:
    """What was measured."""
    _, documents = figures()
    headings = ["microseconds a document", "MongoDB", "worker", "PostgreSQL", "of it the table, WAL", "one worker"]
    rows = [
        [
            each.name, f"{each.mongod_us:.1f}", f"{each.worker_us:.1f}", f"{each.postgres_us:.1f}",
            f"{each.extend_us:.2f}, {each.wal_us:.2f}", each.bottleneck,
        ]
        for each in documents
    ]  # fmt: skip
    return table(headings, rows)


def hosts_section() -> str:
    """What was simulated."""
    machines, documents = figures()
    parts = []
    for document in documents:
        headings = [f"{document.name}: hosts", *(_case_words(*case) for case in CASES)]
        rows = [
            [str(hosts), *(_words(simulate(document, machines, hosts, *case)) for case in CASES)] for hosts in HOSTS
        ]
        parts.append(table(headings, rows))
    return "\n\n".join(parts)


def _case_words(gbit: int, tables: int, tightness: int) -> str:
    words = f"{gbit} Gbit/s, {tables} {'table' if tables == 1 else 'tables'}"
    return words if tightness == 1 else f"{words}, x {tightness}"


def _words(found: Found) -> str:
    rate = f"{round(found.rows_per_s, -4):,.0f}"  # the third digit is chance
    return f"{rate}: {found.limit}" if found.limit else rate
