"""What converting a sample adds to a plan's warnings, and what it says otherwise than the census."""

from __future__ import annotations

import bson
import pytest
from bson import Code

from engine.mapping.cautions import several_kinds
from engine.mapping.census import Census
from engine.mapping.model import Column, ColumnType
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from engine.plan.making import Survey
from engine.plan.model import TablePlan
from engine.plan.planning import warnings_of
from engine.plan.preview import preview


def survey_of(raw: list[bytes], kept: list[bytes], **options: str) -> Survey:
    census = Census()
    for document in raw:
        census.add(document)
    proposal = propose(census, census.id_kinds, MappingOptions.model_validate(options))
    table = TablePlan(
        task_id=1,
        database="shop",
        collection="orders",
        schema_name="public",
        table="orders",
        mapping=proposal.mapping,
        has_range_reads=True,
        documents=len(raw),
        size_bytes=0,
        warnings=proposal.warnings,
    )
    return Survey(table, census, [weight for weight, _ in proposal.weighed], kept)


def sentences(survey: Survey) -> list[str]:
    return [text for _, text in warnings_of(survey, preview(survey.documents, survey.table.mapping, "plain"))]


GOOD = [bson.encode({"_id": n, "code": Code("x", {"a": 1}), "flag": True}) for n in range(6)]
BROKEN = {
    "within code": GOOD[0].replace(b"\x10a\0", b"\x75a\0"),
    "a bool of 7": GOOD[1].replace(b"\x08flag\0\1", b"\x08flag\0\7"),
    "an unknown kind": GOOD[2].replace(b"\x08flag\0", b"\x44flag\0"),
    "no end": GOOD[3][:-1] + b"\1",
}
"""The census overlooks some of them; converting does not."""


@pytest.mark.parametrize("way", BROKEN)
def test_corrupt_documents_are_counted_once_as_converting_sees_them(way: str) -> None:
    documents = [*GOOD, BROKEN[way]]
    assert sentences(survey_of(documents, documents)) == ["1 of 7 documents seen is corrupt and will be rejected."]


def test_of_a_large_sample_the_census_saw_more_than_was_converted() -> None:
    documents = [*GOOD, BROKEN["an unknown kind"], BROKEN["an unknown kind"]]
    survey = survey_of(documents, [*GOOD[:3], documents[-1]])
    assert sentences(survey) == ["2 of 8 documents seen are corrupt and will be rejected."]


def test_where_fewer_were_converted_than_sampled_a_share_is_told_and_no_second_size() -> None:
    documents = [*GOOD, bson.encode({"_id": 9, "text": "a\0b"})]
    (rejected, _) = sentences(survey_of([*documents, *GOOD], documents))
    assert rejected == "14.3% of the sampled documents would be rejected: NUL in text."


def test_other_rejects_stay_beside_the_corrupt_ones() -> None:
    documents = [*GOOD, BROKEN["no end"], bson.encode({"_id": 9, "text": "a\0b"})]
    assert sentences(survey_of(documents, documents)) == [
        "1 of 8 documents seen is corrupt and will be rejected.",
        "1 of 8 sampled documents would be rejected: 1 × NUL in text.",
        "Field text: strings with a NUL character among those seen: 1; policy nul = reject.",
    ]


@pytest.mark.parametrize(
    ("value", "most"),
    [
        # PostgreSQL 18 takes so many columns of such values and `_id` in a row, and not one more.
        ("x" * 20, 387), ("x" * 22, 353), ("x" * 24, 451), ("x" * 500, 451), (1.5, 1016), (bson.ObjectId(), 451),
        (bson.Binary(b"x" * 16, 4), 508), (bson.Decimal128("123456789.123"), 738), ({"a": "bcdefghijklmnop"}, 451),
        ([1, 2, 3], 451), (b"x" * 10, 738),
    ],
)  # fmt: skip
def test_rows_that_are_too_long_for_a_page_are_foreseen(value: object, most: int) -> None:
    for count in (most, most + 1):
        document = bson.encode({"_id": 1} | {f"f{number}": value for number in range(count)})
        survey = survey_of([document], [document], overflow="reject")
        assert not any("_extra" in text for text in sentences(survey))
        shown = preview([document], survey.table.mapping, "plain")
        assert shown.n_too_wide == (count > most)
        assert any(text.startswith("Rows of 1 of 1 sampled document have up to 8,1") for text in sentences(survey)) == (
            count > most
        )


def test_what_goes_to_extra_is_named_only_where_the_policy_says_so() -> None:
    census = Census()
    for n in range(100):
        census.add(bson.encode({"_id": n, "amount": n or "none"}))
    path = ("amount",)
    for own, of_all, is_named in (
        ("", "overflow", True), ("overflow", "reject", True), ("reject", "overflow", False), ("", "reject", False),
    ):  # fmt: skip
        column = Column(name="amount", type=ColumnType.JSONB, path=path, overflow=own)
        options = MappingOptions.model_validate({"overflow": of_all})
        texts = [text for _, text in several_kinds(path, census.fields["amount"], column, options)]
        assert any("go to _extra" in text for text in texts) == is_named, (own, of_all)
