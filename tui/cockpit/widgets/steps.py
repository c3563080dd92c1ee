"""What an empty list of collections says: the way from nothing to a run, and what makes it shorter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.content import Content

from tui.cockpit.keymap import Keymap
from tui.cockpit.signs import MUTED
from tui.memory import Servers
from tui.words.safe import safe
from tui.words.uri import place

_NAMED = 4
"""Profiles that are named."""


def first_steps(
    keymap: Keymap, *, has_source: bool, has_target: bool, can_demo: bool, last: Servers | None, profiles: Sequence[str]
) -> list[Content]:
    """The lines, each with the key that does it.

    Args:
        last: the servers that were reached last.
    """
    steps = [
        ("1", "Paste the MongoDB URI above", has_source),
        ("2", "Then the PostgreSQL URI", has_target),
        ("3", "Select collections in this list", False),
    ]
    start = keymap.usable("setup.start", in_field=True)
    lines = [
        Content.assemble(
            (f" {'✓' if is_done else number} ", "$success" if is_done else "bold"), (words, MUTED if is_done else "")
        )
        for number, words, is_done in steps
    ]
    lines.append(Content.assemble((" 4 ", "bold"), f"See the plan ({keymap.first('app.plan')}), start ({start})"))
    return [*lines, Content(""), *_shorter(keymap, can_demo=can_demo, last=last, profiles=profiles)]


def _shorter(keymap: Keymap, *, can_demo: bool, last: Servers | None, profiles: Sequence[str]) -> Iterable[Content]:
    def line(command: str, words: str, what: str = "") -> Content:
        key = keymap.usable(command, in_field=True)
        return Content.assemble((f" {key:<3}", "bold $accent"), words, (what, MUTED))

    if last is not None:
        way = f"{safe(place(last.source), 60)} → {safe(place(last.target), 60)}"
        yield line("setup.last_servers", "the last servers: ", way)
    if profiles:
        named = ", ".join(safe(name, 30) for name in profiles[:_NAMED]) + (" …" if len(profiles) > _NAMED else "")
        yield line("setup.open_profile", "open a profile: ", named)
    if can_demo:
        yield line("setup.demo", "no servers at hand? Start demo servers")
