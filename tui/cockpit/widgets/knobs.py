"""The knobs of a running run, with what was asked for and is not there yet."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, SEED_COUNT, THROTTLE, Knob
from engine.protocol import Snapshot
from tui.cockpit.commands import BY_ID
from tui.cockpit.keymap import Keymap
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.shown import ShownRun
from tui.cockpit.signs import MUTED
from tui.words.format import compact, counted
from tui.words.knobs import auto_words, value_text
from tui.words.sentences import slots_of

_COMMANDS = {
    CLUSTER_SIZE.name: ("run.workers_fewer", "run.workers_more"),
    PAGE_SIZE.name: ("run.page_smaller", "run.page_larger"),
    SEED_COUNT.name: ("run.tune",),
    THROTTLE.name: ("run.tune",),
}
"""What turns each knob."""
_KEYS = len("- +")
_GAPS = ("   ", "  ", " ")
"""Between the knobs of one line, the wider the better."""


class KnobPanel(Widget):
    """One line a knob where there is room, one line for all of them where there is not; a click on a key is the key."""

    BORDER_TITLE = "Knobs"
    session: ShownRun | None = None

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self._drawn: object = None
        self._keymap = keymap
        self.set_reactive(Widget.auto_links, False)  # the colours of links would hide that of a warning

    def show(self, session: ShownRun) -> None:
        """Draw this session's knobs."""
        facts = [
            (session.knob_value(knob), session.knob_note(knob), getattr(session.snapshot, knob.name))
            for knob in session.knobs()
        ]
        snapshot = session.snapshot
        n_problems = len(snapshot.problems)
        has_views = bool(snapshot.tables)
        drawn = (
            session,
            snapshot.state,
            snapshot.workers_alive,
            snapshot.draining,
            n_problems,
            has_views,
            facts,
            snapshot.tuning,
            _page_note(snapshot, session.knob_value(PAGE_SIZE)),
        )
        if drawn != self._drawn:
            self._drawn = drawn
            self.session = session
            self.refresh()

    def render(self) -> Content:
        """The lines."""
        if self.session is None:
            return Content.empty()
        session = self.session
        knobs = session.knobs()
        if self.content_size.height < len(knobs):
            width = self.content_size.width
            lines = (
                self._in_one_line(gap, says_range=says_range)
                for says_range, gaps in ((True, _GAPS[:2]), (False, _GAPS))
                for gap in gaps
            )
            fitting = next((line for line in lines if line.cell_length <= width), None)
            # The seed count is looked at least once there are rows: it gives way, and Tune has it.
            return fitting or self._in_one_line("  ", says_range=False, has_seeds=False)
        return Content("\n").join(self._line(session, knob) for knob in knobs)

    def _in_one_line(self, gap: str, *, says_range: bool, has_seeds: bool = True) -> Content:
        """All of them, the problems, and the key of the next view."""
        session = self.session
        assert session is not None
        words = [
            self._label("run.tune", f"{knob.label.lower()} ") + value_of(session, knob, says_range=says_range)
            for knob in session.knobs()
            if has_seeds or knob is not SEED_COUNT
        ]
        if problems := len(session.snapshot.problems):  # they have no panel here
            key = self._keymap.first("run.problems")
            words.append(_clickable("run.problems", Content.styled(f"! problems {problems} ({key})", "$warning")))
        if session.snapshot.tables:  # there may be room for one of collections, workers and chart
            words.append(_clickable("run.view", Content.styled(f"{self._keymap.first('run.view')}: next view", MUTED)))
        return Content(gap).join(words)

    def _label(self, command_id: str, words: str) -> Content:
        """Words that give a command when they are clicked; those of a run that is replayed give none."""
        label = Content.styled(words, MUTED)
        return label if isinstance(self.session, ReplayedRun) else _clickable(command_id, label)

    def _line(self, session: ShownRun, knob: Knob) -> Content:
        """`Workers      - +  8`; of a run that is replayed without the keys, which mean something else there."""
        if isinstance(session, ReplayedRun):
            return Content.assemble((f"{knob.label:<12}", MUTED), " " * (_KEYS + 2), value_of(session, knob))
        commands = _COMMANDS[knob.name]
        keys = Content(" ").join(
            _clickable(command, Content.styled(self._keymap.first(command), MUTED)) for command in commands
        )
        indent = " " * max(0, _KEYS - keys.cell_length)
        is_on = knob is THROTTLE and session.knob_value(knob) and session.snapshot.state.is_active
        hint = (
            Content.styled(f"  {self._keymap.first('run.tune')}: change, or off", MUTED) if is_on else Content.empty()
        )
        return Content.assemble(f"{knob.label:<12}", indent, keys, "  ", value_of(session, knob), hint)


def _clickable(command_id: str, words: Content) -> Content:
    """A click on it gives the command, where that works now."""
    return words.stylize(Style.from_meta({"@click": f"screen.{BY_ID[command_id].action}"}))


def value_of(session: ShownRun, knob: Knob, *, says_range: bool = True) -> Content:
    """`8`, or with a change on its way `8 → 6, 2 draining`.

    Args:
        says_range: say of a page size that ranges are smaller.
    """
    snapshot = session.snapshot
    value = session.knob_value(knob)
    in_force = int(getattr(snapshot, knob.name))
    note = session.knob_note(knob)
    if knob is CLUSTER_SIZE and snapshot.state.is_active:
        in_force, note = snapshot.workers_alive or in_force, _cluster_note(snapshot, value)
        if snapshot.tuning is not None and value == snapshot.cluster_size:
            stable = Content.styled(value_text(knob, snapshot.tuning.stable), "bold")
            return stable + Content.styled(f" ({auto_words(snapshot)})", MUTED)
    if knob is PAGE_SIZE and not note and says_range:
        note = _page_note(snapshot, value)
    words = Content.styled(value_text(knob, in_force), "bold")
    if value != in_force:
        words = words + Content.styled(f" → {value_text(knob, value)}", "bold $warning")
    return words + Content.styled(f", {note}", MUTED) if note else words


def _page_note(snapshot: Snapshot, value: int) -> str:
    """That pages are smaller than that, because their ranges are."""
    ranges = [worker.range.total for worker in snapshot.workers if worker.range is not None and worker.range.total]
    is_felt = not ranges or value <= max(ranges) or not snapshot.state.is_active
    return "" if is_felt else f"ranges hold {compact(max(ranges))}"


def _cluster_note(snapshot: Snapshot, wanted: int) -> str:
    if snapshot.draining:
        return f"{snapshot.draining} draining"
    if snapshot.hosts and (slots := slots_of(snapshot)) < wanted:
        return counted(slots, "slot")
    missing = wanted - snapshot.workers_alive
    return f"{missing} starting" if missing > 0 and snapshot.workers_alive else ""
