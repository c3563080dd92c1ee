"""Exit codes and error codes for the reference, from the error tree and the program's own help."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from engine import errors
from engine.errors import MigrationError
from tests.docs.markdown import PROJECT, one_line, table
from tui.cli.commands import EPILOG

_MEANING = re.compile(r"(\d+(?:/\d+)?) ([^;]+?)[;.]")


def exit_codes() -> dict[str, str]:
    """Exit code, or two of them, -> meaning, as `mongopg-tui --help` has it."""
    return dict(_MEANING.findall(one_line(EPILOG).partition(":")[2]))


def exit_codes_section() -> str:
    """What the program leaves with."""
    return table(["exit code", "meaning"], ([code.replace("/", ", "), text] for code, text in exit_codes().items()))


def error_codes_section() -> str:
    """Every `error.code` with the exit code it ends a command with."""
    special = special_codes()
    rows = (
        [f"`{kind.code}`", str(kind.exit_code), one_line(kind.__doc__),
         ", ".join(f"`{code}`" for code in sorted(special) if special[code] is kind and code != kind.code)]
        for kind in kinds()
    )  # fmt: skip
    return table(["code", "exit code", "meaning", "more exact codes"], rows)


def kinds(kind: type[MigrationError] = MigrationError) -> Iterator[type[MigrationError]]:
    """The tree of errors, top down."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:  # others never reach people
            yield from kinds(below)


def special_codes() -> dict[str, type[MigrationError]]:
    """Codes that the place gives which raises the error."""
    found = {}
    for folder in ("engine", "tui"):
        for file in sorted((PROJECT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                    continue
                kind = getattr(errors, node.func.id, None)
                if isinstance(kind, type) and issubclass(kind, MigrationError):
                    for keyword in node.keywords:
                        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                            found[str(keyword.value.value)] = kind
    return found
