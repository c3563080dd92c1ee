"""Commands: what a front end may ask of an engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.protocol.plan_edits import PlanEdit
from engine.protocol.wire import Request, Wire


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
    """False takes what earlier plans of this engine read of the source, samples or a full census, as far as there is any: what
    is known of the documents stays the same while a plan is edited."""
    settings: dict[str, Any] = {}
    """As in `Start`, for this plan alone: what a run that is started with them would do."""


class Preflight(Request):
    """What a run that is started with these settings would meet at both ends; the reply is a `PreflightReport`.

    Nothing is written, and documents are only read where a table that is there has to be compared with them.
    """

    name: Literal["preflight"] = "preflight"
    collections: list[str] = []
    plan: str = ""
    """As in `Start`."""
    settings: dict[str, Any] = {}
    """As in `Start`."""


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
    take_over: bool = False
    """For a `resume`: the run's last engine, which may be on another host, is gone though it did not write the run's end. Taken
    when it was silent for 30 s: what is left of its sessions with the target is ended."""
    follow: bool = False
    """Go on behind the copy: apply what changes in the source, until it is cut over."""
    resync: bool = False
    """With `follow` and a `resume` of a run that was copied: compare everything with the source first, and apply what differs,
    whatever is known of its changes."""
    plan: str = ""
    """A saved plan's TOML to run: it decides collections, tables, mode and mapping."""
    settings: dict[str, Any] = {}
    """Settings that differ from those the engine was started with, `{"run": {"mode": "append"}}`."""


class Origin(Request):
    """What a run that goes on, or is over, was started with; the reply is a `RunOrigin`. Any front end of the same user can
    resume the run with it."""

    name: Literal["origin"] = "origin"


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


class CutOver(Request):
    """The source's writers are stopped: apply what is left, and complete a run that follows. Answered at once; refused where it
    is not ready."""

    name: Literal["cutover"] = "cutover"
    timeout_s: float = Field(default=120.0, gt=0, le=86_400)
    """From the mark on; then it is called off, and following goes on."""
    block_writes: bool = False
    """Have MongoDB refuse all writes first, of the whole cluster. That is lifted when the cut-over is called off, and stays
    when it is done."""
    compare_all: bool = False
    """Compare every document with its row at the mark, too, and apply what differs: the writers stand still for as long as it
    takes to read the source."""


class CallOff(Request):
    """Call a cut-over off that is not done yet: following goes on, nothing is lost."""

    name: Literal["calloff"] = "calloff"


class Resolve(Request):
    """Decide what is done about something that became of the source. Answered when that is kept; what is to be done about it
    begins then."""

    name: Literal["resolve"] = "resolve"
    namespace: str = ""
    """The collection, as in `follow.halted_by`; empty for the whole source."""
    choice: Literal["ignore", "empty", "stop", "resync"]
    """`ignore`: rows stay, and what is written to the collection from now on is applied. `empty`: the table becomes what the
    collection is now, which may be nothing. `stop`: it is followed no longer, its table stays as it is. `resync`, of the whole
    source: everything is compared with what it is now."""


class SetKnob(Request):
    """Turn a knob; the reply is {"knob", "value", "applies": "at once" | "from the next page" | ...}, with "auto" where the run
    turns it."""

    name: Literal["set"] = "set"
    knob: str
    value: int | str
    """A number; for `cluster_size` also "auto", or "auto:4-16"."""


class Status(Request):
    """The reply is a `Snapshot`."""

    name: Literal["status"] = "status"


class SetGuard(Request):
    """Give a setting of section `[guard]` another value, for this run; the reply is {"setting", "value", "applies"}."""

    name: Literal["set_guard"] = "set_guard"
    setting: str
    """Its name, without the section."""
    value: str
    """As it is typed: "30", "off"."""


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


class RejectChoice(Wire):
    """Some of the rejects of a run: those of one reason in one field, as a `RejectGroup` has them."""

    namespace: str
    reason: str
    field: str
    sqlstate: str = ""


class ListRejected(Request):
    """Rejected documents one by one, in the order in which they were read; the reply is a `RejectedPage`."""

    name: Literal["rejected"] = "rejected"
    run: str = ""
    only: RejectChoice | None = None
    """Those of one reason; None is all of the run."""
    after: str = ""
    """`RejectedPage.following` of the page before; empty is the beginning."""
    limit: int = Field(default=200, ge=1, le=1_000)
    """Documents, at most; fewer where they are large."""
    documents: bool = False
    """With the documents themselves."""
    most_chars: int = Field(default=0, ge=0)
    """Of each document, at most; 0 is all of it."""


class RetryRejects(Request):
    """Write rejected documents again, under today's policies and into the table as it is; those that succeed are rejects no
    longer. The reply is a `RetryReport`."""

    name: Literal["retry"] = "retry"
    run: str = ""
    plan: str = ""
    """A saved plan's TOML: its columns and policies instead of the run's columns under the settings' policies."""
    samples: int = 5
    only: list[RejectChoice] = []
    """Those of these reasons; empty is all of the run."""
    policies: dict[str, str] = {}
    """Policy -> choice, such as `{"nul": "strip"}`: they come before the settings', the run's, and those of single fields."""
    keeps_policies: bool = False
    """Policies that are not in `policies` are the run's own, not those of the settings."""


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


class MakeReport(Request):
    """Everything that the ledger has of a run, for an audit; the reply is a `RunReport`."""

    name: Literal["report"] = "report"
    run: str = ""
    """A run from the ledger, or a unique prefix of its id; empty is the newest."""


class LookAtFollowing(Request):
    """What it would be to follow the source of a run that is over; the reply is a `FollowableReport`. Nothing is written."""

    name: Literal["followable"] = "followable"
    run: str = ""
    """A run from the ledger, or a unique prefix of its id; empty is the newest."""


class DiscardRun(Request):
    """Drop a run's staging tables and its rows in the ledger; the target tables stay, unless they are to go too."""

    name: Literal["discard"] = "discard"
    run: str
    drop_tables: bool = False
    """Also drop the target tables that the run made itself, with their rows."""
    force: bool = False
    """Also a run with rejects: the ledger has the only copy of these documents as they were read."""
    preview: bool = False
    """Only tell what would go; the reply is a `DiscardPreview`."""


class Recount(Request):
    """Read what the ledger has of this engine's run, which is over, again: another engine may have written its rejects. The
    reply is a `Snapshot`."""

    name: Literal["recount"] = "recount"


class Shutdown(Request):
    """End an engine with no active run now, without waiting for clients to leave."""

    name: Literal["shutdown"] = "shutdown"


Command = Annotated[
    Attach | Detach | Inspect | ListDatabases | ListCollections | MakePlan | Preflight | Start | Origin | Pause | Resume
    | Cancel | CutOver | CallOff | Resolve | SetKnob | SetGuard | Status | Verify | ListRejects | ListRejected | MakeReport
    | Recount | RetryRejects | ListRuns | Replay | LookAtFollowing | DiscardRun | Shutdown,
    Field(discriminator="name"),
]  # fmt: skip
