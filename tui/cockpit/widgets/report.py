"""The end of a run: how it ended, whether both sides agree, the counts per table, and what to do next."""

from __future__ import annotations

from collections import Counter

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.protocol import RunState, Snapshot, TableProgress
from tui.cockpit.commands import Situation
from tui.cockpit.keymap import Keymap
from tui.cockpit.shown import ShownRun
from tui.cockpit.signs import MUTED, Sign
from tui.words.format import NO_NUMBER, duration, number
from tui.words.safe import safe
from tui.words.sentences import altered_words

_COUNTS = ("source", "read", "written", "rejected", "target")
_COUNT_WIDTH = 13
_RESULT_WIDTH = 12


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
        width = max(60, self.scrollable_content_region.width - 2)
        blocks = [
            headline(session.snapshot, session.sign, is_lost=session.is_lost),
            *tables(session.snapshot, width),
            _next_steps(session, situation, self._keymap),
        ]
        self.query_one("#report", Static).update(Content("\n\n").join(block for block in blocks if block))

    def on_resize(self) -> None:
        """The table follows the width."""
        if self._subject is not None:
            self.show(*self._subject)


def headline(snapshot: Snapshot, sign: Sign, *, is_lost: bool = False) -> Content:
    """How the run ended, its error, and the identity of its counts."""
    lines = [Content.styled(f"{sign}  ", f"bold {sign.colour}") + Content(f"run {safe(snapshot.run_id, 40)}")]
    if is_lost:
        lines.append(
            Content("The engine ended without saying that the run is over. What it had committed is in the target.")
        )
    if snapshot.error is not None:
        lines.append(Content.styled(safe(snapshot.error.message, 1_000), "$error"))
    if snapshot.tables or snapshot.read:
        accounted = snapshot.read == snapshot.written + snapshot.rejected
        equation = (
            f"{number(snapshot.read)} read {'=' if accounted else '≠'} {number(snapshot.written)} written "
            f"+ {number(snapshot.rejected)} rejected"
        )
        seconds = snapshot.seconds or snapshot.elapsed  # a run told from the ledger has only one of them
        pace = f"{duration(seconds)} · {number(snapshot.rows_per_s_mean)} rows/s while copying"
        if altered := sum((Counter(table.altered) for table in snapshot.tables), Counter[str]()):
            lines.append(Content(f"Altered by policy: {altered_words(altered)}"))
        lines += [Content.styled(equation, "" if accounted else "$error"), Content.styled(pace, MUTED)]
    elif snapshot.seeded:
        lines.append(Content(f"{number(snapshot.seeded)} documents are in the source, {duration(snapshot.elapsed)}."))
    return Content("\n").join(lines)


def tables(snapshot: Snapshot, width: int) -> list[Content]:
    """The counts of each table, for lines of `width` cells; nothing when there are none."""
    if not snapshot.tables:
        return []
    counts = _COUNTS if width >= 12 + len(_COUNTS) * _COUNT_WIDTH + _RESULT_WIDTH else ("read", "written", "target")
    name_width = min(40, width - len(counts) * _COUNT_WIDTH - _RESULT_WIDTH)
    head = f"{'table':<{name_width}}" + "".join(f"{name:>{_COUNT_WIDTH}}" for name in counts) + "  result"
    return [
        Content("\n").join(
            [Content.styled(head, MUTED), *(_table(table, counts, name_width) for table in snapshot.tables)]
        )
    ]


def _table(table: TableProgress, counts: tuple[str, ...], name_width: int) -> Content:
    values = {
        "source": table.source_count, "read": table.read, "written": table.written, "rejected": table.rejected,
        "target": table.target_count,
    }  # fmt: skip
    name = Content(safe(table.table, 120)).truncate(name_width - 1, ellipsis=True)
    numbers = "".join(f"{number(values[key]) if values[key] >= 0 else NO_NUMBER:>{_COUNT_WIDTH}}" for key in counts)
    result, colour = {
        True: ("✓ agrees", "$success"),
        False: ("! differs", "$error"),
        None: ("not compared", MUTED),
    }[table.ok]
    return Content.assemble(name, " " * (name_width - name.cell_length), numbers, (f"  {result}", colour))


def _next_steps(session: ShownRun, situation: Situation, keymap: Keymap) -> Content:
    snapshot = session.snapshot
    run_id = safe(snapshot.run_id, 40)
    steps: list[str] = []
    if situation.is_replay:
        again, leave = keymap.first("run.replay_hold"), keymap.first("run.replay_leave")
        return Content(f"{again} plays it again, {leave} goes back to the history.")
    if session.is_lost or snapshot.state in {RunState.FAILED, RunState.CANCELLED}:
        if situation.can_resume:
            key = keymap.first("run.continue")
            steps.append(f"{key} goes on from what is committed; so does `mongopg-tui run --resume {run_id}` later.")
        elif snapshot.tables and not session.is_on_passing_servers:
            steps.append(f"`mongopg-tui run --resume {run_id}` goes on from what is committed.")
        steps.append(f"The engine's log: {safe(str(session.log_path()), 300)}")
    if snapshot.rejected:
        steps.append(f"`mongopg-tui rejects {run_id}` lists the rejected documents with their reasons.")
    for side, uri in session.servers.items() if not session.is_on_passing_servers else ():
        steps.append(f"The {side} server keeps running: {safe(uri, 300)}")
    steps.append(f"{keymap.first('app.setup')} goes to Setup for another run, {keymap.first('app.quit')} leaves.")
    return Content("\n").join([Content.styled("Next", "bold"), *(Content(f"  · {step}") for step in steps)])
