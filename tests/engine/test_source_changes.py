"""The stream of changes: the keys of all that changes, from a time or a token on, through drops and renames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from engine.errors import MigrationError
from engine.mongo import causal
from engine.mongo import changes as changes_module
from engine.mongo.causal import SourceSet
from engine.mongo.changes import Answer, Change, ChangeStream, HistoryLost, time_of

if TYPE_CHECKING:
    from tests.conftest import Source


def opened(source: Source, since: int, token: bytes | None = None, known: SourceSet | None = None) -> ChangeStream:
    return ChangeStream(
        source.client, source.database, ["users", "notes"], known or causal.set_of(source.client), since, token
    )


def now(source: Source) -> int:
    return causal.clock_of(source.client).at


def all_of(source: Source, stream: ChangeStream) -> tuple[list[Change], Answer]:
    """What comes until the server says that there is nothing more up to its last write."""
    changes: list[Change] = []
    upto = now(source)
    answer = stream.next()
    while True:
        changes += answer.changes
        answer = stream.next()
        if not answer.changes and answer.at >= upto:
            return changes, answer


def in_short(changes: list[Change]) -> list[tuple[str, str, object]]:
    return [(each.kind, each.collection, bson.decode(each.key)["_id"] if each.key else None) for each in changes]


def test_events_of_documents_are_in_the_form_that_need_not_be_decoded(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(event: RawBSONDocument) -> Change:
        raise AssertionError(event)

    monkeypatch.setattr(changes_module, "decoded", refuse)
    since = now(source)
    source.db.users.insert_one({"_id": 0})
    source.db.users.update_one({"_id": 0}, {"$set": {"n": 1}})
    source.db.users.replace_one({"_id": 0}, {"n": 2})
    source.db.users.delete_one({"_id": 0})
    changes, _ = all_of(source, opened(source, since + 1))
    assert [each.kind for each in changes] == ["insert", "update", "replace", "delete"]


def test_each_change_brings_its_key_and_nothing_else(source: Source) -> None:
    source.db.users.insert_one({"_id": 0})
    since = now(source)
    source.db.users.insert_one({"_id": 1, "text": "x" * 15_000_000})
    source.db.users.update_one({"_id": 1}, {"$set": {"more": "y" * 1_000_000}})
    source.db.notes.replace_one({"_id": "a"}, {"n": 1}, upsert=True)
    source.db.notes.replace_one({"_id": "a"}, {"n": 2})
    source.db.other.insert_one({"_id": 2})
    source.db.users.delete_one({"_id": 0})
    wanted = now(source)
    stream = opened(source, since + 1)
    changes, answer = all_of(source, stream)
    assert in_short(changes) == [
        ("insert", "users", 1), ("update", "users", 1), ("insert", "notes", "a"), ("replace", "notes", "a"),
        ("delete", "users", 0),
    ]  # fmt: skip
    assert [each.at for each in changes] == sorted(each.at for each in changes)
    assert answer.at >= wanted
    stream.close()


def test_the_time_that_it_begins_at_is_included(source: Source) -> None:
    source.db.users.insert_one({"_id": 1})
    stream = opened(source, now(source))
    assert in_short(all_of(source, stream)[0]) == [("insert", "users", 1)]
    stream.close()


def test_it_goes_on_behind_a_token_also_when_its_cursor_is_gone(source: Source) -> None:
    stream = opened(source, now(source))
    source.db.users.insert_one({"_id": 1})
    _, answer = all_of(source, stream)
    source.db.users.insert_one({"_id": 2})
    stream.close()
    assert in_short(all_of(source, stream)[0]) == [("insert", "users", 2)]
    another = opened(source, time_of(answer.token), answer.token)
    assert in_short(all_of(source, another)[0]) == [("insert", "users", 2)]
    another.close()
    stream.close()


def test_a_transaction_is_all_of_its_changes_at_one_time(source: Source) -> None:
    source.db.users.insert_one({"_id": 0})
    stream = opened(source, now(source) + 1)
    with source.client.start_session() as session, session.start_transaction():
        source.db.users.insert_one({"_id": 1}, session=session)
        source.db.users.delete_one({"_id": 0}, session=session)
    changes, _ = all_of(source, stream)
    assert in_short(changes) == [("insert", "users", 1), ("delete", "users", 0)]
    assert len({each.at for each in changes}) == 1
    stream.close()


def test_what_becomes_of_collections_is_told_and_the_stream_goes_on(source: Source) -> None:
    source.db.users.insert_one({"_id": 0})
    source.db.other.insert_one({"_id": 0})
    stream = opened(source, now(source) + 1)
    source.db.other.rename("notes")
    source.db.users.drop()
    source.db.users.insert_one({"_id": 5})
    changes, _ = all_of(source, stream)
    assert in_short(changes) == [("rename", "other", None), ("drop", "users", None), ("insert", "users", 5)]
    assert changes[0].to == f"{source.database}.notes"
    stream.close()


def test_another_source_is_not_taken_for_this_one(source: Source) -> None:
    source.db.users.insert_one({})
    other = SourceSet(causal.set_of(source.client).name, "0" * 24)
    with pytest.raises(MigrationError, match="leads to another replica set") as refused:
        opened(source, now(source), known=other).next()
    assert refused.value.code == "source_changed"
    with pytest.raises(MigrationError, match="went back to an earlier time") as refused:
        opened(source, now(source) + (60 << 32)).next()
    assert refused.value.code == "source_went_back"
    seen = causal.clock_of(source.client).stays
    source.db.users.insert_one({})

    def seeing(at: int) -> ChangeStream:
        known = causal.set_of(source.client)
        return ChangeStream(source.client, source.database, ["users"], known, now(source), None, lambda: at)

    seeing(seen).next()
    with pytest.raises(MigrationError, match="went back to an earlier time"):
        seeing(seen - (1 << 20)).next()  # the oplog reaches back there, and has no such write


def test_a_token_that_the_server_cannot_take_is_history_that_is_lost(source: Source) -> None:
    source.db.users.insert_one({"_id": 1})
    stream = opened(source, now(source))
    stream.next()
    source.db.users.insert_one({"_id": 2})
    while not (changed := stream.next()).changes:
        pass
    stream.close()
    token = str(bson.decode(changed.token)["_data"])
    before = int(token[2:18], 16) - (3_600 << 32)
    with pytest.raises(HistoryLost) as lost:
        all_of(source, opened(source, before, bson.encode({"_data": f"82{before:016X}{token[18:]}"})))
    assert lost.value.code == "history_lost"
