"""What a run came to: verification and rejects."""

from __future__ import annotations

from engine.protocol.replaced import ReplacedTables
from engine.protocol.wire import Verification, Wire


class DifferenceView(Wire):
    """One difference between a document and its row. Foreign text: make it harmless before showing it."""

    namespace: str
    table: str
    kind: str
    """`missing` (no row), `different`, or `extra` (a row that no document has)."""
    id: str
    """The document's `_id` as Extended JSON; of an extra row, its key as text."""
    field: str = ""
    """Dotted path; empty for the whole document."""
    column: str = ""
    source: str | None = None
    """The beginning of the value as the document's row should have it; None is NULL, or not shown."""
    target: str | None = None
    """As the table has it."""
    reason: str = ""
    """Why the document cannot have a row now, such as `nul`."""
    source_changed: bool = False
    """The source changed since the run read it; otherwise the difference is ours, or the target was changed."""


class LessStrictView(Wire):
    """Values of one field that were compared less strictly than the numbers they are in BSON, and why."""

    namespace: str
    table: str
    column: str
    field: str
    """Dotted path; `[]` are the elements of an array."""
    reason: str
    """What PostgreSQL does not keep there, as a message."""
    count: int
    """Values."""


class TableCounts(Wire):
    """Counts of one table's both sides; those from `equal` on are of level `full`."""

    namespace: str
    table: str
    source: int
    read: int
    written: int
    rejected: int
    target: int
    ok: bool
    altered: dict[str, int] = {}
    """Values that a policy changed when the run wrote the rows, by policy. The comparison is with what the policies make of
    the documents, so these are no differences."""
    message: str = ""
    """What does not hold, or why only the counts were compared."""
    level: str = "counts"
    """`"full"`: the rows were compared, too."""
    equal: int = 0
    """Documents whose row has the same values."""
    different: int = 0
    missing: int = 0
    extra: int = 0
    """Rows that no document has; only looked for in tables that are the run's alone (modes create and replace)."""
    kept: int = 0
    """Documents without a row that are kept as rejects."""
    source_changed: int = 0
    """Of the differences, those in slices whose documents are not the ones that the run read."""
    slices: int = 0
    slices_changed: int = 0
    """Slices that were compared, and those of them whose source checksum is another now."""
    slices_unknown: int = 0
    """Slices without a checksum: the run was asked to keep none."""


class VerifyReport(Wire):
    """Outcome of a verification."""

    run_id: str
    level: str
    """As it was asked for."""
    verification_level: str = "counts"
    """What was done: `"full"` when the rows of every table were compared."""
    result: Verification
    tables: list[TableCounts]
    differences: list[DifferenceView] = []
    """The first ones of each kind and table."""
    less_strict: list[LessStrictView] = []
    """Level `full`: where a number could not be compared by all its digits, such as a negative zero in jsonb."""
    redacted: bool = False
    """Values were asked not to be shown."""
    seconds: float = 0.0
    unix: float = 0.0
    """When both sides were counted, seconds since 1970; 0 where that is not known."""
    replaced_since: ReplacedTables | None = None
    """Tables that are not any more what the run wrote; null while all are."""


class RejectGroup(Wire):
    """Rejects of one reason in one field."""

    namespace: str
    reason: str
    field: str
    sqlstate: str = ""
    count: int
    samples: list[str] = []
    """`_id`s as Extended JSON."""
    detail: str = ""
    """What was said of one of them."""
    policy: str = ""
    """The policy that decides about such values; empty where none does."""
    in_force: str = ""
    """What it is for this field in the run."""
    takes: list[str] = []
    """Its choices that make rows of such documents."""


class RejectsReport(Wire):
    """Rejected documents of a run."""

    run_id: str
    mode: str = ""
    """Of the run, such as `upsert`."""
    total: int
    groups: list[RejectGroup]


class RejectedDocument(Wire):
    """A document that is kept as a reject. Foreign text: make it harmless before showing it."""

    id: str
    """Its `_id` as Extended JSON; empty where it cannot be told."""
    namespace: str
    reason: str
    field: str
    sqlstate: str = ""
    detail: str = ""
    rejected_unix: float = 0.0
    """When, seconds since 1970."""
    size: int = 0
    """Bytes of BSON."""
    document: str | None = None
    """As Extended JSON, in ASCII; null where it was not asked for."""
    is_cut: bool = False
    """`document` is only its beginning."""


class RejectedPage(Wire):
    """Some rejected documents of a run."""

    run_id: str
    documents: list[RejectedDocument]
    following: str = ""
    """For the next page; empty at the end."""


class DiscardedTable(Wire):
    """A table that is concerned when a run is deleted."""

    table: str
    """`schema.table`."""
    rows: int
    """That it has now; -1 when it is not there."""
    is_exact: bool = True
    """They were counted; otherwise PostgreSQL's estimate."""
    is_own: bool = True
    """The run made it, so that it can be dropped with the run."""


class LiveTable(Wire):
    """A table of a run that is over."""

    namespace: str
    table: str
    written_since: int | None = None
    """Rows that were inserted, updated or deleted in it since the run was complete, as PostgreSQL's statistics count them; null
    where they do not tell."""


class FollowableReport(Wire):
    """What it would be to follow the source of a run that is over."""

    run_id: str
    state: str
    """Of the run."""
    since_unix: float | None = None
    """From when on its changes would be applied; null where that is not known."""
    refused: str = ""
    """Why it cannot be followed at all, in a sentence."""
    lost: str = ""
    """Why not all changes since then are known, as "… since " goes on: everything has to be compared first."""
    is_live: bool = False
    """Its tables are in their places: others may use them."""
    tables: list[LiveTable] = []
    remarks: list[str] = []
    """What changes do to these tables, and what of them refuses changes: triggers and constraints by name, a sentence each."""


class DiscardPreview(Wire):
    """What goes when a run is deleted."""

    run_id: str
    tables: list[DiscardedTable]
    rejected: int
    """Documents kept as rejects, of which the ledger has the only copy."""
    events: int
    """Recorded events."""
    writes_blocked: bool = False
    """As in `RunInfo`: once the run is deleted no resume lifts it any more."""


class RetriedReason(Wire):
    """Documents that were rejects for the same reason, and were retried."""

    namespace: str
    field: str
    """Empty where the document as a whole was at fault."""
    reason: str
    tried: int
    written: int
    """Rows."""


class RetryReport(Wire):
    """What became of a run's rejects."""

    run_id: str
    tried: int
    written: int
    """Rows written; their rejects are gone."""
    already_there: int
    """The table had their very row; these rejects are gone, too."""
    left: int
    altered: dict[str, int] = {}
    """Values that a policy changed in the rows written now, by policy."""
    reasons: list[RetriedReason] = []
    """Which documents were tried, by the reasons that they were rejects for."""
    groups: list[RejectGroup]
    """Those that are left, by today's reason."""
