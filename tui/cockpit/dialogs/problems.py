"""Problems of a run: the list of them by reason, and one of them in full."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets.option_list import Option

from engine.errors import MigrationError
from engine.protocol import CALLED_OFF, ProblemView, RejectGroup, RejectsReport
from tui.cockpit.clipboard import copy
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.listing import Lines
from tui.cockpit.widgets.problems import problem_line, sorted_problems
from tui.words.format import duration, number
from tui.words.safe import safe

REDRAW_S = 0.5
SAMPLES = 10
"""Documents of each reason and field that are named."""
NO_ADVICE = "Handled by retry. If it recurs, check that session or server."
_ADVICE = {
    CALLED_OFF: "Mend what it names, then cut over again: until then following goes on.",
    "writes_after_mark": "Stop everything that writes to the source, then cut over again.",
    "compared": "Nothing is to be done: what differed is applied.",
}
"""What to do about problems that are no failures, by code, where the engine says nothing of it."""

Ask = Callable[[], Awaitable[RejectsReport]]


class ProblemsDialog(KeptModal[None]):
    """All kinds of problems so far; Enter opens one."""

    KEPT_AS = "problems"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back", id="dialog.back"),
        Binding("enter", "open", "In full", show=False),
        Binding("y", "copy", "Copy the problem", id="dialog.copy"),
    ]

    def __init__(self, problems: Callable[[], Sequence[ProblemView]], ask: Ask, copy_key: str) -> None:
        """Nothing is asked before a problem is opened.

        Args:
            problems: those of the run now.
            ask: has the rejects of the run told, with samples.
            copy_key: the key that copies, for the hint.
        """
        super().__init__()
        self._problems = problems
        self._ask = ask
        self._copy_key = copy_key
        self._shown: list[ProblemView] = []

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(classes="dialog wide") as dialog:
            dialog.border_title = Content("Problems")
            dialog.border_subtitle = Content(f"Enter details · {self._copy_key} copy · Esc close")
            yield Lines(markup=False, compact=True)

    def on_mount(self) -> None:
        """Draw by the clock: problems are added while the run goes on."""
        self.redraws(REDRAW_S, self._draw)

    def on_screen_resume(self) -> None:
        """Those of the run now."""
        self._draw()

    def _draw(self) -> None:
        problems = sorted_problems(self._problems())
        if problems == self._shown:
            return
        lines = self.query_one(Lines)
        chosen = self._chosen
        self._shown = problems
        lines.set_options(Option(_summary(problem)) for problem in problems)
        kinds = [_kind(problem) for problem in problems]
        lines.highlighted = kinds.index(_kind(chosen)) if chosen is not None and _kind(chosen) in kinds else 0

    @property
    def _chosen(self) -> ProblemView | None:
        index = self.query_one(Lines).highlighted
        return self._shown[index] if index is not None and index < len(self._shown) else None

    def on_option_list_option_selected(self) -> None:
        """A click opens."""
        self.action_open()

    def action_open(self) -> None:
        """The problem under the cursor in full."""
        if self._chosen is not None:
            self.app.push_screen(ProblemDialog(self._chosen, self._ask, self._copy_key))

    def action_copy(self) -> None:
        """The problem under the cursor."""
        if self._chosen is not None:
            copy(self.app, problem_text(self._chosen).plain, "the problem")


class ProblemDialog(Sheet):
    """One kind of problem: what, where, how often, when last, what to do, and which documents."""

    def __init__(self, problem: ProblemView, ask: Ask, copy_key: str) -> None:
        super().__init__("Problem", problem_text(problem), "the problem", copy_key)
        self._problem = problem
        self._ask = ask

    def on_mount(self) -> None:
        """The documents are asked for."""
        self._draw(Content.styled("looking for its documents…", MUTED))
        self._look()

    @work(group="samples", exclusive=True)
    async def _look(self) -> None:
        try:
            report = await self._ask()
        except MigrationError as error:
            self._draw(Content.styled(f"Its documents are not known: {safe(error.message, 600)}", MUTED))
            return
        groups = [
            group
            for group in report.groups
            if group.reason == self._problem.code and group.namespace == self._problem.collection
        ]
        self._draw(samples_text(groups, report.run_id))

    def _draw(self, documents: Content) -> None:
        self.write(problem_text(self._problem) + Content("\n\n") + documents)


def _advice(problem: ProblemView) -> str:
    return problem.advice or _ADVICE.get(problem.code, NO_ADVICE)


def _kind(problem: ProblemView) -> tuple[str, str]:
    return problem.code, problem.collection


def _summary(problem: ProblemView) -> Content:
    """Two lines: what, and what to do."""
    return problem_line(problem) + Content.styled(f"\n           {safe(_advice(problem), 400)}", MUTED)


def problem_text(problem: ProblemView) -> Content:
    """Everything that the run knows of it."""
    where = f" in {safe(problem.collection, 120)}" if problem.collection else ""
    times = "once" if problem.count == 1 else f"{number(problem.count)} times"
    lines = [
        Content.assemble(
            (safe(problem.code, 60), "bold $warning"), f"{where}: {times}, last at {duration(problem.last_at)}"
        ),
        Content(""),
        Content(safe(problem.message, 4_000)),
        Content(""),
        Content.assemble(("What to do  ", MUTED), safe(_advice(problem), 1_000)),
    ]
    return Content("\n").join(lines)


def samples_text(groups: Sequence[RejectGroup], run_id: str) -> Content:
    """Documents that are kept as rejects for this reason, field by field."""
    if not groups:
        return Content.styled("No documents were rejected.", MUTED)
    lines = []
    for group in groups:
        field = f"field {safe(group.field, 80)}" if group.field else "the document as a whole"
        state = f", SQLSTATE {safe(group.sqlstate, 5)}" if group.sqlstate else ""
        lines.append(Content.assemble((f"{number(group.count)} in {field}{state}", "bold")))
        lines += [Content(f"  _id {safe(each, 200)}") for each in group.samples]
        if group.count > len(group.samples):
            lines.append(Content.styled(f"  … and {number(group.count - len(group.samples))} more", MUTED))
    lines += [
        Content(""),
        Content(f"All of them: `mongopg-tui rejects {safe(run_id, 40)} --documents`; --retry retries them."),
    ]
    return Content("\n").join(lines)
