"""What a screen does when it is shown again."""

from __future__ import annotations

from typing import Any, cast

from textual.events import ScreenResume
from textual.screen import Screen


class KeepsStyles:
    """A screen that is styled anew when it is shown only if the theme has become another one since.

    Textual 8.2.8 does it every time: of what showing a screen takes, a quarter. Stands before the screen's class.
    """

    _styled_at = -1
    """`App._css_update_count` of then: it grows with every change of the theme."""

    def has_newest_styles(self) -> None:
        """It was just mounted."""
        self._styled_at = cast("Screen[Any]", self).app._css_update_count

    def _on_screen_resume(self, event: ScreenResume) -> None:
        event.refresh_styles = self._styled_at != cast("Screen[Any]", self).app._css_update_count
        self.has_newest_styles()
