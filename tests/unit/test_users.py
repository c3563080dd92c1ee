"""Synthetic users: the same for the same seed and index, in an order that follows the index."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId, decode, encode

from engine.work.users import MAX_INDEX, UserPages, index_of, user_id

FIELDS = {
    "_id": ObjectId,
    "username": str,
    "email": str,
    "name": str,
    "age": int,
    "company": str,
    "active": bool,
    "balance": float,
    "registeredAt": datetime,
    "address": dict,
    "tags": list,
}


@pytest.fixture(scope="module")
def users() -> list[dict[str, Any]]:
    return [decode(user) for user in UserPages(1).documents(0, 20_000)]


def test_users_are_valid_bson() -> None:
    for user in UserPages(3).documents(0, 2_000):
        assert encode(decode(user)) == user


def test_users_have_the_promised_fields_in_order(users: list[dict[str, Any]]) -> None:
    for user in users:
        assert [(field, type(value)) for field, value in user.items()] == list(FIELDS.items())
        assert list(user["address"]) == ["street", "city", "zip", "country"]
        assert all(type(value) is str and value for value in user["address"].values())
        assert all(type(tag) is str for tag in user["tags"])


def test_values_make_sense(users: list[dict[str, Any]]) -> None:
    for user in users:
        assert 18 <= user["age"] <= 90
        assert datetime(2015, 1, 1) <= user["registeredAt"] < datetime.now(UTC).replace(tzinfo=None)
        assert user["email"].startswith(user["username"] + "@example.")
        assert round(user["balance"], 2) == user["balance"]
        assert len(set(user["tags"])) == len(user["tags"])


def test_values_vary(users: list[dict[str, Any]]) -> None:
    assert len({user["username"] for user in users}) == len(users)
    assert len({user["name"] for user in users}) > len(users) * 0.9
    assert len({user["address"]["street"] for user in users}) > 1_500
    assert len({user["balance"] for user in users}) > len(users) * 0.9
    assert len({user["registeredAt"] for user in users}) > len(users) * 0.9
    assert len({user["age"] for user in users}) == 73
    assert len({user["company"] for user in users}) >= 250
    assert {len(user["tags"]) for user in users} == {0, 1, 2, 3}
    assert 0.7 < sum(user["active"] for user in users) / len(users) < 0.9


def test_users_have_the_size_that_speed_is_measured_with() -> None:
    sizes = [len(user) for user in UserPages(1).documents(0, 20_000)]
    assert 320 < sum(sizes) / len(sizes) < 345


@pytest.mark.parametrize("portion", [1, 7, 100, 256, 257, 999])
def test_portions_do_not_matter(portion: int) -> None:
    pages = UserPages(42)
    whole = pages.documents(100, 1_300)
    parts = [pages.documents(low, min(low + portion, 1_300)) for low in range(100, 1_300, portion)]
    assert [user for part in parts for user in part] == whole


def test_another_process_makes_the_same_users() -> None:
    code = (
        "import hashlib; from engine.work.users import UserPages;"
        "print(hashlib.sha256(b''.join(UserPages(5).documents(1000, 3000))).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(b"".join(UserPages(5).documents(1_000, 3_000))).hexdigest()


def test_seeds_make_different_users() -> None:
    one, two = UserPages(1).documents(0, 1_000), UserPages(2).documents(0, 1_000)
    assert not {decode(user)["_id"] for user in one} & {decode(user)["_id"] for user in two}
    assert [decode(user)["name"] for user in one] != [decode(user)["name"] for user in two]


def test_ids_ascend_with_the_index() -> None:
    indexes = [0, 1, 255, 256, 65_535, 65_536, 999_999_999, MAX_INDEX - 1]
    ids = [user_id(9, index) for index in indexes]
    assert ids == sorted(ids)


def test_the_id_of_a_user_is_the_one_in_its_document() -> None:
    (user,) = UserPages(8).documents(123_456, 123_457)
    assert decode(user)["_id"].binary == user_id(8, 123_456)


@pytest.mark.parametrize("seed", [0, 1, -5, 2**80])
def test_index_of_undoes_user_id(seed: int) -> None:
    assert index_of(user_id(seed, 77), seed) == 77
    assert index_of(user_id(seed, 77), seed + 1) is None
    assert index_of(ObjectId().binary, seed) is None
    assert index_of(b"short", seed) is None


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (5, 4), (0, MAX_INDEX + 1)])
def test_indexes_out_of_range_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        UserPages(1).documents(low, high)


@pytest.mark.parametrize("index", [-1, MAX_INDEX])
def test_ids_out_of_range_are_refused(index: int) -> None:
    with pytest.raises(ValueError, match="not below"):
        user_id(1, index)


def test_the_last_index_has_a_user() -> None:
    (user,) = UserPages(1).documents(MAX_INDEX - 1, MAX_INDEX)
    assert decode(user)["username"].endswith(str(MAX_INDEX - 1))
