"""The cut-over of a run that follows: what has to hold, the writers to be stopped, the countdown, and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from textual import on
from textual.content import Content
from textual.widgets import Button, Static

from engine.protocol import CALLED_OFF, CutOver, FollowView, RunState, Snapshot
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.dialogs.questions import REDRAW_S, Answer, Question
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.follow import SIGNS, draining_words
from tui.words.follow import LIFT, LIFT_WORDS, checklist, kinds_words, lag_words, note_words
from tui.words.format import counted, number
from tui.words.safe import safe

TIMEOUT_S = CutOver().timeout_s
BLOCK, REALLY_BLOCK = "Block writes…", "Yes, block all writes and cut over"
LEAST_RATE = 0.05
"""Changes a second: less is shown as none."""


class CutOverDialog(Question, KeptModal[str]):
    """Asks for the cut-over and shows what comes of it, until it is left."""

    KEPT_AS = "cut over"

    def __init__(
        self,
        look: Callable[[], Snapshot | None],
        cut_over: Callable[[], None],
        block: Callable[[], None],
        call_off: Callable[[], None],
        *,
        decide_key: str,
        stops_writers: Callable[[], bool],
    ) -> None:
        """Nothing is shown yet.

        Args:
            look: tells how the run is now.
            cut_over: asks the engine for it.
            block: asks for it, with MongoDB refusing all writes.
            call_off: asks it to call that off.
            decide_key: the key that decides about a run that is halted.
            stops_writers: tells whether the engine stops the writers itself, being those of its demo.
        """
        answers = [
            Answer("back", "Close", "primary"),
            Answer("off", "Call it off", "warning"),
            Answer("go", "Writers are stopped: cut over", "warning"),
            Answer("block", BLOCK, "error"),
        ]
        super().__init__("Cut over to PostgreSQL", Content.empty(), answers, default="back")
        self._look = look
        self._orders = {"go": cut_over, "block": block, "off": call_off}
        self._decide_key = decide_key
        self._stops_writers = stops_writers
        self._asks_for_block = False
        """The question whether all writes are to be blocked is asked for the second time."""
        self._n_called_off = 0
        """Cut-overs that had been called off when it was opened."""
        self._drawn: object = None

    def on_mount(self) -> None:
        """Draw by the clock."""
        self.redraws(REDRAW_S, self._draw)

    def on_screen_resume(self) -> None:
        """The run of now; the answer that changes nothing has the focus."""
        snapshot = self._look()
        self._n_called_off = called_off(snapshot)[0] if snapshot is not None else 0
        self._ask_for_block(again=False)
        self._draw()
        self.set_focus(self.query_one("#back", Button))

    def _draw(self) -> None:
        snapshot = self._look()
        if snapshot is None or snapshot.follow is None or self._drawn == snapshot:
            return
        self._drawn = snapshot
        self._text = Content("\n").join(self._lines(snapshot, snapshot.follow))
        self.query_one(".dialog-text Static", Static).update(self._text)
        is_going, is_over = is_cutting_over(snapshot), snapshot.state.is_over
        go, block, off, back = (self.query_one(f"#{answer}", Button) for answer in ("go", "block", "off", "back"))
        go.display, go.disabled = not is_going and not is_over and not self._asks_for_block, not snapshot.follow.ready
        block.display = not is_going and not is_over and snapshot.follow.can_block_writes
        block.disabled = go.disabled
        off.display = is_going and snapshot.follow.phase != "done"
        if self.focused is None or not self.focused.display or self.focused.disabled:
            self.set_focus(back)

    def _lines(self, snapshot: Snapshot, follow: FollowView) -> Iterator[Content]:
        if snapshot.state is RunState.COMPLETED:
            yield from _done(snapshot, follow)
        elif snapshot.state.is_over:
            yield Content.styled(f"× The run is over and was not cut over: {snapshot.state.value}.", "bold $error")
        elif is_cutting_over(snapshot):
            yield from _going(snapshot, follow)
        else:
            yield from self._asked(snapshot, follow)

    def _ask_for_block(self, *, again: bool) -> None:
        self._asks_for_block, self._drawn = again, None
        self.query_one("#block", Button).label = Content(REALLY_BLOCK if again else BLOCK)
        self.query_one("#back", Button).label = Content("Back" if again else "Close")

    def _asked(self, snapshot: Snapshot, follow: FollowView) -> Iterator[Content]:
        if self._asks_for_block:
            yield from _block_warning()
            return
        count, message = called_off(snapshot)
        if count > self._n_called_off:
            yield Content.styled(f"! {message}", "$warning")
            yield Content.empty()
        for check in checklist(follow, decide=f"decide what is done: {self._decide_key} on the Run screen"):
            sign, colour = SIGNS[check.holds]
            yield Content.assemble((f"{sign} ", colour), check.words)
            if check.advice:
                yield Content.styled(f"  → {check.advice}", MUTED)
        for note in note_words(follow):
            yield Content.styled(note, "$warning")
        yield Content.empty()
        if self._stops_writers():
            yield Content.styled("The writers of the demo are stopped by the cut-over.", "bold")
        else:
            yield Content.styled("Stop everything that writes to the source now.", "bold")
        yield _still_written(follow)
        yield Content.empty()
        yield Content(
            "Then the source's last write is the mark: what is left up to it is applied, both sides are counted, and the run "
            "completes. It is called off, and following goes on, when the source is written to behind the mark, when the "
            f"counts differ, or when it takes longer than {TIMEOUT_S:.0f} s."
        )

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        """An order leaves it open: it shows what comes of it."""
        event.prevent_default()
        if event.button.id == "block" and not self._asks_for_block:
            self._ask_for_block(again=True)
            self._draw()
            self.set_focus(self.query_one("#back", Button))
            return
        was_asked_twice = self._asks_for_block
        self._ask_for_block(again=False)
        if was_asked_twice and event.button.id == "back":
            self._draw()  # back to the first question
        elif (order := self._orders.get(event.button.id or "")) is not None:
            order()
            self.set_focus(self.query_one("#back", Button))
        else:
            self.action_safe_answer()


def _block_warning() -> Iterator[Content]:
    yield Content.styled("Have MongoDB refuse all writes?", "bold $warning")
    yield Content.empty()
    yield Content(
        "It refuses every write of every user, in all databases of the source's whole cluster, not only in those of this run, "
        "until that is lifted. Only a user with the right to bypass the block can write."
    )
    yield Content(
        "It is lifted when the cut-over is called off, and when a run that ended in it is resumed. It stays when the cut-over "
        "is done, so that the source stays as it is; this lifts it:"
    )
    yield Content.styled(f"  {LIFT}", MUTED)


def is_cutting_over(snapshot: Snapshot) -> bool:
    """A mark is looked for or set, and the run is not over."""
    follow = snapshot.follow
    if follow is None or snapshot.state.is_over:
        return False
    return snapshot.state is RunState.DRAINING or follow.phase in ("draining", "done")


def called_off(snapshot: Snapshot) -> tuple[int, str]:
    """How many cut-overs of the run were called off, and why the last one was."""
    problems = [each for each in snapshot.problems if each.code == CALLED_OFF]
    return sum(each.count for each in problems), safe(problems[-1].message, 600) if problems else ""


def _still_written(follow: FollowView) -> Content:
    if follow.events_per_s < LEAST_RATE:
        return Content("✓ No change was read in the last 10 s.")
    kinds = f" (since the engine began: {kinds_words(follow)})" if follow.by_kind else ""
    return Content.styled(
        f"! The source is written to: {follow.events_per_s:,.1f} changes/s in the last 10 s{kinds}.", "$warning"
    )


def _going(snapshot: Snapshot, follow: FollowView) -> Iterator[Content]:
    yield Content.styled(f"◐ {draining_words(follow)}", "bold")
    lag = f", lag {lag_words(follow.lag_s)}" if follow.lag_s is not None else ""
    yield Content(f"  {safe(snapshot.phase, 60)}: {number(follow.applied_per_s)} keys/s applied{lag}")
    yield Content.empty()
    if follow.writes_blocked:
        yield Content("MongoDB refuses all writes.")
    yield Content("Keep the writers stopped. It can be called off until the run is completed: nothing is lost by that.")


def _done(snapshot: Snapshot, follow: FollowView) -> Iterator[Content]:
    yield Content.styled("✓ Cut over: PostgreSQL has what the source had at the mark.", "bold $success")
    if follow.write_stop_s is not None:
        yield Content(f"  The writers had to stand still for {follow.write_stop_s:.1f} s, from the mark to the end.")
    if snapshot.rejected:
        rejects = counted(snapshot.rejected, "document is a reject", "documents are rejects")
        yield Content.styled(f"! {rejects}, without a row in the table.", "$warning")
    if follow.writes_blocked:
        yield Content.styled(f"! {LIFT_WORDS}.", "$warning")
    yield Content.empty()
    yield Content("Have your application use PostgreSQL now. Keep the source as it is, unwritten, until you are sure.")
