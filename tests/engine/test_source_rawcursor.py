"""Our cursor of raw batches gives what the driver's own gives, without an object for each document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import raw_bson
from bson.raw_bson import RawBSONDocument
from pymongo import message
from pymongo.cursor import RawBatchCursor
from pymongo.errors import OperationFailure

from engine.mapping.bson import documents
from engine.mongo import rawcursor, reader
from engine.mongo.rawcursor import DriverCursor, LeanCursor, raw_cursor
from engine.mongo.reader import BatchSize, RangeReader

if TYPE_CHECKING:
    from tests.conftest import Source

N_DOCUMENTS = 2_500


@pytest.mark.parametrize("query", [{}, {"n": {"$lt": 7}}, {"n": -1}], ids=["several batches", "one batch", "nothing"])
def test_batches_are_those_of_the_driver(source: Source, query: dict[str, Any]) -> None:
    users = source.db.users
    users.insert_many([{"n": n, "tags": [1, {"a": []}], "text": "x" * (n % 50)} for n in range(N_DOCUMENTS)])
    options: dict[str, Any] = {"sort": [("_id", 1)], "batch_size": 1_000}
    assert list(LeanCursor(users, query, None, **options)) == list(users.find_raw_batches(query, None, **options))


def test_no_object_is_made_of_a_document(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    source.db.users.insert_many([{"n": n} for n in range(N_DOCUMENTS)])
    made: list[int] = []
    make = RawBSONDocument.__init__

    def counted(self: RawBSONDocument, *args: Any, **kwargs: Any) -> None:
        made.append(1)
        make(self, *args, **kwargs)

    monkeypatch.setattr(RawBSONDocument, "__init__", counted)
    batches = list(LeanCursor(source.db.users, {}, None, batch_size=1_000))
    assert sum(map(len, batches)) > N_DOCUMENTS
    assert len(made) < 50


def test_a_process_that_has_proved_the_short_way_unpacks_its_first_batch_once(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.db.users.insert_many([{"n": n} for n in range(N_DOCUMENTS)])
    by_driver: list[int] = []
    unpack = RawBatchCursor._unpack_response
    monkeypatch.setattr(rawcursor, "_shortcut", rawcursor._find_shortcut())
    rawcursor.prove_shortcut()

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        by_driver.append(1)
        return unpack(self, *args, **kwargs)

    monkeypatch.setattr(RawBatchCursor, "_unpack_response", counted)
    batches = list(LeanCursor(source.db.users, {}, None, batch_size=1_000))
    assert len(list(documents(b"".join(batches)))) == N_DOCUMENTS
    assert not by_driver


def test_a_driver_whose_made_up_answer_is_another_by_the_short_way_unpacks_all_by_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shortcut = rawcursor._find_shortcut()
    assert shortcut is not None
    shortcut.read = lambda answer: {}
    monkeypatch.setattr(rawcursor, "_shortcut", shortcut)
    rawcursor.prove_shortcut()
    assert rawcursor._shortcut is None


def test_a_driver_without_answers_to_make_up_proves_itself_by_its_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rawcursor, "_shortcut", rawcursor._find_shortcut())
    monkeypatch.delattr(message, "_OpMsg")
    rawcursor.prove_shortcut()
    assert rawcursor._shortcut is not None
    assert not rawcursor._shortcut.is_proven


def test_a_refused_query_says_what_the_driver_says(source: Source) -> None:
    source.db.users.insert_one({})
    failures = []
    for cursor in (LeanCursor(source.db.users, {"$nonsense": 1}), source.db.users.find_raw_batches({"$nonsense": 1})):
        with pytest.raises(OperationFailure) as caught:
            list(cursor)
        failures.append((caught.value.code, caught.value.details["errmsg"] if caught.value.details else ""))
    assert failures[0] == failures[1]


def test_labels_of_an_error_arrive(source: Source) -> None:
    source.db.users.insert_one({})
    source.client.admin.command(
        "configureFailPoint",
        "failCommand",
        mode={"times": 1},
        data={"failCommands": ["find"], "errorCode": 2, "errorLabels": ["Marked"], "appName": "labels"},
    )
    try:
        client = source.client.__class__(source.uri, appname="labels")
        with client, pytest.raises(OperationFailure) as caught:
            list(LeanCursor(client[source.db.name].users, {}))
        assert caught.value.has_error_label("Marked")
    finally:
        source.client.admin.command("configureFailPoint", "failCommand", mode="off")


PRIVATE_NAMES = [
    (raw_bson, "_RawArrayBSONDocument"),
    (raw_bson, "_RAW_ARRAY_BSON_OPTIONS"),
    (bson, "_convert_raw_document_lists_to_streams"),
]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch is slow, however busy the machine is."""
    monkeypatch.setattr(reader, "SLOW_BATCH_S", float("inf"))


def sizes_read(source: Source) -> list[int]:
    """Documents in each batch of a reader of `users`, whose batches grow where the driver lets them."""
    batches = RangeReader(source.db.users, None, True, None, batch_size=BatchSize(100))
    sizes = []
    while batch := batches.next_batch():
        sizes.append(sum(1 for _ in documents(batch.data)))
    return sizes


def test_this_driver_has_every_private_name_that_the_short_way_needs(source: Source) -> None:
    source.db.users.insert_many([{"n": n} for n in range(N_DOCUMENTS)])
    assert rawcursor._find_shortcut() is not None
    assert callable(RawBatchCursor._unpack_response)
    cursor = raw_cursor(source.db.users, {}, batch_size=100)
    assert isinstance(cursor, LeanCursor)
    assert len(list(documents(next(cursor)))) == cursor.asks_for == 100
    cursor.resize(300)
    assert len(list(documents(next(cursor)))) == cursor.asks_for == 300
    assert rawcursor._shortcut is not None
    assert rawcursor._shortcut.is_proven
    assert sizes_read(source) == [100, N_DOCUMENTS - 100]


@pytest.mark.parametrize(("module", "name"), PRIVATE_NAMES)
def test_a_driver_without_one_of_the_names_reads_by_its_own_cursors(
    source: Source, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    source.db.users.insert_many([{"n": n} for n in range(N_DOCUMENTS)])
    with monkeypatch.context() as hidden:
        hidden.delattr(module, name)
        shortcut = rawcursor._find_shortcut()
    assert shortcut is None
    monkeypatch.setattr(rawcursor, "_shortcut", shortcut)
    assert isinstance(raw_cursor(source.db.users, {}), DriverCursor)
    assert sizes_read(source) == [100] * (N_DOCUMENTS // 100)


@pytest.mark.parametrize("read", [lambda answer: {}, lambda answer: answer.decode(), bson.decode])
def test_a_driver_whose_first_batch_is_another_by_the_short_way_unpacks_all_by_its_own(
    source: Source, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    source.db.users.insert_many([{"n": n} for n in range(N_DOCUMENTS)])
    shortcut = rawcursor._find_shortcut()
    assert shortcut is not None
    shortcut.read = read
    shortcut.array_class = dict  # so that an answer that was decoded counts
    monkeypatch.setattr(rawcursor, "_shortcut", shortcut)
    options: dict[str, Any] = {"sort": [("_id", 1)], "batch_size": 1_000}
    cursor = raw_cursor(source.db.users, {}, **options)
    assert list(cursor) == list(rawcursor.raw_batches(source.db.users.find_raw_batches({}, **options)))
    assert not shortcut.is_proven
    assert rawcursor._shortcut is None
