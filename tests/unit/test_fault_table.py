"""The table of faults in tests/faults/README.md names tests that exist, and says truly which command runs them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "faults" / "README.md"
ROW = re.compile(
    r"^\| (\d+) \| [^|]+ \| (?:`(?P<file>[^`:]+)::(?P<test>\w+)`|not applicable: [^|]+) \| (?P<where>[\w-]+) \|$"
)
SLOW = "pytest.mark.slow"


def rows() -> list[re.Match[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d", line)]
    found = [ROW.match(line) for line in lines]
    assert all(found), [line for line, row in zip(lines, found, strict=True) if not row]
    return [row for row in found if row]


@cache
def functions_of(file: str) -> dict[str, bool]:
    """Name of each function of a file -> whether all of it is slow."""
    module = ast.parse((ROOT / file).read_text())
    marks = [
        ast.unparse(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    all_slow = any(SLOW in mark for mark in marks)
    return {
        node.name: all_slow or SLOW in map(ast.unparse, node.decorator_list)
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_fault_of_a_copy_has_a_row() -> None:
    assert {int(row[1]) for row in rows()} == set(range(1, 41))


@pytest.mark.parametrize("row", [row for row in rows() if row["file"]], ids=lambda row: f"{row[1]} {row['test']}")
def test_the_test_of_a_row_is_there_and_where_the_table_says(row: re.Match[str]) -> None:
    assert (ROOT / row["file"]).is_file()
    assert row["test"] in functions_of(row["file"])
    is_slow = functions_of(row["file"])[row["test"]]
    slow_place = "faults" if row["file"].startswith("tests/faults/") else "slow"
    assert row["where"] == (slow_place if is_slow else "test")
