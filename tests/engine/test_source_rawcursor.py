"""Our cursor of raw batches gives what the driver's own gives, without an object for each document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from engine.mongo.rawcursor import LeanCursor

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
