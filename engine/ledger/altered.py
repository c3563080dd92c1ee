"""Values that policies changed in committed rows, as the ledger keeps them: by slice and policy, in `mongopg.slice.altered`.

Policies are named as the converters name their hits, such as `nul.strip` or `overflow` (`engine.convert.interface`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

Altered = dict[str, int]
"""How many values, by policy."""


def sum_sql(slices: str, condition: str) -> str:
    """A query in parentheses for the sums of some slices; NULL where nothing was changed.

    Args:
        slices: FROM items; the slice is `s` among them.
        condition: which slices.
    """
    return (
        "(SELECT jsonb_object_agg(policy, n) FROM (SELECT policy, sum(n::bigint)::bigint AS n"  # noqa: S608 - our own words
        f" FROM {slices}, jsonb_each_text(s.altered) AS each_policy (policy, n) WHERE {condition} GROUP BY policy) sums)"
    )


def stored_altered(altered: Mapping[str, int]) -> str | None:
    """For a column of type jsonb; nothing where nothing was changed."""
    return json.dumps(altered, sort_keys=True) if altered else None


def read_altered(stored: str | None) -> Altered:
    """The counts in such a column."""
    return json.loads(stored) if stored else {}
