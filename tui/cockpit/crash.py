"""A bug in the cockpit: a sentence for the terminal, the traceback for a file, and no secret in either.

Textual prints tracebacks with the values of local variables; those may be connection strings.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable
from pathlib import Path

from engine.redaction import know, scrub, secrets_in
from tui.words.safe import safe_block

LOG_NAME = "cockpit.log"


def crash_words(error: BaseException | None, folder: Path | None, uris: Iterable[str]) -> str:
    """The sentence; the traceback is appended to `cockpit.log` in `folder`, without what is secret in `uris`."""
    name = type(error).__name__ if error else "unknown error"
    words = f"The cockpit failed ({name}). Its engine is another process: `mongopg-tui attach` finds a live run."
    if error is None or folder is None:
        return words
    for uri in uris:
        know(secrets_in(uri))
    text = scrub("".join(traceback.format_exception(error)))
    with contextlib.suppress(OSError):  # a full disk must not hide the sentence
        path = folder / LOG_NAME
        with path.open("a", encoding="utf-8") as log:
            log.write(safe_block(text, 2_000) + "\n")
        words += f" The traceback is in {path}."
    return words
