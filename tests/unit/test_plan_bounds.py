"""Which keys may become one."""

from __future__ import annotations

import pytest

from engine.mapping.census import Census
from engine.mapping.equal_keys import key_doubts
from engine.mapping.model import Column, ColumnType, Kind
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose


@pytest.mark.parametrize(
    ("kinds", "options", "is_doubtful"),
    [
        ({Kind.OBJECT_ID}, {}, False),
        ({Kind.OBJECT_ID, Kind.INT32}, {}, False),
        ({Kind.INT32, Kind.INT64}, {}, False),
        ({Kind.OBJECT_ID, Kind.STRING}, {}, True),
        ({Kind.OBJECT_ID, Kind.STRING}, {"json_values": "extended"}, False),
        ({Kind.DATE, Kind.STRING, Kind.INT32}, {}, True),
        ({Kind.DOCUMENT}, {}, True),
        ({Kind.BINARY}, {}, True),
        ({Kind.UUID}, {}, False),
        ({Kind.DOUBLE, Kind.DECIMAL128}, {}, True),
        ({Kind.DOUBLE, Kind.DECIMAL128}, {"json_values": "extended"}, False),
        ({Kind.DOUBLE, Kind.INT64}, {}, False),
    ],
)
def test_keys_that_are_written_alike_may_become_one(
    kinds: set[Kind], options: dict[str, str], is_doubtful: bool
) -> None:
    mapping = propose(Census(), frozenset(kinds), MappingOptions.model_validate(options)).mapping
    assert bool(key_doubts(mapping, "upsert")) is is_doubtful
    assert key_doubts(mapping, "append") == ""


def test_a_double_and_a_decimal_of_the_same_digits_may_become_one_as_numeric() -> None:
    mapping = propose(Census(), frozenset({Kind.DECIMAL128}), MappingOptions()).mapping
    kinds = frozenset({Kind.DECIMAL128, Kind.DOUBLE})
    column = mapping.id_column.model_copy(update={"type": ColumnType.NUMERIC, "kinds": kinds})
    assert "Decimal128" in key_doubts(mapping.model_copy(update={"columns": (column,)}), "upsert")


def test_any_two_kinds_may_become_one_as_text() -> None:
    mapping = propose(Census(), frozenset({Kind.INT32}), MappingOptions()).mapping
    column: Column = mapping.id_column.model_copy(
        update={"type": ColumnType.TEXT, "kinds": frozenset({Kind.INT32, Kind.STRING})}
    )
    assert "as text" in key_doubts(mapping.model_copy(update={"columns": (column,)}), "upsert")
