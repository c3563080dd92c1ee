"""The command line: commands, options, exit codes. What a command does is in the module that it names.

Nothing heavy is imported at module level (pydantic, rich and textual together take 0.5 s, `--help` may take 0.4 s):
each command imports what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine import __version__
from engine.errors import EXIT_DONE, UsageError
from tui.options import (
    AskOption,
    CensusOption,
    ClusterOption,
    CollectionsOption,
    ConfigOption,
    ConsistencyOption,
    CountOption,
    HeadlessOption,
    IndexesOption,
    JsonOption,
    MaxRejectsOption,
    ModeOption,
    PageOption,
    PlanOption,
    RunArgument,
    SeedOption,
    SourceOption,
    TargetOption,
    ThrottleOption,
)

if TYPE_CHECKING:
    from engine.config import Loaded

EPILOG = """Exit codes: 0 done, or detached; 1 run failed; 2 wrong usage or settings, existing table, missing
collection, different plan, target held by another run; 3 cannot connect; 4 finished, but with rejects, a mismatch, or
an index that could not be built; 130 cancelled; 143/129 by signal."""

application = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@application.callback(invoke_without_command=True, epilog=EPILOG)
def cockpit(
    context: typer.Context,
    config: ConfigOption = None,
    source: SourceOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
    collection: CollectionsOption = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> int:
    """Move MongoDB collections into PostgreSQL, watched and steered. Without a command: open the cockpit."""
    if version:
        typer.echo(f"mongopg-tui {__version__}")
        raise typer.Exit(EXIT_DONE)
    context.obj = {
        "config": config,
        "ask": ask_password,
        "source.uri": source,
        "target.uri": target,
        "run.collections": collection,
    }
    if context.invoked_subcommand is not None:
        return EXIT_DONE
    from tui.running import open_cockpit

    return open_cockpit(_load(context, None, {"source.uri": None, "target.uri": None}))


@application.command()
def demo(
    context: typer.Context,
    config: ConfigOption = None,
    seed_count: CountOption = None,
    cluster_size: ClusterOption = None,
    page_size: PageOption = None,
    throttle: ThrottleOption = None,
    headless: HeadlessOption = False,
    as_json: JsonOption = False,
    directory: Annotated[
        str | None, typer.Option("--dir", metavar="DIR", help="Folder for the servers' data; else a temporary one.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the servers running at the end; prints both URIs.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Only stop the servers that --keep left running in DIR; their data stay.")
    ] = False,
) -> int:
    """Start embedded MongoDB and PostgreSQL, seed, migrate and verify."""
    from engine.control.protocol import Start
    from tui.running import run, stop_servers

    folder = Path(directory).expanduser().absolute() if directory else None
    if stop:
        return stop_servers(folder)
    flags = {
        "seed.count": seed_count,
        "run.cluster_size": cluster_size,
        "run.page_size": page_size,
        "run.throttle": throttle,
        "demo.embedded": True,
        "demo.dir": str(folder) if folder else None,
        "demo.keep": keep or None,
    }
    loaded = _load(context, config, flags)
    loaded.settings.run.collections = [loaded.settings.seed.collection]
    return run(loaded, Start(seed=True), headless=headless, as_json=as_json)


@application.command()
def seed(
    context: typer.Context,
    config: ConfigOption = None,
    source: SourceOption = None,
    ask_password: AskOption = False,
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="db.coll", help="The collection to fill.")
    ] = None,
    seed_count: CountOption = None,
    seed_number: SeedOption = None,
    cluster_size: ClusterOption = None,
    page_size: PageOption = None,
    into_existing: Annotated[
        bool, typer.Option("--into-existing", help="Also into a collection that holds other documents.")
    ] = False,
    headless: HeadlessOption = False,
    as_json: JsonOption = False,
) -> int:
    """Generate synthetic users into MongoDB, in parallel, the same ones for the same seed."""
    from engine.control.protocol import Start
    from tui.running import run

    flags = {
        "source.uri": source,
        "seed.collection": collection,
        "seed.count": seed_count,
        "seed.seed": seed_number,
        "run.cluster_size": cluster_size,
        "run.page_size": page_size,
        "seed.into_existing": into_existing or None,
    }
    loaded = _load(context, config, flags, ask=ask_password)
    return run(loaded, Start(seed=True, migrate=False), headless=headless, as_json=as_json)


@application.command()
def plan(
    context: typer.Context,
    config: ConfigOption = None,
    source: SourceOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
    collection: CollectionsOption = None,
    mode: ModeOption = None,
    indexes: IndexesOption = False,
    census: CensusOption = None,
    file: PlanOption = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the plan to be edited, for --plan.")
    ] = None,
    as_json: JsonOption = False,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the SQL that would create the tables.")] = False,
) -> int:
    """Look before writing: census, mapping, preview, DDL, warnings. Nothing is written to the target."""
    from tui.plans import show_plan

    if ddl and as_json:
        raise UsageError("Give --ddl or --json, not both.")
    _check_plan_decides(file, {"--collection": collection, "--mode": mode})
    flags = {
        "source.uri": source,
        "target.uri": target,
        "run.collections": collection,
        "run.mode": mode,
        "run.indexes": indexes or None,
        "run.census": census,
    }
    return show_plan(_load(context, config, flags, ask=ask_password), as_json=as_json, ddl=ddl, file=file, save=save)


@application.command(name="run")
def run_migration(
    context: typer.Context,
    config: ConfigOption = None,
    source: SourceOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
    collection: CollectionsOption = None,
    cluster_size: ClusterOption = None,
    page_size: PageOption = None,
    throttle: ThrottleOption = None,
    mode: ModeOption = None,
    max_rejects: MaxRejectsOption = None,
    consistency: ConsistencyOption = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="[RUN]", help="Go on with an unfinished run; without RUN the newest of this plan."
        ),
    ] = None,
    indexes: IndexesOption = False,
    census: CensusOption = None,
    file: PlanOption = None,
    headless: HeadlessOption = False,
    as_json: JsonOption = False,
) -> int:
    """Copy the collections, and compare the counts of both sides."""
    from engine.control.protocol import Start
    from tui.plans import read_file
    from tui.running import run

    _check_plan_decides(file, {"--collection": collection, "--mode": mode})
    flags = {
        "source.uri": source,
        "target.uri": target,
        "run.collections": collection,
        "run.cluster_size": cluster_size,
        "run.page_size": page_size,
        "run.throttle": throttle,
        "run.mode": mode,
        "run.max_rejects": max_rejects,
        "run.consistency": consistency,
        "run.indexes": indexes or None,
        "run.census": census,
    }
    loaded = _load(context, config, flags, ask=ask_password)
    said = [name for name, origin in loaded.provenance.items() if origin != "default"]
    start = Start(resume=resume, said=said, plan=read_file(file) if file else "")
    return run(loaded, start, headless=headless, as_json=as_json)


@application.command()
def verify(
    context: typer.Context,
    run: RunArgument = None,
    config: ConfigOption = None,
    source: SourceOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
    level: Annotated[
        str,
        typer.Option(
            "--level", metavar="LEVEL", help="How deep: counts, or full to read both sides again and compare."
        ),
    ] = "counts",
    redact: Annotated[bool, typer.Option("--redact", help="Name what differs without its values.")] = False,
    cluster_size: ClusterOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare both sides of a run; without RUN, of the newest. Exit code 4 when they differ."""
    from engine.control.protocol import Verify
    from tui.verifying import show_verification

    if level not in ("counts", "full"):
        raise UsageError(f"--level must be counts or full, not {level!r}.")
    flags = {"source.uri": source, "target.uri": target, "run.cluster_size": cluster_size}
    command = Verify(run=run or "", level="full" if level == "full" else "counts", redact=redact)
    return show_verification(_load(context, config, flags, ask=ask_password), command, as_json=as_json)


@application.command()
def rejects(
    context: typer.Context,
    run: RunArgument = None,
    config: ConfigOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
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
    from tui.plans import read_file
    from tui.rejected import retry_rejects, show_rejects

    if file is not None and not retry:
        raise UsageError("--plan says how rejects are to be written: give --retry with it.")
    loaded = _load(context, config, {"target.uri": target}, ask=ask_password)
    if retry:
        return retry_rejects(loaded, run or "", plan=read_file(file) if file else "", as_json=as_json)
    return show_rejects(loaded, run or "", as_json=as_json)


@application.command()
def runs(
    context: typer.Context,
    config: ConfigOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
    discard: Annotated[
        str | None, typer.Option("--discard", metavar="RUN", help="Drop a run's staging tables and ledger rows.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """History, from the ledger in the target database."""
    from tui.asking import discard_run, show_runs

    loaded = _load(context, config, {"target.uri": target}, ask=ask_password)
    if discard is not None:
        return discard_run(loaded, discard, as_json=as_json)
    return show_runs(loaded, as_json=as_json)


@application.command()
def attach(context: typer.Context, run: RunArgument = None, config: ConfigOption = None) -> int:
    """Open the cockpit on a run that is going on."""
    from tui.running import attach_cockpit

    return attach_cockpit(_load(context, config, {}), run)


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
    from tui.steering import steer

    return steer(action, setting, run, wait=wait, now=now, as_json=as_json)


@application.command()
def bench(
    context: typer.Context,
    config: ConfigOption = None,
    source: SourceOption = None,
    target: TargetOption = None,
    ask_password: AskOption = False,
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="db.coll", help="What to copy; else the largest collection.")
    ] = None,
    documents: Annotated[
        str | None,
        typer.Option("--documents", metavar="N", help="Copy the first N, by default 200,000, each time; 0 is all."),
    ] = None,
    page_size: PageOption = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw the chart with ASCII characters only.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Rows per second by cluster size, 1 (sequential) upwards, and by page size, on your own servers.

    Copies into a scratch table that is dropped afterwards, and recommends a cluster size and a page size.
    """
    from tui.bench import bench as measure

    flags = {
        "source.uri": source,
        "target.uri": target,
        "run.collections": [collection] if collection else None,
        "run.limit": documents,
        "run.page_size": page_size,
        "cockpit.ascii": ascii_only or None,
    }
    return measure(_load(context, config, flags, ask=ask_password), as_json=as_json)


def _check_plan_decides(file: Path | None, flags: dict[str, object]) -> None:
    """Raise UsageError for a flag that says what the plan says already."""
    for flag, value in flags.items():
        if file is not None and value:
            raise UsageError(f"Give {flag} or --plan, not both: change it in {file} instead.")


def _load(context: typer.Context, config: Path | None, flags: dict[str, Any], *, ask: bool = False) -> Loaded:
    """Settings of this command; options before the command's name count where it has none of its own.

    With `ask`, passwords are asked for, of the sides whose URI is among the command's flags.
    """
    from engine.loading import load_settings
    from tui.output import warn

    common: dict[str, Any] = dict(context.obj)
    common_config, common_ask = common.pop("config"), common.pop("ask")
    typed = {key: value for key, value in flags.items() if value is not None}
    loaded = load_settings(config or common_config, {**common, **typed})
    for warning in loaded.warnings:
        warn(warning)
    if ask or common_ask:
        from tui.password import ask_passwords

        ask_passwords(loaded, [side for side in ("source", "target") if f"{side}.uri" in flags])
    return loaded
