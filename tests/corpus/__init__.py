"""One document for every edge of what becomes what (docs/edges.md), with its outcome written down.

A case holds the documents that the census saw, the one document that is converted, and either what PostgreSQL then shows
for each column (`::text`, time zone UTC) or the reason of the reject. Columns that are not named are NULL.
"""

from __future__ import annotations

from tests.corpus.case import Case, Reject, encode
from tests.corpus.damage import CORRUPT
from tests.corpus.identities import IDS
from tests.corpus.kinds import KINDS
from tests.corpus.policies import BOUNDS, DRIFT, POLICIES
from tests.corpus.structure import STRUCTURE

CASES = [*KINDS, *POLICIES, *DRIFT, *BOUNDS, *IDS, *STRUCTURE, *CORRUPT]

__all__ = ["CASES", "Case", "Reject", "encode"]
