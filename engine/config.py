"""Settings: one schema for the file, the environment, the flags and the screens. `engine.loading` fills it.

Precedence: flags, environment (`MONGOPG_SECTION_NAME`), file, default. The file is `--config`, else `./config.toml`,
else `$XDG_CONFIG_HOME/mongopg-tui/config.toml`.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from engine import references
from engine.errors import KnobError, UsageError
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, SEED_COUNT, THROTTLE, KnobValue, on_one_host
from engine.libpq import resolve as libpq
from engine.mapping.options import MappingOptions
from engine.redaction import may_be_repeated, password_span, secrets_in, userinfo_end
from engine.redaction import redact as redact  # errors and screens say `engine.config.redact`
from engine.references import PATTERN
from engine.scheduler_address import EXAMPLES, read_address

PREFIX = "MONGOPG_"
"""Of every environment variable of ours."""
ENDS = (
    "RUN",
    "STATE",
    "EXIT_CODE",
    "VERIFICATION",
    "READ",
    "WRITTEN",
    "REJECTED",
    "SECONDS",
    "SOURCE",
    "TARGET",
    "MESSAGE",
)
"""Variables, with the prefix, that tell the command of `cockpit.on_finish` how a run ended: no settings, for another program
that it starts."""
SAMPLE_BYTES = 64_000_000
"""Of one collection, read for a plan: what is large has few documents that could differ in so much of it."""
LIBPQ_PASSWORD = "PGPASSWORD"  # noqa: S105 - a variable's name
"""What PostgreSQL's own programs take the password from."""

Mode = Literal["create", "append", "replace", "upsert"]
Consistency = Literal["fuzzy", "snapshot"]
REPLACE_DROPS = (
    "persistence", "tablespace", "access method", "storage parameters", "column", "generated column", "identity", "sequence",
    "default", "column type", "collation", "not null", "column statistics", "column storage", "column comment", "other key",
    "check", "unique", "exclude", "foreign key", "index", "cluster", "index statistics", "extended statistics", "trigger",
    "rule", "replica identity",
)  # fmt: skip
"""What belongs to a table alone, so that `run.replace_drops` may name it; the list of `engine.postgres.attachments`."""


class _Section(BaseModel):
    """Settings are replaced (`merged`), never assigned to."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SourceSettings(_Section):
    """MongoDB, where documents come from."""

    uri: SecretStr = SecretStr("")
    """Connection string, `mongodb://` or `mongodb+srv://`, with the database to read in its path."""
    uri_file: str = ""
    """File that holds the connection string, such as a docker or kubernetes secret; instead of `uri`."""
    uri_from: str = Field(default="", pattern=PATTERN, description="`env:NAME` or `file:/PATH`")
    """Where workers on other hosts find the connection string: a variable or a file of theirs. Set by `env:NAME` or
    `file:/PATH` as `uri`, and by `uri_file`; empty has it sent to them."""
    password: SecretStr = SecretStr("")
    """Password for a connection string that names a user and no password."""
    sample_bytes: int = Field(default=SAMPLE_BYTES, ge=1_000_000, le=1_000_000_000_000)
    """Bytes of documents per collection that the census reads for its sample."""

    @property
    def connection(self) -> str:
        """The connection string with its password."""
        return with_password(self.uri.get_secret_value().strip(), self.password.get_secret_value())


class TargetSettings(_Section):
    """PostgreSQL, where rows go to."""

    uri: SecretStr = SecretStr("")
    """Connection string, `postgresql://user@host:port/database`."""
    uri_file: str = ""
    """File that holds the connection string, such as a docker or kubernetes secret; instead of `uri`."""
    uri_from: str = Field(default="", pattern=PATTERN, description="`env:NAME` or `file:/PATH`")
    """Where workers on other hosts find the connection string: a variable or a file of theirs. Set by `env:NAME` or
    `file:/PATH` as `uri`, and by `uri_file`; empty has it sent to them."""
    password: SecretStr = SecretStr("")
    """Password for a connection string that holds none; PGPASSWORD serves too, and ~/.pgpass is looked at."""
    schema_name: str = Field(default="public", alias="schema")
    """Schema for tables whose schema is not named."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    @property
    def connection(self) -> str:
        """The connection string with its password."""
        return with_password(self.uri.get_secret_value(), self.password.get_secret_value())


class RunSettings(_Section):
    """What to copy, and how."""

    collections: list[str] = []
    """`db.collection` or `db.collection:schema.table`, each; a colon of a name is written `\\:`; empty takes every
    collection of the source's database."""
    mode: Mode = "create"
    """What to do with an existing table: refuse, append, replace (swap at the end), upsert by `_id`."""
    consistency: Consistency = "fuzzy"
    """Each document as it is when it is read, or all of them as they were at one time of the cluster."""
    order: Literal["auto", "id", "natural"] = "auto"
    """Read collections in the order of `_id`, or as they lie on disk; auto takes what suits each of them."""
    cluster_size: int | str = Field(
        default=CLUSTER_SIZE.default,
        description=f"a whole number between {CLUSTER_SIZE.low} and {CLUSTER_SIZE.high:,}, auto, or auto:4-16",
    )
    """Number of worker processes; auto finds the number that the copy is fastest with while it goes on."""
    page_size: int = Field(default=PAGE_SIZE.default, ge=PAGE_SIZE.low, le=PAGE_SIZE.high)
    """Documents in one COPY."""
    throttle: int = Field(default=THROTTLE.default, ge=0, le=THROTTLE.high)
    """Rate limit, rows per second for the whole run; 0 is off."""
    converter: Literal["auto", "native", "plain"] = "auto"
    """Which converter to use; auto takes the native one where it is built."""
    census: Literal["sample", "full"] = "sample"
    """What columns and types are chosen from: a sample of each collection, or all documents, counted by the workers."""
    checksum: bool = True
    """Keep a checksum of the documents of each slice, by which a verification tells whether the source changed since."""
    sample_size: int = Field(default=10_000, ge=100, le=1_000_000)
    """Documents per collection that the census samples."""
    limit: int = Field(default=0, ge=0, le=SEED_COUNT.high)
    """Documents of each collection to copy at most, the first ones in `_id` order; 0 is all."""
    max_rejects: str = Field(
        default="", pattern=r"^(\d+|\d+(\.\d+)?%|)$", description='a number of documents, a share such as "1%", or off'
    )
    """More rejects than this stop the run: a number, or a share of the documents expected; empty is no limit, but a table
    whose first 10,000 documents are all rejects stops it then."""
    indexes: bool = False
    """Build MongoDB's secondary indexes on the target tables after the load, as far as PostgreSQL can have them."""
    unique: Literal["before", "after"] = "before"
    """When a run that follows its source builds the unique ones of them: before the cut-over, while it follows, or in it, when
    the writers are stopped."""
    exclude: list[str] = []
    """Collections to leave out, `collection` or `db.collection`, each; `*` is any text, `?` any character."""

    replace_drops: str = Field(default="", description="kinds of attachments, with commas between them")
    """What mode `replace` may drop with an old table instead of keeping it, by kind, such as "index, trigger"; empty keeps
    everything that hangs on a table."""

    @property
    def size(self) -> KnobValue:
        """`cluster_size` as a knob has it."""
        return self.cluster_size if isinstance(self.cluster_size, int) else CLUSTER_SIZE.read(self.cluster_size)

    @property
    def workers(self) -> int:
        """How many a run begins with."""
        return CLUSTER_SIZE.begin(self.size)

    @field_validator("cluster_size", mode="before")
    @classmethod
    def _as_number_or_auto(cls, value: object) -> object:
        """A number, or what `Auto` is as text."""
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError("it is no number")  # noqa: TRY004 - what pydantic takes for an error of validation
        try:
            found = CLUSTER_SIZE.read(value) if isinstance(value, str) else CLUSTER_SIZE.check(value)
        except KnobError as error:
            raise ValueError(error.message) from None
        return found if isinstance(found, int) else str(found)

    @property
    def drops(self) -> frozenset[str]:
        """The kinds that `replace_drops` lists."""
        return frozenset(self.replace_drops.split(", ")) if self.replace_drops else frozenset()

    @field_validator("replace_drops", mode="before")
    @classmethod
    def _as_kinds(cls, value: object) -> object:
        """Also a list; spelled with spaces, hyphens or underscores."""
        if not isinstance(value, (str, list, tuple)):
            return value
        words = value.split(",") if isinstance(value, str) else [str(word) for word in value]
        kinds = [" ".join(re.split(r"[\s_-]+", word.strip().lower())) for word in words if word.strip()]
        unknown = [kind for kind in kinds if kind not in REPLACE_DROPS]
        if unknown:
            near = difflib.get_close_matches(unknown[0], REPLACE_DROPS, 1)
            shown = repr(unknown[0][:40]) if near or may_be_repeated(unknown[0]) else "a word of it"
            raise ValueError(f"{shown} is none of: {', '.join(REPLACE_DROPS)}")
        return ", ".join(dict.fromkeys(kinds))

    @field_validator("max_rejects", mode="before")
    @classmethod
    def _as_typed(cls, value: object) -> object:
        """Also a number that is no text, and the spellings of the knobs: "10,000" and "off"."""
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str):
            return "" if value.strip().lower() == "off" else re.sub(r"[,_ ]", "", value)
        return value


class ClusterSettings(_Section):
    """Where the engine and its workers run."""

    kind: Literal["local", "dask"] = "local"
    """Workers as processes of this host, or on the hosts of a Dask cluster (section `[dask]`)."""
    host: str = Field(default="", max_length=200)
    """What this host is called in the ledger; empty is its own name. For containers, which get another name with each start."""


class SeedSettings(_Section):
    """Synthetic users for demo and tests."""

    count: int = Field(default=SEED_COUNT.default, ge=0, le=SEED_COUNT.high)
    """Number of users."""
    seed: int = 1
    """The same seed gives the same documents whatever the cluster."""
    collection: str = "demo.users"
    """`db.collection` to fill."""
    into_existing: bool = False
    """Seed into a collection that holds other documents."""


class GuardSettings(_Section):
    """What a run may do to the servers before it slows down, and then pauses, by itself."""

    on: bool = True
    """Guards act; false turns all of them off."""
    step_s: float = Field(default=5.0, ge=0.1, le=600)
    """Seconds from one step of slowing down, or of coming back, to the next."""
    standby_lag: float = Field(default=10, ge=0, le=86_400)
    """Slow down while a standby of PostgreSQL replays so many seconds behind; 0 is off."""
    standby_lag_hard: float = Field(default=60, ge=0, le=86_400)
    """Pause while a standby is so many seconds behind; 0 is off."""
    ignore: list[str] = []
    """Standbys and secondaries that are behind on purpose, by name; `*` is any text, `?` any character."""
    disk_free: int = Field(default=2_000_000_000, ge=0, le=1_000_000_000_000_000)
    """Slow down while PostgreSQL's disk has fewer bytes free; 0 is off. Seen where the server runs on this machine."""
    disk_free_hard: int = Field(default=500_000_000, ge=0, le=1_000_000_000_000_000)
    """Pause while it has fewer bytes free; 0 is off."""
    slots: Literal["off", "unreserved", "extended"] = "off"
    """Slow down while a replication slot has this `wal_status` or a worse one."""
    slot_wal: int = Field(default=0, ge=0, le=1_000_000_000_000_000)
    """Slow down while a replication slot holds back so many bytes of WAL; 0 is off."""
    slot_wal_hard: int = Field(default=0, ge=0, le=1_000_000_000_000_000)
    """Pause while a slot holds back so many bytes; 0 is off."""
    blocked: float = Field(default=0, ge=0, le=86_400)
    """Slow down while another session has waited so many seconds for a lock of the run; 0 is off."""
    blocked_hard: float = Field(default=0, ge=0, le=86_400)
    """Pause while it has waited so many seconds; 0 is off."""
    tickets: float = Field(default=0, ge=0, le=100)
    """Slow down while fewer than so many percent of MongoDB's read tickets are free; 0 is off."""
    tickets_hard: float = Field(default=0, ge=0, le=100)
    """Pause while fewer are free; 0 is off."""
    queue: int = Field(default=0, ge=0, le=1_000_000)
    """Slow down while more operations wait in MongoDB's queues; 0 is off."""
    queue_hard: int = Field(default=0, ge=0, le=1_000_000)
    """Pause while more of them wait; 0 is off."""
    secondary_lag: float = Field(default=0, ge=0, le=86_400)
    """Slow down while a secondary of MongoDB is so many seconds behind, or flow control slows writes; 0 is off."""
    secondary_lag_hard: float = Field(default=0, ge=0, le=86_400)
    """Pause while a secondary is so many seconds behind; 0 is off."""
    query: str = ""
    """A query of your own on the target, once a second, read-only: its first value is a number or true; empty is off."""
    query_limit: float = Field(default=0, ge=-1e15, le=1e15)
    """Slow down while the query gives more than this."""
    query_hard: float = Field(default=0, ge=0, le=1e15)
    """Pause while it gives more than this; 0 is off."""
    command: str = ""
    """A command of your own, without a shell: exit code 0 is fine, 1 slows down, 2 pauses, others cannot see; empty is off."""
    file: str = ""
    """Pause while this file exists; empty is off."""


class DaskSettings(_Section):
    """A Dask cluster whose workers start ours."""

    scheduler: str = Field(default="", description=EXAMPLES)
    """Where its scheduler is: an address, a file that has it, or `local:2x4` for two hosts of four slots each on this one."""
    insecure: bool = False
    """Take a scheduler on another host without TLS: other programs of the network could run code as you, here and there."""
    ca_file: str = ""
    """File of the authorities that signed the cluster's certificates; empty is what Dask's own configuration says."""
    cert_file: str = ""
    """Our certificate, likewise."""
    key_file: str = ""
    """Its key, likewise."""
    scale: bool = False
    """Ask the cluster for more hosts when it has too few slots for the cluster size; it is never asked for fewer."""

    @field_validator("scheduler")
    @classmethod
    def _as_address(cls, value: str) -> str:
        if value:
            try:
                read_address(value)
            except UsageError as error:
                raise ValueError(error.message) from None
        return value


class DemoSettings(_Section):
    """Embedded servers."""

    embedded: bool = False
    """Start embedded MongoDB and PostgreSQL and use them as source and target."""
    dir: str = ""
    """Folder for their data; empty is a temporary one."""
    keep: bool = False
    """Leave the servers running and their data in place at the end."""
    writes: int = Field(default=200, ge=0, le=10_000)
    """Writes a second to the source of a demo that follows it, until it is cut over."""

    @property
    def folder(self) -> Path | None:
        """`dir`, with ~ for the home directory; None for a temporary one."""
        return Path(os.path.expanduser(self.dir)) if self.dir else None


class CockpitSettings(_Section):
    """The screens."""

    on_disconnect: Literal["continue", "cancel"] = "continue"
    """What a run does when the cockpit that started it vanishes."""
    theme: str = "textual-dark"
    """Any Textual theme."""
    ascii: bool = False
    """Draw with ASCII characters only."""
    mouse: bool = True
    """Take mouse events."""
    refresh_hz: int = Field(default=4, ge=4, le=10)
    """How often the Run screen is drawn."""
    notify: bool = True
    """Ring the terminal's bell and have it notify (OSC 9, OSC 777) when a run ends."""
    on_finish: str = ""
    """Command to run when a run ends, with MONGOPG_RUN, MONGOPG_STATE, MONGOPG_EXIT_CODE and more in its environment; without
    a shell, unless it is `sh -c '...'`."""


class Settings(_Section):
    """Every setting; `config.toml` at the top of the project documents each with its default."""

    source: SourceSettings = SourceSettings()
    target: TargetSettings = TargetSettings()
    run: RunSettings = RunSettings()
    mapping: MappingOptions = MappingOptions()
    cluster: ClusterSettings = ClusterSettings()
    seed: SeedSettings = SeedSettings()
    guard: GuardSettings = GuardSettings()
    dask: DaskSettings = DaskSettings()
    demo: DemoSettings = DemoSettings()
    cockpit: CockpitSettings = CockpitSettings()
    keys: dict[str, str] = {}
    """Keys of the cockpit's commands, by the commands' ids; only in the file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with where each came from."""

    settings: Settings
    provenance: dict[str, str] = field(default_factory=dict)
    """"section.name" -> "flag --mode", "environment MONGOPG_RUN_MODE", "file ./config.toml" or "default"."""
    warnings: tuple[str, ...] = ()
    """Sentences for people, such as about a password that others can read."""
    file: Path | None = None
    """The configuration file that was read."""


def cluster_size_of(settings: Settings, size: KnobValue | None = None) -> KnobValue:
    """`run.cluster_size`, or another one, within what there can be where workers run.

    Raises:
        KnobError: it is too large.
    """
    wanted = settings.run.size if size is None else size
    return on_one_host(wanted) if settings.cluster.kind == "local" else wanted


def reveal(settings: Settings) -> dict[str, Any]:
    """The settings as plain JSON data with their secrets in clear: for the engine's standard input and nothing else."""
    data = settings.model_dump(mode="json", by_alias=True)
    for name, side in (("source", settings.source), ("target", settings.target)):
        data[name] |= {"uri": side.uri.get_secret_value(), "password": side.password.get_secret_value()}
    return data


def variable_of(setting: str) -> str:
    """The environment variable of `section.name`."""
    return PREFIX + setting.replace(".", "_").upper()


def secrets_of(settings: Settings) -> set[str]:
    """Every secret in the settings, for what must never show one."""
    sides = (settings.source, settings.target)
    found = {secret for side in sides for secret in (*secrets_in(side.connection), side.password.get_secret_value())}
    return found | libpq.secrets_of(settings.target.connection)


def with_password(uri: str, password: str) -> str:
    """`uri` with `password` in it, percent-encoded, where it holds none; MongoDB's must name a user, too."""
    encoded = quote(password, safe="")
    if not password or not uri:
        return uri
    if not uri.startswith("mongodb"):
        # The user may come from the operating system, PGUSER or a parameter: only a parameter always has a place.
        return libpq.with_password(uri, password)
    begin, end = len(uri.partition("://")[0]) + 3, userinfo_end(uri)
    user, at, _ = uri[begin:end].rpartition("@")
    if password_span(uri) or not at or user in ("", ":"):
        return uri
    return f"{uri[:begin]}{user.removesuffix(':')}:{encoded}@{uri[end:]}"


def merged(settings: Settings, changes: dict[str, Any]) -> Settings:
    """`settings` with some of them changed, `{"section": {"name": value}}`.

    Raises:
        ValidationError: a value is wrong.
        UsageError: a connection string is a reference to what is not there.
    """
    data = reveal(settings)
    for section, values in changes.items():
        if section in ("source", "target") and isinstance(values.get("uri"), str):
            values = _followed(section, values, data[section]["uri"])
        data[section] = data.get(section, {}) | values
    return Settings.model_validate(data)


def _followed(section: str, values: dict[str, Any], before: str) -> dict[str, Any]:
    """With the connection string that a reference leads to; what leads to the one before does not lead to another one."""
    uri = values["uri"]
    if references.is_reference(uri):
        return {"uri_from": uri.strip()} | values | {"uri": references.resolve(uri, f"{section}.uri")}
    return {"uri_from": ""} | values if uri != before else values


def source_uri(settings: Settings) -> str:
    """The source's URI; raises UsageError when there is none."""
    uri = settings.source.connection
    if not uri:
        raise UsageError("source.uri is not set: give --source URI, or set MONGOPG_SOURCE_URI.")
    return uri


def target_uri(settings: Settings) -> str:
    """The target's URI; raises UsageError when there is none."""
    uri = settings.target.connection
    if not uri:
        raise UsageError("target.uri is not set: give --target URI, or set MONGOPG_TARGET_URI.")
    return uri
