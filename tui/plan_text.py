"""Small edits of a plan's TOML, in the one layout that the engine writes: a line for each column. The engine judges them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.errors import UsageError

_COLUMN = re.compile(r"^  (\{.*\}),(?:  #.*)?$")
_IGNORE = re.compile(r"^ignore = \[(.*)\]$")
_TABLE = "[[tables]]"
_COLUMNS = "columns = ["
POLICIES = ("nul", "date_range", "utf8", "overflow")
"""What a column may have of its own, where it differs from the plan's options."""


def policies_of(text: str) -> dict[str, str]:
    """What becomes of values that do not fit, in every column that has no policy of its own."""
    options = tomllib.loads(text).get("options", {})
    return {policy: str(options[policy]) for policy in POLICIES if policy in options}


def column_entry(text: str, namespace: str, column: str) -> dict[str, Any]:
    """A column as the plan has it.

    Raises:
        UsageError: the plan has no such column.
    """
    lines = text.split("\n")
    for number in _lines_of(lines, namespace):
        entry = _entry(lines[number])
        if entry.get("column") == column:
            return entry
    raise UsageError(f"The plan of {namespace} has no column {column}.")


def change_column(
    text: str, namespace: str, column: str, *, name: str, type: str, policies: Mapping[str, str] | None = None
) -> str:
    """The plan with a column of another name, or type; with another type it takes every kind that fits into that.

    Args:
        policies: all that the column is to have of its own; None leaves them.

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

    return _edited(text, namespace, column, changed)


def ignore_column(text: str, namespace: str, column: str) -> str:
    """The plan without a column, its field named among those that are left out on purpose.

    Raises:
        UsageError: the plan has no such column, or it is none of a field.
    """
    left_out: list[str] = []

    def removed(line: str, entry: dict[str, Any]) -> list[str]:
        if "field" not in entry:
            raise UsageError(f"Column {column} is not made from a field: it cannot be left out.")
        left_out.append(_value(entry["field"]))
        return []

    edited = _edited(text, namespace, column, removed)
    lines = edited.split("\n")
    for number in _lines_of(lines, namespace):
        if found := _IGNORE.match(lines[number]):
            lines[number] = f"ignore = [{', '.join(filter(None, [found[1], *left_out]))}]"
    return "\n".join(lines)


def fields_left_out(text: str, namespace: str) -> list[str | list[str]]:
    """The fields that the plan leaves out on purpose, as it names them."""
    tables = tomllib.loads(text)["tables"]
    return [field for table in tables if table["collection"] == namespace for field in table.get("ignore", [])]


def field_name(field: str | list[str]) -> str:
    """A field as people read it."""
    return field if isinstance(field, str) else ".".join(field)


def restore_field(text: str, namespace: str, field: str | list[str], earlier: Iterable[str]) -> str:
    """The plan with a field that is left out in a column again: the one that it had, where it was.

    Args:
        earlier: the plan as it was before, the newest first.

    Raises:
        UsageError: it never had a column.
    """
    wanted = _value(field)
    column = ""
    above: list[str] = []
    for before in earlier:
        lines = before.split("\n")
        keys = {key: number for number in _lines_of(lines, namespace) if (key := _key(lines[number]))}
        if wanted in keys:
            column = column or lines[keys[wanted]]  # as it was last
            above = [*keys][: [*keys].index(wanted)]  # where it was first, when the fewest others were left out
    if not column:
        raise UsageError(f"No plan of this screen had a column for {wanted}; look at the source again without edits.")
    return _with_column(text, namespace, column, above, wanted)


def _with_column(text: str, namespace: str, line: str, above: list[str], field: str) -> str:
    """The plan with one more line, behind the last of those that it stood behind."""
    lines = text.split("\n")
    place = 0
    for number in _lines_of(lines, namespace):
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


def _edited(text: str, namespace: str, column: str, change: Callable[[str, dict[str, Any]], list[str]]) -> str:
    lines = text.split("\n")
    for number in _lines_of(lines, namespace):
        entry = _entry(lines[number])
        if entry.get("column") == column:
            return "\n".join([*lines[:number], *change(lines[number], entry), *lines[number + 1 :]])
    raise UsageError(f"The plan of {namespace} has no column {column}.")


def _lines_of(lines: list[str], namespace: str) -> range:
    """The lines of one table."""
    starts = [number for number, line in enumerate(lines) if line == _TABLE]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if tomllib.loads(lines[start + 1]).get("collection") == namespace:
            return range(start, end)
    raise UsageError(f"The plan has no collection {namespace}.")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings are TOML's, but for this one character, which TOML wants escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
