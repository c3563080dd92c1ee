"""The end of a run: how it ended, whether both sides agree, the counts per table, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.protocol import Event, RunCutOver, RunInfo, RunState, Snapshot, TableProgress
from tui.cockpit.commands import Situation
from tui.cockpit.keymap import Keymap
from tui.cockpit.shown import ShownRun
from tui.cockpit.signs import MUTED, Sign
from tui.words.follow import cut_over_words, since_copy_words
from tui.words.format import NO_NUMBER, counted, duration, number
from tui.words.replaced import replaced_table_words, replaced_words
from tui.words.run_status import RETRIED_SINCE, overall_rate, rates_words, stopped_words, times_words, worked_s
from tui.words.safe import safe
from tui.words.sentences import altered_words

_COUNTS = ("source", "read", "written", "rejected", "target")
_GIVES_WAY = ("read", "source", "target")
"""Counts that are left out where there is too little room, the first one first."""
_COUNT_WIDTH = 13
_NAME_WIDTH, _LEAST_NAME = 40, 25
"""Cells of a table's name, at most and, if it needs so many, at least."""
_RESULT_WIDTH = 16
_FRAME = 4
"""Cells of its frame, and of what is beside the text."""


class ReportPanel(VerticalScroll):
    """Shown in the place of the workers once the run is over, or once its engine is lost."""

    BORDER_TITLE = "Report"

    _subject: tuple[ShownRun, Situation] | None = None

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self._keymap = keymap

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(id="report", markup=False)

    def show(self, session: ShownRun, situation: Situation) -> None:
        """Write the report."""
        self._subject = (session, situation)
        room = self.scrollable_content_region.width or self.app.size.width - _FRAME  # it was not laid out yet
        width = max(60, room - 2)
        head = headline(session.snapshot, session.sign, is_lost=session.is_lost, events=session.events)
        counts, steps = tables(session.snapshot, width), _next_steps(session, situation, self._keymap)
        text = Content("\n\n").join(block for block in (head, *counts, steps) if block)
        height = self.scrollable_content_region.height
        if counts and 0 < height < text.plain.count("\n") + 1:  # what comes next is not below what has to be scrolled
            text = Content("\n\n").join(block for block in (head, steps, *counts) if block)
        self.query_one("#report", Static).update(text)

    def on_resize(self) -> None:
        """The table follows the width."""
        if self._subject is not None:
            self.show(*self._subject)


def headline(
    snapshot: Snapshot,
    sign: Sign,
    *,
    is_lost: bool = False,
    run: RunInfo | None = None,
    events: Iterable[Event] = (),
) -> Content:
    """How the run ended, its error, the identity of its counts, and what was followed until it was cut over.

    Args:
        events: of the run.
        run: what the ledger has of it, where it was asked: times and rates are of all times that the run was driven.
    """
    lines = [Content.styled(f"{sign}  ", f"bold {sign.colour}") + Content(f"run {safe(snapshot.run_id, 40)}")]
    if is_lost:
        lines.append(
            Content("The engine ended without saying that the run is over. What it had committed is in the target.")
        )
    if stopped := stopped_words(snapshot):
        lines.append(Content(stopped))
    if snapshot.error is not None:
        lines.append(Content.styled(safe(snapshot.error.message, 1_000), "$error"))
    if snapshot.tables or snapshot.read:
        accounted = snapshot.read == snapshot.written + snapshot.rejected
        equation = (
            f"{number(snapshot.read)} read {'=' if accounted else '≠'} {number(snapshot.written)} written "
            f"+ {number(snapshot.rejected)} rejected"
        )
        equation += f" {since}" if (since := since_copy_words(snapshot.follow)) else ""
        pace = pace_words(snapshot)
        if run is not None:
            pace = f"{times_words(run)} · {rates_words(overall_rate(run), run.rows_per_s_copying)}"
        if altered := sum((Counter(table.altered) for table in snapshot.tables), Counter[str]()):
            lines.append(Content(f"Altered by policy: {altered_words(altered)}"))
        lines += [Content.styled(equation, "" if accounted else "$error"), Content.styled(pace, MUTED)]
        lines += [Content(cut_over_words(event)) for event in events if isinstance(event, RunCutOver)][-1:]
        if snapshot.verified_before_retry:
            lines.append(Content.styled(f"! {RETRIED_SINCE}", "$warning"))
        if replaced := replaced_words(snapshot.replaced_since):
            lines.append(Content.styled(f"! {replaced}", "$warning"))
    elif snapshot.seeded:
        seeded = counted(snapshot.seeded, "document is", "documents are")
        lines.append(Content(f"{seeded} in the source, {duration(snapshot.elapsed)}."))
    return Content("\n").join(lines)


def pace_words(snapshot: Snapshot) -> str:
    """How long it took, and both rates."""
    seconds = worked_s(snapshot)
    overall = snapshot.rows_per_s_overall or (snapshot.written / seconds if seconds else None)
    since = f" ({duration(snapshot.elapsed)} since it was resumed)" if snapshot.seconds_before else ""
    return f"{duration(seconds)}{since} · {rates_words(overall, snapshot.rows_per_s_mean)}"


def tables(snapshot: Snapshot, width: int) -> list[Content]:
    """The counts of each table, for lines of `width` cells; nothing when there are none."""
    if not snapshot.tables:
        return []
    needed = max(Content(safe(table.table, 120)).cell_length for table in snapshot.tables) + 1
    widths = _count_widths(snapshot.tables, min(needed, _NAME_WIDTH), width - _RESULT_WIDTH)
    name_width = min(_NAME_WIDTH, width - sum(widths.values()) - _RESULT_WIDTH)
    head = f"{'table':<{name_width}}" + "".join(f"{name:>{cells}}" for name, cells in widths.items()) + "  result"
    lines = [_table(table, widths, name_width, snapshot) for table in snapshot.tables]
    return [Content("\n").join([Content.styled(head, MUTED), *lines])]


def _count_widths(tables_: Sequence[TableProgress], needed: int, room: int) -> dict[str, int]:
    """Cells of each count that is shown: names have the room that numbers leave, and the least needed counts give way.

    Args:
        needed: cells of the longest name.
        room: cells for names and counts.
    """
    widths = dict.fromkeys(_COUNTS, _COUNT_WIDTH)
    if room - sum(widths.values()) >= needed:
        return widths
    widths = {name: 2 + max(len(name), *(len(_number(table, name)) for table in tables_)) for name in _COUNTS}
    for least in _GIVES_WAY:
        if room - sum(widths.values()) >= min(needed, _LEAST_NAME):
            break
        del widths[least]
    return widths


def _number(table: TableProgress, count: str) -> str:
    values = {
        "source": table.source_count, "read": table.read, "written": table.written, "rejected": table.rejected,
        "target": table.target_count,
    }  # fmt: skip
    return number(values[count]) if values[count] >= 0 else NO_NUMBER


def _table(table: TableProgress, widths: Mapping[str, int], name_width: int, snapshot: Snapshot) -> Content:
    name = Content(safe(table.table, 120)).truncate(name_width - 1, ellipsis=True)
    numbers = "".join(f"{_number(table, count):>{cells}}" for count, cells in widths.items())
    result, colour = {
        True: ("✓ match" if snapshot.verification_level == "full" else "✓ counts match", "$success"),
        False: ("! mismatch", "$error"),
        None: ("not compared", MUTED),
    }[table.ok]
    if replaced := replaced_table_words(snapshot.replaced_since, table.table):
        result, colour = f"! {replaced.partition(' ')[0]}", "$warning"
    return Content.assemble(name, " " * (name_width - name.cell_length), numbers, (f"  {result}", colour))


def _next_steps(session: ShownRun, situation: Situation, keymap: Keymap) -> Content:
    snapshot = session.snapshot
    run_id = safe(snapshot.run_id, 40)
    steps: list[str] = []
    commands: list[str] = []
    if situation.is_replay:
        again, leave = keymap.first("run.replay_hold"), keymap.first("run.replay_leave")
        return Content(f"{again}: play again · {leave}: back to History")
    if session.is_lost or snapshot.state in {RunState.FAILED, RunState.CANCELLED}:
        later = session.command(f"run --resume {run_id}", "source", "target")
        if situation.can_resume:
            key = keymap.first("run.continue")
            steps.append(f"{key}: resume")
            commands.append(later)
        elif snapshot.tables and not session.is_on_passing_servers:
            commands.append(later)
        steps.append(f"The engine's log: {safe(str(session.log_path()), 300)}")
    if snapshot.rejected:
        steps.append(f"{keymap.first('run.rejects')}: rejected documents, reason by reason")
        commands.append(session.command(f"rejects {run_id} --documents", "target"))
    is_whole = snapshot.replaced_since is None
    if snapshot.state is RunState.COMPLETED and snapshot.verification_level != "full" and is_whole:
        keys = f"{keymap.first('app.verify')}, {keymap.first('verify.full')}"
        why = " again" if snapshot.verified_before_retry else ""
        steps.append(f"{keys}: compare every document with its row{why}")
    for side, uri in session.servers.items() if not session.is_on_passing_servers else ():
        steps.append(f"The {side} server keeps running: {safe(uri, 300)}")
    ways = {"run.export": "export the report", "app.setup": "new run", "app.quit": "quit"}
    offered = [way for way in ways if way != "run.export" or snapshot.tables]
    steps.append(" · ".join(f"{keymap.first(way)}: {ways[way]}" for way in offered))
    lines = [Content.styled("Next", "bold"), *(Content(f"  · {step}") for step in steps)]
    if commands:
        lines += [Content(), Content.styled("Later, in a shell", "bold")]
        lines += [Content.assemble(("$ ", MUTED), each) for each in commands]
    return Content("\n").join(lines)
