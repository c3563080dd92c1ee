"""The plan of a run as data: one table for each collection, and what was asked for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping as Lookup
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.errors import PlanChanged
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.notation import written_table
from engine.postgres.ddl import key_name
from engine.postgres.indexes import Index
from engine.postgres.sqlstates import one_line

PLAN_FORMAT = 1
"""Of plans that the ledger keeps; raised when a program that does not know the new meaning would copy something else."""
FIRST_TASK_ID = 1
"""Task 0 is seeding."""
SHOWN_VALUE = 120
"""Characters of a value that `differences` repeats."""


class TablePlan(BaseModel):
    """What becomes of one collection."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    task_id: int
    database: str
    collection: str
    schema_name: str
    table: str
    mapping: Mapping
    has_range_reads: bool
    documents: int
    """To be copied: the server's estimate when the plan was made, a count with a filter; 0 when it gives none."""
    size_bytes: int
    notes: dict[str, str] = {}
    """Column name -> why it has its type."""
    seen: dict[str, tuple[float, dict[str, float]]] = {}
    """Column name -> share of the documents that have the field (0..1), and of its kinds by name (0..1)."""
    longest: dict[str, int] = {}
    """Column name -> characters of its longest text that was seen."""
    warnings: list[str] = []
    """One sentence each, the weightiest first."""
    limit: int = 0
    """Documents to copy at most; 0 is all."""
    end: bytes | None = None
    """Where `limit` ends the copy: the first key that is left out; None is the collection's end."""
    uuid: str = ""
    """Of the collection, in hex: another one under the same name has another; empty where there is none to be seen."""
    filter: str = ""
    """Extended JSON: only documents that match are copied; empty takes all."""
    indexes: tuple[Index, ...] = ()
    """To be built after the load."""
    left_indexes: tuple[str, ...] = ()
    """MongoDB's other indexes, a sentence each: why PostgreSQL does not get them."""
    by_hand: tuple[str, ...] = ()
    """For each of those: SQL that would serve the same queries; empty where nothing would."""
    census: Literal["sample", "full"] = "sample"
    """Whether the mapping rests on a sample or on all documents."""
    order: Literal["id", "natural"] = "id"
    """In which it is read."""
    order_reason: str = ""
    """Why, in a few words; empty where there was nothing to choose."""
    key_name: str = ""
    """What the primary key is to be called; empty is what PostgreSQL would call it."""

    @property
    def namespace(self) -> str:
        """`db.collection`."""
        return f"{self.database}.{self.collection}"

    @property
    def target(self) -> str:
        """`schema.table`."""
        return f"{self.schema_name}.{self.table}"

    @property
    def key(self) -> str:
        """What the primary key is to be called."""
        return self.key_name or key_name(TableName(self.schema_name, self.table))

    @property
    def has_key(self) -> bool:
        """`_id` becomes the primary key: not for views and time-series, where equal ones may occur."""
        return self.has_range_reads and not self.mapping.id_column.nullable


class Plan(BaseModel):
    """Every collection of a run."""

    model_config = ConfigDict(frozen=True)

    request: dict[str, Any]
    """What was asked for, in plain words: source, collections, mode, mapping options, edits."""
    tables: tuple[TablePlan, ...]
    format: int = PLAN_FORMAT
    """The program that made it knew plans up to this one."""
    saved: str = ""
    """The operator's own TOML, where one was given: asking for the same run again takes it."""

    @cached_property
    def _targets(self) -> Counter[str]:
        """How many tables have each `schema.table`."""
        return Counter(table.target for table in self.tables)

    def with_mappings(self, mappings: Lookup[int, Mapping]) -> Plan:
        """The same with other mappings, by task."""
        tables = tuple(table.model_copy(update={"mapping": mappings[table.task_id]}) for table in self.tables)
        return self.model_copy(update={"tables": tables})

    def label(self, table: TablePlan) -> str:
        """`schema.table` for people and as a key: no two tables of the plan have the same."""
        if self._targets[table.target] > 1:
            return written_table(table.schema_name, table.table)
        return table.target

    @property
    def fingerprint(self) -> str:
        """A hash of the request."""
        return fingerprint(self.request)


def kept_plan(text: str, run_id: str) -> Plan:
    """The plan that the ledger keeps of a run, from its JSON.

    Raises:
        PlanChanged: another version of this program made it, and this one does not know what it means.
    """
    try:
        plan = Plan.model_validate_json(text, context={})  # equal columns are one object
    except ValidationError as error:
        fields = ", ".join(dict.fromkeys(".".join(map(str, each["loc"])) for each in error.errors()[:3]))
        raise PlanChanged(
            f"The plan of run {run_id} was written by another version of this program, which this one cannot read "
            f"({one_line(fields)}): use the version that began the run, or start a new one."
        ) from None
    if plan.format > PLAN_FORMAT:
        raise PlanChanged(
            f"The plan of run {run_id} has format {plan.format}, this program knows {PLAN_FORMAT}: use the newer program "
            "that began the run, or start a new one."
        )
    return plan


def fingerprint(request: dict[str, Any]) -> str:
    """A short hash of a request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What a resumed run's request and today's differ in, each in a few words."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{difference}" for difference in differences(old, new)]
        elif isinstance(old, dict) and new is None:
            found.append(f"{name} is missing")
        elif isinstance(new, dict) and old is None:
            found.append(f"{name} is new")
        elif old != new:
            found.append(f"{name} was {_shown(old)} and is {_shown(new)}")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_VALUE else text[:SHOWN_VALUE] + "…"
