"""The dialogs that keep what Setup says under a name, and that open what was kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual.app import App

from engine.config import CockpitSettings, Settings, merged
from engine.errors import UsageError
from engine.loading import load_settings
from tui import profiles
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.naming import FileDialog
from tui.cockpit.dialogs.questions import error_dialog
from tui.cockpit.themes import check_theme
from tui.memory import Servers
from tui.words.safe import safe
from tui.words.uri import place


def keep_profile(app: App[None], settings: Settings) -> None:
    """Ask for a name, and write these settings."""

    def saved(path: Path | None) -> None:
        if path is not None:
            app.notify(safe(f"Saved: mongopg-tui --profile {path.stem} opens it."), markup=False)

    note = "Name of the profile. Passwords are not saved."
    dialog = FileDialog(
        "Save a profile", note, "", lambda name: profiles.save(name.strip(), settings), shows_path=False
    )
    app.push_screen(dialog, saved)


def open_profile(
    app: App[None],
    opened: Callable[[Settings], None],
    own: CockpitSettings,
    *,
    save_key: str,
    recent: Sequence[Servers],
    taken: Callable[[Servers], None],
) -> None:
    """Ask which, and hand it on: a profile's settings, or servers that were reached before.

    Args:
        own: the cockpit's settings now; they stay where the profile does not name others.
        save_key: the key that saves a profile, to be told of where there is none.
    """
    names = profiles.names()
    ways = [f"{safe(place(pair.source), 60)} → {safe(place(pair.target), 60)}" for pair in recent]
    if not names and not recent:
        app.push_screen(error_dialog("Profiles", f"No profile was saved yet; {save_key} saves what is set here."))
        return

    def chosen(name: str | None) -> None:
        if name is None:
            return
        if name in ways:
            taken(recent[ways.index(name)])
            return
        try:
            loaded = load_settings(profiles.existing(name), {})
            check_theme(loaded.settings.cockpit.theme, "cockpit.theme")
        except UsageError as error:
            app.push_screen(error_dialog("The profile was not opened", error.message))
            return
        named = {name for name in type(own).model_fields if loaded.provenance.get(f"cockpit.{name}") != "default"}
        opened(merged(loaded.settings, {"cockpit": own.model_dump(exclude=named)}))

    notes = ["profile"] * len(names) + ["last servers"] * len(ways)
    app.push_screen(ChoosingDialog("Open a profile or the last servers", [*names, *ways], notes), chosen)
