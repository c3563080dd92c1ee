"""The parts of the measurement: who competes with which documents, and how one round of it goes."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import asyncpg

from engine.knobs import PAGE_SIZE
from tests import spoiled
from tests.bench import floor, ours, peers, shapes
from tests.bench.measure import Ran, RunFailed, ServerClock
from tests.bench.ours import Servers
from tests.bench.shapes import Shape

SETTLE_S = 1.0
"""Between two measurements, after a checkpoint, so that none pays for what the one before it has left to write."""
LARGEST, SMALLEST = 10, 0.1
"""Times the documents asked for, in the part `sizes`."""
PAGE_SIZES = (500, 2_000, 8_000, 32_000)
PARTS = {
    "users": "users: floor, both converters with every cluster size, other tools",
    "three_fields": "the original Python project's users: floor, ours, other tools",
    "wide": "wide documents: floor, ours, other tools",
    "sizes": "a tenth of the documents, all of them, ten times as many: floor and ours",
    "pages": "page sizes",
    "checksums": "users, with checksums and without",
    "rejects": "one document in a hundred is bad, against none, into a table with constraints",
    "seeding": "seeding against inserting ready-made documents",
}
FLOOR = "floor"
CONTESTANTS = (FLOOR, "ours", "ingestr", "sling")
CLEAN, BAD, REFUSED = "clean", "bad", "refused by the server"
"""The contestants of the part `rejects`."""
WITH, WITHOUT = "with checksums", "without checksums"
"""The contestants of the part `checksums`."""
NO_TABLE = "public.bench_none"
"""Of contestants that write into MongoDB."""


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
            if part in shapes.SHAPES:
                yield self._contest(part, shapes.SHAPES[part], 1.0)
            elif part == "sizes":
                for share in (SMALLEST, 1.0, LARGEST):
                    yield self._contest(part, shapes.USERS, share)
            elif part == "pages":
                yield self._contest(part, shapes.USERS, 1.0)
            elif part == "checksums":
                yield self._checksums()
            elif part == "rejects":
                yield self._rejects()
            else:
                yield self._seeding()

    def measure(self, contest: Contest) -> None:
        """Round after round, so that a machine that drifts does so for all alike."""
        for number in range(1, self._options.runs + 1):
            for entry in contest.entries:
                try:
                    figures = self._measured(contest, entry)
                except RunFailed as failure:
                    contest.failures[entry.name] = str(failure)
                    _say(f"  {number}  {entry.name}: FAILED, {failure}")
                    continue
                contest.results.setdefault(entry.name, []).append(figures)
                _say(f"  {number}  {entry.name}: {figures.ran.seconds:.2f} s")

    def _measured(self, contest: Contest, entry: Entry) -> Figures:
        before = [f"DROP TABLE IF EXISTS {entry.table}", *filter(None, [entry.setup]), "CHECKPOINT"]
        asyncio.run(_execute(self._servers.target_uri, *before))
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
        if FLOOR in options.only and part != "pages":
            entries.append(self._floor(collection))
        if "ours" in options.only:
            entries += self._own_entries(part, collection)
        if part in shapes.SHAPES:
            entries += self._peers(collection)
        return Contest(part, shape, documents, tuple(entries))

    def _own_entries(self, part: str, collection: str) -> list[Entry]:
        options = self._options
        if part == "pages":
            return [self._ours(collection, options.converters[0], options.processes, size) for size in PAGE_SIZES]
        if part == "sizes":
            return [self._ours(collection, options.converters[0], options.processes)]
        sizes = options.workers if part == "users" else (options.processes,)
        return [self._ours(collection, converter, workers) for converter in options.converters for workers in sizes]

    def _floor(self, collection: str) -> Entry:
        _say("  converting the floor's documents")
        prepared = floor.prepare(self._servers.source_uri, collection, self._folder / "ready", self._options.processes)

        return Entry(
            FLOOR,
            str(floor.TABLE),
            lambda: floor.measure(prepared, self._servers.source_uri, self._servers.target_uri),
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

    def _peers(self, collection: str) -> list[Entry]:
        entries = []
        for tool in (peers.ingestr, peers.sling):
            if tool.__name__ in self._options.only:
                self._environment = self._environment or peers.install(self._folder)
                run = partial(tool, self._environment, self._servers, collection)
                entries.append(Entry(tool.__name__, f"public.bench_{tool.__name__}", run))
        return entries

    def _checksums(self) -> Contest:
        documents, converter, workers = self._options.documents, self._options.converters[0], self._options.processes
        _say(f"checksums: {documents:,} documents, {shapes.USERS.what}")
        collection = shapes.fill(self._servers.source_uri, shapes.USERS, documents)
        entries = []
        for name, checksum in ((WITH, True), (WITHOUT, False)):
            run = partial(
                ours.migrate,
                self._servers,
                collection,
                converter=converter,
                workers=workers,
                page_size=PAGE_SIZE.default,
                checksum=checksum,
            )
            entries.append(Entry(name, f"public.{ours.TABLE}", run, workers, converter))
        return Contest("checksums", shapes.USERS, documents, tuple(entries))

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
                page_size=PAGE_SIZE.default,
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
    connection = await asyncpg.connect(target_uri)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
