"""Commands: what a front end may ask of an engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.protocol.plan_edits import PlanEdit
from engine.protocol.wire import Request


class Attach(Request):
    """First word of a client. The reply is an `Attached`; events and snapshots follow."""

    name: Literal["attach"] = "attach"
    owner: bool = False
    """This client started the engine; when it vanishes, `on_disconnect` decides."""
    on_disconnect: Literal["continue", "cancel"] = "continue"


class Detach(Request):
    """The client leaves on purpose: the run goes on."""

    name: Literal["detach"] = "detach"


class Inspect(Request):
    """Test the connection to one side; the reply is a `ServerReport` (unreachable servers are in it, not an error)."""

    name: Literal["inspect"] = "inspect"
    side: Literal["source", "target"]
    uri: str = ""
    """Another URI than the settings'; it becomes the engine's when the test succeeds and `keep` is set."""
    keep: bool = False


class ListDatabases(Request):
    """Databases of the source's server that its user may see; the reply is {"databases": [DatabaseInfo]}."""

    name: Literal["databases"] = "databases"


class ListCollections(Request):
    """Collections of one of the source's databases; the reply is {"collections": [CollectionInfo]}."""

    name: Literal["collections"] = "collections"
    database: str = ""
    """Empty is the one that the URI names."""


class MakePlan(Request):
    """Census and mapping of the chosen collections; the reply is an `EditablePlan`. Nothing is written."""

    name: Literal["plan"] = "plan"
    collections: list[str] = []
    plan: str = ""
    """A saved plan's TOML, as in `PlanView.toml` and edited since, to be shown instead of a proposal."""
    edits: list[PlanEdit] = []
    """To be made in `plan`, one after the other."""
    census: Literal["", "sample", "full"] = ""
    """Instead of the setting. A full one is taken by the cluster, with progress in `Snapshot.counting`; `cancel` breaks it
    off."""
    recount: bool = True
    """False takes the full census of an earlier plan of this engine, as far as there is one."""
    settings: dict[str, Any] = {}
    """As in `Start`, for this plan alone: what a run that is started with them would do."""


class Start(Request):
    """Start the run (or its seeding). Answered when it is accepted, before work begins; the reply is a `Snapshot`."""

    name: Literal["start"] = "start"
    seed: bool = False
    """Seed first."""
    migrate: bool = True
    """Copy (after seeding, if both)."""
    resume: str | None = None
    """Go on with a run: its id or a unique prefix of it, "" for the newest unfinished one of this plan."""
    said: list[str] | None = None
    """For a `resume` that names its run: settings, "section.name", that were given. Of the others, those that make up the
    plan are the run's own. None: all count as given."""
    plan: str = ""
    """A saved plan's TOML to run: it decides collections, tables, mode and mapping."""
    settings: dict[str, Any] = {}
    """Settings that differ from those the engine was started with, `{"run": {"mode": "append"}}`."""


class Pause(Request):
    """End pages early, commit, and be paused. Answered at once."""

    name: Literal["pause"] = "pause"


class Resume(Request):
    """Go on after a pause."""

    name: Literal["resume"] = "resume"


class Cancel(Request):
    """Stop: commit slices in hand (`now`: roll them back). What is committed stays, and the run can be resumed."""

    name: Literal["cancel"] = "cancel"
    now: bool = False


class SetKnob(Request):
    """Turn a knob; the reply is {"knob", "value", "applies": "at once" | "from the next page" | ...}."""

    name: Literal["set"] = "set"
    knob: str
    value: int


class Status(Request):
    """The reply is a `Snapshot`."""

    name: Literal["status"] = "status"


class Verify(Request):
    """Compare both sides; the reply is a `VerifyReport`. Level `full` reads everything again, with progress in
    `Snapshot.comparing`; `cancel` breaks it off."""

    name: Literal["verify"] = "verify"
    run: str = ""
    """A run from the ledger; empty is the newest."""
    level: Literal["counts", "full"] = "counts"
    samples: int = Field(default=100, ge=0, le=10_000)
    """Differences of each kind in each table that are described; all are counted."""
    redact: bool = False
    """Describe them without values."""


class ListRejects(Request):
    """Rejected documents by reason; the reply is a `RejectsReport`."""

    name: Literal["rejects"] = "rejects"
    run: str = ""
    samples: int = 5


class RetryRejects(Request):
    """Write rejected documents again, under today's policies and into the table as it is; those that succeed are rejects no
    longer. The reply is a `RetryReport`."""

    name: Literal["retry"] = "retry"
    run: str = ""
    plan: str = ""
    """A saved plan's TOML: its columns and policies instead of the run's columns under the settings' policies."""
    samples: int = 5


class ListRuns(Request):
    """History from the ledger; the reply is {"runs": [RunInfo]}."""

    name: Literal["runs"] = "runs"


class Replay(Request):
    """A recorded run, from its events in the ledger; the reply is a `Recording`."""

    name: Literal["replay"] = "replay"
    run: str = ""
    """A run from the ledger, or a unique prefix of its id; empty is the newest."""
    max_frames: int = Field(default=600, ge=1, le=600)
    """1 is the run's end alone."""


class DiscardRun(Request):
    """Drop a run's staging tables and its rows in the ledger; the target tables stay, unless they are to go too."""

    name: Literal["discard"] = "discard"
    run: str
    drop_tables: bool = False
    """Also drop the target tables that the run made itself, with their rows."""


class Shutdown(Request):
    """End an engine with no active run now, without waiting for clients to leave."""

    name: Literal["shutdown"] = "shutdown"


Command = Annotated[
    Attach | Detach | Inspect | ListDatabases | ListCollections | MakePlan | Start | Pause | Resume | Cancel | SetKnob | Status
    | Verify | ListRejects | RetryRejects | ListRuns | Replay | DiscardRun | Shutdown,
    Field(discriminator="name"),
]  # fmt: skip
