"""Values that policies changed in committed rows, as the ledger keeps them, by policy: of slices in `mongopg.slice.altered`, of
applied changes in `mongopg.applied.altered`.

Policies are named as the converters name their hits, such as `nul.strip` or `overflow` (`engine.convert.interface`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

Altered = dict[str, int]
"""How many values, by policy."""


def sum_sql(slices: str, condition: str, condition_of_applied: str) -> str:
    """A query in parentheses for the sums of some slices, and of batches of changes; NULL where nothing was changed.

    Args:
        slices: FROM items; the slice is `s` among them.
        condition: which slices.
        condition_of_applied: which batches of `mongopg.applied`, as `a`.
    """
    return merged_sql(
        f"SELECT s.altered FROM {slices} WHERE {condition}"  # noqa: S608 - our own words
        f" UNION ALL SELECT a.altered FROM mongopg.applied a WHERE {condition_of_applied}"
    )


def merged_sql(counts: str) -> str:
    """A query in parentheses for the sums of what another one gives as `altered`; NULL where nothing was changed."""
    return (
        "(SELECT jsonb_object_agg(policy, n) FROM (SELECT policy, sum(n::bigint)::bigint AS n"  # noqa: S608 - our own words
        f" FROM ({counts}) AS counts (altered), jsonb_each_text(altered) AS each_policy (policy, n) GROUP BY policy) sums)"
    )


def stored_altered(altered: Mapping[str, int]) -> str | None:
    """For a column of type jsonb; nothing where nothing was changed."""
    return json.dumps(altered, sort_keys=True) if altered else None


def read_altered(stored: str | None) -> Altered:
    """The counts in such a column."""
    return json.loads(stored) if stored else {}
