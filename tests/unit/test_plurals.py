"""Counts in sentences: one thing is told as one, on both sides of the engine's protocol."""

from __future__ import annotations

import pytest

from engine.mapping.cautions import corrupt_caution
from engine.mapping.names import TableName
from engine.plurals import counted
from engine.preflight.target import _connections
from engine.rows import TableLoad
from engine.verify.counts import explain, explain_followed
from tui.words import format as tui_format

LOAD = TableLoad(1, "shop.orders", TableName("public", "orders"), "{}", 1)


@pytest.mark.parametrize(("count", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_200, "1,200 rows")])
def test_a_count_has_its_noun(count: int, words: str) -> None:
    assert counted(count, "row") == words == tui_format.counted(count, "row")


@pytest.mark.parametrize(("count", "words"), [(1, "1 row differs"), (1_200, "1,200 rows differ")])
def test_what_agrees_with_a_count_is_given(count: int, words: str) -> None:
    assert counted(count, "row differs", "rows differ") == words
    assert tui_format.counted(count, "row differs", "rows differ") == words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (explain(LOAD, "create", 1, 1, 0, 1, 2), ["the table gained 2 rows, 1 was written"]),
        (explain(LOAD, "create", 2, 2, 0, 1, 1),
         ["the source has 1 document now, 2 were read", "the table gained 1 row, 2 were written"]),
        (explain(LOAD, "upsert", 2, 2, 0, 2, 1), ["the table has 1 row, 2 keys were written"]),
        (explain_followed("create", LOAD, 1, 1, 1),
         ["the table gained 1 row, the source has 1 document, of which 1 is a reject"]),
        (explain_followed("upsert", LOAD, 2, 0, 1), ["the table has 0 rows, the source 1 document that is no reject"]),
        ([corrupt_caution(1, 1)[1]], ["1 of 1 document seen is corrupt and will be rejected."]),
        ([_connections(1, 90).message], ["90 connections are free, and 1 worker and the engine need 3."]),
    ],
)  # fmt: skip
def test_sentences_about_one(found: list[str], words: list[str]) -> None:
    assert found == words
