"""Every command of the cockpit, defined once: key, label, help, and when it works.

Bindings, the footer, the palette and the help screen are generated from `COMMANDS`. A screen implements a command as a
method `action_<action>`; a binding's id is the command's id, so keys can be remapped by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding, BindingType

from engine.errors import KnobError
from engine.knobs import CLUSTER_SIZE, KNOBS, PAGE_SIZE, SEED_COUNT, THROTTLE, Auto, Knob, KnobValue
from engine.protocol import RunState


class Place(StrEnum):
    """Where a command's action lives."""

    APP = "app"
    SETUP = "setup"
    PLAN = "plan"
    RUN = "run"
    VERIFY = "verify"
    HISTORY = "history"
    REJECTS = "rejects"


SCREENS = (Place.SETUP, Place.PLAN, Place.RUN, Place.VERIFY, Place.HISTORY)
"""In the order of their keys, 1 to 5. Rejects, which is about one run, is opened from the three that show one."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides which commands work now."""

    state: RunState | None = None
    """State of the run; None without one."""
    is_lost: bool = False
    """The engine is gone, and the run was not over."""
    can_resume: bool = False
    """The run is over, unfinished, and both its servers are still there to go on with."""
    can_resume_later: bool = False
    """It could be resumed once it has stopped."""
    has_problems: bool = False
    follows: bool = False
    """The run follows its source."""
    is_halted: bool = False
    """Something became of its source, and is to be decided."""
    has_rejects: bool = False
    """What is shown has rejected documents."""
    has_source: bool = False
    """The source's URI is set; likewise the target's."""
    has_target: bool = False
    has_engine: bool = False
    """The engine of a run is there to be asked about its servers."""
    knows_run_servers: bool = False
    """Both servers of the run can be connected to again."""
    is_replay: bool = False
    """The Run screen shows a recorded run."""
    is_at_end: bool = False
    """It shows the report of a run, live or recorded, in the place of its lists."""
    is_busy: bool = False
    """The screen waits for an answer."""
    doing: str = ""
    """What was asked for and cannot be seen yet, in a word: `resuming`."""
    has_result: bool = False
    """The screen has something: a plan, a verification, a run or a collection under the cursor."""
    has_edits: bool = False
    """The plan was edited."""
    has_undone: bool = False
    """An edit of it was undone, and can be done again."""
    is_comparing: bool = False
    """Every document of a run is being compared."""
    is_counted: bool = False
    """The plan is made from a full census, or is about to be."""
    is_chosen_free: bool = False
    """No engine is at the run under the cursor."""
    can_resume_chosen: bool = False
    """The run under the cursor has something left to do."""
    is_typing: bool = False
    """A field has the cursor: letters are text."""
    can_be_seeded: bool = False
    """The source is on this machine, as a demo's is, and no collection of it is listed."""
    has_memory: bool = False
    """Servers are remembered from last time, and none are set."""

    @property
    def can_ask(self) -> bool:
        """An engine can tell what is in the target."""
        return self.has_target or self.has_engine

    @property
    def knows_servers(self) -> bool:
        """There are two servers to start or resume a run with."""
        return (self.has_source and self.has_target) or self.knows_run_servers

    @property
    def is_live(self) -> bool:
        """A run is going on."""
        return self.state is not None and self.state.is_active and not self.is_lost

    @property
    def is_free(self) -> bool:
        """No run is going on, so one can be started."""
        return not self.is_live


def _always(_: Situation) -> bool:
    return True


def _in_states(*states: RunState) -> Callable[[Situation], bool]:
    return lambda now: now.is_live and not now.is_replay and now.state in states


_moving = _in_states(RunState.SEEDING, RunState.STARTING, RunState.RUNNING, RunState.FOLLOWING)
_standing = _in_states(RunState.PAUSING, RunState.PAUSED)
_tunable = _in_states(
    RunState.SEEDING, RunState.STARTING, RunState.RUNNING, RunState.FOLLOWING, RunState.PAUSING, RunState.PAUSED
)


def _will_stop(now: Situation) -> bool:
    return now.can_resume_later and now.is_live and now.state is RunState.CANCELLING


def _has_run(now: Situation) -> bool:
    return now.state is not None or now.is_replay


def _is_replay(now: Situation) -> bool:
    return now.is_replay


def _has_lists(now: Situation) -> bool:
    return (now.is_live or now.is_replay) and not now.is_at_end


def _has_servers(now: Situation) -> bool:
    return (now.has_source and now.has_target) or now.has_engine


def _has_result(now: Situation) -> bool:
    return now.has_result


def _is_over(now: Situation) -> bool:
    return now.state is not None and (now.state.is_over or now.is_lost) and not now.is_replay


def _can_ask(now: Situation) -> bool:
    return now.can_ask and not now.is_busy


@dataclass(frozen=True, slots=True)
class Command:
    """One thing an operator can do."""

    id: str
    """`screen.what`; also the id of its binding."""
    place: Place
    action: str
    """Name of the method without its `action_`."""
    keys: str
    """Comma-separated, as Textual names keys."""
    label: str
    """One or two words for the footer and the palette."""
    help: str
    """One sentence."""
    works: Callable[[Situation], bool] = _always
    in_footer: bool = True
    group: Binding.Group | None = None
    by_key: Callable[[Situation], bool] = _always
    """Its key gives it, too; otherwise only the palette does."""

    def binding(self, keys: str = "") -> Binding:
        """The key binding made from this definition, on other keys when those are given."""
        return Binding(
            keys or self.keys,
            self.action,
            self.label,
            show=self.in_footer,
            tooltip=self.help,
            id=self.id,
            group=self.group,
        )


_WORKERS = Binding.Group("Workers", compact=True)
_PAGE = Binding.Group("Page", compact=True)
_SPEED = Binding.Group("Speed", compact=True)
_COLLECTION = Binding.Group("Collection", compact=True)

COMMANDS: tuple[Command, ...] = (
    Command("setup.choose", Place.SETUP, "choose", "space", "Select", "Select or deselect the collection under the cursor.",
            _has_result),
    Command("setup.leave_field", Place.SETUP, "leave_field", "escape", "Leave field",
            "Leave the field for the list of collections, where letters are commands.", lambda now: now.is_typing),
    Command("setup.start", Place.SETUP, "start", "f9,enter", "Start…",
            "Copy the selected collections; asks first and says what will happen.",
            lambda now: now.is_free and now.has_source and now.has_target and not now.doing),
    Command("setup.last_servers", Place.SETUP, "last_servers", "f3", "Last servers",
            "Take the servers that were reached last; passwords are not kept.", lambda now: now.is_free and now.has_memory),
    Command("setup.database", Place.SETUP, "database", "d,f2", "Database…",
            "Choose another of the server's databases to copy from.", lambda now: now.is_free and now.has_source),
    Command("setup.filter", Place.SETUP, "filter", "slash", "Filter", "Show only collections with some letters in their name; "
            "with ! before them, only the others.", lambda now: now.has_result),
    Command("setup.choose_all", Place.SETUP, "choose_all", "a", "All",
            "Select all collections shown, but no view; when all of them are selected, deselect them.", _has_result),
    Command("setup.open_profile", Place.SETUP, "open_profile", "ctrl+o", "Profiles…",
            "Open a profile that was saved, or servers that were reached before.", lambda now: now.is_free),
    Command("setup.demo", Place.SETUP, "demo", "f7", "Demo servers…",
            "Start demo servers, MongoDB and PostgreSQL, seed and migrate.",
            lambda now: now.is_free and not (now.has_source and now.has_target)),
    Command("setup.settings", Place.SETUP, "settings", "f4", "Settings…", "Every other setting of the file: policies, mapping, "
            "limits, seeding, colours.", lambda now: now.is_free),
    Command("setup.test", Place.SETUP, "test", "f5,r", "Test",
            "Test both connections and list the collections again.", lambda now: now.is_free),
    Command("setup.save_profile", Place.SETUP, "save_profile", "ctrl+s", "Save profile…",
            "Save what is set here under a name; never a password."),
    Command("setup.seed", Place.SETUP, "seed", "f8", "Seed…",
            "Write synthetic users into the source; asks first. The key works for an empty source on this machine; for "
            "others the palette has it.", lambda now: now.is_free and now.has_source, by_key=lambda now: now.can_be_seeded),
    Command("setup.show_all", Place.SETUP, "show_all", "escape", "Show all", "Show all collections again after a filter.",
            lambda now: not now.is_typing, in_footer=False),
    Command("run.pause", Place.RUN, "pause", "space,p", "Pause",
            "End pages early, commit them and pause. The workers wait.", _moving),
    Command("run.resume", Place.RUN, "resume", "space,p", "Resume", "Go on after a pause.", _standing),
    Command("run.workers_more", Place.RUN, "workers_more", "plus,equals_sign", "More workers",
            "One worker more, at once.", _tunable, group=_WORKERS),
    Command("run.workers_fewer", Place.RUN, "workers_fewer", "minus", "Fewer workers",
            "One worker fewer: it ends its page early and commits first.", _tunable, group=_WORKERS),
    Command("run.page_larger", Place.RUN, "page_larger", "right_square_bracket", "Larger pages",
            "Twice the page size, from the next page.", _tunable, group=_PAGE),
    Command("run.page_smaller", Place.RUN, "page_smaller", "left_square_bracket", "Smaller pages",
            "Half the page size, from the next page.", _tunable, group=_PAGE),
    Command("run.stop", Place.RUN, "stop", "x", "Stop…",
            "Finish pages and stop, or stop now and roll back; asks first. What is committed stays.",
            lambda now: now.is_live and not now.is_replay),
    Command("run.tune", Place.RUN, "tune", "t", "Tune…", "Exact values of all knobs, with their bounds.", _tunable),
    Command("run.preset", Place.RUN, "preset", "ctrl+o", "Preset…", "Workers, page size and throttle of a saved profile, at "
            "once; a profile is saved on Setup.", _tunable, in_footer=False),
    Command("run.continue", Place.RUN, "continue_run", "r", "Resume run",
            "Resume this run from what is committed, in a new engine; while it is being stopped, as soon as it has stopped.",
            lambda now: (now.can_resume or _will_stop(now)) and not now.is_replay and not now.doing),
    Command("run.cut_over", Place.RUN, "cut_over", "C", "Cut over…", "What has to hold before a run that follows is cut "
            "over; then the cut-over itself, which can be called off.",
            lambda now: now.is_live and now.follows and not now.is_replay),
    Command("run.resolve", Place.RUN, "resolve", "D", "Decide…", "What became of the source of a run that follows, and what is "
            "done about it: nothing is applied until then.", lambda now: now.is_live and now.is_halted and not now.is_replay),
    Command("run.export", Place.RUN, "export", "E", "Export…",
            "At the end: write a report for an audit into a file: HTML, Markdown, JSON or CSV.", _is_over),
    Command("run.rejects", Place.RUN, "rejects", "R", "Rejects…",
            "The run's rejected documents, reason by reason, to look at and, after the run, to retry.",
            lambda now: _has_run(now) and now.can_ask and now.has_rejects),
    Command("run.workers", Place.RUN, "workers", "enter", "Details", "The workers of the collection under the cursor; the "
            "worker in full: process, range, where its time goes; a host folds or unfolds; in the log, the event; at the end, "
            "the report.",
            _has_run),
    Command("run.view", Place.RUN, "view", "c", "Next list", "Collections, workers, chart or following, where there is room "
            "for one; else the cursor goes from collections to workers, as with Tab.",
            _has_lists),
    Command("run.replay_hold", Place.RUN, "replay_hold", "space,p", "Hold/play",
            "Hold the replay, or let it go on; at its end, play it again.", _is_replay),
    Command("run.replay_faster", Place.RUN, "replay_faster", "right_square_bracket,plus", "Faster",
            "Play twice as fast.", _is_replay, group=_SPEED),
    Command("run.replay_slower", Place.RUN, "replay_slower", "left_square_bracket,minus", "Slower",
            "Play half as fast.", _is_replay, group=_SPEED),
    Command("run.replay_forward", Place.RUN, "replay_forward", "right", "Forward", "A twentieth of the run onward.",
            _is_replay, in_footer=False),
    Command("run.replay_back", Place.RUN, "replay_back", "left", "Back", "A twentieth of the run back.",
            _is_replay, in_footer=False),
    Command("run.replay_leave", Place.RUN, "replay_leave", "escape", "Leave the replay", "Back to the history.",
            _is_replay),
    Command("plan.start", Place.PLAN, "start", "f9", "Start…",
            "Copy these collections; asks first and says what will happen. While the plan is being made, once it is there.",
            lambda now: (now.has_result or now.is_busy) and now.is_free and now.has_source and now.has_target
            and not now.doing),
    Command("plan.edit", Place.PLAN, "edit", "e", "Edit…", "Another name or type for the column under the cursor, and what "
            "becomes of values that it cannot hold.", _has_result),
    Command("plan.ignore", Place.PLAN, "ignore", "i", "Exclude", "Exclude the field under the cursor, or include it again. A "
            "rejected document is kept whole, with its excluded fields.", _has_result),
    Command("plan.table", Place.PLAN, "table", "t", "Table…", "Another schema or table for the collection, or a filter.",
            _has_result),
    Command("plan.flatten", Place.PLAN, "flatten", "x", "Flatten", "Give each field of the document under the cursor a column "
            "of its own.", _has_result),
    Command("plan.undo", Place.PLAN, "undo", "u", "Undo", "Take back what was applied last, all of it at once.",
            lambda now: now.has_result and now.has_edits, in_footer=False),
    Command("plan.following", Place.PLAN, "following", "n", "Next", "The next collection.", _has_result, group=_COLLECTION),
    Command("plan.previous", Place.PLAN, "previous", "N", "Previous", "The collection before.", _has_result, group=_COLLECTION),
    Command("plan.details", Place.PLAN, "details", "enter", "Details", "What is under the cursor, and what was cut off of it.",
            _has_result),
    Command("plan.ddl", Place.PLAN, "ddl", "v", "DDL", "Show the SQL that makes the table, or its fields again.",
            _has_result),
    Command("plan.preflight", Place.PLAN, "preflight", "p", "Preflight", "What a run of this plan would meet at both ends: "
            "tables that are there, rights, connections.", _has_result, in_footer=False),
    Command("plan.save", Place.PLAN, "save", "w", "Save…", "Write the plan into a file, to be edited or run later.",
            _has_result),
    Command("plan.open", Place.PLAN, "open", "o", "Open…", "Show a plan that was saved in a file, and edit it further.",
            lambda now: _has_servers(now) and not now.is_busy),
    Command("plan.restore", Place.PLAN, "restore", "b", "Include…", "Give a field that was excluded its column back.",
            _has_result, in_footer=False),
    Command("plan.redo", Place.PLAN, "redo", "U", "Redo", "Apply again what was taken back last.",
            lambda now: now.has_result and now.has_undone, in_footer=False),
    Command("plan.collections", Place.PLAN, "collections", "c", "Collections", "To the list of the plan's collections.",
            _has_result, in_footer=False),
    Command("plan.full", Place.PLAN, "full", "f", "Count all",
            "Have the workers count every document: the plan is exact then, and so is the run that follows.",
            lambda now: _has_servers(now) and not now.is_busy and not now.is_counted),
    Command("plan.sample", Place.PLAN, "sample", "s", "Sample", "Plan from a sample again, and so in the run that follows.",
            lambda now: _has_servers(now) and not now.is_busy and now.is_counted),
    Command("plan.again", Place.PLAN, "again", "r,f5", "Refresh", "Read the source again and plan anew; edits stay.",
            lambda now: _has_servers(now) and not now.is_busy),
    Command("plan.stop", Place.PLAN, "stop", "escape", "Cancel", "Cancel the counting; the plan stays as it was.",
            lambda now: now.is_busy and now.is_counted),
    Command("verify.tune", Place.VERIFY, "tune", "t", "Tune…", "Workers, page size and throttle of the comparison that is in "
            "progress.", lambda now: now.is_comparing),
    Command("verify.cancel", Place.VERIFY, "cancel", "escape", "Cancel",
            "Cancel the comparison that is in progress; nothing was changed by it.", lambda now: now.is_comparing),
    Command("verify.counts", Place.VERIFY, "counts", "c,f5", "Count", "Count both sides now.", _can_ask),
    Command("verify.full", Place.VERIFY, "full", "f", "Compare all",
            "Read both sides and compare every document; takes about as long as the copy.", _can_ask),
    Command("verify.rejects", Place.VERIFY, "rejects", "R", "Rejects…",
            "The run's rejected documents, reason by reason, to look at and to retry.",
            lambda now: now.has_result and _can_ask(now)),
    Command("verify.export", Place.VERIFY, "export", "E", "Export…",
            "Write this report into a file: HTML, Markdown, JSON or CSV.",
            lambda now: now.has_result and not now.is_comparing),
    Command("verify.newest", Place.VERIFY, "newest", "escape", "Newest run", "Leave the chosen run for the newest one.",
            lambda now: not now.is_comparing, in_footer=False),
    Command("history.open", Place.HISTORY, "open", "enter", "Report", "How the run under the cursor ended.",
            _has_result),
    Command("history.replay", Place.HISTORY, "replay", "p", "Replay", "Play the run again on the Run screen.",
            _has_result),
    Command("history.compare", Place.HISTORY, "compare", "c", "Compare", "Two runs side by side: once on the one, once on the "
            "other.", _has_result, in_footer=False),
    Command("history.filter", Place.HISTORY, "filter", "slash", "Filter", "Show only runs with some letters in their id, "
            "servers, collections or outcome; with ! before them, only the others.", lambda now: now.can_ask, in_footer=False),
    Command("history.verify", Place.HISTORY, "verify", "v", "Verify", "Show the run on the Verify screen.", _has_result),
    Command("history.rejects", Place.HISTORY, "rejects", "R", "Rejects…",
            "The run's rejected documents, reason by reason, to look at and to retry.",
            lambda now: now.has_result and now.has_rejects),
    Command("history.export", Place.HISTORY, "export", "E", "Export…",
            "Write a report of the run into a file: HTML, Markdown, JSON or CSV.", _has_result),
    Command("history.resume", Place.HISTORY, "resume", "r", "Resume…",
            "Go on from what the run has committed; asks first.",
            lambda now: now.can_resume_chosen and now.is_free and now.knows_servers and not now.doing),
    Command("history.delete", Place.HISTORY, "delete", "delete", "Delete run…",
            "Delete the run's history, events and rejects, with its tables or without; lists them and asks first.",
            lambda now: now.is_chosen_free),
    Command("history.again", Place.HISTORY, "again", "f5", "Read again", "Read the ledger again.", _can_ask,
            in_footer=False),
    Command("rejects.policy", Place.REJECTS, "policy", "p", "Policy…",
            "Choose the policy under which the documents of this reason are retried.",
            lambda now: now.has_result and not now.is_busy),
    Command("rejects.retry", Place.REJECTS, "retry", "R", "Retry…",
            "Retry the documents of this reason; asks first, with the policy in force.",
            lambda now: now.has_result and now.is_free and not now.is_busy),
    Command("rejects.retry_all", Place.REJECTS, "retry_all", "A", "Retry all…",
            "Retry the documents of all reasons, each under its policy; asks first.",
            lambda now: now.has_result and now.is_free and not now.is_busy),
    Command("rejects.leave", Place.REJECTS, "leave", "escape", "Back",
            "From the documents to the reasons; there, to the screen before."),
    Command("rejects.open", Place.REJECTS, "open", "enter", "Open",
            "From a reason to its documents; there, the document under the cursor in full.", _has_result),
    Command("rejects.verify", Place.REJECTS, "verify", "v", "Verify", "Show the run on the Verify screen.", _can_ask),
    Command("rejects.export", Place.REJECTS, "export", "E", "Export…",
            "Write a report of the run into a file: HTML, Markdown, JSON or CSV.", _can_ask),
    Command("rejects.again", Place.REJECTS, "again", "f5", "Refresh", "Read the rejects again.", _can_ask, in_footer=False),
    Command("app.help", Place.APP, "help", "question_mark,f1", "Help", "The commands that work now; where files are."),
    Command("app.quit", Place.APP, "quit", "q,ctrl+q", "Quit", "Leave; asks while a run is going on."),
    Command("run.log", Place.RUN, "log", "l", "Log", "Show or hide the events of the run.", _has_run,
            in_footer=False),
    Command("run.freeze", Place.RUN, "freeze", "z", "Freeze", "Hold the display still; the run goes on.", _has_run,
            in_footer=False),
    Command("run.sort", Place.RUN, "sort", "s", "Sort", "Sort workers by number, rate, rows or state.", _has_run,
            in_footer=False),
    Command("run.reverse", Place.RUN, "reverse", "S", "Reverse", "Reverse the sort order of the workers.", _has_run,
            in_footer=False),
    Command("run.filter", Place.RUN, "filter", "slash", "Filter", "Show only workers with some letters in their state, "
            "collection or number; with ! before them, only the others.", _has_lists, in_footer=False),
    Command("run.problems", Place.RUN, "problems", "e", "Problems", "What went wrong so far, which documents it hit, and what "
            "to do about it.",
            lambda now: now.has_problems, in_footer=False),
    Command("run.vitals", Place.RUN, "vitals", "v", "Servers", "What both servers are doing: waits, locks and who holds them, "
            "WAL, replicas, tickets, cache; and what to do about it.", _has_run, in_footer=False),
    Command("run.guards", Place.RUN, "guards", "ctrl+g", "Guards off or on", "Turn guards off for this run, and on again: they "
            "slow it down and pause it for the servers' sake. The page of the servers says what they see.", _tunable,
            in_footer=False),
    Command("app.palette", Place.APP, "command_palette", "ctrl+p", "Palette",
            "All commands by name, knobs by value, workers 12, and modes, mode append."),
    Command("app.copy", Place.APP, "copy", "y", "Copy", "Copy what is under the cursor, or the error that is shown, into the "
            "terminal's clipboard.", in_footer=False),
    Command("app.setup", Place.APP, "show_setup", "1", "Setup", "The Setup screen.", in_footer=False),
    Command("app.plan", Place.APP, "show_plan", "2", "Plan", "The Plan screen.", _has_servers, in_footer=False),
    Command("app.run", Place.APP, "show_run", "3", "Run", "The Run screen.", _has_run, in_footer=False),
    Command("app.verify", Place.APP, "show_verify", "4", "Verify", "The Verify screen.", lambda now: now.can_ask,
            in_footer=False),
    Command("app.history", Place.APP, "show_history", "5", "History", "The History screen.",
            lambda now: now.can_ask, in_footer=False),
    Command("app.interrupt", Place.APP, "help_quit", "ctrl+c", "Interrupt",
            "Twice within two seconds: the stop dialog; once more: finish pages and stop.", in_footer=False),
    Command("app.theme", Place.APP, "change_theme", "f6", "Theme", "Choose the colours.", in_footer=False),
    Command("app.screenshot", Place.APP, "screenshot", "f12", "Screenshot",
            "Save the screen as an SVG picture in the current folder.", in_footer=False),
)  # fmt: skip

BY_ID = {command.id: command for command in COMMANDS}
BY_ACTION = {(command.place, command.action): command for command in COMMANDS}


def bindings_of(place: Place) -> list[BindingType]:
    """The key bindings of a screen, or of the app."""
    return [command.binding() for command in COMMANDS if command.place is place]


def commands_for(place: Place) -> list[Command]:
    """The commands that can be given on a screen: its own, then those that work everywhere."""
    return [command for command in COMMANDS if command.place is place] + [
        command for command in COMMANDS if command.place is Place.APP
    ]


_KNOB_WORDS: tuple[tuple[str, Knob], ...] = (
    ("workers", CLUSTER_SIZE), ("cluster size", CLUSTER_SIZE), ("page size", PAGE_SIZE), ("pages", PAGE_SIZE),
    ("seed count", SEED_COUNT), ("throttle", THROTTLE),
    *((name, knob) for name, knob in KNOBS.items()),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KnobWish:
    """A knob and a value, as typed into the palette."""

    knob: Knob
    value: KnobValue | None
    """None when what was typed is no value for this knob."""
    problem: str = ""


_OFFERED: dict[Knob, tuple[KnobValue, ...]] = {
    CLUSTER_SIZE: (1, 2, 4, 8, 16, 32, CLUSTER_SIZE.read("auto")),
    PAGE_SIZE: (500, 1_000, 2_000, 5_000, 8_000, 20_000, 50_000),
    THROTTLE: (0, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000),
    SEED_COUNT: (10_000, 100_000, 1_000_000, 10_000_000),
}
"""Values that the palette offers before one is typed."""
_LEAST_TYPED = 3
"""Letters of a knob's name before its values are offered."""


def knob_offers(text: str) -> list[KnobWish]:
    """Values of the knob whose name begins with `text`, or that `text` names, with the beginning of a value perhaps."""
    typed = text.replace("=", " ").replace(",", "").strip().lower()
    for words, knob in _KNOB_WORDS:
        begins = typed[: len(words)]
        if len(typed) >= _LEAST_TYPED and words.startswith(begins):
            rest = typed[len(words) :].strip()
            return [KnobWish(knob, value) for value in _OFFERED[knob] if _typed(knob, value).startswith(rest)]
    return []


def _typed(knob: Knob, value: KnobValue) -> str:
    if isinstance(value, Auto):
        return str(value)
    return "off" if knob.zero_is_off and value == 0 else str(value)


def knob_wish(text: str) -> KnobWish | None:
    """What "workers 12", "page size 5000", "throttle off" or "cluster_size=3" asks for; None when it is no knob."""
    name, _, value = text.replace("=", " ").strip().lower().rpartition(" ")
    name = name.strip()
    if not name or not (value[:1].isdigit() or value[:1] == "-" or value == "off" or value.startswith("auto")):
        return None
    for words, knob in _KNOB_WORDS:
        if words.startswith(name):
            try:
                return KnobWish(knob, knob.read(value))
            except KnobError as error:
                return KnobWish(knob, None, error.message)
    return None
