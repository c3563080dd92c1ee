"""What the census saw, in words."""

from __future__ import annotations

import pytest

from engine.protocol import TableView, ValuesView
from tui.words.census import census_words, values_words


def table(**facts: object) -> TableView:
    """A table with these facts of the census."""
    return TableView.model_validate(
        {"namespace": "shop.a", "table": "public.a", "documents": 9, "size_bytes": 9, "columns": []} | facts
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, ""),
        (ValuesView(present=1), ""),
        (ValuesView(present=1, low=-3, high=2**62), "-3 to 4611686018427387904"),
        (ValuesView(present=1, low=0.25, high=7), "0.25 to 7"),
        (ValuesView(present=2, low="-1.50", high=7), "-1.50 to 7"),
        (ValuesView(present=1, longest=1200), "max 1,200 chars"),
        (ValuesView(present=1, depth=1, elements={"string": 99, "int32": 1}), "array of strings/int32s"),
        (ValuesView(present=1, depth=3), "3 levels"),
        (
            ValuesView(present=9, nulls=1, nul=2, bad_utf8=3, bad_dates=4000),
            "2 with NUL, 3 not UTF-8, 4,000 dates out of range, 1 null",
        ),
    ],
)
def test_values(values: ValuesView | None, words: str) -> None:
    assert values_words(values) == words


def test_a_census() -> None:
    assert census_words(table(sampled=1200)) == "1,200 documents sampled"
    facts = {"census": "full", "sampled": 9, "largest": 2048, "depth": 2, "corrupt": 1}
    assert census_words(table(**facts)) == (
        "full census: all 9 documents counted, the largest has 2.0 KiB in 2 levels, 1 corrupt"
    )
