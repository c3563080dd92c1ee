"""Text for the clipboard of the operator's own terminal, also over ssh and in tmux: an OSC 52 sequence, written by Textual.

https://invisible-island.net/xterm/ctlseqs/ctlseqs.html#h3-Operating-System-Commands
"""

from __future__ import annotations

from textual.app import App

_SHOWN = 60
"""Characters of what was copied that the notification repeats."""


def copy(app: App[None], text: str, what: str) -> None:
    """Copy it and say so. A terminal answers nothing: one that knows no OSC 52, or is told to ignore it, copies nothing."""
    app.copy_to_clipboard(text)
    first, *others = text.strip().splitlines() or [""]
    shown = first.strip()[:_SHOWN]
    rest = " …" if others or len(first.strip()) > _SHOWN else ""
    app.notify(f"Copied {what}: {shown}{rest}", markup=False)
