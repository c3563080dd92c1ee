"""Names of the keys and indexes that a run makes: all different, and none that the target has.

PostgreSQL keeps tables, indexes, sequences and views of a schema in one space of names, so the key of `a` may be called like
the table of a collection `a_pkey`, and the indexes of `a(b_c)` and `a_b(c)` alike. What comes later gets a number; what comes
later does not depend on the order of the tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from engine.plan.model import TablePlan
from engine.postgres.ddl import KEY_SUFFIX, fitted

_INDEX_SUFFIXES = ("_key", "_idx")


def with_own_names(
    tables: Sequence[TablePlan], taken: Mapping[str, Collection[str]] | None = None
) -> tuple[TablePlan, ...]:
    """The tables with names for their keys and indexes that nothing else has.

    Args:
        taken: names that the target has, by schema.
    """
    used = {table.schema_name: set((taken or {}).get(table.schema_name, ())) for table in tables}
    for table in tables:
        used[table.schema_name].add(table.table)
    ordered = sorted(tables, key=lambda table: (table.schema_name, table.table))
    keys: dict[int, str] = {}
    for table in ordered:
        if table.has_key:
            keys[table.task_id] = _free(table.key, table.table, KEY_SUFFIX, used[table.schema_name])
    found: dict[int, TablePlan] = {}
    for table in ordered:
        indexes = []
        for index in table.indexes:
            suffix = next((each for each in _INDEX_SUFFIXES if index.name.endswith(each)), "")
            stem = index.name.removesuffix(suffix)
            name = _free(index.name, stem, suffix, used[table.schema_name])
            indexes.append(index if name == index.name else index.model_copy(update={"name": name}))
        changes = {"indexes": tuple(indexes), "key_name": keys.get(table.task_id, "")}
        found[table.task_id] = table.model_copy(update=changes)
    return tuple(found[table.task_id] for table in tables)


def own_names(tables: Sequence[TablePlan]) -> dict[str, set[str]]:
    """The names of keys and indexes, by schema."""
    found: dict[str, set[str]] = {}
    for table in tables:
        names = found.setdefault(table.schema_name, set())
        names.update(index.name for index in table.indexes)
        if table.has_key:
            names.add(table.key)
    return found


def _free(wanted: str, stem: str, suffix: str, used: set[str]) -> str:
    """The name, or one with a number before its suffix; it counts as used from now on."""
    name, number = wanted, 2
    while name in used:
        name = fitted(stem, f"_{number}{suffix}")
        number += 1
    used.add(name)
    return name
