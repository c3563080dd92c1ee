"""The question before something is started, and the start when the answer is yes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.config import Settings
from engine.errors import UsageError
from engine.protocol import Start
from tui.cockpit.dialogs.questions import Answer, confirm, error_dialog
from tui.cockpit.screens.base import CockpitScreen

Otherwise = tuple[Answer, Callable[[], None]]
"""An answer besides yes and no, and what it does."""


def offer_start(
    screen: CockpitScreen,
    effects_of: Callable[[Settings], Sequence[str]],
    title: str,
    go: str,
    start: Start,
    otherwise: Otherwise | None = None,
    meant: Callable[[Settings], Settings] = lambda settings: settings,
) -> None:
    """Say what would happen with the settings as they are on Setup, or why it cannot, and do it on a yes.

    Args:
        effects_of: what would happen, in lines.
        go: the label of the yes.
        otherwise: another answer, and what it does.
        meant: what the settings are for this start.
    """
    cockpit = screen.cockpit
    try:
        settings = meant(cockpit.choices.edited)
        will_happen = effects_of(settings)
    except UsageError as error:
        screen.app.push_screen(error_dialog("Not yet", error.message))
        return

    def answered(answer: str | None) -> None:
        if answer == "go":
            cockpit.orders.start(settings, start)
        elif otherwise is not None and answer == otherwise[0].id:
            otherwise[1]()

    others = [otherwise[0]] if otherwise is not None else []
    screen.app.push_screen(confirm(title, will_happen, go=go, others=others), answered)
