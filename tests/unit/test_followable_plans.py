"""Plans whose source cannot be followed: each is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import UsageError
from engine.follow.request import require_followable
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.plan import TablePlan
from engine.postgres.indexes import Index


def table(*, kinds: frozenset[Kind] = frozenset({Kind.INT32}), **facts: Any) -> TablePlan:
    key = Column(name="_id", type=facts.pop("key", ColumnType.INTEGER), role=Role.ID, kinds=kinds, nullable=False)
    plan = TablePlan(
        task_id=1, database="shop", collection="users", schema_name="public", table="users", mapping=Mapping(columns=(key,)),
        has_range_reads=True, documents=1, size_bytes=1, uuid="a" * 32,
    )  # fmt: skip
    return plan.model_copy(update=facts)


def refusal(*tables: TablePlan, mode: str = "create", limit: int = 0) -> str:
    with pytest.raises(UsageError) as refused:
        require_followable(tables, mode, limit)
    assert (refused.value.code, refused.value.exit_code) == ("cannot_follow", 2)
    return refused.value.message


@pytest.mark.parametrize("mode", ["create", "replace", "upsert"])
def test_a_plain_collection_can_be_followed(mode: str) -> None:
    require_followable([table(), table(filter='{"open": true, "at": {"$lt": 5}}')], mode, 0)
    require_followable([table(indexes=(Index(name="n", source_name="n_1", keys=()),))], mode, 0)


def test_a_mode_that_adds_rows_cannot() -> None:
    assert "mode append" in refusal(table(), mode="append")
    assert "run.limit" in refusal(table(), limit=3)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"has_range_reads": False}, "a view or a time series"),
        ({"uuid": ""}, "no UUID that the user may see"),
        ({"filter": '{"$expr": {"$lt": ["$at", "$$NOW"]}}'}, "whose answer changes by itself"),
        ({"filter": '{"$expr": {"$lt": [{"$rand": {}}, 0.5]}}'}, "whose answer changes by itself"),
        ({"filter": '{"$where": "this.n > 3"}'}, "whose answer changes by itself"),
        ({"kinds": frozenset({Kind.DOCUMENT}), "key": ColumnType.JSONB}, "keys that may become one"),
        ({"kinds": frozenset({Kind.OBJECT_ID, Kind.STRING}), "key": ColumnType.TEXT}, "keys that may become one"),
    ],
)
def test_what_stands_in_the_way_is_named_with_its_collection(facts: dict[str, Any], words: str) -> None:
    message = refusal(table(), table(**facts))
    assert words in message
    assert "shop.users " in message
