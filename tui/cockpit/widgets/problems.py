"""Problems, grouped by kind, each with its count and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from engine.protocol import ProblemView, Snapshot
from tui.cockpit.keymap import Keymap
from tui.cockpit.signs import MUTED
from tui.words.format import number
from tui.words.safe import safe


class ProblemPanel(Widget):
    """The most frequent problems, as many as there are lines."""

    BORDER_TITLE = "Problems"
    problems: tuple[ProblemView, ...] = ()

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self._all = keymap.first("run.problems")

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot's problems."""
        problems = tuple(sorted_problems(snapshot.problems))
        if problems == self.problems:
            return
        self.problems = problems
        kinds = len(self.problems)
        self.border_title = Content(f"Problems ({kinds})" if kinds else self.BORDER_TITLE)
        self.refresh()

    def render(self) -> Content:
        """The lines."""
        if not self.problems:
            return Content.styled("none so far", MUTED)
        width, height = self.content_size
        shown = [problem_line(problem).truncate(width, ellipsis=True) for problem in self.problems]
        if len(shown) > height:
            more = Content.styled(f"… {len(shown) - height + 1} more kinds ({self._all} shows all)", MUTED)
            shown = [*shown[: height - 1], more]
        return Content("\n").join(shown)


def problem_line(problem: ProblemView) -> Content:
    """`!  14  orders  total: not a number`."""
    return Content.assemble(
        ("! ", "$warning"),
        (f"{number(problem.count):>7}  ", "bold"),
        (f"{safe(problem.collection, 60)}  " if problem.collection else "", MUTED),
        f"{safe(problem.code, 40)}: {safe(problem.message, 300)}",
    )


def sorted_problems(problems: Sequence[ProblemView]) -> list[ProblemView]:
    """The most frequent first."""
    return sorted(problems, key=lambda problem: -problem.count)
