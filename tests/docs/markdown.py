"""What the generated parts of the documents are made with: tables, the words below a field, sections between markers."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
"""Every document that has generated sections."""
NOTE = "<!-- made by `make docs` from the code's definitions: change those instead -->"
_SECTION = re.compile(r"<!-- ([a-z-]+):begin -->.*?<!-- \1:end -->", re.DOTALL)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def spelled(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


@cache
def texts_below(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstring below each field of a model, in one line; fields without one are left out."""
    module = inspect.getmodule(model)
    assert isinstance(module, ModuleType)
    (node,) = (
        node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == model.__name__
    )
    texts: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = below.value if isinstance(below, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[field.target.id] = one_line(value.value)
    return texts


def one_line(text: str | None) -> str:
    """A docstring without its line ends."""
    return " ".join((text or "").split())


def names_of_sections(text: str) -> list[str]:
    """The generated sections of a document."""
    return [found[1] for found in _SECTION.finditer(text)]


def with_sections(text: str, makers: Mapping[str, Callable[[], str]]) -> str:
    """A document with its generated sections as they are to be. Raises KeyError for one that has no maker."""

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- {name}:begin -->\n\n{NOTE}\n\n{makers[name]()}\n\n<!-- {name}:end -->"

    return _SECTION.sub(filled, text)
