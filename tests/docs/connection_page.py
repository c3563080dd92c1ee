"""What becomes of every keyword of libpq, and of words of other tools, for the page on connection strings."""

from __future__ import annotations

from itertools import groupby

from engine.libpq.keywords import FOREIGN, KEYWORDS, Keyword
from engine.postgres import session
from tests.docs.markdown import table


def keywords_section() -> str:
    """Every keyword with its class."""
    rows = (
        [f"`{each.name}`", f"`{each.variable}`" if each.variable else "", _treatment(each), each.note]
        for each in KEYWORDS
    )
    return table(["keyword", "variable", "here", "what it does, or why not"], rows)


def _treatment(keyword: Keyword) -> str:
    if keyword.treatment == "refused":
        taken = f", but {', '.join(f'`{word}`' for word in keyword.words)}" if keyword.words else ""
        return f"**refused**{taken}"
    if keyword.refused_words:
        return f"honoured; **refused**: {', '.join(f'`{word}`' for word in keyword.refused_words)}"
    return keyword.treatment


def foreign_section() -> str:
    """Words of other tools by what becomes of them."""
    lines = []
    for tool, words in groupby(sorted(FOREIGN, key=lambda name: FOREIGN[name].tool), lambda name: FOREIGN[name].tool):
        for name in words:
            word = FOREIGN[name]
            meant = sorted({keyword for keyword, _ in word.becomes.values() if keyword})
            known = f"as {', '.join(f'`{each}`' for each in meant)}" if meant else ""
            other = "**refused**" if word.advice and "*" not in word.becomes else ""
            lines.append([f"`{name}`", tool, "; ".join(filter(None, [known, other])) or "ignored, with a warning"])
    return table(["word", "of", "here"], lines)


def session_section() -> str:
    """Settings of every session."""
    return table(["setting", "value"], ([f"`{name}`", f"`{value}`"] for name, value in session.CHECKED.items()))
