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
from tui.cli.options import Given, PlanOption, takes
from tui.cli.plan_files import check_plan_decides

EPILOG = """Exit codes: 0 done, or detached; 1 run failed; 2 wrong usage or settings, existing table, missing
collection, different plan, target held by another run; 3 cannot connect; 4 finished, but with rejects, a mismatch, or
an index that could not be built; 5 a cut-over called off; 130 cancelled; 143/129 by signal."""
SIGNALS = """Where there is no cockpit, signals steer it: SIGUSR1 pauses and resumes, SIGUSR2 prints what every worker does,
SIGTTIN and SIGTTOU are a worker more and fewer. SIGINT stops: once, work in progress is committed; twice, it is rolled
back; three times, the engine is killed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list of them."""

    help: str
    """The first line of its own help."""
    function: str
    """Its function, in the module of the command's name."""
    examples: tuple[tuple[str, str], ...] = ()
    """What may be typed after the program's name, each with what it does."""
    more: str = ""
    """What its help ends with."""
    short: str = ""
    """The line in the list of commands, where the first line of its help is too long for it."""

    @property
    def epilog(self) -> str:
        """What its help shows below the options."""
        return "\n\n".join(filter(None, [_examples_text(self.examples), self.more]))


def _examples_text(examples: tuple[tuple[str, str], ...]) -> str:
    """Lines that the parser does not wrap."""
    lines = [f"  {f'mongopg-tui {words}'.strip()}\n      {what}" for words, what in examples]
    return "\n".join(["\b", "Examples:", *lines]) if lines else ""


COMMANDS = {
    "demo": Entry(
        "Start embedded MongoDB and PostgreSQL, seed, migrate and verify.",
        "demo",
        (
            ("demo", "a million users, live in the cockpit; nothing is left behind"),
            ("demo --follow", "the same while the users are written to, until you cut over"),
            ("demo --headless --keep --dir /tmp/shop", "the same in plain text, with servers that stay"),
            ("demo --dir /tmp/shop --stop", "stop those servers"),
        ),
        SIGNALS,
    ),
    "seed": Entry(
        "Generate synthetic users into MongoDB, in parallel, the same ones for the same seed.",
        "seed",
        (("seed --collection shop.customers --seed-count 50000", "into the server of MONGOPG_SOURCE_URI"),),
        SIGNALS,
        "Generate synthetic users into MongoDB.",
    ),
    "plan": Entry(
        "Look before writing: census, mapping, preview, DDL, warnings, and what the target has. Nothing is written.",
        "plan",
        (
            ("plan --collection shop.orders", "how every field maps to a column"),
            ("plan --collection shop.orders --save plan.toml", "save the proposal, to edit it"),
            ("plan --plan plan.toml --ddl", "the SQL of the edited plan"),
        ),
        short="Look before writing: columns, types, preview, warnings.",
    ),
    "run": Entry(
        "Copy the collections, and compare the counts of both sides.",
        "run_migration",
        (
            ("run --collection shop.orders", "one collection, in the cockpit"),
            ("run --workers 12 --throttle 20000 --headless", "the whole database, without a screen"),
            ("run --collection shop.orders:sales.orders --mode append", "into a table that exists"),
            ("run --plan plan.toml", "a plan that was saved and edited"),
            ("run --resume", "continue the newest unfinished run of this plan"),
        ),
        SIGNALS,
    ),
    "follow": Entry(
        "Follow the source of a run that was copied: apply what changed since, and what changes, until `ctl cutover`.",
        "follow",
        (
            ("follow 20261123-14", "what changed since that run began, and what changes from now on"),
            (
                "follow 20261123-14 --resync",
                "where the oplog does not reach back: compare all, then follow",
            ),
            ("follow 20261123-14 --yes --headless", "without a terminal to be asked in"),
        ),
        SIGNALS,
        "Follow the source of a run that was copied.",
    ),
    "verify": Entry(
        "Compare both sides of a run; without RUN, of the newest. Exit code 4 when they differ, or documents are rejected.",
        "verify",
        (
            ("verify", "count both sides of the newest run"),
            ("verify --level full", "compare every document with its row"),
        ),
        short="Compare both sides of a run.",
    ),
    "rejects": Entry(
        "Documents that could not be written as mapped, by reason, each with its _id; without RUN, of the newest run.",
        "rejects",
        (
            ("rejects", "those of the newest run"),
            ("rejects --documents", "the same, with the documents"),
            ("rejects --retry --plan plan.toml", "write them again, with an edited plan"),
        ),
        short="List documents that could not be written, or retry them.",
    ),
    "runs": Entry(
        "List past runs recorded in the target.",
        "runs",
        (
            ("runs", "every run that the target knows of"),
            ("runs --json", "the same for scripts"),
        ),
    ),
    "report": Entry(
        "Print or write a report of a run that is fit for an audit; without RUN, of the newest.",
        "report",
        (
            ("report -o report.html", "the newest run, as one page with the chart"),
            ("report 20261123-14 -o ticket.md", "the run whose id begins so, as Markdown"),
        ),
    ),
    "attach": Entry(
        "Open the cockpit on a run in progress.",
        "attach",
        (
            ("attach", "the run into the configured target, else the only one"),
            ("attach 20261123-14", "the run whose id begins so"),
        ),
    ),
    "ctl": Entry(
        "Steer a run from another terminal.",
        "ctl",
        (
            ("ctl status", "how far it is, and what every worker does"),
            ("ctl set workers=12", "12 worker processes from now on"),
            ("ctl set throttle=20000", "20,000 rows/s at most; throttle=off lifts it"),
            ("ctl set guard.standby_lag=30", "standbys may be 30 s behind; guard.on=false turns guards off"),
            ("ctl pause --wait", "return when everything is committed and paused"),
            ("ctl stop --run 20261123-14", "finish pages and stop; run --resume continues"),
        ),
    ),
    "bench": Entry(
        "Rows per second by cluster size, 1 (sequential) upwards, and by page size, on your own servers.",
        "bench",
        (
            ("bench --collection shop.orders", "some minutes; the scratch table is dropped"),
            ("bench --documents 50000", "the first 50,000 documents of the largest collection"),
        ),
        short="Measure your servers by cluster size and page size.",
    ),
}


_OWN = Entry(
    "",
    "",
    (
        ("demo", "try it, on servers that come along"),
        ("", "open the cockpit: connect, choose, start, watch"),
        ("plan --collection shop.orders", "how every field maps to a column; writes nothing"),
        ("run --collection shop.orders", "copy, and count both sides"),
    ),
    EPILOG,
)
"""The program itself."""


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
    program.callback(invoke_without_command=True, epilog=_OWN.epilog)(cockpit)
    for name, entry in COMMANDS.items():
        if name in words:
            function = getattr(importlib.import_module(f"tui.cli.{name}"), entry.function)
            program.command(name, short_help=entry.short or None, epilog=entry.epilog)(function)
        else:
            program.command(name, help=entry.help, short_help=entry.short or None)(_not_given)
    return program


def examples_of(name: str) -> list[tuple[str, str]]:
    """Command lines of a command, or of the program itself (an empty name), each with what it does."""
    examples = COMMANDS[name].examples if name else _OWN.examples
    return [(f"mongopg-tui {words}".strip(), what) for words, what in examples]


def _not_given() -> None:
    """A command that is not among the arguments."""


@takes("source", "target", "collection", "exclude", "dask", "ascii", "no_mouse")
def cockpit(
    given: Given,
    context: typer.Context,
    file: PlanOption = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> int:
    """Move MongoDB collections into PostgreSQL, with a live dashboard and controls. Without a command: open it."""
    if version:
        typer.echo(f"mongopg-tui {__version__}")
        raise typer.Exit(EXIT_DONE)
    context.obj = given
    if context.invoked_subcommand is not None:
        return EXIT_DONE
    check_plan_decides(file, given)
    from tui.cli.cockpit import open_cockpit

    return open_cockpit(given.load(), file)
