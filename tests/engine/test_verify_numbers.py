"""Full verification and numbers: what a converter gets wrong twice is found, what PostgreSQL cannot hold is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64

from engine.protocol import Verification
from tests.engine.verification_tools import only, verified
from tests.faults.planting import constants
from tests.running import Engines
from tui.cli.verify import verification_text
from tui.reports.data import csv_text
from tui.reports.markdown import markdown

if TYPE_CHECKING:
    from tests.conftest import Source, Target

SHORTEST_DIGITS = {"engine.convert.scalars:FIRST_HUGE": float("inf")}
"""The plain converter writes doubles beyond 2**53 by their shortest digits, as it did once."""
TENTHS = {"engine.mapping.decimal128:EXPONENT_BIAS": 6177}
"""It takes each Decimal128 for a tenth of it."""


@pytest.mark.parametrize(
    ("planted", "options", "fields"),
    [
        pytest.param(SHORTEST_DIGITS, {}, {"huge", "nested.a.[].b"}, marks=pytest.mark.slow),
        (SHORTEST_DIGITS, {"layout": "document"}, {"huge", "nested.a.[].b", "late"}),
        (TENTHS, {"documents": "json"}, {"exact", "nested.exact"}),
    ],
    ids=["shortest digits", "shortest digits in whole documents", "tenths"],
)
async def test_a_number_that_the_converter_gets_wrong_is_found(
    source: Source,
    engines: Engines,
    monkeypatch: pytest.MonkeyPatch,
    planted: dict[str, float],
    options: dict[str, Any],
    fields: set[str],
) -> None:
    for name, value in constants(planted).items():
        monkeypatch.setenv(name, value)
    source.db.things.insert_many([{"_id": number, "huge": Int64(2**60), "exact": 1} for number in range(200)])
    source.db.things.insert_many(
        [
            {"_id": 1_000, "huge": 2.0**60, "nested": {"a": [{"b": -(2.0**70)}]}},
            {"_id": 1_001, "exact": Decimal128("1.5"), "nested": {"exact": Decimal128("2.50")}},
            {"_id": 1_002, "late": 1e23},
            {"_id": 1_003, "huge": 0.5, "exact": 3, "nested": {"a": [1e22, -0.0, 5e-324]}},
        ]
    )
    engine, _ = await engines.run(
        engines.settings("things", run={"converter": "plain", "census": "full"}, mapping=options)
    )

    report = await verified(engine)

    assert report.result is Verification.MISMATCH
    assert {each.field for each in report.differences} == fields
    assert {each.reason for each in report.differences} == {"not the number that the document has"}
    assert only(report).equal == 204 - len({each.id for each in report.differences})


async def test_where_numbers_are_compared_less_strictly_is_said(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many(
        [
            {"_id": 1, "real": -0.0, "exact": Decimal128("1.50"), "nested": {"z": [-0.0, 1.5]}},
            {"_id": 2, "real": 2.5, "exact": Decimal128("1E+3"), "nested": {"z": [Decimal128("-0")], "n": 2.0**60}},
            {"_id": 3, "real": 1e22, "exact": Decimal128("2.0"), "nested": {"x": Decimal128("12E+2")}},
        ]
    )
    engine, _ = await engines.run(engines.settings("things"))

    report = await verified(engine)

    zero, zeros = "a negative zero has no sign there", "a Decimal128's exponent above 0 is zeros there"
    assert report.result is Verification.VERIFIED
    assert {(each.table, each.field, each.reason): each.count for each in report.less_strict} == {
        ("public.things", "nested.z.[]", zero): 2,
        ("public.things", "exact", zeros): 1,
        ("public.things", "nested.x", zeros): 1,
    }
    for text in (verification_text(report), markdown(report), csv_text(report)):
        assert zeros in text
        assert "nested.z.[]" in text

    target.execute(
        """
        UPDATE things SET real = 0.0, exact = 1.5 WHERE _id = 1;
        UPDATE things SET nested = jsonb_set(nested, '{n}', '1152921504606846976.0') WHERE _id = 2;
        """
    )
    report = await verified(engine)
    assert (report.result, report.differences) == (Verification.VERIFIED, [])
    spelled = {each.field: each.count for each in report.less_strict if "spelled in another way" in each.reason}
    assert spelled == {"real": 1, "exact": 1, "nested": 1}

    target.execute("ALTER TABLE things ALTER real TYPE real; ALTER TABLE things ALTER exact TYPE double precision")
    report = await verified(engine)
    assert {each.field: each.reason for each in report.less_strict if "by value" in each.reason} == {
        "real": "compared by value, as the column is real now",
        "exact": "compared by value, as the column is double precision now",
    }
    assert [(each.field, each.source) for each in report.differences] == [("real", "1e+22")]
