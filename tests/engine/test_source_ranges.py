"""Reading by ranges of `_id`: every document once, whatever its key, and none twice."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp, decode, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from engine.mapping.bson import documents
from engine.mongo import connect as mongo
from engine.mongo import faults, partition, reader
from engine.mongo.bounds import MAX_KEY, MIN_KEY, key_of
from engine.mongo.catalogue import collection_facts
from engine.mongo.partition import EXACT_DOCUMENTS, MAX_PARTITIONS, SMALL_BYTES, WHOLE, partitions, split
from engine.mongo.reader import BatchSize, Range, RangeReader
from tests.older_servers import CLUSTERED, TIME_SERIES, require_mongodb

if TYPE_CHECKING:
    from tests.conftest import Source

RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)


def raw_key(kind: int, value: bytes) -> bytes:
    element = bytes([kind]) + b"_id\0" + value
    return struct.pack("<i", len(element) + 5) + element + b"\0"


def text(value: bytes) -> bytes:
    return struct.pack("<i", len(value) + 1) + value + b"\0"


PLAIN_IDS: list[Any] = [
    MinKey(), None, float("nan"), float("-inf"), -1.5, 0, Int64(5), 6, 6.5, Decimal128("7.25"), Int64(2**62),
    float("inf"), "", "Zebra", "apple", "ä", {}, {"a.b": 1}, {"a": Int64(1), "b": {"c": [1, 2]}}, b"", b"generic",
    Binary(b"old", 2), Binary(b"u" * 16, 3), Binary.from_uuid(UUID(int=1)), Binary(b"own", 128), ObjectId(), ObjectId(),
    False, True, datetime(2024, 5, 6, tzinfo=UTC), DatetimeMS(2**62), DatetimeMS(-(2**62)), Timestamp(1, 2),
    Code("f()"), Code("f()", {"x": 1}), MaxKey(),
]  # fmt: skip
RAW_IDS = [
    raw_key(0x0E, text(b"symbol")),
    raw_key(0x02, text(b"not utf-8 \xff\xfe")),
    raw_key(0x0C, text(b"db.pointer") + b"x" * 12),
]
KEYS = [encode({"_id": value}) for value in PLAIN_IDS] + RAW_IDS


def insert_raw(collection: Collection[Any], raw_documents: Iterable[bytes]) -> None:
    collection.with_options(RAW).insert_many([RawBSONDocument(document, RAW) for document in raw_documents])


def whole(collection: Collection[Any]) -> list[bytes]:
    """Every document in the server's order of `_id`, by a way of its own."""
    return [bytes(document.raw) for document in collection.with_options(RAW).find().sort("_id", 1)]


def read(collection: Collection[Any], span: Range, *, inclusive: bool = True, **options: Any) -> list[bytes]:
    range_reader = RangeReader(collection, span.lower, inclusive, span.upper, **options)
    found: list[bytes] = []
    while (batch := range_reader.next_batch()) is not None:
        found.extend(documents(batch.data, batch.offset))
    assert range_reader.next_batch() is None
    return found


def read_all(collection: Collection[Any], spans: Sequence[Range]) -> list[bytes]:
    return [document for span in spans for document in read(collection, span)]


@pytest.fixture
def mixed(source: Source) -> Collection[Any]:
    insert_raw(source.db.mixed, KEYS)
    return source.db.mixed


def test_every_kind_of_id_is_a_lossless_bound(mixed: Collection[Any]) -> None:
    everything = whole(mixed)
    assert sorted(everything) == sorted(KEYS)
    for position, key in enumerate(everything):
        assert read(mixed, Range(key, None)) == everything[position:]
        assert read(mixed, Range(None, key)) == everything[:position]


def test_ranges_between_all_neighbours_are_the_whole(mixed: Collection[Any]) -> None:
    everything = whole(mixed)
    spans = [Range(a, b) for a, b in pairwise([None, *everything, None])]
    assert read_all(mixed, spans) == everything


def test_an_exclusive_lower_end_leaves_out_that_document_only(mixed: Collection[Any]) -> None:
    everything = whole(mixed)
    for position, key in enumerate(everything):
        assert read(mixed, Range(key, None), inclusive=False) == everything[position + 1 :]


def test_a_deleted_lower_end_loses_nothing(mixed: Collection[Any]) -> None:
    everything = whole(mixed)
    for position, key in enumerate(everything[:-1]):
        mixed.delete_one(RawBSONDocument(key, RAW))
        assert read(mixed, Range(key, None), inclusive=False) == everything[position + 1 :]


def test_a_lower_end_replaced_by_an_equal_number_is_left_out(source: Source) -> None:
    source.db.numbers.insert_many([{"_id": 1.0}, {"_id": 2}])
    left = read(source.db.numbers, Range(encode({"_id": Int64(1)}), None), inclusive=False)
    assert left == [encode({"_id": 2})]


def many_mixed(count: int) -> list[bytes]:
    """Documents of which each kind of key makes up a part."""
    makers: list[Any] = [
        lambda n: n, lambda n: n + 0.5, lambda n: Int64(2**40 + n), lambda n: f"text {n}", lambda n: {"n": n},
        lambda n: ObjectId(), lambda n: Binary.from_uuid(UUID(int=n)), lambda n: b"%d" % n,
        lambda n: DatetimeMS(n * 1_000_000_000), lambda n: Decimal128(f"{n}.25"), lambda n: Timestamp(n, 1),
    ]  # fmt: skip
    return [encode({"_id": makers[n % len(makers)](n), "payload": "x" * 100}) for n in range(count)]


def test_partitions_of_mixed_ids_hold_every_document_once(source: Source) -> None:
    insert_raw(source.db.mixed, [*many_mixed(6_000), *KEYS[:2], *RAW_IDS, encode({"_id": True})])
    facts = collection_facts(source.client, source.database, "mixed")
    spans = partitions(source.db.mixed, facts, workers=3)
    assert len(spans) >= 10
    assert spans[0].lower is None
    assert spans[-1].upper is None
    assert all(a.upper == b.lower for a, b in pairwise(spans))
    assert read_all(source.db.mixed, spans) == whole(source.db.mixed)


def test_partitions_are_of_about_the_size_asked_for(source: Source) -> None:
    insert_raw(source.db.sized, (encode({"_id": n, "payload": "x" * 1_000}) for n in range(20_000)))
    facts = collection_facts(source.client, source.database, "sized")
    spans = partitions(source.db.sized, facts, workers=1, target_bytes=1_000_000)
    sizes = [len(read(source.db.sized, span)) for span in spans]
    assert len(spans) in (20, 21)
    assert sum(sizes) == 20_000
    assert max(sizes) < 1_500


def test_partitions_by_a_sample_hold_every_document_once(source: Source) -> None:
    insert_raw(source.db.large, many_mixed(60_000))
    facts = collection_facts(source.client, source.database, "large")
    assert facts.documents > EXACT_DOCUMENTS
    spans = partitions(source.db.large, facts, workers=4)
    assert len(spans) == 16
    assert read_all(source.db.large, spans) == whole(source.db.large)


def test_the_end_of_a_collection_that_a_sample_has_too_little_of_is_cut_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = EXACT_DOCUMENTS + 10_000
    insert_raw(source.db.grown, (encode({"_id": n}) for n in range(count)))
    facts = collection_facts(source.client, source.database, "grown")
    sampled = [encode({"_id": n}) for n in range(0, count * 3 // 4, 7)]
    monkeypatch.setattr(partition, "some_keys", lambda *_: sampled)
    spans = partitions(source.db.grown, facts, workers=4)
    sizes = [len(read(source.db.grown, span)) for span in spans]
    assert sum(sizes) == count
    assert max(sizes) < 1.6 * count / 16
    assert len(spans) <= 20
    even = [encode({"_id": n}) for n in range(0, count, 7)]
    monkeypatch.setattr(partition, "some_keys", lambda *_: even)
    assert len(partitions(source.db.grown, facts, workers=4)) == 16, "nothing to mend"


def test_there_are_four_partitions_for_each_worker(source: Source) -> None:
    insert_raw(source.db.few, (encode({"_id": n}) for n in range(50_000)))
    facts = collection_facts(source.client, source.database, "few")
    assert len(partitions(source.db.few, facts, workers=8)) == 32
    assert len(partitions(source.db.few, replace(facts, size_bytes=2**32), workers=128)) == 200, "250 documents in each"


def test_a_large_cluster_does_not_make_small_partitions(source: Source) -> None:
    insert_raw(source.db.few, (encode({"_id": n}) for n in range(50_000)))
    facts = collection_facts(source.client, source.database, "few")
    medium = replace(facts, size_bytes=100 * SMALL_BYTES)
    assert [len(partitions(source.db.few, medium, workers, 2**40)) for workers in (8, 16, 24, 40, 100, 128)] == [
        32,
        64,
        96,
        100,
        100,
        50,
    ]
    assert [len(partitions(source.db.few, facts, workers)) for workers in (4, 8, 16, 32, 90)] == [16, 32, 32, 32, 16]


@pytest.mark.parametrize("count", [0, 1, 400])
def test_a_small_collection_is_one_partition(source: Source, count: int) -> None:
    source.db.create_collection("small")
    if count:
        source.db.small.insert_many({"_id": n} for n in range(count))
    facts = collection_facts(source.client, source.database, "small")
    assert partitions(source.db.small, facts, workers=90) == [WHOLE]
    assert len(read(source.db.small, WHOLE)) == count


def test_there_are_never_more_partitions_than_the_ledger_bears(source: Source) -> None:
    source.db.huge.insert_many({"_id": n} for n in range(3_000))
    facts = collection_facts(source.client, source.database, "huge")
    pretended = type(facts)(facts.namespace, facts.kind, 10**10, 10**13, facts.uuid, facts.has_range_reads)
    spans = partitions(source.db.huge, pretended, workers=2)
    assert 1 < len(spans) <= min(MAX_PARTITIONS, 3_000)
    assert len(read_all(source.db.huge, spans)) == 3_000


def test_splitting_a_range_keeps_its_ends_and_its_documents(source: Source) -> None:
    insert_raw(source.db.mixed, many_mixed(4_000))
    everything = whole(source.db.mixed)
    keys = [key_of(document) for document in everything]
    for lower, upper in [(None, None), (keys[500], keys[3_500]), (None, keys[1_000]), (keys[3_000], None)]:
        span = Range(lower, upper)
        parts = split(source.db.mixed, span, 4)
        assert len(parts) == 4
        assert (parts[0].lower, parts[-1].upper) == (lower, upper)
        assert all(a.upper == b.lower for a, b in pairwise(parts))
        assert read_all(source.db.mixed, parts) == read(source.db.mixed, span)
        sizes = [len(read(source.db.mixed, part)) for part in parts]
        assert max(sizes) < 1.5 * sum(sizes) / len(sizes)


def test_a_range_too_small_to_be_cut_stays_whole(source: Source) -> None:
    source.db.small.insert_many({"_id": n} for n in range(5))
    span = Range(encode({"_id": 2}), encode({"_id": 3}))
    assert split(source.db.small, span, 4) == [span]
    assert split(source.db.small, WHOLE, 1) == [WHOLE]
    for edge in (Range(MAX_KEY, None), Range(None, MIN_KEY)):
        assert split(source.db.small, edge, 4) == [edge]
    parts = split(source.db.small, WHOLE, 64)
    assert read_all(source.db.small, parts) == whole(source.db.small)


@pytest.mark.parametrize(
    "options",
    [
        {"capped": True, "size": 10_000_000},
        {"clusteredIndex": {"key": {"_id": 1}, "unique": True}},
        {"collation": {"locale": "de", "strength": 1, "caseLevel": True}},
        {"collation": {"locale": "en", "numericOrdering": True}},
    ],
    ids=["capped", "clustered", "collation", "numeric collation"],
)
def test_special_collections_are_read_by_ranges_too(source: Source, options: dict[str, Any]) -> None:
    if "clusteredIndex" in options:
        require_mongodb(source, CLUSTERED)
    collection = source.db.create_collection("special", **options)
    words = [f"{letter}{n}" for n in range(1_500) for letter in ("a", "Ä")]
    insert_raw(collection, (encode({"_id": value, "n": 1}) for value in [*words, *range(300), ObjectId()]))
    everything = whole(collection)
    spans = partitions(collection, collection_facts(source.client, source.database, "special"), workers=2)
    assert len(spans) >= 7
    assert read_all(collection, spans) == everything
    for position in range(0, len(everything), 501):
        key = key_of(everything[position])
        assert read(collection, Range(key, None), inclusive=False) == everything[position + 1 :]


def test_views_and_time_series_are_read_whole(source: Source) -> None:
    require_mongodb(source, TIME_SERIES)
    source.db.base.insert_many({"_id": n, "even": n % 2 == 0} for n in range(3_000))
    source.db.command("create", "evens", viewOn="base", pipeline=[{"$match": {"even": True}}])
    source.db.create_collection("series", timeseries={"timeField": "at"})
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    source.db.series.insert_many({"_id": n // 2, "at": moment} for n in range(2_500))
    for name, count in (("evens", 1_500), ("series", 2_500)):
        facts = collection_facts(source.client, source.database, name)
        assert not facts.has_range_reads
        assert partitions(source.db[name], facts, workers=8) == [WHOLE]
        assert len(read(source.db[name], WHOLE, has_range_reads=False)) == count


def test_bounds_for_a_collection_without_range_reads_are_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="no bounds"):
        RangeReader(source.db.view, KEYS[0], True, None, has_range_reads=False)


def test_a_filter_is_applied_within_ranges(source: Source) -> None:
    source.db.filtered.insert_many({"_id": n, "uuid": Binary.from_uuid(UUID(int=n % 3))} for n in range(900))
    query = reader.filter_query(encode({"uuid": Binary.from_uuid(UUID(int=1))}))
    found = read(source.db.filtered, Range(encode({"_id": 300}), None), query=query)
    assert [decode(document)["_id"] for document in found] == list(range(301, 900, 3))
    assert len(read(source.db.filtered, WHOLE, query=reader.filter_query(b""))) == 900


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch is slow, however busy the machine is."""
    monkeypatch.setattr(reader, "SLOW_BATCH_S", float("inf"))


def batch_sizes(range_reader: RangeReader) -> list[int]:
    sizes = []
    while batch := range_reader.next_batch():
        sizes.append(len(list(documents(batch.data, batch.offset))))
    return sizes


def test_batches_have_at_most_the_documents_asked_for(source: Source) -> None:
    source.db.many.insert_many({"_id": n} for n in range(600))
    assert batch_sizes(RangeReader(source.db.many, None, True, None, batch_size=BatchSize(250, most=250))) == [
        250,
        250,
        100,
    ]


@pytest.mark.usefixtures("at_once")
def test_batches_of_small_documents_grow_and_those_of_large_ones_shrink_again(source: Source) -> None:
    source.db.many.insert_many({"_id": n} for n in range(12_000))
    small = batch_sizes(RangeReader(source.db.many, None, True, None))
    assert small == [reader.BATCH_DOCUMENTS, reader.MAX_BATCH_DOCUMENTS, 3_000]
    source.db.many.insert_many({"_id": n, "payload": "x" * 2_000} for n in range(12_000, 20_000))
    mixed = batch_sizes(RangeReader(source.db.many, None, True, None))
    assert sum(mixed) == 20_000
    assert 500 < mixed[-2] < reader.WANTED_BATCH_BYTES // 2_000


@pytest.mark.usefixtures("at_once")
def test_readers_of_one_collection_share_what_they_learn(source: Source) -> None:
    source.db.large.insert_many({"_id": n, "payload": "x" * 20_000} for n in range(600))
    size = reader.BatchSize()
    first = batch_sizes(RangeReader(source.db.large, None, True, encode({"_id": 300}), batch_size=size))
    second = batch_sizes(RangeReader(source.db.large, encode({"_id": 300}), True, None, batch_size=size))
    assert first[0] == 300, "nothing was known"
    assert max(second) * 20_000 <= reader.WANTED_BATCH_BYTES


@pytest.mark.usefixtures("at_once")
def test_the_first_batch_is_as_large_as_the_size_of_documents_allows(source: Source) -> None:
    source.db.small.insert_many({"_id": n, "payload": "x" * 300} for n in range(6_000))
    average = collection_facts(source.client, source.database, "small").average_bytes
    size = BatchSize.for_documents_of(average)
    first, *_ = batch_sizes(RangeReader(source.db.small, None, True, None, batch_size=size))
    assert first == reader.WANTED_BATCH_BYTES // average > reader.BATCH_DOCUMENTS
    assert BatchSize.for_documents_of(0) == BatchSize()
    assert BatchSize.for_documents_of(1).documents == reader.MAX_BATCH_DOCUMENTS
    assert BatchSize.for_documents_of(16_000_000).documents == 1


def test_slow_batches_become_smaller_but_never_smaller_than_the_first_one() -> None:
    size = reader.BatchSize()
    size.learn(1_000, 100_000, seconds=0.01)
    assert size.documents == reader.MAX_BATCH_DOCUMENTS
    size.learn(8_000, 800_000, seconds=2.0)
    assert size.documents == 2_000
    size.learn(2_000, 200_000, seconds=60.0)
    assert size.documents == reader.BATCH_DOCUMENTS


@pytest.mark.usefixtures("at_once")
def test_large_documents_make_for_smaller_batches_and_none_is_lost(source: Source) -> None:
    for start in range(0, 120, 20):
        source.db.large.insert_many({"_id": n, "payload": "x" * 400_000} for n in range(start, start + 20))
    sizes: list[int] = []
    ids: list[int] = []
    range_reader = RangeReader(source.db.large, None, True, encode({"_id": 110}))
    while batch := range_reader.next_batch():
        sizes.append(len(batch.data))
        ids.extend(decode(document)["_id"] for document in documents(batch.data, batch.offset))
    assert ids == list(range(110))
    assert max(sizes[1:]) <= reader.BATCH_BYTES
    source.db.large.insert_one({"_id": MaxKey()})
    assert len(read(source.db.large, WHOLE)) == 121


def test_a_closed_reader_leaves_no_cursor_on_the_server(source: Source) -> None:
    client = mongo.connect(source.uri, app_name="cursor test")
    with client:
        collection = client[source.database].many
        collection.insert_many({"_id": n} for n in range(2_000))
        range_reader = RangeReader(collection, None, True, None, batch_size=BatchSize(10, most=10))
        assert range_reader.next_batch() is not None
        assert open_cursors(source) == 1
        range_reader.close()
        range_reader.close()
        assert open_cursors(source) == 0


def open_cursors(source: Source) -> int:
    stages: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True}},
        {"$match": {"ns": f"{source.database}.many", "type": "idleCursor"}},
    ]
    return len(list(source.client.admin.aggregate(stages)))


@pytest.mark.parametrize("code", [43, 91, 11602, 50])
def test_after_a_failed_get_more_a_new_reader_goes_on_without_loss(source: Source, code: int) -> None:
    source.db.many.insert_many({"_id": n} for n in range(500))
    with mongo.connect(source.uri, app_name=f"fail {source.database}") as client:
        collection = client[source.database].many
        source.client.admin.command({
            "configureFailPoint": "failCommand", "mode": {"times": 1},
            "data": {"failCommands": ["getMore"], "errorCode": code, "appName": f"fail {source.database}"},
        })  # fmt: skip
        range_reader = RangeReader(collection, None, True, None, batch_size=BatchSize(100, most=100))
        batch = range_reader.next_batch()
        assert batch is not None
        first = list(documents(batch.data, batch.offset))
        with pytest.raises(PyMongoError) as caught:
            range_reader.next_batch()
        assert faults.is_transient(caught.value)
        assert faults.describe(caught.value)[0] == str(code)
        with pytest.raises(RuntimeError, match="has failed"):
            range_reader.next_batch()
    rest = read(source.db.many, Range(key_of(first[-1]), None), inclusive=False)
    assert [decode(document)["_id"] for document in [*first, *rest]] == list(range(500))


def sampled_ids(batches: Iterable[bytes]) -> list[int]:
    """The `_id` of each document of a sample."""
    return [decode(document)["_id"] for batch in batches for document in documents(batch)]


@pytest.mark.parametrize(("mode", "n_drawn"), [({"times": 1}, 20), ("alwaysOn", 0)])
def test_a_draw_that_meets_the_same_documents_again_and_again_goes_on_with_fewer(
    source: Source, mode: object, n_drawn: int
) -> None:
    source.db.many.insert_many([{"_id": number} for number in range(5_000)])
    refusal = {"failCommands": ["aggregate"], "namespace": f"{source.database}.many", "errorCode": 28_799}
    source.client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": refusal})
    try:
        drawn = sampled_ids(reader.sample(source.db.many, 200, n_documents=5_000))
    finally:
        source.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert len(drawn) == n_drawn + 2 * reader.SAMPLE_ENDS


def test_a_sample_holds_both_ends_and_a_small_collection_whole(source: Source) -> None:
    source.db.many.insert_many({"_id": n} for n in range(5_000))
    drawn = sampled_ids(reader.sample(source.db.many, 200, n_documents=5_000))
    assert len(drawn) == 200 + 2 * reader.SAMPLE_ENDS
    assert set(range(reader.SAMPLE_ENDS)) | set(range(5_000 - reader.SAMPLE_ENDS, 5_000)) <= set(drawn)
    small = sampled_ids(reader.sample(source.db.many, 5_000, n_documents=5_000))
    assert sorted(small) == list(range(5_000))


def test_a_sample_obeys_a_filter_and_works_on_views(source: Source) -> None:
    source.db.many.insert_many({"_id": n, "odd": n % 2} for n in range(3_000))
    source.db.command("create", "odds", viewOn="many", pipeline=[{"$match": {"odd": 1}}])
    filtered = sampled_ids(reader.sample(source.db.many, 100, n_documents=3_000, query={"odd": 1}))
    from_view = sampled_ids(reader.sample(source.db.odds, 100, n_documents=-1, has_range_reads=False))
    assert len(from_view) == 100
    assert all(number % 2 for number in (*filtered, *from_view))


def test_a_sample_of_large_documents_comes_in_small_batches(source: Source) -> None:
    source.db.big.insert_many({"_id": n, "text": "x" * 100_000} for n in range(200))
    for n_documents in (200, -1):
        batches = list(reader.sample(source.db.big, 200, n_documents=n_documents, average_bytes=100_000))
        assert max(map(len, batches)) <= reader.BATCH_BYTES * 1.1


@pytest.mark.parametrize(("count", "size"), [(200, 100_000), (40, 500_000), (2_000, 10_000)])
def test_a_sample_ends_at_so_many_bytes_and_holds_each_document_once(source: Source, count: int, size: int) -> None:
    source.db.big.insert_many({"_id": n, "text": "x" * size} for n in range(count))
    sample = reader.sample(
        source.db.big, 10_000, n_documents=count, average_bytes=size, has_range_reads=True, most_bytes=5_000_000
    )
    batches = list(sample)
    drawn = sampled_ids(batches)
    assert 3_000_000 < sum(map(len, batches)) <= 5_000_000 + 2 * size
    assert {0, count - 1} <= set(drawn)
    assert len(drawn) - len(set(drawn)) <= len(drawn) // 3  # those at the ends may have been drawn, too
    assert sample.is_cut


def test_a_sample_of_a_view_or_with_a_filter_ends_at_so_many_bytes(source: Source) -> None:
    source.db.big.insert_many({"_id": n, "text": "x" * 50_000, "odd": n % 2} for n in range(300))
    source.db.command("create", "seen", viewOn="big", pipeline=[])
    for name, n_documents, query in (("seen", -1, None), ("big", 300, {"odd": 1})):
        sample = reader.sample(
            source.db[name],
            10_000,
            n_documents=n_documents,
            average_bytes=50_000,
            query=query,
            has_range_reads=name == "big",
            most_bytes=2_000_000,
        )
        batches = list(sample)
        assert 1_000_000 < sum(map(len, batches)) <= 2_100_000
        assert sample.is_cut
    small = reader.sample(source.db.seen, 10_000, n_documents=-1, has_range_reads=False, most_bytes=10**9)
    assert (len(sampled_ids(small)), small.is_whole, small.is_cut) == (300, True, False)
