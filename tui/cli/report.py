"""`report`: everything about a run for an audit, printed or written into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.config import Loaded
from engine.errors import EXIT_DONE, UsageError
from engine.protocol import MakeReport, RunReport
from tui.cli.one_question import ask
from tui.cli.options import Given, JsonOption, RunArgument, require, takes
from tui.cli.output import note, say, say_json
from tui.reports.markdown import markdown
from tui.reports.writing import verification_of, write_report
from tui.words.safe import safe


@takes("target")
def report(
    given: Given,
    run: RunArgument = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write it there; the ending chooses: .html .md .json .csv."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing FILE.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Print or write a report of a run that is fit for an audit; without RUN, of the newest."""
    if force and file is None:
        raise UsageError("--force goes with -o FILE.")
    return make_report(given.load(), run or "", file, force=force, as_json=as_json)


def make_report(loaded: Loaded, run_id: str, file: Path | None, *, force: bool, as_json: bool) -> int:
    """Print the report, or write it into a file."""
    require(loaded, "target")
    whole = RunReport.model_validate(ask(loaded.settings, MakeReport(run=run_id)))
    checked = verification_of(whole)
    if file is not None:
        try:
            path = write_report(checked, str(file), whole, overwrites=force)
        except UsageError as error:
            if error.code == "exists":
                raise UsageError(f"{error.message} Choose another name, or give --force.", code="exists") from error
            raise
        note(f"Written: {safe(str(path), 500)}")
    elif as_json:
        say_json(checked.model_dump(mode="json") | {"report": whole.model_dump(mode="json")})
    else:
        say(markdown(checked, whole).rstrip("\n"))
    return EXIT_DONE
