"""Reading in natural order: every document of a range of records once, as it is stored, and nothing beyond."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from bson import Binary, Int64, decode, encode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.convert import make_converter
from engine.ledger.partitions import CHECKSUM_MODULUS
from engine.mapping.bson import documents
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mongo import natural, partition, snapshot
from engine.mongo.bounds import key_of, record_of, with_record
from engine.mongo.catalogue import collection_facts
from engine.mongo.natural import (
    NaturalReader,
    Numbering,
    NumberingLost,
    file_of,
    first_in_place,
    highest,
    look_up,
    require_numbering,
)
from engine.mongo.rawcursor import UnsupportedDriver
from engine.mongo.reader import SAMPLE_ENDS, BatchSize, Range, RangeReader
from engine.mongo.reader import sample as sample_of
from engine.mongo.record_cuts import older_bounds, record_cuts, spread_of
from engine.mongo.spread import runs, spread_bounds
from tests.engine.test_source_ranges import KEYS, insert_raw, whole

if TYPE_CHECKING:
    from tests.conftest import Source


def insert_random(collection: Collection[Any], count: int) -> None:
    collection.insert_many({"_id": Binary.from_uuid(uuid.uuid4()), "n": number} for number in range(count))


def lying(collection: Collection[Any]) -> list[bytes]:
    """The bounds of all documents, as they lie, by a way of its own."""
    found = collection.find({}, show_record_id=True, hint=[("$natural", 1)])
    return [with_record(encode({"_id": each["_id"]}), each["$recordId"]) for each in found]


def read(collection: Collection[Any], lower: bytes | None, upper: bytes | None, **options: Any) -> list[bytes]:
    reader = NaturalReader(collection, lower, upper, **options)
    found: list[bytes] = []
    while (batch := reader.next_batch()) is not None:
        raw = list(documents(batch.data, batch.offset))
        assert batch.last_record is not None
        assert reader.bound(key_of(raw[-1]), batch.last_record) == with_record(key_of(raw[-1]), batch.last_record)
        found += raw
    assert reader.next_batch() is None
    return found


def ids(raw: Sequence[bytes]) -> list[Any]:
    return [decode(document)["_id"] for document in raw]


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_ranges_between_records_are_the_whole(source: Source, size: int) -> None:
    insert_random(source.db.ids, 300)
    bounds = lying(source.db.ids)
    cuts = [None, bounds[0], bounds[99], bounds[100], bounds[250], None]
    found = [
        document
        for lower, upper in pairwise(cuts)
        for document in read(source.db.ids, lower, upper, batch_size=BatchSize(size, most=size))
    ]
    assert [key_of(document) for document in found] == [key_of(bound) for bound in bounds]
    assert sorted(found) == sorted(whole(source.db.ids))


def test_every_kind_of_id_is_found_with_its_record(source: Source) -> None:
    insert_raw(source.db.mixed, KEYS)
    found = look_up(source.db.mixed, KEYS)
    assert sorted(map(key_of, found)) == sorted(KEYS)
    for bound in found:
        assert key_of(read(source.db.mixed, None, bound)[-1]) == key_of(bound)
    assert found[-1] == highest(source.db.mixed)
    assert look_up(source.db.mixed, [encode({"_id": "not there"})]) == []


def test_own_fields_named_like_a_record_id_stay(source: Source) -> None:
    own: list[dict[str, Any]] = [
        {"_id": 1, "$recordId": Int64(5)},
        {"_id": 2, "$recordId": {"$recordId": Int64(1)}},
        {"$recordId": "", "_id": 3},
    ]
    source.db.own.insert_many(own)
    assert read(source.db.own, None, None) == whole(source.db.own)
    assert read(source.db.own, None, None, projection={"_id": 1}) == [encode({"_id": each["_id"]}) for each in own]


def test_documents_of_16_mb(source: Source) -> None:
    size = 16 * 1024 * 1024 - len(encode({"_id": 1, "payload": b""}))
    source.db.large.insert_many({"_id": number, "payload": bytes([number]) * size} for number in (1, 2))
    assert read(source.db.large, None, None) == whole(source.db.large)


def test_what_lies_beyond_the_end_is_not_even_asked_for(source: Source) -> None:
    insert_random(source.db.ids, 50)
    bounds = lying(source.db.ids)
    source.db.ids.delete_many({"n": {"$in": [3, 4, 20]}})  # so that more are sent than lie in the range
    assert ids(read(source.db.ids, bounds[1], bounds[10])) == ids(bounds[2:3] + bounds[5:11])
    assert read(source.db.ids, bounds[5], bounds[5]) == []


def test_a_begin_that_is_gone_is_taken_from_an_older_one(source: Source) -> None:
    insert_random(source.db.ids, 50)
    bounds = lying(source.db.ids)
    source.db.ids.delete_many({"n": {"$in": [20, 10]}})
    for older in ([None], [bounds[10], None], [bounds[15], bounds[3]]):
        assert ids(read(source.db.ids, bounds[20], bounds[30], older=older)) == ids(bounds[21:31])


def test_a_snapshot_is_read_as_it_was(source: Source) -> None:
    insert_random(source.db.ids, 50)
    bounds = lying(source.db.ids)
    at = snapshot.take(source.client, [(source.database, "ids")])
    source.db.ids.delete_many({"n": {"$gt": 10}})
    insert_random(source.db.ids, 5)
    assert ids(read(source.db.ids, bounds[20], None, at=at)) == ids(bounds[21:])
    with snapshot.session_at(source.client, at) as session:
        assert highest(source.db.ids, session) == bounds[-1]


def test_the_numbering_is_told_by_the_file_and_by_known_documents(source: Source) -> None:
    insert_random(source.db.ids, 10)
    bounds = lying(source.db.ids)
    numbering = Numbering("", file_of(source.db.ids), bounds[-1])
    assert numbering.file.startswith("statistics:table:")
    require_numbering(source.db.ids, numbering, bounds)
    with pytest.raises(NumberingLost, match="file"):
        require_numbering(source.db.ids, Numbering("", "another", bounds[-1]), bounds)
    renumbered = [with_record(key_of(bound), record_of(bound) + 1) for bound in bounds]
    with pytest.raises(NumberingLost, match="another one"):
        require_numbering(source.db.ids, numbering, renumbered)
    # One that is gone, or was inserted again, proves nothing.
    again = source.db.ids.find_one_and_delete({"n": 0})
    assert again is not None
    source.db.ids.insert_one(again)
    source.db.ids.delete_one({"n": 1})
    require_numbering(source.db.ids, numbering, bounds[:2])
    with pytest.raises(NumberingLost, match="another one"):
        require_numbering(source.db.ids, numbering, [*bounds[:2], renumbered[2]])


def test_bounds_are_spread_evenly_without_a_sample(source: Source) -> None:
    insert_random(source.db.ids, 1_000)
    bounds = lying(source.db.ids)
    found = spread_bounds(source.db.ids, 10)
    assert found is not None
    places = [bounds.index(bound) for bound in found]
    assert places == pytest.approx([100 * number for number in range(1, 10)], abs=2)
    # Some that are gone have neighbours;
    source.db.ids.delete_many({"n": {"$in": [100, 200, 201, 300]}})
    assert spread_bounds(source.db.ids, 10) not in (None, found)
    # where most are gone, places between records do not tell where documents are.
    source.db.ids.delete_many({"n": {"$mod": [10, 0]}})
    source.db.ids.delete_many({"n": {"$gt": 100, "$lt": 900}})
    assert spread_bounds(source.db.ids, 10) is None
    facts = collection_facts(source.client, source.database, "ids")
    cuts = record_cuts(source.db.ids, "", facts, 4)
    assert cuts is not None
    assert len(cuts.ranges) == 1  # too few are left for more
    source.db.none.insert_one({"_id": 1})
    source.db.none.delete_one({"_id": 1})
    assert spread_bounds(source.db.none, 10) == []


def test_runs_of_neighbours_lie_spread(source: Source) -> None:
    insert_random(source.db.ids, 3_000)
    bounds = lying(source.db.ids)
    places = {key_of(bound): place for place, bound in enumerate(bounds)}
    found = [places[key_of(each)] for batch in runs(source.db.ids, 500, 40) for each in documents(batch)]
    assert 490 <= len(found) <= 500, "the last one may begin close to the end"
    begins = [place for before, place in pairwise([-2, *found]) if place != before + 1]
    assert sorted(begin // 60 for begin in begins) == pytest.approx(list(range(50)), abs=1), "one in each stretch"
    assert len(list(runs(source.db.ids, 500, 100_000))) == 0, "large documents are drawn by the server"
    assert len(list(runs(source.db.none, 500, 40))) == 0


def test_runs_find_what_only_a_part_of_the_collection_has(source: Source) -> None:
    """It is as large as two stretches, of 20 each."""
    insert_random(source.db.ids, 4_000)
    source.db.ids.update_many({"n": {"$gte": 1_730, "$lt": 1_772}}, {"$set": {"late": True}})
    for _ in range(5):
        drawn = [decode(each) for batch in runs(source.db.ids, 2_000, 40) for each in documents(batch)]
        assert any("late" in each for each in drawn)


def test_what_runs_do_not_find_of_a_sample_is_drawn_by_the_server(source: Source) -> None:
    insert_random(source.db.ids, 3_000)

    def drawn() -> int:
        batches = sample_of(
            source.db.ids, 400, n_documents=3_000, draw=lambda size: runs(source.db.ids, size, 40), average_bytes=40
        )
        return sum(1 for batch in batches for _ in documents(batch)) - 2 * SAMPLE_ENDS

    assert 390 <= drawn() <= 400
    source.db.ids.delete_many({"n": {"$gt": 100, "$lt": 2_000}})  # most of the places are free
    assert drawn() == 400


def test_a_sparse_collection_is_cut_at_sampled_documents(source: Source) -> None:
    insert_random(source.db.ids, 4_000)
    source.db.ids.delete_many({"n": {"$gt": 500, "$lt": 3_000}})
    facts = collection_facts(source.client, source.database, "ids")
    cuts = record_cuts(source.db.ids, "", facts, 1)
    assert cuts is not None
    sizes = [len(read(source.db.ids, span.lower, span.upper, older=[None])) for span in cuts.ranges]
    assert sum(sizes) == 1_501
    assert len(sizes) == 4
    assert max(sizes) < 2 * 1_501 / 4


def test_the_order_of_ids_is_told_by_few_documents(source: Source) -> None:
    insert_random(source.db.ids, 1_000)
    source.db.grown.insert_many({"n": number} for number in range(1_000))
    source.db.turned.insert_many({"_id": 1_000 - number} for number in range(1_000))
    found = {}
    for name in ("ids", "grown", "turned"):
        facts = collection_facts(source.client, source.database, name)
        spread = spread_of(source.db[name], facts, parts=10)
        assert spread is not None
        assert len(spread.bounds) == 39
        assert spread.correlation is not None
        found[name] = spread.correlation
        assert len(spread.keys_for(10)) == (0 if name == "ids" else 39)
        assert not spread.keys_for(30), "too few for so many parts"
    assert abs(found["ids"]) < 0.8
    assert found["grown"] == 1
    assert found["turned"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("bound_behind", OperationFailure("unknown option to find command: $_resumeAfter", 9)),
        ("bound_behind", UnsupportedDriver()),
        ("lowest", ValueError("a bound has no record id")),
        ("file_of", ""),
    ],
)
def test_a_server_that_does_not_tell_where_documents_lie_is_no_obstacle(
    asked: str, answer: Exception | str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_random(source.db.ids, 1_000)

    def answering(*_: object) -> str:
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr(natural, asked, answering)
    facts = collection_facts(source.client, source.database, "ids")
    assert spread_of(source.db.ids, facts) is None


def test_a_bound_whose_number_another_document_has_is_passed_over(source: Source) -> None:
    insert_random(source.db.ids, 4)
    bounds = lying(source.db.ids)
    assert first_in_place(source.db.ids, [bounds[3], bounds[1]]) == bounds[3]
    source.db.ids.delete_one({"n": 3})
    taken = with_record(encode({"_id": "another"}), record_of(bounds[2]))
    assert first_in_place(source.db.ids, [bounds[3], taken, bounds[1], None]) == bounds[1]
    assert first_in_place(source.db.ids, [bounds[3], taken, None]) is None


def test_the_check_comes_when_the_cursor_is_open(source: Source) -> None:
    insert_random(source.db.ids, 10)

    def check() -> None:
        raise NumberingLost("told so")

    reader = NaturalReader(source.db.ids, None, None, check=check)
    with pytest.raises(NumberingLost):
        reader.next_batch()
    with pytest.raises(RuntimeError):
        reader.next_batch()


# --- as a property ----------------------------------------------------------------------------------------------------

SIZE = 40


@dataclass(frozen=True)
class History:
    """What happened to a collection of `SIZE` documents between its being cut and its being read, by their numbers."""

    cuts: list[int]
    deleted: set[int]
    moved: set[int]
    """Deleted and inserted again."""
    added: int
    """Documents that came later."""
    batch: int
    rest_after: int
    """Each range is begun, given back after so many batches, and read on from there by another reader."""
    is_cut_short: bool
    """The range is given back in the middle of its last batch."""


numbers = st.integers(0, SIZE - 1)
histories = st.builds(
    History,
    cuts=st.lists(numbers, max_size=5, unique=True).map(sorted),
    deleted=st.sets(numbers, max_size=SIZE),
    moved=st.sets(numbers, max_size=6),
    added=st.integers(0, 5),
    batch=st.integers(1, 12),
    rest_after=st.integers(0, 4),
    is_cut_short=st.booleans(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories)
@example(
    History(cuts=[10, 11, 20], deleted={10, 11, 12, 20}, moved=set(), added=0, batch=3, rest_after=1, is_cut_short=True)
)
@example(History(cuts=[5], deleted=set(range(40)), moved={5, 6}, added=2, batch=1, rest_after=0, is_cut_short=False))
@example(History(cuts=[0, 39], deleted={0, 38, 39}, moved={1}, added=3, batch=12, rest_after=2, is_cut_short=True))
def test_every_document_of_the_beginning_that_stayed_is_read_once_whatever_happened(
    source: Source, history: History
) -> None:
    collection = source.db.ids
    collection.delete_many({})
    insert_random(collection, SIZE)
    bounds = lying(collection)
    top = highest(collection)
    collection.delete_many({"n": {"$in": list(history.deleted - history.moved)}})
    for number in history.moved:
        again = collection.find_one_and_delete({"n": number})
        assert again is not None
        collection.insert_one(again)
    if history.added:
        insert_random(collection, history.added)

    cuts = [bounds[number] for number in history.cuts]
    ranges = record_cuts_ranges(cuts, top)
    found = [
        document
        for place, span in enumerate(ranges)
        for document in read_in_two(collection, ranges, place, span, history)
    ]

    stayed = {number for number in range(SIZE) if number not in history.deleted | history.moved}
    assert [decode(document)["n"] for document in found] == sorted(stayed)
    behind = read(collection, top, None, older=[*reversed(cuts), None])
    assert len(behind) == len(history.moved) + history.added, "what came later lies behind, for the fill-in"


def record_cuts_ranges(cuts: Sequence[bytes], top: bytes | None) -> list[Range]:
    return partition.ranges(None, [cut for cut in cuts if cut != top], top)


def read_in_two(
    collection: Collection[Any], ranges: Sequence[Range], place: int, span: Range, history: History
) -> list[bytes]:
    """A range, read by one reader for some batches, and by another from where that stood."""
    size = BatchSize(history.batch, most=history.batch)
    older = older_bounds(ranges, place)
    first = NaturalReader(collection, span.lower, span.upper, older=older, batch_size=size)
    found: list[bytes] = []
    at: bytes | None = span.lower
    for _ in range(history.rest_after):
        if (batch := first.next_batch()) is None:
            return found
        raw = list(documents(batch.data, batch.offset))
        assert batch.last_record is not None
        if history.is_cut_short:
            raw = raw[: len(raw) // 2 + 1]
        found += raw
        at = first.bound(key_of(raw[-1]), batch.last_record)
        assert at is not None
        if history.is_cut_short:
            break
    first.close()
    rest = NaturalReader(collection, at, span.upper, older=(span.lower, *older), batch_size=size)
    while (batch := rest.next_batch()) is not None:
        found += documents(batch.data, batch.offset)
    return found


def test_checksums_are_equal_in_both_orders(source: Source) -> None:
    insert_raw(source.db.mixed, KEYS)
    source.db.mixed.insert_many(
        [{"_id": f"key {number}", "$recordId": number, "text": "x" * number} for number in range(200)]
    )
    mapping = Mapping(
        columns=(Column(name="_id", path=("_id",), role=Role.ID, type=ColumnType.JSONB, kinds=frozenset(Kind)),)
    )
    sums = []
    for reader in (
        RangeReader(source.db.mixed, None, True, None, batch_size=BatchSize(7, most=7)),
        NaturalReader(source.db.mixed, None, None, batch_size=BatchSize(11, most=11)),
    ):
        converter, total, n_documents = make_converter(mapping), 0, 0
        while (batch := reader.next_batch()) is not None:
            converted = converter.convert(batch.data, batch.offset, 1_000)
            total, n_documents = total + converted.checksum, n_documents + converted.n_read
        sums.append((total % CHECKSUM_MODULUS, n_documents))
    assert sums[0] == sums[1]
    assert sums[0][1] == len(KEYS) + 200
