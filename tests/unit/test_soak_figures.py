"""What a soak says of its measurements: a limit is missed when it usually is, not when the machine was busy once."""

from __future__ import annotations

import json

import pytest

from tests.soak.figures import COMMITS_WITHIN_S, ENOUGH, REPLACED_WITHIN_S, Figures


@pytest.mark.parametrize(
    ("measured", "is_missed"),
    [
        ([REPLACED_WITHIN_S] * 10, False),
        ([0.1] * 6 + [60.0] * 5, False),
        ([0.1] * 5 + [1.1] * 6, True),
        ([60.0] * ENOUGH, False),
        ([], False),
    ],
    ids=["at the limit", "some took long", "most took longer", "too few to tell", "none"],
)
def test_a_limit_is_missed_by_the_median(measured: list[float], is_missed: bool) -> None:
    figures = Figures(seed=1, documents=1, replaced_s=measured)

    assert (figures.missed == ["worker replaced"]) is is_missed
    assert ("MISSED" in figures.as_table()) is is_missed
    assert json.loads(json.dumps(figures.as_json()))["missed"] == figures.missed


def test_each_server_has_its_limit() -> None:
    figures = Figures(seed=1, documents=1)
    for _ in range(10):
        figures.recovered("MongoDB", COMMITS_WITHIN_S + 0.1)
        figures.recovered("PostgreSQL", 0.2)

    assert figures.missed == ["commits after MongoDB"]
    assert "100% of 10 within 5 s" in figures.as_table()
