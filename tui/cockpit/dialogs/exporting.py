"""Asking where a run's report shall go: the same on the Run screen, at the end, and on Verify."""

from __future__ import annotations

from pathlib import Path

from textual.app import App

from engine.protocol import VerifyReport
from tui.cockpit.dialogs.naming import FileDialog
from tui.cockpit.export import write_report
from tui.words.safe import safe

_NOTE = "The ending chooses the format: .md to read, .json or .csv for programs."


def offer_export(app: App[None], report: VerifyReport) -> None:
    """Ask for a file's name, write the report, and say where it is."""

    def written(path: Path | None) -> None:
        if path is not None:
            app.notify(f"Written: {safe(str(path), 300)}", markup=False)

    name = f"verification-{safe(report.run_id, 40)}.md"
    app.push_screen(FileDialog("Export the report", _NOTE, name, lambda to: write_report(report, to)), written)
