"""What preflight found: a line for a screen, and the whole of it for a dialog."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from engine.protocol import CheckStatus, PreflightReport
from tui.cockpit.signs import MUTED, Sign
from tui.words.preflight import lines, summary

SIGNS: dict[CheckStatus, Sign] = {
    "ok": Sign("✓", "ok", "$success"),
    "warning": Sign("!", "warning", "$warning"),
    "stop": Sign("×", "would stop the run", "$error"),
}


class PreflightLine(Static):
    """One line for all of it; it takes no room while there is nothing to say."""

    DEFAULT_CSS = (
        "PreflightLine { height: 1; padding: 0 1; display: none; text-wrap: nowrap; text-overflow: ellipsis; }"
    )

    def show(self, report: PreflightReport | None, key: str) -> None:
        """What was found last; None of an engine that did not look.

        Args:
            key: shows the rest.
        """
        self.set_class(report is not None, "-there")
        if report is not None:
            self.update(Content.assemble(preflight_line(report), (f"   {key} details", MUTED)))


def preflight_line(report: PreflightReport) -> Content:
    """The worst of it and all of it in a line."""
    sign = SIGNS[report.status]
    return Content.assemble((f"{sign.symbol} ", sign.colour), summary(report))


def preflight_text(report: PreflightReport) -> Content:
    """A line for each thing, what would stop the run first."""
    found = [preflight_line(report), Content("")]
    for line in lines(report, "cockpit"):
        sign = SIGNS[line.status]
        found.append(Content.assemble((f"{sign.symbol} ", sign.colour), (line.what, "bold"), f"  {line.text}"))
    return Content("\n").join(found)
