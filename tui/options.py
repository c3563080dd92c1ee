"""Options that several commands share. Values stay text: the settings' schema checks them, with one kind of message."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; else ./config.toml, else the one in the user's folder."),
]
SourceOption = Annotated[
    str | None, typer.Option("--source", metavar="URI", help="MongoDB: mongodb://host/database (MONGOPG_SOURCE_URI).")
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="URI", help="PostgreSQL: postgresql://host/db (MONGOPG_TARGET_URI).")
]
AskOption = Annotated[
    bool, typer.Option("-W", "--ask-password", help="Ask, in the terminal, for each password that no URI holds.")
]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option("--collection", metavar="db.coll[:schema.table]", help="What to copy; may be repeated."),
]
HeadlessOption = Annotated[bool, typer.Option("--headless", help="Print progress instead of opening the cockpit.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else there; implies --headless.")]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster-size", metavar="W", help="Worker processes, 1 to 128; can be changed later.")
]
PageOption = Annotated[
    str | None, typer.Option("--page-size", metavar="N", help="Documents in one COPY, 100 to 100,000.")
]
ThrottleOption = Annotated[
    str | None, typer.Option("--throttle", metavar="N", help="Most rows per second of the whole run; 0 or off.")
]
MaxRejectsOption = Annotated[
    str | None,
    typer.Option("--max-rejects", metavar="N|P%", help="Stop when more documents than this are rejected; off."),
]
ModeOption = Annotated[
    str | None,
    typer.Option("--mode", metavar="MODE", help="Existing tables: create (refuse), append, replace, upsert."),
]
ConsistencyOption = Annotated[
    str | None,
    typer.Option(
        "--consistency",
        metavar="fuzzy|snapshot",
        help="Documents as they are when read, or all as they were at one time; fuzzy.",
    ),
]
CountOption = Annotated[
    str | None, typer.Option("--seed-count", metavar="N", help="Synthetic users to generate, 0 to 1,000,000,000.")
]
SeedOption = Annotated[str | None, typer.Option("--seed", metavar="S", help="The same seed gives the same documents.")]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="FILE", help="A plan that `plan --save` wrote, edited or not, instead of a proposal."
    ),
]
IndexesOption = Annotated[
    bool, typer.Option("--indexes", help="Also MongoDB's secondary indexes, after the load, as far as PostgreSQL can.")
]
CensusOption = Annotated[
    str | None,
    typer.Option("--census", metavar="WHICH", help="Choose columns from a sample, or from all documents: full."),
]
RunArgument = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id, or the beginning of it.")]
