"""The tutorial as a script: its commands, and what it says that they print."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.docs.markdown import PROJECT

PAGE = PROJECT / "docs" / "tutorial.md"
FOLDER = "/tmp/mongopg-tutorial"
MARK = "@@ step"
_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_RUN = re.compile(r"\b\d{8}-\d{4}-\w{4}\b")
_NUMBER = re.compile(r"\d[\d.,:]*")


@dataclass(slots=True)
class Step:
    """Commands, and lines that they print."""

    commands: str
    printed: list[str] = field(default_factory=list)


def steps() -> list[Step]:
    """The tutorial's steps."""
    found: list[Step] = []
    for kind, content in _BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            found.append(Step(content))
        else:
            found[-1].printed += content.splitlines()
    return found


def script(folder: str) -> str:
    """All commands, for bash, with a mark before each step; the servers' data lie in `folder`.

    The addresses that a reader would copy are taken from where the servers note them.
    """
    text = "\n".join(f"echo '{MARK}'\n{step.commands}" for step in steps()).replace(FOLDER, folder)
    for side in ("source", "target"):
        noted = f"""$(sed 's/.*"{side}_uri": "\\([^"]*\\)".*/\\1/' {folder}/servers.json)"""
        text = re.sub(
            rf"export MONGOPG_{side.upper()}_URI='.*'",
            _always(f'export MONGOPG_{side.upper()}_URI="{noted}"'),
            text,
        )
    return text


def shape(line: str) -> str:
    """A line without what differs from run to run: ids, numbers, and the spaces that line them up."""
    return " ".join(_NUMBER.sub("#", _RUN.sub("RUN", line)).split())


def _always(text: str) -> Callable[[re.Match[str]], str]:
    """For `re.sub`: the text as it is, whatever backslashes it has."""
    return lambda _: text
