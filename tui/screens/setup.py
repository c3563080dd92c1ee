"""The Setup screen: both connections, what to copy, the knobs, and the buttons that start something."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from textual import on
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from engine.config import Mode, Settings
from engine.control.protocol import CollectionInfo, Inspect, ListCollections, ServerReport, Start
from engine.errors import MigrationError, UsageError
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, SEED_COUNT, THROTTLE, Knob
from engine.loading import load_settings
from tui import profiles
from tui.commands import BY_ACTION, Place, bindings_of
from tui.format import bytes_size, compact, number
from tui.safe import safe
from tui.screens.base import CockpitScreen
from tui.screens.choosing import ChoosingDialog
from tui.screens.dialogs import confirm, error_dialog
from tui.screens.naming import FileDialog
from tui.screens.settings import SettingsDialog
from tui.themes import check_theme
from tui.uri import place, shown
from tui.widgets.collections import CollectionList
from tui.widgets.connection import ConnectionPanel, Side
from tui.widgets.fields import Choice, KnobField

MODES: dict[Mode, str] = {
    "create": "tables are created; one that exists is refused",
    "append": "rows are added to tables that exist",
    "replace": "loaded beside, then swapped for tables that exist",
    "upsert": "rows with the same _id are replaced",
}
"""What happens to an existing table."""
_SIDES: tuple[Side, Side] = ("source", "target")


class SetupScreen(CockpitScreen):
    """What the coming run will be."""

    PLACE = Place.SETUP
    BINDINGS = bindings_of(Place.SETUP)
    AUTO_FOCUS = "CollectionList"

    def body(self) -> Iterable[Widget]:
        """Fields and buttons."""
        settings, origins = self.cockpit.settings, self.cockpit.provenance
        with VerticalScroll(id="setup", can_focus=False):
            with Container(id="connections"):
                yield ConnectionPanel("source", settings.source.uri.get_secret_value(), origins.get("source.uri", ""))
                yield ConnectionPanel("target", settings.target.uri.get_secret_value(), origins.get("target.uri", ""))
            with Container(id="middle"):
                with Vertical(id="collections"):
                    yield CollectionList()
                    yield Static(id="chosen", markup=False)
                with Vertical(id="knobs") as knobs:
                    knobs.border_title = Content("Knobs")
                    yield KnobField(CLUSTER_SIZE, settings.run.cluster_size)
                    yield KnobField(PAGE_SIZE, settings.run.page_size)
                    yield KnobField(SEED_COUNT, settings.seed.count)
                    yield KnobField(THROTTLE, settings.run.throttle)
            with Vertical(id="mode"):
                with Horizontal():
                    yield Static("Existing tables", classes="field-label", markup=False)
                    yield Choice(tuple(MODES), settings.run.mode, id="mode-choice")
                yield Static(MODES[settings.run.mode], id="mode-note", classes="note", markup=False)
        with Horizontal(id="actions"):
            yield Static(id="setup-note", markup=False)
            yield Button("Demo servers…", id="demo", compact=True)
            yield Button("Seed…", id="seed", compact=True)
            yield Button("Start…", id="start", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Titles; the tests begin when there is an engine to make them."""
        self.query_one("#collections").border_title = Content("Collections")
        self._count_chosen()
        self.test_both()

    def shown(self) -> None:
        """After a run its engine is no longer idle: another one is needed."""
        self.cockpit.situation_changed()

    def show_situation(self) -> None:
        """Buttons follow what works now."""
        super().show_situation()
        now = self.cockpit.situation
        for button in self.query("#actions Button").results(Button):
            works = BY_ACTION[Place.SETUP, button.id or ""].works(now)
            button.disabled = not works
            button.display = works or button.id != "demo"
        note = "" if now.is_free else f"A run is going on; key {self.cockpit.keymap.first('app.run')} shows it."
        if BY_ACTION[Place.SETUP, "demo"].works(now):
            note = "Type URIs, or use embedded servers:"
        self.query_one("#setup-note", Static).update(Content(note))

    # --- connections and collections ---

    def action_test(self) -> None:
        """Test both sides, and list the collections; an engine that has ended is replaced first."""
        if self.cockpit.engines.needs_desk:
            self.cockpit.situation_changed()
        self.test_both()

    def test_both(self) -> None:
        """Test both sides if there is an engine to do it, and list the collections."""
        for side in _SIDES:
            self._test_soon(side)

    def _test_soon(self, side: Side) -> None:
        panel = self.query_one(f"#{side}", ConnectionPanel)

        async def test() -> (
            None
        ):  # and not its coroutine, which would never be awaited when the next test comes at once
            await self._test(panel)

        if panel.uri and self.cockpit.engines.desk is not None:
            self.run_worker(test, group=f"test {side}", exclusive=True)  # type: ignore[arg-type]  # mypy sees no kind of work

    async def _test(self, panel: ConnectionPanel) -> None:
        desk = self.cockpit.engines.desk
        if desk is None:
            return
        panel.testing()
        try:
            report = await desk.client.ask(ServerReport, Inspect(side=panel.side, uri=panel.uri, keep=True))
            panel.show(report)
            if panel.side == "source" and report.ok:
                reply = await desk.client.call(ListCollections())
                collections = [CollectionInfo.model_validate(info) for info in reply["collections"]]
                configured = {entry.partition(":")[0] for entry in self.cockpit.settings.run.collections}
                self.query_one(CollectionList).fill(collections, configured)
        except MigrationError as error:
            panel.say(Content.styled(f"! {safe(error.message)}", "$error"))

    @on(ConnectionPanel.Edited)
    def _edited(self, event: ConnectionPanel.Edited) -> None:
        self._test_soon(event.side)
        self.cockpit.situation_changed()

    @on(CollectionList.Chosen)
    def _count_chosen(self) -> None:
        listing = self.query_one(CollectionList)
        chosen = listing.chosen_collections()
        documents = compact(sum(max(0, info.documents) for info in chosen))
        size = bytes_size(sum(info.size_bytes for info in chosen))
        words = f"{len(chosen)} of {len(listing.collections)} chosen · {documents} documents · {size}"
        if not listing.collections:
            words = "this database has no collections" if listing.is_filled else ""
        self.query_one("#chosen", Static).update(Content(words), layout=False)

    @on(Choice.Changed)
    def _mode_changed(self, event: Choice.Changed) -> None:
        note = next(note for mode, note in MODES.items() if mode == event.word)
        self.query_one("#mode-note", Static).update(Content(note))

    # --- fields ---

    def with_connections(self, settings: Settings) -> Settings:
        """`settings` with the URIs of the fields."""
        settings = settings.model_copy(deep=True)
        settings.source.uri = self.query_one("#source", ConnectionPanel).uri  # type: ignore[assignment]  # validated
        settings.target.uri = self.query_one("#target", ConnectionPanel).uri  # type: ignore[assignment]  # validated
        return settings

    def has_uri(self, side: Side) -> bool:
        """The URI of this side is set."""
        return bool(self.query_one(f"#{side}", ConnectionPanel).uri)

    def fill_knob(self, knob: Knob, value: int) -> None:
        """Put a value into a knob's field: the palette's "workers 12"."""
        self.query_one(f"#knob-{knob.name}", KnobField).fill(value)

    def edited_settings(self) -> Settings:
        """The settings with what the fields say.

        Raises:
            UsageError: a field is out of bounds; it says so under itself.
        """
        values = {field.knob.name: field.value for field in self.query(KnobField)}
        settings = self.with_connections(self.cockpit.settings)
        for section, knob, name in (
            (settings.run, CLUSTER_SIZE, "cluster_size"),
            (settings.run, PAGE_SIZE, "page_size"),
            (settings.run, THROTTLE, "throttle"),
            (settings.seed, SEED_COUNT, "count"),
        ):
            value = values[knob.name]
            if value is None:
                raise UsageError(f"{knob.label} must be {knob.bounds}.")
            setattr(section, name, value)
        settings.run.mode = self.query_one(Choice).selected  # type: ignore[assignment]  # its words are the modes
        listing = self.query_one(CollectionList)
        if listing.collections:
            configured = {entry.partition(":")[0]: entry for entry in settings.run.collections}
            chosen = [info.namespace for info in listing.chosen_collections()]
            settings.run.collections = [configured.get(namespace, namespace) for namespace in chosen]
        return settings

    def _require(self, *sides: Side) -> None:
        for side in sides:
            panel = self.query_one(f"#{side}", ConnectionPanel)
            if not panel.uri:
                raise UsageError(f"The {side} has no URI: type it into its field, or set {side}.uri in config.toml.")
            if panel.report is not None and not panel.report.ok:
                raise UsageError(f"The {side} is not connected. {panel.report.message}")

    # --- settings and profiles ---

    def fill(self, settings: Settings) -> None:
        """Put these settings into the fields, and test the connections that they name."""
        for side, uri in (("source", settings.source.uri), ("target", settings.target.uri)):
            self.query_one(f"#{side}", ConnectionPanel).fill(uri.get_secret_value())
        self.fill_knob(CLUSTER_SIZE, settings.run.cluster_size)
        self.fill_knob(PAGE_SIZE, settings.run.page_size)
        self.fill_knob(THROTTLE, settings.run.throttle)
        self.fill_knob(SEED_COUNT, settings.seed.count)
        self.query_one(Choice).selected = settings.run.mode
        self.action_test()

    def action_settings(self) -> None:
        """Edit what has no field here."""

        def edited(settings: Settings | None) -> None:
            if settings is not None:
                self.cockpit.apply(settings)

        self.app.push_screen(SettingsDialog(self.cockpit.settings), edited)

    def action_save_profile(self) -> None:
        """Ask for a name, and keep what is set."""
        try:
            settings = self.edited_settings()
        except UsageError as error:
            self.app.push_screen(error_dialog("Not yet", error.message))
            return

        def saved(path: Path | None) -> None:
            if path is not None:
                self.app.notify(safe(f"Saved: mongopg-tui --profile {path.stem} opens it."), markup=False)

        note = "Its name. Passwords are not kept."
        dialog = FileDialog("Save a profile", note, "", lambda name: profiles.save(name.strip(), settings))
        self.app.push_screen(dialog, saved)

    def action_open_profile(self) -> None:
        """Choose one that was saved."""
        names = profiles.names()
        if not names:
            key = self.cockpit.keymap.first("setup.save_profile")
            self.app.push_screen(error_dialog("Profiles", f"No profile was saved yet; {key} saves what is set here."))
            return
        self.app.push_screen(ChoosingDialog("Open a profile", names), self._open)

    def _open(self, name: str | None) -> None:
        if name is None:
            return
        try:
            loaded = load_settings(profiles.existing(name), {})
            check_theme(loaded.settings.cockpit.theme, "cockpit.theme")
        except UsageError as error:
            self.app.push_screen(error_dialog("The profile was not opened", error.message))
            return
        self.cockpit.apply(loaded.settings)
        self.fill(loaded.settings)

    # --- starting something ---

    def action_start(self) -> None:
        """Ask, then copy."""
        self.offer_start()

    def offer_start(self, plan: str = "") -> None:
        """Ask, then copy; a plan that was edited decides what goes where."""
        title = "Start this run with the edited plan?" if plan else "Start this run?"
        self._offer(self._start_effects, title, "Start", Start(plan=plan))

    def action_seed(self) -> None:
        """Ask, then seed."""
        self._offer(self._seed_effects, "Seed the source?", "Seed", Start(seed=True, migrate=False))

    def action_demo(self) -> None:
        """Ask, then start embedded servers, seed and migrate."""
        self._offer(self._demo_effects, "Run the demo?", "Run the demo", Start(seed=True, migrate=True))

    def _offer(self, effects_of: Callable[[Settings], list[str]], title: str, go: str, start: Start) -> None:
        try:
            settings = self.edited_settings()
            effects = effects_of(settings)
        except UsageError as error:
            self.app.push_screen(error_dialog("Not yet", error.message))
            return

        def answered(answer: str | None) -> None:
            if answer == "go":
                self.cockpit.helm.start(settings, start)

        self.app.push_screen(confirm(title, effects, go=go), answered)

    def _start_effects(self, settings: Settings) -> list[str]:
        self._require(*_SIDES)
        listing = self.query_one(CollectionList)
        chosen = listing.chosen_collections()
        if listing.collections and not chosen:
            raise UsageError("No collection is chosen: space chooses the one under the cursor, a chooses all.")
        what = f"{len(chosen)} collections, {_sum_of(chosen)}" if chosen else "the configured collections"
        source, target = shown(settings.source.uri.get_secret_value()), shown(settings.target.uri.get_secret_value())
        return [
            f"Copy {what.replace('1 collections', '1 collection') if len(chosen) == 1 else what}",
            f"from  {safe(place(source), 80)}",
            f"to    {safe(place(target), 80)}, schema {safe(settings.target.schema_name, 63)}",
            f"with  {settings.run.cluster_size} workers, {number(settings.run.page_size)} documents a page",
            "",
            f"Mode {settings.run.mode}: {MODES[settings.run.mode]}.",
        ]

    def _seed_effects(self, settings: Settings) -> list[str]:
        self._require("source")
        return [
            f"Fill {safe(settings.seed.collection, 120)} with synthetic users, up to {number(settings.seed.count)},",
            f"in    {safe(place(shown(settings.source.uri.get_secret_value())), 80)}",
            f"with  {settings.run.cluster_size} workers",
            "",
            "Nothing is deleted; a collection that holds other documents is refused.",
        ]

    def _demo_effects(self, settings: Settings) -> list[str]:
        settings.demo.embedded = True
        settings.run.collections = []
        where = safe(settings.demo.dir, 200) or "a temporary folder"
        end = "keep running at the end" if settings.demo.keep else "end and are removed when you leave"
        return [
            f"Start MongoDB and PostgreSQL on this machine, in {where};",
            f"seed {number(settings.seed.count)} synthetic users and copy them",
            f"with {settings.run.cluster_size} workers. The servers {end}.",
        ]

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        {"start": self.action_start, "seed": self.action_seed, "demo": self.action_demo}[event.button.id or "start"]()

    @on(Input.Submitted)
    def action_leave_field(self) -> None:
        """Back to the list, where letters are commands."""
        self.query_one(CollectionList).focus()


def _sum_of(collections: list[CollectionInfo]) -> str:
    documents = sum(max(0, info.documents) for info in collections)
    return f"about {number(documents)} documents · {bytes_size(sum(info.size_bytes for info in collections))}"
