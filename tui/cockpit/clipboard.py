"""Text for the clipboard of the operator's own terminal, also over ssh and in tmux: an OSC 52 sequence, written by Textual.

https://invisible-island.net/xterm/ctlseqs/ctlseqs.html#h3-Operating-System-Commands
"""

from __future__ import annotations

from textual.app import App

from tui.words.safe import safe, safe_block

_SHOWN = 60
"""Characters of what was copied that the notification repeats."""
_LONGEST = 1_000_000
"""Characters of a line that are copied."""


def copy(app: App[None], text: str, what: str) -> None:
    """Copy it and say so. A terminal answers nothing: one that knows no OSC 52, or is told to ignore it, copies nothing.

    Foreign text is made harmless, line feeds stay: what is copied here is pasted into a shell there.
    """
    text = safe_block(text.strip(), _LONGEST)
    app.copy_to_clipboard(text)
    first, *others = text.split("\n")
    rest = " …" if others or len(first) > _SHOWN else ""
    app.notify(f"Copied {what}: {safe(first[:_SHOWN])}{rest}", markup=False)
