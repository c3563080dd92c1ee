"""Random collections of mixed documents through whole runs: source = target + rejects, value by value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine import protocol
from engine.mapping.model import Mapping
from engine.mapping.names import quote_identifier
from engine.mapping.options import MappingOptions
from engine.plan import Plan
from tests.documents import DOCUMENTS, OPTIONS
from tests.engine.arrival import assert_arrived, assert_deserved
from tests.engine.expectation import expected_key
from tests.engine.independent_reader import decode, read, select
from tests.running import Engines, assert_ledger

if TYPE_CHECKING:
    from tests.conftest import Source, Target

N_EXAMPLES, N_MORE_EXAMPLES = 2, 25
_ID_MAKERS: list[Callable[[int], Any]] = [
    lambda number: number,
    lambda number: Int64(number - 2**40),
    lambda number: f"key {number}",
    lambda number: ObjectId(f"{number:024x}"),
    lambda number: number + 0.5,
    lambda number: DatetimeMS(number * 10**9),
    lambda number: {"n": number},
    lambda number: Decimal128(f"{number}.25"),
    lambda number: bson.Binary(b"%d" % number),
]
COLLECTIONS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(_ID_MAKERS), min_size=1, max_size=3),
        st.lists(DOCUMENTS, max_size=12),
        st.lists(DOCUMENTS, max_size=12),
    ),
    min_size=3,
    max_size=6,
)
"""For each collection: how its `_id`s are made, the documents that the census sees, and those that come after it."""

Collections = list[tuple[list[Callable[[int], Any]], list[dict[str, Any]], list[dict[str, Any]]]]


def numbered(makers: list[Callable[[int], Any]], documents: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """The documents with `_id`s of these kinds in turn."""
    return [
        {"_id": makers[number % len(makers)](number), **fields} for number, fields in enumerate(documents, start=first)
    ]


async def check(
    source: Source, target: Target, engines: Engines, collections: Collections, options: MappingOptions
) -> None:
    """Copy the collections, which drift after the census, and look at every document."""
    names = [f"c{number}" for number in range(len(collections))]
    for name, (makers, seen, _) in zip(names, collections, strict=True):
        source.db.drop_collection(name)
        source.db.create_collection(name)
        # That of the example before may have a column that may not be null, which no replacing run takes away unasked.
        target.execute(f"DROP TABLE IF EXISTS {name}")
        if seen:
            source.db[name].insert_many(numbered(makers, seen, 0))
    engine = await engines.launch(
        engines.settings(*names, run={"mode": "replace", "page_size": 100}, mapping=options.model_dump())
    )
    plan = (await engine.client.ask(protocol.PlanView, protocol.MakePlan())).toml
    for name, (makers, seen, late) in zip(names, collections, strict=True):
        if late:
            source.db[name].insert_many(numbered(makers, late, len(seen)))

    await engine.start(plan=plan)
    end = await engine.finished()

    assert end["verification"] == "verified", engine.account()
    n_documents = sum(len(seen) + len(late) for _, seen, late in collections)
    assert_ledger(target, engine.run_id, rows=n_documents - end["rejected"], rejected=end["rejected"])
    made = Plan.model_validate_json(target.value("SELECT plan FROM mongopg.run WHERE run_id = $1", engine.run_id))
    for table in made.tables:
        look_at(source, target, engine.run_id, table.collection, table.mapping)
    await engine.leave()
    await engine.until_gone()


def look_at(source: Source, target: Target, run_id: str, name: str, mapping: Mapping) -> None:
    """Every document of a collection is a row of equal values, or a reject for good reason; there is nothing else."""
    columns = ", ".join(
        f"{select(column, quote_identifier(column.name))} AS {quote_identifier(column.name)}"
        for column in mapping.columns
    )
    rows = {}
    for record in target.rows(f"SELECT {columns} FROM {name}"):
        row = {column.name: read(column, record[column.name]) for column in mapping.columns}
        rows[frozen(row["_id"])] = row
    rejects = target.rows(
        "SELECT raw, reason FROM mongopg.reject WHERE run_id = $1 AND collection = $2",
        run_id,
        f"{source.database}.{name}",
    )
    reasons = {record["raw"]: record["reason"] for record in rejects}
    documents: Any = source.db.get_collection(name, codec_options=DEFAULT_RAW_BSON_OPTIONS)
    for found in documents.find():
        raw: bytes = found.raw
        if raw in reasons:
            assert_deserved(raw, reasons.pop(raw), mapping)
            continue
        key = frozen(expected_key(decode(raw)["_id"], mapping))
        assert key in rows, f"{raw!r} is neither a row nor a reject"
        assert_arrived(raw, rows.pop(key), mapping)
    assert (rows, reasons) == ({}, {})


def frozen(value: Any) -> Any:
    """A value that can be looked up; numbers are equal by value."""
    if isinstance(value, dict):
        return tuple((key, frozen(inner)) for key, inner in sorted(value.items()))
    return tuple(map(frozen, value)) if isinstance(value, list) else value


EXAMPLES = given(collections=COLLECTIONS, options=OPTIONS)
QUIET = settings(
    deadline=None,
    # Shrinking would take hundreds of runs.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(QUIET, max_examples=N_EXAMPLES)
@EXAMPLES
async def test_every_document_is_a_row_or_a_reject(
    source: Source, target: Target, engines: Engines, collections: Collections, options: MappingOptions
) -> None:
    await check(source, target, engines, collections, options)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(QUIET, max_examples=N_MORE_EXAMPLES)
@EXAMPLES
async def test_every_document_is_a_row_or_a_reject_in_many_collections(
    source: Source, target: Target, engines: Engines, collections: Collections, options: MappingOptions
) -> None:
    await check(source, target, engines, collections, options)
