"""The corpus through the plain converter: rejects, policy hits and column types; the values are PostgreSQL's to judge."""

from __future__ import annotations

import pytest

from engine.convert import make_converter
from tests.corpus import CASES, Case, Reject, encode


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_has_the_expected_outcome(case: Case) -> None:
    mapping = case.mapping()
    document = encode(case.document)
    converted = make_converter(mapping, "plain").convert(document, 0, 1)
    rejects = [Reject(reject.reason, reject.field) for reject in converted.rejects]
    assert rejects == ([case.expected] if isinstance(case.expected, Reject) else [])
    assert len(converted.row_ends) == 1 - len(rejects)
    assert converted.policy_hits == case.hits
    types = {column.name: column.sql_type for column in mapping.columns}
    assert {name: types[name] for name in case.types} == {
        name: sql_type.replace("timestamp with time zone", "timestamptz") for name, sql_type in case.types.items()
    }


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
