"""Small edits of a plan's TOML, in the one layout that the engine writes: a line for each column. The engine judges them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.errors import UsageError
from engine.notation import written_table

_COLUMN = re.compile(r"^  (\{.*\}),(?:  #.*)?$")
_IGNORE = re.compile(r"^ignore = \[(.*)\]$")
_TABLE = "[[tables]]"
_HEAD = ("schema = ", "table = ")
"""How the lines begin that name a table."""
_COLUMNS = "columns = ["
POLICIES = ("nul", "date_range", "utf8", "overflow")
"""What a column may have of its own, where it differs from the plan's options."""


def policies_of(text: str) -> dict[str, str]:
    """What becomes of values that do not fit, in every column that has no policy of its own."""
    options = tomllib.loads(text).get("options", {})
    return {policy: str(options[policy]) for policy in POLICIES if policy in options}


def column_entry(text: str, namespace: str, column: str, table: str = "") -> dict[str, Any]:
    """A column as the plan has it.

    Args:
        table: `schema.table`, where the collection goes to several.

    Raises:
        UsageError: the plan has no such column.
    """
    lines = text.split("\n")
    for number in _lines_of(lines, namespace, table):
        entry = _entry(lines[number])
        if entry.get("column") == column:
            return entry
    raise UsageError(f"The plan of {namespace} has no column {column}.")


def change_column(
    text: str,
    namespace: str,
    column: str,
    *,
    name: str,
    type: str,
    policies: Mapping[str, str] | None = None,
    table: str = "",
) -> str:
    """The plan with a column of another name, or type; with another type it takes every kind that fits into that.

    Args:
        policies: all that the column is to have of its own; None leaves them.
        table: `schema.table`, where the collection goes to several.

    Raises:
        UsageError: the plan has no such column.
    """

    def changed(line: str, entry: dict[str, Any]) -> list[str]:
        entry["column"] = name
        if entry["type"] != type:
            entry["type"] = type
            entry.pop("kinds", None)
        if policies is not None:
            entry = {key: value for key, value in entry.items() if key not in POLICIES} | dict(policies)
        fields = ", ".join(f"{key} = {_value(value)}" for key, value in entry.items())
        return [f"  {{ {fields} }},"]

    return _edited(text, namespace, table, column, changed)


def ignore_column(text: str, namespace: str, column: str, table: str = "") -> str:
    """The plan without a column, its field named among those that are left out on purpose.

    Args:
        table: `schema.table`, where the collection goes to several.

    Raises:
        UsageError: the plan has no such column, or it is none of a field.
    """
    left_out: list[str] = []

    def removed(line: str, entry: dict[str, Any]) -> list[str]:
        if "field" not in entry:
            raise UsageError(f"Column {column} is not made from a field: it cannot be left out.")
        left_out.append(_value(entry["field"]))
        return []

    edited = _edited(text, namespace, table, column, removed)
    lines = edited.split("\n")
    for number in _lines_of(lines, namespace, table):
        if found := _IGNORE.match(lines[number]):
            lines[number] = f"ignore = [{', '.join(filter(None, [found[1], *left_out]))}]"
    return "\n".join(lines)


def fields_left_out(text: str, namespace: str, table: str = "") -> list[str | list[str]]:
    """The fields that the plan leaves out on purpose, as it names them.

    Args:
        table: `schema.table`, where the collection goes to several.
    """
    found = [each for each in tomllib.loads(text)["tables"] if each["collection"] == namespace]
    found = [each for each in found if _is_named(each, table)] or found
    return [field for each in found for field in each.get("ignore", [])]


def field_name(field: str | list[str]) -> str:
    """A field as people read it."""
    return field if isinstance(field, str) else ".".join(field)


def restore_field(text: str, namespace: str, field: str | list[str], earlier: Iterable[str], table: str = "") -> str:
    """The plan with a field that is left out in a column again: the one that it had, where it was.

    Args:
        earlier: the plan as it was before, the newest first.
        table: `schema.table`, where the collection goes to several.

    Raises:
        UsageError: it never had a column.
    """
    wanted = _value(field)
    column = ""
    above: list[str] = []
    for before in earlier:
        lines = before.split("\n")
        keys = {key: number for number in _lines_of(lines, namespace, table) if (key := _key(lines[number]))}
        if wanted in keys:
            column = column or lines[keys[wanted]]  # as it was last
            above = [*keys][: [*keys].index(wanted)]  # where it was first, when the fewest others were left out
    if not column:
        raise UsageError(f"No plan of this screen had a column for {wanted}; look at the source again without edits.")
    return _with_column(text, namespace, table, column, above, wanted)


def _with_column(text: str, namespace: str, table: str, line: str, above: list[str], field: str) -> str:
    """The plan with one more line, behind the last of those that it stood behind."""
    lines = text.split("\n")
    place = 0
    for number in _lines_of(lines, namespace, table):
        if found := _IGNORE.match(lines[number]):
            others = [each for each in map(_value, tomllib.loads(found[0])["ignore"]) if each != field]
            lines[number] = f"ignore = [{', '.join(others)}]"
        if lines[number] == _COLUMNS or _key(lines[number]) in above:
            place = number + 1
    while lines[place].startswith("  #"):  # remarks about the column above
        place += 1
    return "\n".join([*lines[:place], line, *lines[place:]])


def _entry(line: str) -> dict[str, Any]:
    """The column that a line of the plan is about; empty for any other line."""
    found = _COLUMN.match(line)
    entry: dict[str, Any] = tomllib.loads(f"entry = {found[1]}")["entry"] if found else {}
    return entry


def _key(line: str) -> str:
    """What a line's column is made from; empty for any other line."""
    entry = _entry(line)
    return _value(entry.get("field", entry.get("role"))) if entry else ""


def _edited(
    text: str, namespace: str, table: str, column: str, change: Callable[[str, dict[str, Any]], list[str]]
) -> str:
    lines = text.split("\n")
    for number in _lines_of(lines, namespace, table):
        entry = _entry(lines[number])
        if entry.get("column") == column:
            return "\n".join([*lines[:number], *change(lines[number], entry), *lines[number + 1 :]])
    raise UsageError(f"The plan of {namespace} has no column {column}.")


def _lines_of(lines: list[str], namespace: str, table: str) -> range:
    """The lines of one table: the collection's first, unless another of its tables is meant."""
    starts = [number for number, line in enumerate(lines) if line == _TABLE]
    found: list[range] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if tomllib.loads(lines[start + 1]).get("collection") == namespace:
            found.append(range(start, end))
    for each in found:
        head = [line for line in lines[each.start : each.stop] if line.startswith(_HEAD)]
        if _is_named(tomllib.loads("\n".join(head)), table):
            return each
    if found:
        return found[0]
    raise UsageError(f"The plan has no collection {namespace}.")


def _is_named(entry: Mapping[str, Any], table: str) -> bool:
    """A table of the plan is called so, as a view of the plan writes it."""
    schema, name = entry.get("schema", "public"), entry.get("table", "")
    return table in (f"{schema}.{name}", written_table(schema, name))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings are TOML's, but for this one character, which TOML wants escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
