"""How many rows are sent at once where a table has refused some."""

from __future__ import annotations

from engine.postgres.rows import MEMORY_ROWS, Caution


def test_pages_go_whole_until_a_row_is_refused() -> None:
    caution = Caution()
    caution.note(8_000, 0)
    assert caution.run_rows() == 0
    caution.note(8_000, 1)
    assert 0 < caution.run_rows() < 8_000


def test_the_more_bad_rows_the_fewer_go_at_once() -> None:
    found = []
    for bad_every in (1, 10, 100, 1_000):
        caution = Caution()
        for _ in range(20):
            caution.note(8_000, 8_000 // bad_every)
        found.append(caution.run_rows())
    assert found == sorted(found)
    assert 10 <= found[0] <= 20 < 400 <= found[-1] <= 600


def test_what_was_refused_long_ago_is_forgotten() -> None:
    caution = Caution()
    caution.note(8_000, 3)
    for _ in range(3 * MEMORY_ROWS // 8_000):
        caution.note(8_000, 0)
    assert caution.run_rows() == 0
