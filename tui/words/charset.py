"""Whether a terminal can be expected to draw more than ASCII."""

from __future__ import annotations

import os
from collections.abc import Mapping

from engine.config import Loaded


def has_unicode(environment: Mapping[str, str] = os.environ) -> bool:
    """Unless the locale names another character set. One that is not named, as in many containers, says nothing."""
    language, ctype = environment.get("LANG", ""), environment.get("LC_CTYPE", "")
    if ctype == "C.UTF-8" and language in ("", "C", "POSIX"):
        ctype = ""  # Python's own doing, in the locale C (PEP 538)
    name = environment.get("LC_ALL") or ctype or language
    charset = name.partition(".")[2].partition("@")[0].lower()
    return name not in ("C", "POSIX") and charset in ("", "utf-8", "utf8")


def draws_ascii(loaded: Loaded, environment: Mapping[str, str] = os.environ) -> bool:
    """Terminals get ASCII alone: as `cockpit.ascii` says, and where it does not, as the locale does."""
    if loaded.provenance.get("cockpit.ascii", "default") != "default":
        return loaded.settings.cockpit.ascii
    return loaded.settings.cockpit.ascii or not has_unicode(environment)
