"""The parts of the measurement: who competes with which documents, and how one round of it goes."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from pymongo import MongoClient

from engine.knobs import CLUSTER_SIZE, PAGE_SIZE
from tests import spoiled
from tests.bench import floor, following, ours, peers, shapes
from tests.bench.measure import Ran, RunFailed, ServerClock
from tests.bench.ours import Servers
from tests.bench.shapes import Shape

SETTLE_S = 1.0
"""Between two measurements, after a checkpoint, so that none pays for what the one before it has left to write."""
LARGEST, SMALLEST = 10, 0.1
"""Times the documents asked for, in the part `sizes`."""
CACHE_MB = 256
"""Of MongoDB's cache in the part `random_ids`: a quarter of what two million documents take."""
PAGE_SIZES = (500, 2_000, 8_000, 32_000)
MANY_WORKERS = 90
PARTS = {
    "users": "users: floor, both converters with every cluster size, other tools",
    "three_fields": "the original Python project's users: floor, ours, other tools",
    "wide": "wide documents: floor, ours, other tools",
    "sizes": "a tenth of the documents, all of them, ten times as many: floor and ours",
    "many_workers": f"users: {MANY_WORKERS} workers, the floor of {MANY_WORKERS} processes, and the ordinary cluster",
    "pages": "page sizes",
    "tuning": "ten times the documents: fixed cluster sizes, and the one that a run finds itself",
    "hosts": "ten times the documents: workers of this host, and as many on a Dask cluster of one host",
    "checksums": "users, with checksums and without",
    "rejects": "one document in a hundred is bad, against none, into a table with constraints",
    "random_ids": "twice as many users with random UUIDs, and a cache of MongoDB that they do not fit into: floor, ours in "
    "both orders, other tools",
    "small_collections": "300 collections of 100 documents, every one of a database",
    "seeding": "seeding against inserting ready-made documents",
    "follow": "as many changes as there are users in the oplog, caught up with; then followed while they come, and cut over; "
    "and copies of a collection that is written to, with and without collecting its changes",
}
FLOOR = "floor"
MANY_FLOOR = f"{FLOOR}, {MANY_WORKERS} processes"
CONTESTANTS = (FLOOR, "ours", "ingestr", "sling")
NATURAL, BY_ID = "ours, auto", "ours, by _id"
"""Of the contestants of the part `random_ids`, ours."""
FIXED_SIZES = (1, 2, 4, 8)
AUTO = "ours, size auto"
"""The contestants of the part `tuning`: these sizes, and a run that looks for its own."""
CLEAN, BAD, REFUSED = "clean", "bad", "refused by the server"
"""The contestants of the part `rejects`."""
LOCAL, ON_DASK = "ours, on this host", "ours, on one of Dask"
"""The contestants of the part `hosts`."""
WITH, WITHOUT = "with checksums", "without checksums"
"""The contestants of the part `checksums`."""
SMALL_COLLECTIONS, SMALL_DOCUMENTS = 300, 100
"""Of the part `small_collections`, whatever number of documents is asked for."""
SMALL_SCHEMA = "bench_small"
KEEP_SMALL_TABLES = f"""
DO $$ BEGIN
    IF to_regnamespace('{SMALL_SCHEMA}') IS NOT NULL THEN
        EXECUTE format('ALTER SCHEMA {SMALL_SCHEMA} RENAME TO %I', '{SMALL_SCHEMA}_' || txid_current());
    END IF;
END $$
"""
"""Before each round of it, in place of a DROP: whenever ext4 without a journal makes a file it looks at those that were deleted
in the last minutes, and 900 of them added half as much again to what a round cost PostgreSQL."""
FOLLOWS = "ours, follows"
COLLECTING, NOT_COLLECTING = "copy that collects", "copy alone"
"""The contestants of the part `follow`."""
NO_TABLE = "public.bench_none"
"""Of contestants that write into MongoDB, or into many tables."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    documents: int
    runs: int
    parts: tuple[str, ...]
    only: tuple[str, ...]
    workers: tuple[int, ...]
    """Cluster sizes of the part `users`."""
    processes: int
    """Of the floor, and our cluster size everywhere else."""
    converters: tuple[str, ...]
    """The first is the one that is compared with the floor and with others."""
    cache_mb: int = CACHE_MB
    """Of MongoDB's cache, in the part `random_ids`."""
    steady_s: float = 300.0
    """How long writers are followed, in the part `follow`; 0 only catches up."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement of one contestant."""

    ran: Ran
    server_cpu_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant of a part."""

    name: str
    table: str
    """That it writes; dropped before each of its runs."""
    run: Callable[[], Ran]
    workers: int = 0
    """Our own cluster size; 0 is another program."""
    converter: str = ""
    """Of our own runs that have one."""
    page_size: int = PAGE_SIZE.default
    rejected: int = 0
    """Documents that make no row."""
    setup: str = ""
    """SQL that has to be executed before each run, if any."""
    check: Callable[[Ran], None] | None = None
    """Looks at the table behind the first run; raises RunFailed."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Contestants with the same documents, measured in turn."""

    part: str
    shape: Shape
    documents: int
    entries: tuple[Entry, ...]
    results: dict[str, list[Figures]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    cache_mb: int = 0
    """Of MongoDB's cache; 0 leaves it as it is."""

    @property
    def own(self) -> list[Entry]:
        """Our own runs that were measured."""
        return [entry for entry in self.entries if entry.workers and entry.name in self.results]

    @property
    def reference(self) -> str:
        """Our run that all others are compared with, the fastest; empty when there is none."""
        return min((entry.name for entry in self.own), key=self.median_s, default="")

    def median_s(self, name: str) -> float:
        """Seconds of a contestant that was measured."""
        return median(each.ran.seconds for each in self.results[name])

    def ratio(self, name: str, other: str) -> float | None:
        """Seconds of one in those of the other, the median of all rounds; None when one of them was not measured."""
        pairs = self._pairs(name, other)
        return median(one.seconds / two.seconds for one, two in pairs) if pairs else None

    def wall_ratio(self, name: str, other: str) -> float | None:
        """The same with the times of whole commands."""
        pairs = self._pairs(name, other)
        return median(one.wall_s / two.wall_s for one, two in pairs) if pairs else None

    def cpu_ratio(self, name: str, other: str) -> float | None:
        """The same with the CPU seconds of all processes of the program."""
        pairs = self._pairs(name, other)
        return median(one.cost.cpu_s / two.cost.cpu_s for one, two in pairs) if pairs else None

    def _pairs(self, name: str, other: str) -> list[tuple[Ran, Ran]]:
        both = zip(self.results.get(name, ()), self.results.get(other, ()), strict=False)
        return [(one.ran, two.ran) for one, two in both]

    def peak_mb(self, name: str) -> dict[str, float]:
        """The largest process of each role in any of a contestant's runs."""
        costs = [each.ran.cost.peak_mb for each in self.results[name]]
        return {role: max(cost.get(role, 0.0) for cost in costs) for role in sorted({*itertools.chain(*costs)})}


class Bench:
    """Fills, prepares and measures."""

    def __init__(self, options: Options, servers: Servers, server_pids: dict[str, int], folder: Path) -> None:
        self._options = options
        self._servers = servers
        self._server_pids = server_pids
        self._folder = folder
        self._environment: Path | None = None

    def contests(self) -> Iterator[Contest]:
        """Every contest asked for, each filled and prepared when its turn comes."""
        options = self._options
        for part in options.parts:
            if part == "random_ids":
                yield self._random_ids()
            elif part in shapes.SHAPES:
                yield self._contest(part, shapes.SHAPES[part], 1.0)
            elif part == "sizes":
                for share in (SMALLEST, 1.0, LARGEST):
                    yield self._contest(part, shapes.USERS, share)
            elif part == "tuning":
                yield self._contest(part, shapes.USERS, LARGEST)
            elif part in ("pages", "many_workers"):
                yield self._contest(part, shapes.USERS, 1.0)
            elif part == "hosts":
                yield self._hosts()
            elif part == "checksums":
                yield self._checksums()
            elif part == "rejects":
                yield self._rejects()
            elif part == "small_collections":
                yield self._small_collections()
            elif part == "follow":
                yield self._follow()
                if options.steady_s:
                    yield self._collecting()
            else:
                yield self._seeding()

    def measure(self, contest: Contest) -> None:
        """Round after round, so that a machine that drifts does so for all alike."""
        with _cache_of(self._servers.source_uri, contest.cache_mb):
            for number in range(1, self._options.runs + 1):
                for entry in contest.entries:
                    self._measure_once(contest, number, entry)

    def _measure_once(self, contest: Contest, number: int, entry: Entry) -> None:
        try:
            figures = self._measured(contest, entry)
        except RunFailed as failure:
            contest.failures[entry.name] = str(failure)
            _say(f"  {number}  {entry.name}: FAILED, {failure}")
            return
        contest.results.setdefault(entry.name, []).append(figures)
        _say(f"  {number}  {entry.name}: {figures.ran.seconds:.2f} s")

    def _measured(self, contest: Contest, entry: Entry) -> Figures:
        before = [f"DROP TABLE IF EXISTS {entry.table}", *filter(None, [entry.setup]), "CHECKPOINT"]
        asyncio.run(_execute(self._servers.target_uri, *before))
        # What others left to be written, MongoDB's files and dropped ones too, is not waited for by the next one's commits.
        os.sync()
        time.sleep(SETTLE_S)
        clock = ServerClock(self._server_pids)
        figures = Figures(entry.run(), clock.spent())
        if entry.table != NO_TABLE:
            rows = asyncio.run(_count(self._servers.target_uri, entry.table))
            if rows != contest.documents - entry.rejected:
                raise RunFailed(f"{rows:,} of {contest.documents - entry.rejected:,} documents arrived")
            if entry.check is not None and entry.name not in contest.results:
                entry.check(figures.ran)
            asyncio.run(_execute(self._servers.target_uri, f"DROP TABLE {entry.table}"))
        return figures

    # --- contests -----------------------------------------------------------------------------------------------------

    def _contest(self, part: str, shape: Shape, share: float) -> Contest:
        options = self._options
        documents = max(1, round(options.documents * shape.share * share))
        _say(f"{part}: {documents:,} documents, {shape.what}")
        collection = shapes.fill(self._servers.source_uri, shape, documents)
        entries: list[Entry] = []
        if FLOOR in options.only and part not in ("pages", "tuning"):
            entries.append(self._floor(collection))
        if FLOOR in options.only and part == "many_workers":
            entries.append(self._many_floor(collection))
        if "ours" in options.only:
            entries += self._own_entries(part, collection)
        if part in shapes.SHAPES:
            entries += self._peers(collection)
        return Contest(part, shape, documents, tuple(entries))

    def _own_entries(self, part: str, collection: str) -> list[Entry]:
        options = self._options
        if part == "pages":
            return [self._ours(collection, options.converters[0], options.processes, size) for size in PAGE_SIZES]
        if part == "tuning":
            fixed = [self._ours(collection, options.converters[0], size) for size in FIXED_SIZES]
            return [*fixed, self._auto(collection, options.converters[0])]
        if part == "sizes":
            return [self._ours(collection, options.converters[0], options.processes)]
        if part == "many_workers":
            sizes: tuple[int, ...] = (options.processes, MANY_WORKERS)
            return [self._ours(collection, options.converters[0], workers) for workers in sizes]
        sizes = options.workers if part == "users" else (options.processes,)
        return [self._ours(collection, converter, workers) for converter in options.converters for workers in sizes]

    def _floor(self, collection: str, *, is_natural: bool = False) -> Entry:
        _say("  converting the floor's documents")
        prepared = floor.prepare(
            self._servers.source_uri,
            collection,
            self._folder / "ready",
            self._options.processes,
            is_natural=is_natural,
        )

        return Entry(
            FLOOR,
            str(floor.TABLE),
            lambda: floor.measure(prepared, self._servers.source_uri, self._servers.target_uri),
        )

    def _many_floor(self, collection: str) -> Entry:
        prepared = floor.prepare(self._servers.source_uri, collection, self._folder / "ready", MANY_WORKERS)
        return Entry(
            MANY_FLOOR,
            str(floor.TABLE),
            lambda: floor.measure_many(prepared, self._servers.source_uri, self._servers.target_uri),
        )

    def _ours(self, collection: str, converter: str, workers: int, page_size: int | None = None) -> Entry:
        name = own_name(converter, workers) + (f", page size {page_size:,}" if page_size else "")
        page_size = page_size or PAGE_SIZE.default
        return Entry(
            name,
            f"public.{ours.TABLE}",
            lambda: ours.migrate(self._servers, collection, converter=converter, workers=workers, page_size=page_size),
            workers,
            converter,
            page_size,
        )

    def _auto(self, collection: str, converter: str) -> Entry:
        run = partial(
            ours.migrate,
            self._servers,
            collection,
            converter=converter,
            workers=CLUSTER_SIZE.default,
            size="auto",
        )
        return Entry(AUTO, f"public.{ours.TABLE}", run, CLUSTER_SIZE.default, converter)

    def _peers(self, collection: str) -> list[Entry]:
        entries = []
        for tool in (peers.ingestr, peers.sling):
            if tool.__name__ in self._options.only:
                self._environment = self._environment or peers.install(self._folder)
                run = partial(tool, self._environment, self._servers, collection)
                entries.append(Entry(tool.__name__, f"public.bench_{tool.__name__}", run))
        return entries

    def _random_ids(self) -> Contest:
        options, shape = self._options, shapes.RANDOM_IDS
        documents = max(1, round(options.documents * shape.share))
        _say(f"random_ids: {documents:,} documents, {shape.what}; a cache of {options.cache_mb:,} MB")
        collection = shapes.fill(self._servers.source_uri, shape, documents)
        entries: list[Entry] = []
        if FLOOR in options.only:
            entries.append(self._floor(collection, is_natural=True))
        if "ours" in options.only:
            for name, order in ((NATURAL, "auto"), (BY_ID, "id")):
                run = partial(
                    ours.migrate,
                    self._servers,
                    collection,
                    converter=options.converters[0],
                    workers=options.processes,
                    order=order,
                )
                check = partial(self._check_order, "natural" if order == "auto" else order)
                entries.append(
                    Entry(
                        name,
                        f"public.{ours.TABLE}",
                        run,
                        options.processes,
                        options.converters[0],
                        check=check,
                    )
                )
        entries += self._peers(collection)
        return Contest("random_ids", shape, documents, tuple(entries), cache_mb=options.cache_mb)

    def _check_order(self, order: str, ran: Ran) -> None:
        sql = f"SELECT read_order FROM mongopg.table_load WHERE run_id = '{ran.details['run_id']}'"
        found = asyncio.run(_value(self._servers.target_uri, sql))
        if found != order:
            raise RunFailed(f"it read in the order {found}, not {order}")

    def _hosts(self) -> Contest:
        dask = f"local:1x{self._options.processes}"
        return self._ways("hosts", LARGEST * self._options.documents, {LOCAL: {}, ON_DASK: {"dask": dask}})

    def _checksums(self) -> Contest:
        return self._ways("checksums", self._options.documents, {WITH: {}, WITHOUT: {"checksum": False}})

    def _ways(self, part: str, documents: int, ways: Mapping[str, Mapping[str, Any]]) -> Contest:
        """Our copy of users in some ways: what differs in the call, by name."""
        converter, workers = self._options.converters[0], self._options.processes
        _say(f"{part}: {documents:,} documents, {shapes.USERS.what}")
        collection = shapes.fill(self._servers.source_uri, shapes.USERS, documents)
        copy = partial(ours.migrate, self._servers, collection, converter=converter, workers=workers)
        entries = (
            Entry(name, f"public.{ours.TABLE}", partial(copy, **differs), workers, converter)
            for name, differs in ways.items()
        )
        return Contest(part, shapes.USERS, documents, tuple(entries))

    def _rejects(self) -> Contest:
        documents, converter, workers = self._options.documents, self._options.converters[0], self._options.processes
        _say(f"rejects: {documents:,} documents, {shapes.BAD_PEOPLE.what}")
        table = f"public.{ours.TABLE}"
        rejected = documents // shapes.BAD_EVERY
        plan = ""
        entries = []
        for name, shape, ways in (
            (CLEAN, shapes.CLEAN_PEOPLE, ()),
            (BAD, shapes.BAD_PEOPLE, tuple(spoiled.WAYS)),
            (REFUSED, shapes.REFUSED_PEOPLE, (spoiled.SERVER_WAY,)),
        ):
            collection = shapes.fill(self._servers.source_uri, shape, documents)
            path = self._folder / f"{shape.name}.toml"
            if not plan:
                ours.save_plan(self._servers, collection, path, spoiled.OPTIONS)
                plan = path.read_text()
            path.write_text(plan.replace(shapes.collection_of(shapes.CLEAN_PEOPLE, documents), collection))
            run = partial(
                ours.migrate,
                self._servers,
                collection,
                converter=converter,
                workers=workers,
                plan=path,
                rejected=rejected if ways else 0,
            )
            check = partial(self._check_people, table, documents, ways) if ways else None
            entries.append(
                Entry(
                    name,
                    table,
                    run,
                    workers,
                    converter,
                    rejected=rejected if ways else 0,
                    setup=spoiled.TABLE_SQL.format(table),
                    check=check,
                )
            )
        return Contest("rejects", shapes.BAD_PEOPLE, documents, tuple(entries))

    def _check_people(self, table: str, documents: int, ways: tuple[str, ...], ran: Ran) -> None:
        async def check() -> list[str]:
            connection = await asyncpg.connect(self._servers.target_uri)
            try:
                return await spoiled.differences(
                    connection, table, ran.details["run_id"], documents, shapes.BAD_EVERY, ways
                )
            finally:
                await connection.close()

        found = asyncio.run(check())
        if found:
            raise RunFailed(f"values or rejects differ: {'; '.join(found)}")

    def _small_collections(self) -> Contest:
        count, documents = SMALL_COLLECTIONS, SMALL_COLLECTIONS * SMALL_DOCUMENTS
        converter, workers = self._options.converters[0], self._options.processes
        _say(f"small_collections: {count} collections of {SMALL_DOCUMENTS} documents")
        database = shapes.fill_many(self._servers.source_uri, count, SMALL_DOCUMENTS)

        def copy() -> Ran:
            ran = ours.migrate_database(
                self._servers, database, schema=SMALL_SCHEMA, converter=converter, workers=workers
            )
            if ran.details["rows"] != documents:
                raise RunFailed(f"{ran.details['rows']:,} of {documents:,} documents arrived")
            return ran

        entry = Entry(own_name(converter, workers), NO_TABLE, copy, workers, converter, setup=KEEP_SMALL_TABLES)
        return Contest("small_collections", shapes.USERS, documents, (entry,))

    def _follow(self) -> Contest:
        documents, workers = self._options.documents, self._options.processes
        _say(f"follow: {documents:,} changes of {documents:,} users, then {following.WRITES_PER_S:,} a second")
        collection = shapes.fill(self._servers.source_uri, shapes.USERS, documents)
        run = partial(
            following.follow, self._servers, self._server_pids, collection, documents, workers, self._options.steady_s
        )
        setup = f"DROP TABLE IF EXISTS public.{ours.TABLE}"
        return Contest("follow", shapes.USERS, documents, (Entry(FOLLOWS, NO_TABLE, run, workers, setup=setup),))

    def _collecting(self) -> Contest:
        documents, workers = self._options.documents, self._options.processes
        _say(f"follow: copies while {following.WRITES_PER_S:,} changes a second are written")
        collection = shapes.fill(self._servers.source_uri, shapes.USERS, documents)
        setup = f"DROP TABLE IF EXISTS public.{ours.TABLE}"
        entries = []
        for name, is_followed in ((NOT_COLLECTING, False), (COLLECTING, True)):
            run = partial(following.copy, self._servers, collection, documents, workers, is_followed=is_followed)
            entries.append(Entry(name, NO_TABLE, run, workers, setup=setup))
        return Contest("collecting", shapes.USERS, documents, tuple(entries))

    def _seeding(self) -> Contest:
        documents, processes = self._options.documents, self._options.processes
        _say(f"seeding: {documents:,} documents")
        name = "seeded"

        def seed() -> Ran:
            shapes.drop(self._servers.source_uri, name)
            ran = ours.seed(self._servers, name, count=documents, workers=processes)
            shapes.drop(self._servers.source_uri, name)
            if ran.details["rows"] != documents:
                raise RunFailed(f"{ran.details['rows']:,} of {documents:,} documents were seeded")
            return ran

        entries = []
        if FLOOR in self._options.only:
            insert = partial(floor.measure_inserts, self._servers.source_uri, documents, processes)
            entries.append(Entry(FLOOR, NO_TABLE, insert))
        if "ours" in self._options.only:
            entries.append(Entry(f"ours, {processes} workers", NO_TABLE, seed, processes))
        return Contest("seeding", shapes.USERS, documents, tuple(entries))


@contextmanager
def _cache_of(source_uri: str, megabytes: int) -> Iterator[None]:
    """Give the server's cache that size for a while, and read nothing that it held before."""
    if not megabytes:
        yield
        return
    with MongoClient[dict[str, Any]](source_uri) as client:
        status = client.admin.command("serverStatus")
        before = status["wiredTiger"]["cache"]["maximum bytes configured"]
        client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={megabytes}M")
        try:
            yield
        finally:
            client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={before}")


def own_name(converter: str, workers: int) -> str:
    """What one of our runs is called in tables and JSON."""
    return f"ours, {converter}, {workers} workers"


async def _execute(target_uri: str, *statements: str) -> None:
    connection = await asyncpg.connect(target_uri)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _count(target_uri: str, table: str) -> int:
    return int(await _value(target_uri, f"SELECT count(*) FROM {table}"))


async def _value(target_uri: str, sql: str) -> Any:
    connection = await asyncpg.connect(target_uri)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
