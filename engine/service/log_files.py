"""The logs of engines as files: made for our user alone, gone when nothing was written, kept for some weeks."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from engine.service import sockets

KEPT_DAYS = 30
"""How long the log of an engine stays."""
_DAY_S = 86_400
_YOUNG_S = 60.0
"""An engine that is being started has a log and no socket yet."""
_OF_AN_ENGINE = re.compile(r"\d{8}-\d{4}-[a-z0-9]{4}\.log")


def open_log(path: Path) -> int:
    """A descriptor that appends; no other user may read what is written."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def drop_if_empty(path: Path) -> None:
    """Remove the log of an engine that ends and had nothing to say."""
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()


def tidy() -> None:
    """Remove logs that are older than `KEPT_DAYS`, and empty ones of engines that were killed."""
    alive = {path.stem for path in [*sockets.live_sockets(), *sockets.sockets_elsewhere(everywhere=True)]}
    now = time.time()
    for path in sockets.state_folder().glob("*.log"):
        if not _OF_AN_ENGINE.fullmatch(path.name) or path.stem in alive:
            continue
        with suppress(OSError):
            found = path.stat()
            age_s = now - found.st_mtime
            if age_s > KEPT_DAYS * _DAY_S or (found.st_size == 0 and age_s > _YOUNG_S):
                path.unlink()
