"""Foreign text made harmless: document values, field, table and collection names, server messages, file paths.

A terminal obeys what it is sent. A document that holds `ESC ]52;c;...` would write the operator's clipboard, U+202E turns
a name around, a line feed forges a log line. Such characters become visible: ESC is shown as `\\u{1b}`.
"""

from __future__ import annotations

import unicodedata

DEFAULT_LIMIT = 500
"""Characters of the foreign text that are read; capped first, so that a 16 MB string costs nothing."""
ELLIPSIS = "…"
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi, zero-width, BOM, tags), surrogate, private use, unassigned, line and paragraph separators."""
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks, by category, that draw nothing."""


def safe(text: str, limit: int = DEFAULT_LIMIT) -> str:
    """`text` cut to `limit` characters, on one line, with every character that acts or hides written as `\\u{hex}`.

    Markup is not looked at: build a `rich.text.Text` or `textual.content.Content` from the result, never pass a `str`.
    """
    cut = len(text) > limit
    if cut:
        text = text[:limit]
    if not (text.isprintable() and _BLANK_LETTERS.isdisjoint(text)):
        text = "".join(map(_visible, text))
    return text + ELLIPSIS if cut else text


def safe_block(text: str, line_limit: int = DEFAULT_LIMIT) -> str:
    """Text of several lines, such as DDL: its line feeds stay, each line is made `safe`."""
    return "\n".join(safe(line, line_limit) for line in text.split("\n"))


def _visible(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _BLANK_LETTERS:
        return f"\\u{{{ord(character):x}}}"
    return character
