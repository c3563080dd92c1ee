"""Small edits of a plan's TOML, in the one layout that the engine writes: a line for each column. The engine judges them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

from engine.errors import UsageError

_COLUMN = re.compile(r"^  (\{.*\}),(?:  #.*)?$")
_IGNORE = re.compile(r"^ignore = \[(.*)\]$")
_TABLE = "[[tables]]"


def change_column(text: str, namespace: str, column: str, *, name: str, type: str) -> str:
    """The plan with a column of another name, or type; with another type it takes every kind that fits into that.

    Raises:
        UsageError: the plan has no such column.
    """

    def changed(line: str, entry: dict[str, Any]) -> list[str]:
        entry["column"] = name
        if entry["type"] != type:
            entry["type"] = type
            entry.pop("kinds", None)
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


def _edited(text: str, namespace: str, column: str, change: Callable[[str, dict[str, Any]], list[str]]) -> str:
    lines = text.split("\n")
    for number in _lines_of(lines, namespace):
        found = _COLUMN.match(lines[number])
        entry = tomllib.loads(f"entry = {found[1]}")["entry"] if found else {}
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
