"""Asking where a run's report shall go: the same on the Run screen, at the end, and on Verify."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from textual.app import App

from engine.errors import MigrationError, UsageError
from engine.protocol import RunReport, Verification, VerifyReport
from tui.cockpit.dialogs.naming import FileDialog
from tui.reports.writing import verification_of, write_report
from tui.words.safe import safe

_NOTE = "Format follows the extension: .html a page with the chart, .md to read, .json or .csv for programs."


class Exporter:
    """Writes a report where the operator says, over an existing file when that is said twice."""

    def __init__(self, report: VerifyReport, *, is_recorded: bool = False) -> None:
        """Nothing is written yet.

        Args:
            is_recorded: `report` is of what the end of a run said: what the ledger has of the same is more.
        """
        self._report = report
        self._is_recorded = is_recorded
        self.run: RunReport | None = None
        """What the ledger has of the run; None while, or when, it cannot be read."""
        self._existing = ""
        """The name of the existing file that was asked about."""

    @property
    def report(self) -> VerifyReport:
        """Of both sides. A run's end has no figures of a full comparison, which the ledger has."""
        if self.run is not None and self._is_recorded and self._report.result is not Verification.NONE:
            return verification_of(self.run)
        return self._report

    def write(self, name: str) -> Path:
        """Write it; raises UsageError, which asks, where there is a file."""
        made = self.run.model_copy(update={"made_unix": round(time.time(), 3)}) if self.run is not None else None
        try:
            return write_report(self.report, name, made, overwrites=name == self._existing)
        except UsageError as error:
            if error.code != "exists":
                raise
            self._existing = name
            raise UsageError(f"{error.message} Overwrite? Write again overwrites it.") from error


def offer_export(
    app: App[None],
    report: VerifyReport,
    ask: Callable[[], Awaitable[RunReport]],
    *,
    is_recorded: bool = True,
) -> None:
    """Ask for a file's name, write the report, and say where it is.

    Args:
        ask: has the ledger told everything of the run; until it has, or when it cannot, the report is of `report` alone.
        is_recorded: `report` is of what the end of a run said, not of a comparison made just now.
    """
    exporter = Exporter(report, is_recorded=is_recorded)

    async def look() -> None:
        try:
            exporter.run = await ask()
        except MigrationError as error:
            app.notify(safe(f"Only the counts are exported: {error.message}", 400), severity="warning", markup=False)

    def written(path: Path | None) -> None:
        if path is not None:
            app.notify(f"Written: {safe(str(path.absolute()), 300)}", markup=False)

    app.run_worker(look(), group="export", exclusive=True)
    name = proposed_name(report.run_id)
    app.push_screen(FileDialog("Export the report", _NOTE, name, exporter.write), written)


def proposed_name(run_id: str) -> str:
    """`report-RUN.html`, the same from every screen; once that is written, `report-RUN-2.html`."""
    name = f"report-{safe(run_id, 40)}"
    names = (f"{name}{'' if number == 1 else f'-{number}'}.html" for number in count(1))
    return next(each for each in names if not Path(each).exists())
