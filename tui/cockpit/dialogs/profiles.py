"""The dialogs that keep what Setup says under a name, and that open what was kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.app import App

from engine.config import Settings
from engine.errors import UsageError
from engine.loading import load_settings
from tui import profiles
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.naming import FileDialog
from tui.cockpit.dialogs.questions import error_dialog
from tui.cockpit.themes import check_theme
from tui.words.safe import safe


def keep_profile(app: App[None], settings: Settings) -> None:
    """Ask for a name, and write these settings."""

    def saved(path: Path | None) -> None:
        if path is not None:
            app.notify(safe(f"Saved: mongopg-tui --profile {path.stem} opens it."), markup=False)

    note = "Its name. Passwords are not kept."
    dialog = FileDialog("Save a profile", note, "", lambda name: profiles.save(name.strip(), settings))
    app.push_screen(dialog, saved)


def open_profile(app: App[None], opened: Callable[[Settings], None], *, save_key: str) -> None:
    """Ask which, and hand its settings on.

    Args:
        save_key: the key that saves one, to be told of where there is none.
    """
    names = profiles.names()
    if not names:
        app.push_screen(error_dialog("Profiles", f"No profile was saved yet; {save_key} saves what is set here."))
        return

    def chosen(name: str | None) -> None:
        if name is None:
            return
        try:
            loaded = load_settings(profiles.existing(name), {})
            check_theme(loaded.settings.cockpit.theme, "cockpit.theme")
        except UsageError as error:
            app.push_screen(error_dialog("The profile was not opened", error.message))
        else:
            opened(loaded.settings)

    app.push_screen(ChoosingDialog("Open a profile", names), chosen)
