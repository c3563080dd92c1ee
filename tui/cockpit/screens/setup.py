"""The Setup screen: both connections, what to copy, the knobs, and the buttons that start something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from pydantic import BaseModel
from textual import on, work
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from engine.config import Mode, Settings, merged, with_password
from engine.errors import MigrationError, UsageError
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, SEED_COUNT, THROTTLE, Knob, KnobValue
from engine.protocol import CollectionInfo, DatabaseInfo, Inspect, ListCollections, ListDatabases, ServerReport, Start
from engine.redaction import know, secrets_in
from tui import profiles
from tui.cockpit import consequences
from tui.cockpit.api import CockpitApi
from tui.cockpit.choices import Side, with_knob
from tui.cockpit.commands import BY_ACTION, Place, Situation, bindings_of
from tui.cockpit.consequences import MODES, StartFacts
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.password import PasswordDialog
from tui.cockpit.dialogs.profiles import keep_profile, open_profile
from tui.cockpit.dialogs.questions import Answer, error_dialog
from tui.cockpit.dialogs.settings import SettingsDialog
from tui.cockpit.planning import EditedPlan
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.screens.starting import Otherwise, offer_run, offer_start
from tui.cockpit.session import EngineSession
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.collections import CollectionList, CollectionsPanel
from tui.cockpit.widgets.connection import ConnectionPanel
from tui.cockpit.widgets.fields import ChoiceField, KnobField
from tui.cockpit.widgets.steps import first_steps
from tui.demo import watchable
from tui.memory import Servers
from tui.words.format import bytes_size
from tui.words.safe import safe
from tui.words.uri import database_in, is_on_this_machine, shown

_SIDES: tuple[Side, Side] = ("source", "target")


class SetupScreen(CockpitScreen):
    """What the coming run will be."""

    PLACE = Place.SETUP
    BINDINGS = bindings_of(Place.SETUP)
    AUTO_FOCUS = ""

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self._database = ""
        """The database that was chosen; empty is the one that the URI names."""
        self._listed: tuple[str, str] | None = None
        """The source's URI and the database whose collections are shown."""
        self._typed_passwords: dict[str, str] = {}
        """Connection strings with a password that was typed, and what they were without."""
        self._asked_passwords: set[str] = set()
        """Connection strings whose password was asked for."""

    def body(self) -> Iterable[Widget]:
        """Fields and buttons."""
        settings, origins = self.cockpit.choices.current, self.cockpit.choices.provenance
        with VerticalScroll(id="setup", can_focus=False):
            with Container(id="connections"):
                yield ConnectionPanel("source", settings.source.uri.get_secret_value(), origins.get("source.uri", ""))
                yield ConnectionPanel("target", settings.target.uri.get_secret_value(), origins.get("target.uri", ""))
            with Container(id="middle"):
                yield CollectionsPanel()
                with Vertical(id="knobs") as knobs:
                    palette = self.cockpit.keymap.first("app.palette")
                    knobs.border_title = Content(f"Knobs · Tab, or {palette} throttle 2000")
                    yield KnobField(CLUSTER_SIZE, settings.run.size)
                    yield KnobField(PAGE_SIZE, settings.run.page_size)
                    yield KnobField(SEED_COUNT, settings.seed.count)
                    yield KnobField(THROTTLE, settings.run.throttle)
                with Vertical(id="mode") as mode:
                    mode.border_title = Content("Existing tables")
                    with Horizontal():
                        yield Static("Existing tables", classes="field-label", markup=False)
                        yield ChoiceField(tuple(MODES), settings.run.mode, id="mode-choice")
                    yield Static(MODES[settings.run.mode], id="mode-note", classes="note", markup=False)
                in_force = Static(settings_words(settings), id="in-force", markup=False)
                in_force.border_title = Content("Settings")
                in_force.border_subtitle = Content(f"{self.cockpit.keymap.first('setup.settings')} changes them")
                yield in_force
        with Horizontal(id="actions"):
            yield Static(id="setup-note", markup=False)
            yield Button("Demo servers…", id="demo", compact=True)
            yield Button("Seed…", id="seed", compact=True)
            yield Button("Start…", id="start", variant="primary", compact=True)

    def on_mount(self) -> None:
        """The tests begin when there is an engine to make them."""
        self.cockpit.choices.setup = self
        self._focus_first()
        self.cockpit.changes.settings.subscribe(self, self._follow_settings)
        self.cockpit.changes.idle_engine.subscribe(self, lambda _: self.test_both())
        self.test_both()

    def _follow_settings(self, settings: Settings) -> None:
        self.query_one("#in-force", Static).update(settings_words(settings))
        self.query_one(CollectionsPanel).leave_out(settings.run.exclude)

    def shown(self) -> None:
        """After a run its engine is no longer idle: another one is needed."""
        self.cockpit.situation_changed()
        self._tell_steps()

    def on_screen_suspend(self) -> None:
        """Behind a dialog or another screen a field keeps the focus: what was typed counts there, too."""
        if self.is_mounted:
            self.commit()

    def show_situation(self) -> None:
        """Buttons follow what works now."""
        super().show_situation()
        now = self.cockpit.situation
        for button in self.query("#actions Button").results(Button):
            command = BY_ACTION[Place.SETUP, button.id or ""]
            works = command.works(now)
            button.disabled = not works
            button.display = (works and command.by_key(now)) or button.id == "start"
        collections = self.query_one(CollectionsPanel)
        if not collections.listing.is_filled:
            collections.say("" if now.is_free else "Not listed while a run is in progress.")
        self._tell_next()
        self._tell_steps()

    @on(DescendantFocus)
    @on(DescendantBlur)
    @on(Input.Changed)
    def _tell_next(self) -> None:
        """What leads on, beside the buttons: in a field, digits and letters are text."""
        self.query_one("#setup-note", Static).update(Content(self._next_words()))

    def _next_words(self) -> str:
        """The next thing to do: what keeps a plan from being made, one thing at a time, then the keys of plan and start."""
        now, key = self.cockpit.situation, self.cockpit.keymap.first
        if now.doing:
            return f"{now.doing.capitalize()}…"
        if not now.is_free:
            return f"A run is in progress; key {key('app.run')} shows it."
        panels = [self.query_one(f"#{side}", ConnectionPanel) for side in _SIDES]
        if any(panel.is_pending for panel in panels):
            return "Enter connects."
        if missing := [panel.side for panel in panels if not panel.typed]:
            what = "both URIs" if len(missing) > 1 else f"the {missing[0]}'s URI"
            return f"Enter {what}, or start demo servers."
        if refused := [panel.side for panel in panels if panel.report is not None and not panel.report.ok]:
            what, them = ("both connections", "them") if len(refused) > 1 else (f"the {refused[0]}", "it")
            return f"Next: correct {what}, see above; {key('setup.test')} tests {them} again."
        collections = self.query_one(CollectionsPanel)
        database = self.cockpit.keymap.usable("setup.database", in_field=isinstance(self.focused, Input))
        if panels[0].is_reached and not self._database_named:
            return f"Next: {database} chooses a database."
        if collections.listing.is_filled and not collections.chosen():
            if not collections.listing.collections:
                return f"Next: {database} chooses another database; this one has no collections."
            return f"Next: {key('setup.choose')} selects a collection, {key('setup.choose_all')} all of them."
        return f"Next: {key('app.plan')} shows the plan, {key('setup.start')} starts.{self._other_keys()}"

    def _other_keys(self) -> str:
        """Those that the footer of a narrow screen has no room for."""
        if not self.has_class("-narrow"):
            return ""
        key = self.cockpit.keymap.first
        return f" {key('setup.settings')}: settings · {key('setup.test')}: test"

    def on_resize(self) -> None:
        """More keys are named where the footer has no room."""
        super().on_resize()
        self.call_after_refresh(self._tell_next)

    def _focus_first(self) -> None:
        """The cursor is where something is missing: in the first URI that is not set, else in the list."""
        empty = [side for side in _SIDES if not self.has_uri(side)]
        self.query_one(f"#{empty[0]} Input" if empty else "CollectionList").focus()

    def _tell_steps(self) -> None:
        """What an empty list says."""
        now = self.cockpit.situation
        panel = self.query_one(CollectionsPanel)
        if panel.listing.collections:
            return
        if now.has_source and not now.is_free:
            panel.tell([])
        elif now.has_source and self.query_one("#source", ConnectionPanel).is_reached and not self._database_named:
            panel.tell([Content.styled(self._no_database, "$warning")])
        elif now.has_source and now.has_target:
            panel.tell([])
        else:
            last = self.cockpit.choices.memory.servers[0] if now.has_memory else None
            panel.tell(
                first_steps(
                    self.cockpit.keymap, has_source=now.has_source, has_target=now.has_target,
                    can_demo=now.is_free, last=last, profiles=profiles.names(),
                )
            )  # fmt: skip

    @property
    def _database_named(self) -> str:
        """The database whose collections are listed; empty when none is named."""
        uri, database = self._database_asked_for
        return database or database_in(uri)

    @property
    def _no_database(self) -> str:
        return f"No database in the URI. Press {self.cockpit.keymap.first('setup.database')} to choose one."

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a collection under the cursor, for the commands that would be letters in a field."""
        listing = self.query_one(CollectionList)
        has_any = now.has_source or now.has_target
        return replace(
            now,
            has_result=self.focused is listing and bool(listing.collections),
            is_typing=self.focused is not listing,
            can_be_seeded=is_on_this_machine(self.query_one("#source", ConnectionPanel).typed)
            and not listing.collections,
            has_memory=bool(self.cockpit.choices.memory.servers) and not has_any,
        )

    # --- connections and collections ---

    def action_test(self) -> None:
        """Test both sides, and list the collections; an engine that has ended is replaced first."""
        self.commit()
        if self.cockpit.answers.lacks_idle_engine:
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

        if panel.uri and self.cockpit.answers.idle_engine is not None:
            self.run_worker(test, group=f"test {side}", exclusive=True)  # type: ignore[arg-type]  # mypy sees no kind of work

    async def _test(self, panel: ConnectionPanel) -> None:
        idle = self.cockpit.answers.idle_engine
        if idle is None:
            return
        panel.testing()
        self._tell_next()
        uri = panel.uri
        try:
            report = await idle.client.ask(ServerReport, Inspect(side=panel.side, uri=uri, keep=True))
            if panel.uri != uri:
                return
            lacks_database = panel.side == "source" and report.ok and not self._database_named
            panel.show(report, self._no_database if lacks_database else "")
            self._tell_next()
            self._ask_for_passwords()
            self._keep_servers()
            if panel.side == "source" and report.ok:
                await self._list_collections(idle)
        except MigrationError as error:
            panel.say(Content.styled(f"! {safe(error.message)}", "$error"))

    def _ask_for_passwords(self) -> None:
        """Of a server that wants one, once for each connection string: remembered servers have none."""
        for panel in self.query(ConnectionPanel):
            report, uri = panel.report, panel.uri
            if report is None or not report.wants_password or uri in self._asked_passwords or not self.is_current:
                continue
            bare = self._typed_passwords.get(uri, uri)
            if bare == uri and with_password(uri, "x") == uri:
                continue  # it has one from elsewhere, to be corrected there
            self._asked_passwords.add(uri)
            self.app.push_screen(
                PasswordDialog(panel.side, shown(bare), report.message), partial(self._take_password, panel, uri, bare)
            )

    def _take_password(self, panel: ConnectionPanel, uri: str, bare: str, password: str | None) -> None:
        """Try it.

        Args:
            uri: that was refused.
            bare: the same without a password that was typed.
        """
        if password is not None and panel.uri == uri:
            whole = with_password(bare, password)
            self._typed_passwords[whole] = bare
            self._asked_passwords.discard(whole)
            panel.fill(whole)
            know(secrets_in(whole))
            self._test_soon(panel.side)
            self.cockpit.situation_changed()

    def on_screen_resume(self) -> None:
        """After a dialog another server may still want its password."""
        super().on_screen_resume()
        if self.is_mounted:
            self._ask_for_passwords()

    async def _list_collections(self, idle: EngineSession) -> None:
        """Those of the chosen database, or of the one that the URI names."""
        panel = self.query_one(CollectionsPanel)
        asked = self._database_asked_for
        database = self._database_named
        if not database:
            panel.empty()
            self._tell_steps()
            return
        found = (await idle.client.ask(Collections, ListCollections(database=self._database))).collections
        if asked == self._database_asked_for:
            run, is_again = self.cockpit.choices.current.run, self._listed == asked
            panel.fill(
                database, found, run.collections, excluded=run.exclude, is_picked=bool(self._database), again=is_again
            )
            self._listed = asked
            self.cockpit.situation_changed()  # there is something to choose, or to seed

    def _keep_servers(self) -> None:
        """Remember both sides once both were reached."""
        source, target = (self.query_one(f"#{side}", ConnectionPanel) for side in _SIDES)
        if source.is_reached and target.is_reached and not self.cockpit.choices.current.demo.embedded:
            self.cockpit.choices.memory.keep_servers(source.uri, target.uri, self._database)

    @property
    def _database_asked_for(self) -> tuple[str, str]:
        return self.query_one("#source", ConnectionPanel).uri, self._database

    @property
    def _is_listing_old(self) -> bool:
        """The collections that are shown are those of another source, or of another database."""
        has_some = bool(self.query_one(CollectionsPanel).listing.collections)
        return has_some and self._listed != self._database_asked_for

    @work(group="databases", exclusive=True)
    async def action_database(self) -> None:
        """Ask the server for its databases, and the operator for one of them."""
        idle = self.cockpit.answers.idle_engine
        if idle is None:
            return
        try:
            self._require("source")
            found = (await idle.client.ask(Databases, ListDatabases())).databases
        except MigrationError as error:
            self.app.push_screen(error_dialog("The databases cannot be listed", error.message))
            return
        names = [info.name for info in found]
        notes = [bytes_size(info.size_bytes) if info.size_bytes else "" for info in found]
        self.app.push_screen(
            ChoosingDialog("Databases of the server, with their sizes on disk", names, notes), self._choose
        )

    def _choose(self, database: str | None) -> None:
        if database is not None:
            self._database = database
            self.query_one(CollectionsPanel).filter.value = ""
            self._test_soon("source")
            self.query_one(CollectionList).focus()

    def action_choose(self) -> None:
        """The collection under the cursor, or not."""
        self.query_one(CollectionList).choose()

    def action_choose_all(self) -> None:
        """All that are shown, or none of them."""
        self.query_one(CollectionList).choose_all()

    def action_filter(self) -> None:
        """Only some of the collections."""
        self.query_one(CollectionsPanel).filter.open()

    @on(CollectionList.Chosen)
    def _choice_changed(self) -> None:
        """There may be something to choose now."""
        self.refresh_bindings()
        self._tell_next()

    @on(ConnectionPanel.Filled)
    def _filled(self) -> None:
        self.cockpit.situation_changed()

    @on(ConnectionPanel.Edited)
    def _edited(self, event: ConnectionPanel.Edited) -> None:
        if event.side == "source":
            self._database = ""
        self._test_soon(event.side)
        self.cockpit.situation_changed()

    @on(ChoiceField.Changed)
    def _mode_changed(self, event: ChoiceField.Changed) -> None:
        note = next(note for mode, note in MODES.items() if mode == event.word)
        self.query_one("#mode-note", Static).update(Content(note))

    # --- fields ---

    def commit(self) -> None:
        """Take the URIs as they are in their fields, left or not."""
        for panel in self.query(ConnectionPanel):
            panel.commit()

    def with_connections(self, settings: Settings) -> Settings:
        """`settings` with the URIs of the fields."""
        source, target = (self.query_one(f"#{side}", ConnectionPanel).typed for side in _SIDES)
        return merged(settings, {"source": {"uri": source}, "target": {"uri": target}})

    def has_uri(self, side: Side) -> bool:
        """The URI of this side is set."""
        return bool(self.query_one(f"#{side}", ConnectionPanel).typed)

    def fill_knob(self, knob: Knob, value: KnobValue) -> None:
        """Put a value into a knob's field: the palette's "workers 12"."""
        self.query_one(f"#knob-{knob.name}", KnobField).fill(value)

    def fill_mode(self, mode: Mode) -> None:
        """Choose what happens to existing tables: the palette's "mode append"."""
        self.query_one(ChoiceField).selected = mode

    def edited_settings(self) -> Settings:
        """The settings with what the fields say.

        Raises:
            UsageError: a field is out of bounds; it says so under itself.
        """
        self.commit()
        values = {field.knob.name: field.value for field in self.query(KnobField)}
        settings = self.with_connections(self.cockpit.choices.current)
        for knob in (CLUSTER_SIZE, PAGE_SIZE, THROTTLE, SEED_COUNT):
            value = values[knob.name]
            if value is None:
                raise UsageError(f"{knob.label} must be {knob.bounds}.")
            settings = with_knob(settings, knob, value)
        run: dict[str, object] = {"mode": self.query_one(ChoiceField).selected}
        panel = self.query_one(CollectionsPanel)
        if panel.listing.collections and not self._is_listing_old:
            run |= {"collections": panel.chosen(), "exclude": []}  # what was chosen is chosen, whatever it is like
        return merged(settings, {"run": run})

    def planned_settings(self) -> Settings:
        """The settings of a copy.

        Raises:
            UsageError: a field is out of bounds, or it is not known which collections are to be copied.
        """
        settings = self.edited_settings()
        self._require_choice()
        return settings

    def _require_choice(self) -> None:
        panel = self.query_one(CollectionsPanel)
        if self._is_listing_old:
            self._require("source")
            raise UsageError("The source is another one now: wait until its collections are shown, or test it again.")
        if panel.listing.collections and not panel.chosen():
            one, every = map(self.cockpit.keymap.first, ("setup.choose", "setup.choose_all"))
            raise UsageError(f"No collection is selected: {one} selects the one under the cursor, {every} selects all.")

    def _require(self, *sides: Side) -> None:
        for side in sides:
            panel = self.query_one(f"#{side}", ConnectionPanel)
            if not panel.uri:
                raise UsageError(f"The {side} has no URI: type it into its field, or set {side}.uri in config.toml.")
            if panel.report is not None and not panel.report.ok:
                raise UsageError(f"The {side} is not connected. {panel.report.message}")

    # --- settings and profiles ---

    def fill(self, settings: Settings, database: str = "") -> None:
        """Put these settings into the fields, and test the connections that they name."""
        self._database, self._listed = database, None
        for side, uri in (("source", settings.source.uri), ("target", settings.target.uri)):
            self.query_one(f"#{side}", ConnectionPanel).fill(uri.get_secret_value())
        self.fill_knob(CLUSTER_SIZE, settings.run.size)
        self.fill_knob(PAGE_SIZE, settings.run.page_size)
        self.fill_knob(THROTTLE, settings.run.throttle)
        self.fill_knob(SEED_COUNT, settings.seed.count)
        self.query_one(ChoiceField).selected = settings.run.mode
        self.action_test()

    def action_last_servers(self) -> None:
        """Both servers that were reached last, and the database that was chosen then."""
        servers = self.cockpit.choices.memory.servers
        if servers:
            self._take_servers(servers[0])

    def _take_servers(self, servers: Servers) -> None:
        uris = {"source": {"uri": servers.source}, "target": {"uri": servers.target}}
        self.fill(merged(self.edited_settings(), uris), servers.database)
        self.query_one(CollectionList).focus()

    def action_settings(self) -> None:
        """Edit what has no field here."""

        def edited(settings: Settings | None) -> None:
            if settings is not None:
                self.cockpit.choices.apply(settings)

        self.app.push_screen(SettingsDialog(self.cockpit.choices.current), edited)

    def action_save_profile(self) -> None:
        """Ask for a name, and keep what is set; all collections are kept as none: those of then are meant."""
        try:
            settings = self.edited_settings()
            if not self._is_listing_old:
                self._require_choice()
                if not self._database and self.query_one(CollectionsPanel).is_everything:
                    excluded = self.cockpit.choices.current.run.exclude
                    settings = merged(settings, {"run": {"collections": [], "exclude": excluded}})
        except UsageError as error:
            self.app.push_screen(error_dialog("Not yet", error.message))
        else:
            keep_profile(self.app, settings)

    def action_open_profile(self) -> None:
        """Choose one that was saved, or servers that were reached before."""

        def opened(settings: Settings) -> None:
            self.cockpit.choices.apply(settings)
            self.fill(settings)
            self.query_one(CollectionList).focus()

        save_key = self.cockpit.keymap.usable("setup.save_profile", in_field=True)
        open_profile(
            self.app, opened, self.cockpit.choices.current.cockpit, save_key=save_key,
            recent=self.cockpit.choices.memory.servers, taken=self._take_servers,
        )  # fmt: skip

    # --- starting something ---

    def action_start(self) -> None:
        """Ask, then copy; a plan that was edited is not forgotten."""
        edited = self.cockpit.choices.edited_plan
        if edited is None:
            self.offer_start()
        elif edited.is_older and not edited.file:
            self._plan_first()
        else:
            self.offer_edited(edited, otherwise=(Answer("plain", "Start without edits"), self.offer_start))

    def _plan_first(self) -> None:
        """The edits are of a plan of something else: Plan makes them in the one of what is set now, and asks then."""
        editor = self.cockpit.choices.plan_editor
        try:
            self._require(*_SIDES)
            self.planned_settings()
        except UsageError as error:
            self.app.push_screen(error_dialog("Not yet", error.message))
            return
        if editor is not None:
            editor.start_when_planned()
            self.run_worker(self.cockpit.navigation.show(Place.PLAN), group="plan first", exclusive=True)

    def offer_start(self) -> None:
        """Ask, then copy what is chosen here."""
        offer_run(self, self._start_facts, "Start this run?", Start())

    def offer_edited(self, edited: EditedPlan, otherwise: Otherwise | None = None) -> None:
        """Ask, then copy: a plan that was edited decides what goes where.

        Args:
            otherwise: another answer, and what it does.
        """

        def facts_of(settings: Settings) -> StartFacts:
            self._require(*_SIDES)
            return self._with_aside(consequences.of_edited_start(settings, edited))

        offer_run(self, facts_of, f"Start with {edited.words}?", Start(plan=edited.text), otherwise)

    def action_seed(self) -> None:
        """Ask, then seed."""
        offer_start(self, self._seed_effects, "Seed the source?", "Seed", Start(seed=True, migrate=False))

    def action_demo(self) -> None:
        """Ask, then start embedded servers, seed and migrate."""
        start = Start(seed=True, migrate=True)
        offer_start(self, consequences.of_demo, "Run the demo?", "Run the demo", start, meant=_with_embedded_servers)

    def _start_facts(self, settings: Settings) -> StartFacts:
        self._require(*_SIDES)
        self._require_choice()
        panel = self.query_one(CollectionsPanel)
        plan = self.cockpit.choices.made_plan
        return self._with_aside(
            consequences.of_start(settings, panel.listing.chosen_collections(), panel.n_elsewhere, plan)
        )

    def _with_aside(self, facts: StartFacts) -> StartFacts:
        """With the edits of the plan that it is without."""
        editor = self.cockpit.choices.plan_editor
        aside = editor.edits_aside if editor is not None else ()
        return replace(facts, warnings=(*facts.warnings, *(f"Without the edit of {each}." for each in aside)))

    def _seed_effects(self, settings: Settings) -> list[str]:
        self._require("source")
        return consequences.of_seed(settings)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        {"start": self.action_start, "seed": self.action_seed, "demo": self.action_demo}[event.button.id or "start"]()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        """From a URI to the one that is not set, from any other field to the list."""
        empty = [side for side in _SIDES if not self.has_uri(side)]
        is_uri = any(isinstance(node, ConnectionPanel) for node in event.input.ancestors)
        if is_uri and empty:
            self.query_one(f"#{empty[0]}", ConnectionPanel).query_one(Input).focus()
        else:
            self.action_leave_field()

    def action_leave_field(self) -> None:
        """To the list, where letters are commands."""
        self.query_one(CollectionList).focus()

    def action_show_all(self) -> None:
        """Show all collections again."""
        self.query_one(CollectionsPanel).filter.action_give_up()

    def to_copy(self) -> tuple[str, str]:
        """What is wrong with a connection, otherwise the collection under the cursor."""
        for side in _SIDES:
            panel = self.query_one(f"#{side}", ConnectionPanel)
            if panel.report is not None and not panel.report.ok:
                return panel.report.message, "the error"
        info = self.query_one(CollectionList).highlighted_collection
        return (info.namespace, "the collection's name") if info is not None else ("", "")


def settings_words(settings: Settings) -> Content:
    """What is in force and has no field on the screen."""
    run, mapping = settings.run, settings.mapping
    lines = {
        "Schema": safe(settings.target.schema_name, 63),
        "Indexes": "also MongoDB's" if run.indexes else "primary keys only",
        "Policies": f"NUL {mapping.nul} · dates {mapping.date_range}",
        "": f"UTF-8 {mapping.utf8} · overflow {'→ _extra' if mapping.overflow == 'overflow' else mapping.overflow}",
        "Max rejects": safe(run.max_rejects) or "off",
        "Consistency": run.consistency,
    }
    return Content("\n").join(Content.assemble((f"{name:<12}", MUTED), words) for name, words in lines.items())


def _with_embedded_servers(settings: Settings) -> Settings:
    """All that was seeded is copied, slowly enough to be steered."""
    return merged(watchable(settings), {"demo": {"embedded": True}, "run": {"collections": [], "exclude": []}})


class Collections(BaseModel):
    """The reply to `ListCollections`."""

    collections: list[CollectionInfo]


class Databases(BaseModel):
    """The reply to `ListDatabases`."""

    databases: list[DatabaseInfo]
