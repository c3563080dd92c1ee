"""A cache of Textual 8.2.8 that keeps closed dialogs alive, done otherwise: `textual._styles_cache`.

`StylesCache.get_inner_outer` remembers its results in `functools.lru_cache` with the object itself in the key. So the last
thousand widgets that were ever drawn stay in memory with all their lines, some 60 KiB for a key that opens or closes a dialog
(https://github.com/Textualize/textual/issues/6665). Where Textual has no such cache, there is nothing to do.
"""

from __future__ import annotations

import contextlib
import importlib
from functools import lru_cache

from textual.color import Color
from textual.style import Style


@lru_cache(1024)
def _inner_outer(base_background: Color, background: Color) -> tuple[Style, Style]:
    return Style(background=base_background + background), Style(background=base_background)


def _get_inner_outer(_: object, base_background: Color, background: Color) -> tuple[Style, Style]:
    return _inner_outer(base_background, background)


def forget_closed_widgets() -> None:
    """Have Textual remember colours without the widgets that they were for."""
    with contextlib.suppress(ImportError, AttributeError):
        cache = importlib.import_module("textual._styles_cache").StylesCache
        if hasattr(cache, "get_inner_outer"):
            cache.get_inner_outer = _get_inner_outer
