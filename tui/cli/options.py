"""Options that set settings: one definition each, and the decorator that gives a command those it takes.

Values stay text: the settings' schema checks them, with one kind of message. Nothing heavy is imported at module level,
because `--help` imports this.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import UsageError
from tui.files import typed_path

if TYPE_CHECKING:
    from engine.config import Loaded

SIDES = ("source", "target")
"""Options that name a server, whose password may be asked for."""

Text = str | None

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Config file (default: ./config.toml, then ~/.config/mongopg-tui/config.toml).",
    ),
]
ProfileOption = Annotated[
    Text, typer.Option("--profile", metavar="NAME", help="A profile: settings that the cockpit saved under this name.")
]
AskOption = Annotated[bool, typer.Option("-W", "--ask-password", help="Prompt for each password that no URI holds.")]
HeadlessOption = Annotated[bool, typer.Option("--headless", help="Print progress instead of opening the cockpit.")]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain", help="Plain lines, nothing redrawn, also in a terminal: for screen readers; implies --headless."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout; implies --headless.")]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="FILE", help="A plan that `plan --save` wrote, edited or not, instead of a proposal."
    ),
]
RunArgument = Annotated[Text, typer.Argument(metavar="[RUN]", help="A run's id, or the beginning of it.")]


@dataclass(frozen=True, slots=True)
class SettingOption:
    """An option that sets one setting."""

    setting: str
    """As `section.name`."""
    annotation: Any
    """Its type and flag, as typer reads them; what is False or None was not typed."""
    meant: Callable[[Any], Any] = lambda typed: typed
    """What the setting is when this was typed."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Other settings, and what they are then."""

    def settings(self, typed: Any) -> dict[str, Any]:
        """What is set when this was typed."""
        return {self.setting: self.meant(typed), **self.also}


def _text(flag: str, metavar: str, help_: str, *aliases: str) -> Any:
    return Annotated[Text, typer.Option(flag, *aliases, metavar=metavar, help=help_)]


def _switch(flag: str, help_: str) -> Any:
    return Annotated[bool, typer.Option(flag, help=help_)]


OPTIONS: dict[str, SettingOption] = {
    "source": SettingOption(
        "source.uri", _text("--source", "URI", "MongoDB: mongodb://host/database (MONGOPG_SOURCE_URI).")
    ),
    "target": SettingOption(
        "target.uri", _text("--target", "URI", "PostgreSQL: postgresql://host/db (MONGOPG_TARGET_URI).")
    ),
    "collection": SettingOption(
        "run.collections",
        Annotated[
            list[str] | None,
            typer.Option(
                "--collection",
                metavar="db.coll[:schema.table]",
                help=r"What to copy; may be repeated. \: is a colon of a name, \. a dot of a schema's or table's.",
            ),
        ],
    ),
    "exclude": SettingOption(
        "run.exclude",
        Annotated[
            list[str] | None,
            typer.Option(
                "--exclude",
                metavar="PATTERN",
                help=r"Collections to exclude, such as tmp_*; may be repeated. * any text, ? any character, \* a star.",
            ),
        ],
    ),
    "cluster_size": SettingOption(
        "run.cluster_size",
        _text(
            "--cluster-size",
            "W",
            "Worker processes, 1 to 128 (1,024 on several hosts), auto, or auto:4-16.",
            "--workers",
        ),
    ),
    "dask": SettingOption(
        "dask.scheduler",
        _text("--dask", "WHERE", "Workers on a Dask cluster: tls://scheduler:8786, its file, or local:2x4 to try it."),
        also={"cluster.kind": "dask"},
    ),
    "page_size": SettingOption(
        "run.page_size", _text("--page-size", "N", "Documents in one COPY, 100 to 100,000.", "--batch-size")
    ),
    "throttle": SettingOption(
        "run.throttle", _text("--throttle", "N", "Rate limit, rows/s for the whole run; 0 or off.")
    ),
    "mode": SettingOption(
        "run.mode", _text("--mode", "MODE", "Existing tables: create (refuse), append, replace, upsert.")
    ),
    "max_rejects": SettingOption(
        "run.max_rejects", _text("--max-rejects", "N|P%", "Stop when more documents than this are rejected; off.")
    ),
    "consistency": SettingOption(
        "run.consistency",
        _text(
            "--consistency",
            "fuzzy|snapshot",
            "Documents as they are when read, or all as they were at one time; fuzzy.",
        ),
    ),
    "indexes": SettingOption(
        "run.indexes",
        _switch("--indexes", "Also MongoDB's secondary indexes, after the load, as far as PostgreSQL can."),
    ),
    "replace_drops": SettingOption(
        "run.replace_drops",
        _text(
            "--replace-drops", "KIND[,KIND]", "What mode replace may drop with an old table, such as index or trigger."
        ),
    ),
    "census": SettingOption(
        "run.census", _text("--census", "WHICH", "Choose columns from a sample, or from all documents: full.")
    ),
    "documents": SettingOption(
        "run.limit",
        _text(
            "--documents", "N", "Copy the first N each time, 0 for all; else as many as take 5 s, 5,000,000 at most."
        ),
    ),
    "one_collection": SettingOption(
        "run.collections",
        _text("--collection", "db.coll", r"What to copy, a colon of its name as \:; else the largest collection."),
        lambda typed: [typed],
    ),
    "seed_collection": SettingOption("seed.collection", _text("--collection", "db.coll", "The collection to fill.")),
    "seed_count": SettingOption(
        "seed.count", _text("--seed-count", "N", "Synthetic users to generate, 0 to 1,000,000,000.")
    ),
    "seed": SettingOption("seed.seed", _text("--seed", "S", "The same seed gives the same documents.")),
    "into_existing": SettingOption(
        "seed.into_existing", _switch("--into-existing", "Also into a collection that holds other documents.")
    ),
    "folder": SettingOption(
        "demo.dir",
        _text("--dir", "DIR", "Folder for the servers' data; else a temporary one."),
        lambda typed: str(typed_path(typed).absolute()),
    ),
    "keep": SettingOption("demo.keep", _switch("--keep", "Leave the servers running at the end; prints both URIs.")),
    "on_finish": SettingOption(
        "cockpit.on_finish",
        _text("--on-finish", "COMMAND", "Run this at the end, with MONGOPG_STATE and others in its environment."),
    ),
    "ascii": SettingOption("cockpit.ascii", _switch("--ascii", "Draw with ASCII characters only.")),
    "no_mouse": SettingOption(
        "cockpit.mouse", _switch("--no-mouse", "Leave the mouse to the terminal."), lambda _: False
    ),
}
"""Every option that sets a setting, by its parameter's name."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was typed for the settings."""

    config: Path | None = None
    asks: bool = False
    """Whether passwords are to be asked for."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Setting -> what it is to be."""
    sides: tuple[str, ...] = ()
    """Those of `SIDES` that the command deals with."""

    def over(self, earlier: Given) -> Given:
        """Options after the command's name count more than those before it."""
        return Given(
            self.config or earlier.config, self.asks or earlier.asks, {**earlier.settings, **self.settings}, self.sides
        )

    def load(self, **more: Any) -> Loaded:
        """The settings of the command: those given, and `more` by section and name, `demo__embedded=True`.

        Raises:
            UsageError: one does not hold, a file cannot be read, or there is no terminal to ask in.
        """
        from engine.loading import load_settings, source_warnings, target_warnings
        from tui.cli.output import warn

        added = {name.replace("__", "."): value for name, value in more.items()}
        loaded = load_settings(self.config, {**self.settings, **added})
        of_sides = {"source": source_warnings, "target": target_warnings}
        words = [word for side, of_side in of_sides.items() if side in self.sides for word in of_side(loaded.settings)]
        for warning in [*loaded.warnings, *words]:
            warn(warning)
        if self.asks:
            from tui.cli.password import with_passwords

            loaded = with_passwords(loaded, list(self.sides))
        return loaded


def require(loaded: Loaded, *sides: str) -> None:
    """Raise UsageError for the first of `sides` ("source", "target") without a connection string."""
    examples = {"source": "mongodb://host/database", "target": "postgresql://user@host/database"}
    for side in sides:
        uri = loaded.settings.source.uri if side == "source" else loaded.settings.target.uri
        if not uri.get_secret_value():
            raise UsageError(
                f"There is no {side}: give --{side} {examples[side]}, MONGOPG_{side.upper()}_URI, "
                f"or uri in section [{side}] of config.toml."
            )


def takes(*names: str, asks: bool = True) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command `--config` and `--profile`, the options of these names, and `-W` when one of them names a server.

    The command gets what was typed for them as its first argument, a `Given`; the parser reads the other parameters off
    its signature as it always does.

    Args:
        asks: the servers are connected to; otherwise they only say which run is meant, and no password is asked for.
    """
    shared = {"config": ConfigOption, "profile": ProfileOption} | {name: OPTIONS[name].annotation for name in names}
    if sides := tuple(name for name in names if asks and name in SIDES):
        shared["ask_password"] = AskOption

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        wants_context = any(parameter.name == "context" for parameter in own)

        @functools.wraps(command)
        def called(context: typer.Context, **values: Any) -> int:
            config, asks = _file_of(values.pop("config"), values.pop("profile")), values.pop("ask_password", False)
            typed = {name: values.pop(name) for name in names}
            given = Given(
                config,
                asks,
                {
                    setting: meaning
                    for name, value in typed.items()
                    if value not in (None, False)
                    for setting, meaning in OPTIONS[name].settings(value).items()
                },
                sides,
            )
            if wants_context:
                values["context"] = context
            return command(given.over(context.obj or Given()), **values)

        parameters = [
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
            *(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=False if "bool" in str(annotation.__origin__) else None,
                    annotation=annotation,
                )
                for name, annotation in shared.items()
            ),
            *(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                for parameter in own
                if parameter.name != "context"
            ),
        ]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return decorate


def _file_of(config: Path | None, profile: str | None) -> Path | None:
    """The file of settings that was asked for."""
    if profile is None:
        return config
    if config is not None:
        raise UsageError("Give --config or --profile, not both.")
    from tui.profiles import existing

    return existing(profile)
