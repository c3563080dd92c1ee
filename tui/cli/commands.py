"""Every command with its help line, and what the program itself takes, assembled for the parser.

Nothing heavy is imported here: pydantic, rich and textual together take 0.5 s, `--help` may take 0.4 s. The module of a
command is imported when the command is among the arguments.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

import typer

from engine import __version__
from engine.errors import EXIT_DONE
from tui.cli.options import Given, takes

EPILOG = """Exit codes: 0 done, or detached; 1 run failed; 2 wrong usage or settings, existing table, missing
collection, different plan, target held by another run; 3 cannot connect; 4 finished, but with rejects, a mismatch, or
an index that could not be built; 130 cancelled; 143/129 by signal."""
SIGNALS = """Where there is no cockpit, signals steer it: SIGUSR1 pauses and resumes, SIGUSR2 prints what every worker does,
SIGTTIN and SIGTTOU are a worker more and fewer. SIGINT cancels: once, slices in hand are committed; twice, they are
rolled back; three times, the engine is killed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list of them."""

    help: str
    """The first line of its own help."""
    function: str
    """Its function, in the module of the command's name."""
    epilog: str = ""


COMMANDS = {
    "demo": Entry("Start embedded MongoDB and PostgreSQL, seed, migrate and verify.", "demo", SIGNALS),
    "seed": Entry(
        "Generate synthetic users into MongoDB, in parallel, the same ones for the same seed.", "seed", SIGNALS
    ),
    "plan": Entry(
        "Look before writing: census, mapping, preview, DDL, warnings. Nothing is written to the target.", "plan"
    ),
    "run": Entry("Copy the collections, and compare the counts of both sides.", "run_migration", SIGNALS),
    "verify": Entry("Compare both sides of a run; without RUN, of the newest. Exit code 4 when they differ.", "verify"),
    "rejects": Entry(
        "Documents that could not be written as mapped, by reason; without RUN, of the newest run.", "rejects"
    ),
    "runs": Entry("History, from the ledger in the target database.", "runs"),
    "attach": Entry("Open the cockpit on a run that is going on.", "attach"),
    "ctl": Entry("Steer a run from another terminal.", "ctl"),
    "bench": Entry(
        "Rows per second by cluster size, 1 (sequential) upwards, and by page size, on your own servers.", "bench"
    ),
}


def application(words: Collection[str] = ()) -> typer.Typer:
    """The program's parser.

    Args:
        words: the arguments. Commands among them have their options; of the others there is the name and the help line.
    """
    program = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback(invoke_without_command=True, epilog=EPILOG)(cockpit)
    for name, entry in COMMANDS.items():
        if name in words:
            function = getattr(importlib.import_module(f"tui.cli.{name}"), entry.function)
            program.command(name, epilog=entry.epilog)(function)
        else:
            program.command(name, help=entry.help)(_not_given)
    return program


def _not_given() -> None:
    """A command that is not among the arguments."""


@takes("source", "target", "collection", "exclude", "ascii", "no_mouse")
def cockpit(
    given: Given,
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> int:
    """Move MongoDB collections into PostgreSQL, watched and steered. Without a command: open the cockpit."""
    if version:
        typer.echo(f"mongopg-tui {__version__}")
        raise typer.Exit(EXIT_DONE)
    context.obj = given
    if context.invoked_subcommand is not None:
        return EXIT_DONE
    from tui.cli.cockpit import open_cockpit

    return open_cockpit(given.load())
