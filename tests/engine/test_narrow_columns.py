"""Append and upsert into columns that hold less than the types which this program makes: exact values go in as they are,
others into `_extra`, and a full comparison finds both."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64

from engine.protocol import RetryRejects, RetryReport
from tests.engine.verification_tools import only, verified
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

DAY, MOMENT = datetime(2024, 2, 29), datetime(1969, 12, 31, 23, 59, 59, 500_000)
COLUMNS: dict[str, tuple[str, list[tuple[Any, Any]], list[Any]]] = {
    # Type -> values that fit, each with what a driver reads back; values that do not.
    "smallint": ("s", [(-32768, -32768), (Int64(32767), 32767), (5.0, 5)], [32768, Int64(2**40), -32769, 5.5, "5"]),
    "real": ("r", [(0.5, 0.5), (16777216, 16777216.0), (float("-inf"), float("-inf"))], [0.1, 16777217, 1e39, "x"]),
    "date": ("d", [(DAY, date(2024, 2, 29)), (datetime(1969, 12, 31), date(1969, 12, 31))], [MOMENT, "2024-01-01"]),
    "timestamp": ("t", [(MOMENT, MOMENT)], ["2024-01-01"]),
    "timestamptz(0)": ("z", [(DAY, DAY.replace(tzinfo=UTC))], [MOMENT, 1]),
    "numeric(5,2)": (
        "n",
        [(Decimal128("999.99"), Decimal("999.99")), (7, Decimal("7.00")), (0.25, Decimal("0.25"))],
        [Decimal128("0.001"), 1000, Decimal128("Infinity"), 0.125, "1"],
    ),
    "numeric(3,-2)": ("h", [(1200, Decimal(1200)), (Decimal128("1E+3"), Decimal(1000))], [1210, 100000]),
    "char(3)": ("c", [("é☃", "é☃ "), ("abc", "abc")], ["abcd", "a ", 1]),
    "mood": ("m", [("sad", "sad"), ("so-so é", "so-so é")], ["Sad", "", 3]),
    "date[]": ("a", [([DAY, None], [date(2024, 2, 29), None]), ([], [])], [[MOMENT], [DAY, 1], DAY]),
    "numeric(5,2)[]": ("b", [([1, Decimal128("0.5")], [Decimal("1.00"), Decimal("0.50")])], [[0.001], ["x"]]),
}


def plain(value: Any) -> Any:
    """A value as `_extra` shows it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, Decimal128):
        text = str(value)
        return float(text) if text[0].isdigit() else text
    return value


@pytest.mark.parametrize(
    ("mode", "converter"),
    [
        ("append", "native"),
        pytest.param("append", "plain", marks=pytest.mark.slow),
        ("upsert", "native"),
        pytest.param("upsert", "plain", marks=pytest.mark.slow),
    ],
)
async def test_values_that_fit_exactly_go_into_the_columns_that_are_there(
    source: Source, target: Target, engines: Engines, mode: str, converter: str
) -> None:
    target.execute("CREATE TYPE mood AS ENUM ('sad', 'so-so é')")
    columns = ", ".join(f"{name} {sql_type}" for sql_type, (name, _, _) in COLUMNS.items())
    target.execute(f"CREATE TABLE things (_id integer PRIMARY KEY, {columns}, _extra jsonb)")
    documents: list[dict[str, Any]] = []
    expected: dict[int, Any] = {}
    for name, fitting, others in COLUMNS.values():
        for value, read in [*((value, (read, None)) for value, read in fitting), *((v, (None, v)) for v in others)]:
            number = len(documents)
            documents.append({"_id": number, name: value})
            expected[number] = (name, read[0], None if read[1] is None else {name: plain(read[1])})
    documents.append({"_id": len(documents), **{name: None for name, _, _ in COLUMNS.values()}})
    source.db.things.insert_many(documents)

    engine, end = await engines.run(engines.settings("things", run={"mode": mode, "converter": converter}))

    assert (end["exit_code"], end["verification"], end["rejected"]) == (0, "verified", 0), end
    for row in target.rows("SELECT * FROM things ORDER BY _id"):
        found = dict(row)
        number, extra = found.pop("_id"), found.pop("_extra")
        name, value, left = expected.get(number, ("s", None, None))
        assert found.pop(name) == value, (number, name)
        assert set(found.values()) == {None}
        assert (json.loads(extra) if extra else None) == left, (number, name)
    report = await verified(engine)
    assert (only(report).ok, only(report).equal) == (True, len(documents)), report
    target.execute("UPDATE things SET s = 1 WHERE s = 5; UPDATE things SET m = 'sad' WHERE m = 'so-so é'")
    target.execute(
        "UPDATE things SET c = 'xyz' WHERE c = 'abc'; UPDATE things SET d = '1970-01-01' WHERE d = '1969-12-31'"
    )
    target.execute("UPDATE things SET n = 0.26 WHERE n = 0.25; UPDATE things SET r = 0.25 WHERE r = 0.5")
    assert only(await verified(engine)).different == 6
    await engine.leave()


@pytest.mark.parametrize(
    ("key", "fitting", "other"),
    [
        ("char(24)", "0123456789abcdef01234567", "x "),
        pytest.param("smallint", 7, 70_000, marks=pytest.mark.slow),
        ("numeric(4,1)", Decimal128("2.5"), Decimal128("2.55")),
        ("date", DAY, MOMENT),
        pytest.param("real", 0.5, 0.1, marks=pytest.mark.slow),
    ],
)
async def test_keys_that_do_not_fit_are_rejects_and_never_another_rows_key(
    source: Source, target: Target, engines: Engines, key: str, fitting: Any, other: Any
) -> None:
    target.execute(f"CREATE TABLE things (_id {key} PRIMARY KEY, v integer, _extra jsonb)")
    source.db.things.insert_many([{"_id": fitting, "v": 1}, {"_id": other, "v": 2}])

    engine, end = await engines.run(engines.settings("things", run={"mode": "upsert"}))

    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1, 1), end
    assert target.value("SELECT array_agg(v) FROM things") == [1]
    report = await verified(engine)
    assert only(report).equal == 1
    await engine.leave()


async def test_without_extra_values_that_do_not_fit_are_rejects(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, s smallint, d date NOT NULL)")
    source.db.things.insert_many(
        [{"_id": 1, "s": 1, "d": DAY}, {"_id": 2, "s": 70_000, "d": DAY}, {"_id": 3, "d": MOMENT}]
    )

    engine, end = await engines.run(engines.settings("things", run={"mode": "append"}))

    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1, 2), end
    assert [tuple(row) for row in target.rows("SELECT * FROM things")] == [(1, 1, date(2024, 2, 29))]
    reasons = target.rows("SELECT reason, field FROM mongopg.reject ORDER BY field")
    assert [tuple(row) for row in reasons] == [("overflow", "d"), ("overflow", "s")]
    await engine.leave()


async def test_rejects_go_into_columns_that_have_been_widened_but_not_enough_for_all(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, s smallint, n numeric(4,1), d date)")
    source.db.things.insert_many(
        [{"_id": 1, "s": 70_000}, {"_id": 2, "n": Decimal128("1.55")}, {"_id": 3, "n": 0.0625}, {"_id": 4, "d": MOMENT}]
    )
    engine, end = await engines.run(engines.settings("things", run={"mode": "append"}))
    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 0, 4), end
    target.execute(
        "ALTER TABLE things ALTER s TYPE integer, ALTER n TYPE numeric(6,2), ALTER d TYPE timestamp(1) USING d"
    )

    report = await engine.client.ask(RetryReport, RetryRejects())

    assert (report.written, report.left) == (3, 1)
    assert [tuple(row) for row in target.rows("SELECT * FROM things ORDER BY _id")] == [
        (1, 70_000, None, None),
        (2, None, Decimal("1.55"), None),
        (4, None, None, MOMENT),
    ]
    await engine.leave()
