"""The formats of a report by the ending of a file's name, and the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.errors import UsageError
from engine.protocol import RunReport, Verification, VerifyReport
from tui.files import typed_path, write_new, write_over
from tui.reports.data import csv_text, json_text
from tui.reports.markdown import markdown
from tui.reports.page import page

FORMATS: dict[str, Callable[[VerifyReport, RunReport | None], str]] = {
    ".md": markdown,
    ".html": page,
    ".json": json_text,
    ".csv": csv_text,
}
"""By the ending of the file's name."""


def write_report(report: VerifyReport, name: str, run: RunReport | None = None, *, overwrites: bool = False) -> Path:
    """Write the report into a file, in the format that its name ends with.

    Args:
        run: everything else that is known of the run.
        overwrites: also in the place of a file that is there.

    Raises:
        UsageError: the name has another ending, the file exists (code `exists`), or it cannot be written.
    """
    path = typed_path(name)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"The name must end with {', '.join(FORMATS)}: it says which format is written.")
    if path.exists() and not overwrites:
        raise UsageError(f"{path} exists already.", code="exists")
    (write_over if overwrites else write_new)(path, form(report, run))
    return path


def verification_of(run: RunReport) -> VerifyReport:
    """What is known of both sides, from the ledger alone."""
    return VerifyReport(
        run_id=run.run.run_id,
        level=run.run.verification_level or "counts",
        verification_level=run.run.verification_level or "counts",
        result=_verification(run.run.verification),
        tables=[table.counts for table in run.tables],
        replaced_since=run.run.replaced_since,
    )


def _verification(word: str) -> Verification:
    try:
        return Verification(word)
    except ValueError:  # of a newer version
        return Verification.NONE
