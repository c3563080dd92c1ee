"""The simulated copy over several hosts: what it waits for, and that it can do no more than its stations can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tuning.hosts import Document, Machines, figures, simulate

MACHINES = Machines(server_cores=16, host_cores=8, host_workers=8)
PLAIN = Document("d", 400, 400, 1.0, 20.0, 2.0, 0.0, 0.0, "")
"""Converting costs most."""


def test_as_long_as_workers_are_what_it_waits_for_twice_the_hosts_are_twice_as_fast() -> None:
    two, four = (simulate(PLAIN, MACHINES, hosts, 10, 1) for hosts in (2, 4))
    assert four.rows_per_s == pytest.approx(2 * two.rows_per_s, rel=0.1)


@pytest.mark.parametrize(
    ("document", "gbit", "tables", "limit", "most"),
    [
        (PLAIN, 1, 1, "MongoDB's network", 1e9 / 8 / 400),
        (replace(PLAIN, sent_bytes=4_000), 10, 1, "PostgreSQL's network", 10e9 / 8 / 4_000),
        (replace(PLAIN, postgres_us=8.0), 10, 1, "PostgreSQL", 16 / 8e-6),
        (replace(PLAIN, mongod_us=8.0), 10, 1, "MongoDB", 16 / 8e-6),
        (replace(PLAIN, postgres_us=4.0, extend_us=1.0), 10, 1, "one table", 1 / 1e-6),
        (replace(PLAIN, postgres_us=4.0, extend_us=1.0), 10, 2, "one table", 2 / 1e-6),
        (replace(PLAIN, postgres_us=4.0, wal_us=1.0), 10, 8, "WAL", 1 / 1e-6),
    ],
)
def test_with_many_hosts_it_waits_for_one_station(
    document: Document, gbit: int, tables: int, limit: str, most: float
) -> None:
    found = simulate(document, MACHINES, 64, gbit, tables)
    assert found.limit == limit
    assert found.rows_per_s == pytest.approx(most, rel=0.1)


def test_a_table_that_is_ten_times_as_tight_is_full_ten_times_as_soon() -> None:
    document = replace(PLAIN, postgres_us=4.0, extend_us=0.1)
    found = simulate(document, MACHINES, 64, 10, 1, tightness=10)
    assert found.limit == "one table"
    assert found.rows_per_s == pytest.approx(1e6, rel=0.1)


def test_the_figures_can_be_read() -> None:
    _, documents = figures()
    assert {each.name for each in documents} >= {"users, native converter"}
