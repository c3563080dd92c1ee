"""What the servers are doing: a line for each."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from engine.protocol import Snapshot, SourceVitals, TargetVitals
from tui.cockpit.signs import MUTED
from tui.words.vitals import has_trouble, source_line, target_line

_LABEL = 12


class VitalsPanel(Widget):
    """Two lines while the servers are looked at; drawn again when a word of them is another."""

    lines: tuple[Content, ...] = ()

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot's."""
        vitals = snapshot.vitals
        sides = (("PostgreSQL", vitals.target), ("MongoDB", vitals.source)) if vitals is not None else ()
        lines = tuple(_line(name, server) for name, server in sides if server is not None)
        if lines != self.lines:
            self.set_class(bool(lines), "-seen")
            self.lines = lines
            self.refresh()

    def render(self) -> Content:
        """The lines, as wide as there is room."""
        width = self.content_size.width
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in self.lines)


def _line(name: str, server: TargetVitals | SourceVitals) -> Content:
    """`PostgreSQL  5 of 8 sessions wait for …`; with `!` before it where something wants to be looked at."""
    label = Content.styled(f"{name:<{_LABEL}}", MUTED)
    words = target_line(server) if isinstance(server, TargetVitals) else source_line(server)
    if has_trouble(server):
        return label + Content.styled(words if words.startswith("! ") else f"! {words}", "$warning")
    return label + Content(words)
