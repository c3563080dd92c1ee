"""When a screen is styled: `App._css_update_count`, which grows with every change of the theme, and the screen's own of the
time when it was styled last. Textual 8.2.8 styles a screen anew every time that it is shown: of what that takes, a quarter.
"""

from __future__ import annotations

from textual.app import App
from textual.events import ScreenResume
from textual.screen import Screen

_NEVER = -1


def _count(node: App[object] | Screen[object]) -> int | None:
    """How often the styles have changed; None where Textual does not count it: then it styles as it will."""
    return getattr(node, "_css_update_count", None)


def _set_count(screen: Screen[object], count: int | None) -> None:
    if count is not None:
        screen._css_update_count = count


class KeepsStyles:
    """A screen that is styled anew when it is shown only if the theme has become another one since.

    Put before the screen's class among the bases.
    """

    _styled_at: int | None = _NEVER

    def mark_styled(self) -> None:
        """The screen was just mounted, with the newest styles."""
        assert isinstance(self, Screen)
        self._styled_at = _count(self.app)

    def start_styled(self) -> None:
        """Have a new screen take the newest styles. Textual would read all of them anew, twice, when it is first shown."""
        assert isinstance(self, Screen)
        _set_count(self, _count(self.app))
        self.mark_styled()

    def _on_screen_resume(self, event: ScreenResume) -> None:
        assert isinstance(self, Screen)
        now = _count(self.app)
        event.refresh_styles = now is None or self._styled_at != now
        self._styled_at = now
