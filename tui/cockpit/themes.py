"""Colours: Textual's themes, and one of high contrast."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from textual.theme import BUILTIN_THEMES, Theme

from engine.config import CockpitSettings, Settings, merged
from engine.errors import UsageError

DARK = replace(BUILTIN_THEMES["textual-dark"], error="#e8708c")
LIGHT = replace(
    BUILTIN_THEMES["textual-light"], success="#0f5526", warning="#6e3c00", error="#8f1734",
    variables={"footer-key-foreground": "#00568f"},
)  # fmt: skip
"""Textual's own draw these colours as grounds; here they are letters, which have to be read: 4.5:1 (WCAG 2, level AA)."""
HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#00d7ff",
    secondary="#ffffff",
    accent="#ffff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    success="#00ff00",
    warning="#ffff00",
    error="#ff9f9f",
    dark=True,
    luminosity_spread=0.3,
    text_alpha=1.0,
)
"""White, yellow and plain colours on black: every pair of text and ground is at least 7:1 (WCAG 2, level AAA)."""
OURS = (DARK, LIGHT, HIGH_CONTRAST)
"""To be registered; the first two under the names of Textual's."""
NAMES = (HIGH_CONTRAST.name, *BUILTIN_THEMES)


def fitting(name: str, colours: str | None) -> str:
    """The theme to draw with.

    Args:
        name: the theme of the settings.
        colours: how many a terminal has, in rich's words; "standard" are sixteen.

    Of sixteen colours, several that Textual's dark theme mixes become one and the same: dimmed words on their panel could not
    be seen. Without a theme that was chosen, the terminal's own colours are taken there.
    """
    return "ansi-dark" if colours == "standard" and name == CockpitSettings().theme else name


def with_remembered_theme(settings: Settings, provenance: Mapping[str, str], remembered: str) -> Settings:
    """The settings with the theme that was chosen last, where they name none themselves."""
    if remembered not in NAMES or provenance.get("cockpit.theme", "default") != "default":
        return settings
    return merged(settings, {"cockpit": {"theme": remembered}})


def check_theme(name: str, where: str) -> str:
    """The theme's name.

    Args:
        where: how the sentence calls the setting.

    Raises:
        UsageError: there is no such theme; the sentence names those that there are.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}."
        raise UsageError(f"{where} is {name[:40]!r}, but there is no such theme; {hint}")
    return name
