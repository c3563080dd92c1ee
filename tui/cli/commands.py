"""The command line: commands, options, exit codes. What a command does is in the module that it names.

Nothing heavy is imported at module level (pydantic, rich and textual together take 0.5 s, `--help` may take 0.4 s):
each command imports what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine import __version__
from engine.errors import EXIT_DONE, UsageError
from tui.cli.options import Given, HeadlessOption, JsonOption, PlainOption, PlanOption, RunArgument, takes

EPILOG = """Exit codes: 0 done, or detached; 1 run failed; 2 wrong usage or settings, existing table, missing
collection, different plan, target held by another run; 3 cannot connect; 4 finished, but with rejects, a mismatch, or
an index that could not be built; 130 cancelled; 143/129 by signal."""
SIGNALS = """Where there is no cockpit, signals steer it: SIGUSR1 pauses and resumes, SIGUSR2 prints what every worker does,
SIGTTIN and SIGTTOU are a worker more and fewer. SIGINT cancels: once, slices in hand are committed; twice, they are
rolled back; three times, the engine is killed."""

application = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@application.callback(invoke_without_command=True, epilog=EPILOG)
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
    from tui.cli.run import open_cockpit

    return open_cockpit(given.load())


@application.command(epilog=SIGNALS)
@takes("seed_count", "cluster_size", "page_size", "throttle", "mode", "folder", "keep", "ascii", "no_mouse")
def demo(
    given: Given,
    headless: HeadlessOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Only stop the servers that --keep left running in DIR; their data stay.")
    ] = False,
) -> int:
    """Start embedded MongoDB and PostgreSQL, seed, migrate and verify."""
    from engine.config import DemoSettings
    from engine.notation import parsed_source, written_namespace
    from engine.protocol import Start
    from tui.cli.run import run, stop_servers

    if stop:
        return stop_servers(DemoSettings(dir=given.settings.get("demo.dir") or "").folder)
    loaded = given.load(demo__embedded=True)
    seeded = parsed_source(loaded.settings.seed.collection, "seed.collection")
    loaded.settings.run.collections = [written_namespace(seeded.namespace)]
    loaded.settings.run.exclude = []
    return run(loaded, Start(seed=True), headless=headless, plain=plain, as_json=as_json)


@application.command(epilog=SIGNALS)
@takes(
    "source", "seed_collection", "seed_count", "seed", "cluster_size", "page_size", "into_existing", "ascii", "no_mouse"
)
def seed(
    given: Given, headless: HeadlessOption = False, plain: PlainOption = False, as_json: JsonOption = False
) -> int:
    """Generate synthetic users into MongoDB, in parallel, the same ones for the same seed."""
    from engine.protocol import Start
    from tui.cli.run import run

    return run(given.load(), Start(seed=True, migrate=False), headless=headless, plain=plain, as_json=as_json)


@application.command()
@takes("source", "target", "collection", "exclude", "mode", "indexes", "census")
def plan(
    given: Given,
    file: PlanOption = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the plan to be edited, for --plan.")
    ] = None,
    as_json: JsonOption = False,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the SQL that would create the tables.")] = False,
) -> int:
    """Look before writing: census, mapping, preview, DDL, warnings. Nothing is written to the target."""
    from tui.cli.plan import show_plan

    if ddl and as_json:
        raise UsageError("Give --ddl or --json, not both.")
    _check_plan_decides(file, given)
    return show_plan(given.load(), as_json=as_json, ddl=ddl, file=file, save=save)


@application.command(name="run", epilog=SIGNALS)
@takes(
    "source",
    "target",
    "collection",
    "exclude",
    "cluster_size",
    "page_size",
    "throttle",
    "mode",
    "max_rejects",
    "consistency",
    "indexes",
    "replace_drops",
    "census",
    "ascii",
    "no_mouse",
)
def run_migration(
    given: Given,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="[RUN]", help="Go on with an unfinished run; without RUN the newest of this plan."
        ),
    ] = None,
    file: PlanOption = None,
    headless: HeadlessOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Copy the collections, and compare the counts of both sides."""
    from engine.protocol import Start
    from tui.cli.plan import read_file
    from tui.cli.run import run

    _check_plan_decides(file, given)
    loaded = given.load()
    said = [name for name, origin in loaded.provenance.items() if origin != "default"]
    start = Start(resume=resume, said=said, plan=read_file(file) if file else "")
    return run(loaded, start, headless=headless, plain=plain, as_json=as_json)


@application.command()
@takes("source", "target", "cluster_size")
def verify(
    given: Given,
    run: RunArgument = None,
    level: Annotated[
        str,
        typer.Option(
            "--level", metavar="LEVEL", help="How deep: counts, or full to read both sides again and compare."
        ),
    ] = "counts",
    redact: Annotated[bool, typer.Option("--redact", help="Name what differs without its values.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Compare both sides of a run; without RUN, of the newest. Exit code 4 when they differ."""
    from engine.protocol import Verify
    from tui.cli.verify import show_verification

    if level not in ("counts", "full"):
        from engine.redaction import may_be_repeated

        shown = f", not {level!r}" if may_be_repeated(level) else ""
        raise UsageError(f"--level must be counts or full{shown}.")
    command = Verify(run=run or "", level="full" if level == "full" else "counts", redact=redact)
    return show_verification(given.load(), command, as_json=as_json)


@application.command()
@takes("target")
def rejects(
    given: Given,
    run: RunArgument = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Write them again under today's policies, into the table as it is; 4: some are left."
        ),
    ] = False,
    file: PlanOption = None,
    as_json: JsonOption = False,
) -> int:
    """Documents that could not be written as mapped, by reason; without RUN, of the newest run."""
    from tui.cli.plan import read_file
    from tui.cli.rejects import retry_rejects, show_rejects

    if file is not None and not retry:
        raise UsageError("--plan says how rejects are to be written: give --retry with it.")
    loaded = given.load()
    if retry:
        return retry_rejects(loaded, run or "", plan=read_file(file) if file else "", as_json=as_json)
    return show_rejects(loaded, run or "", as_json=as_json)


@application.command()
@takes("target")
def runs(
    given: Given,
    discard: Annotated[
        str | None, typer.Option("--discard", metavar="RUN", help="Drop a run's staging tables and ledger rows.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """History, from the ledger in the target database."""
    from tui.cli.one_question import discard_run, show_runs

    loaded = given.load()
    if discard is not None:
        return discard_run(loaded, discard, as_json=as_json)
    return show_runs(loaded, as_json=as_json)


@application.command()
@takes("ascii", "no_mouse")
def attach(given: Given, run: RunArgument = None) -> int:
    """Open the cockpit on a run that is going on."""
    from tui.cli.run import attach_cockpit

    return attach_cockpit(given.load(), run)


@application.command()
def ctl(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="status, pause, resume, cancel or set.")],
    setting: Annotated[
        str | None,
        typer.Argument(metavar="[KNOB=VALUE]", help="For set: cluster_size, page_size, seed_count or throttle."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Which run, where several are going on.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Answer when it is done, not when it is accepted.")] = False,
    now: Annotated[bool, typer.Option("--now", help="cancel: roll slices in hand back.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Steer a run from another terminal."""
    from tui.cli.ctl import steer

    return steer(action, setting, run, wait=wait, now=now, as_json=as_json)


@application.command()
@takes("source", "target", "one_collection", "documents", "page_size", "ascii")
def bench(given: Given, as_json: JsonOption = False) -> int:
    """Rows per second by cluster size, 1 (sequential) upwards, and by page size, on your own servers.

    Copies into a scratch table that is dropped afterwards, and recommends a cluster size and a page size. A copy that
    does not count warms up first; the clock runs from when all workers stand ready to the last commit; what takes less
    than 2 s is copied three times, and the median counts.
    """
    from tui.cli.bench import bench as measure

    return measure(given.load(), as_json=as_json)


def _check_plan_decides(file: Path | None, given: Given) -> None:
    """Raise UsageError for a flag that says what the plan says already."""
    deciding = {"--collection": "run.collections", "--exclude": "run.exclude", "--mode": "run.mode"}
    for flag, setting in deciding.items():
        if file is not None and setting in given.settings:
            raise UsageError(f"Give {flag} or --plan, not both: change it in {file} instead.")
