"""The floor: what the two servers take for a copy when nothing is converted.

Two processes, each with a thread that scans its share of the ranges as raw batches and throws them away, while its main
thread sends ready-made COPY bytes of the same documents over one connection; then the primary key is built. The bytes
were converted beforehand, by our own converter, into files, in portions as large as a slice of a run. Every portion is a
transaction of its own, committed as a run commits (not waiting for the disk, which the key's commit then does).

The floor of many workers is that of as many processes, which a fork server makes that has imported everything, as ours does;
the clock starts with the first of them, so what it costs to have them and their connections counts.

For seeding: two processes insert ready-made documents.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, cast

import asyncpg
from pymongo import MongoClient

from engine.cluster.fork_server import PRELOADED
from engine.config import Settings
from engine.convert import make_converter
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.mongo import catalogue, partition
from engine.mongo import connect as mongo
from engine.mongo.collections import collection_of
from engine.mongo.natural import NaturalReader
from engine.mongo.reader import BatchReader, Range, RangeReader
from engine.mongo.record_cuts import record_cuts
from engine.plan import TablePlan, choose, cut, make_plan
from engine.postgres import connect as postgres
from engine.postgres import ddl
from engine.rows import COPY_HEADER, COPY_TRAILER
from engine.work.slice_notes import SLICE_BYTES
from tests.bench import shapes
from tests.bench.measure import Cost, Ran

TABLE = TableName("public", "bench_floor")
SEND_BYTES = 512 * 1024
CONVERTING = 2
"""Processes that make the bytes, before anything is measured."""
WHOLE_BATCH = 1_000_000
"""More documents than a batch ever has."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one process scans and sends."""

    collection: str
    ranges: tuple[Range, ...]
    mapping: Mapping
    file: Path
    """Portions of COPY bytes, each whole, one after the other."""
    is_natural: bool = False
    """The ranges are of records, read in natural order."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A floor that is ready to be measured."""

    shares: tuple[Share, ...]
    table: TablePlan


@dataclass(frozen=True, slots=True)
class _Done:
    """What a process reports: its span on the clock that all processes share, and its CPU seconds."""

    began: float
    ended: float
    cpu_s: float


def prepare(source_uri: str, collection: str, folder: Path, processes: int, *, is_natural: bool = False) -> Prepared:
    """Plan the table as a run would, and convert every document into the files of the shares."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"collections": [f"{shapes.DATABASE}.{collection}:{TABLE}"]}
    settings = Settings.model_validate({"source": {"uri": source_uri}, "run": names})
    client = mongo.connect(source_uri, app_name="mongopg-tui bench")
    try:
        choices = choose(client, settings)
        if is_natural:
            ranges = _record_ranges(client, collection, processes)
        else:
            ranges = [span for _, span in cut(client, settings, choices, {}, processes)]
        if not is_natural and len(ranges) < processes:  # a run would leave some without work
            facts = catalogue.collection_facts(client, shapes.DATABASE, collection)
            source = collection_of(client, shapes.DATABASE, collection)
            ranges = partition.partitions(source, facts, processes, facts.size_bytes // processes)
        (table,) = make_plan(client, settings, choices).tables
    finally:
        client.close()
    shares = tuple(
        Share(
            collection,
            tuple(ranges[number::processes]),
            table.mapping,
            folder / f"{collection}.{number}of{processes}.copy",
            is_natural,
        )
        for number in range(processes)
    )
    _run_processes(_convert, [(source_uri, shares[number::CONVERTING]) for number in range(CONVERTING)])
    return Prepared(shares, table)


def _record_ranges(client: mongo.Client, collection: str, processes: int) -> list[Range]:
    facts = catalogue.collection_facts(client, shapes.DATABASE, collection)
    cuts = record_cuts(client[shapes.DATABASE][collection], "", facts, processes)
    assert cuts is not None
    return list(cuts.ranges)


def measure(prepared: Prepared, source_uri: str, target_uri: str) -> Ran:
    """Scan, send, build the key. The table is made before the clock starts."""
    asyncio.run(_execute(target_uri, ddl.drop_table(TABLE), ddl.create_table(TABLE, prepared.table.mapping)))
    done = _run_processes(_scan_and_send, [(source_uri, target_uri, share) for share in prepared.shares])
    began = time.monotonic()
    key = prepared.table.mapping.id_column.name
    asyncio.run(_execute(target_uri, ddl.add_primary_key(TABLE, key, ddl.key_name(TABLE))))
    return _ran(done, {"key_s": time.monotonic() - began})


def measure_many(prepared: Prepared, source_uri: str, target_uri: str) -> Ran:
    """The same by processes that are made while the clock runs."""
    asyncio.run(_execute(target_uri, ddl.drop_table(TABLE), ddl.create_table(TABLE, prepared.table.mapping)))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED, __name__])
    first = context.Process(target=_nothing)  # the fork server has imported everything when it has made one
    first.start()
    first.join()
    began = time.monotonic()
    arguments = [(source_uri, target_uri, share, True) for share in prepared.shares]
    done = _run_processes(_scan_and_send, arguments, context, meet=False)
    copy_s, key_began = time.monotonic() - began, time.monotonic()
    key = prepared.table.mapping.id_column.name
    asyncio.run(_execute(target_uri, ddl.add_primary_key(TABLE, key, ddl.key_name(TABLE))))
    key_s = time.monotonic() - key_began
    seconds, spent = copy_s + key_s, sum(each.cpu_s for each in done)
    return Ran(seconds, seconds, Cost(spent, {}), {"copy_s": copy_s, "key_s": key_s})


def measure_inserts(source_uri: str, n_documents: int, processes: int) -> Ran:
    """Insert ready-made users into an empty collection."""
    name = "inserted"
    with MongoClient[dict[str, Any]](source_uri) as client:
        client[shapes.DATABASE].drop_collection(name)
        bounds = [n_documents * number // processes for number in range(processes + 1)]
        done = _run_processes(_insert, [(source_uri, name, low, high) for low, high in pairwise(bounds)])
        client[shapes.DATABASE].drop_collection(name)
    return _ran(done, {})


def _ran(done: list[_Done], more_s: dict[str, float]) -> Ran:
    copy_s = max(each.ended for each in done) - min(each.began for each in done)
    seconds = copy_s + sum(more_s.values())
    return Ran(seconds, seconds, Cost(sum(each.cpu_s for each in done), {}), {"copy_s": copy_s} | more_s)


# --- processes --------------------------------------------------------------------------------------------------------


def _run_processes(
    work: Callable[..., None], arguments: list[tuple[Any, ...]], context: Any = None, *, meet: bool = True
) -> list[_Done]:
    """Run `work(start, report, *arguments)` in as many processes; it begins when all of them have met at `start`.

    Args:
        context: how processes are made; spawned without one.
        meet: False begins as each is there.
    """
    context = context or multiprocessing.get_context("spawn")
    start = context.Barrier(len(arguments) if meet else 1)
    report = context.SimpleQueue()
    processes = [context.Process(target=work, args=(start, report, *each)) for each in arguments]
    for process in processes:
        process.start()
    try:
        waiting = {process.sentinel: process for process in processes}
        while waiting:
            for sentinel in wait(list(waiting)):
                process = waiting.pop(cast(int, sentinel))
                process.join()
                if process.exitcode != 0:
                    raise RuntimeError(f"a process of the floor ended with exit code {process.exitcode}")
    finally:
        for process in waiting.values():  # the others would wait for it for ever
            process.kill()
            process.join()
    return [report.get() for _ in processes]


def _convert(start: Any, report: Any, source_uri: str, shares: tuple[Share, ...]) -> None:
    start.wait()
    began = time.monotonic()
    with MongoClient[dict[str, Any]](source_uri) as client:
        for share in shares:
            with share.file.open("wb") as file:
                _convert_share(client, share, file)
    report.put(_Done(began, time.monotonic(), 0.0))


def _convert_share(client: MongoClient[dict[str, Any]], share: Share, file: Any) -> None:
    converter = make_converter(share.mapping)
    portion, n_bytes = [COPY_HEADER], 0
    for span in share.ranges:
        reader = _reader(client, share, span)
        while (batch := reader.next_batch()) is not None:
            converted = converter.convert(batch.data, batch.offset, WHOLE_BATCH)
            if converted.rejects:
                raise RuntimeError("the shapes have no documents that are rejected")
            portion.append(bytes(converted.copy))
            n_bytes += converted.end - batch.offset
            if n_bytes >= SLICE_BYTES:
                _write(file, portion)
                portion, n_bytes = [COPY_HEADER], 0
    if n_bytes:
        _write(file, portion)


def _reader(client: mongo.Client, share: Share, span: Range) -> BatchReader:
    collection = client[shapes.DATABASE][share.collection]
    if share.is_natural:
        return NaturalReader(collection, span.lower, span.upper)
    return RangeReader(collection, span.lower, True, span.upper)


def _nothing() -> None:
    """Of a process that is there for its fork server to be."""


def _write(file: Any, portion: list[bytes]) -> None:
    """A portion with its length before it."""
    content = b"".join([*portion, COPY_TRAILER])
    file.write(len(content).to_bytes(8, "big") + content)


def _scan_and_send(
    start: Any, report: Any, source_uri: str, target_uri: str, share: Share, from_start: bool = False
) -> None:
    asyncio.run(_scan_while_sending(start, report, source_uri, target_uri, share, from_start))


async def _scan_while_sending(
    start: Any, report: Any, source_uri: str, target_uri: str, share: Share, from_start: bool
) -> None:
    client = mongo.connect(source_uri, app_name="mongopg-tui bench")
    connection = await postgres.connect(target_uri, synchronous_commit=False)
    scanning = threading.Thread(target=_scan, args=(client, share))
    start.wait()
    began, cpu_began = time.monotonic(), 0.0 if from_start else _cpu_s()
    scanning.start()
    columns = [column.name for column in share.mapping.columns]
    with share.file.open("rb") as file:
        while length := file.read(8):
            await connection.copy_to_table(
                TABLE.table,
                schema_name=TABLE.schema,
                columns=columns,
                format="binary",
                source=_pieces(file.fileno(), file.tell(), int.from_bytes(length, "big")),
            )
            file.seek(int.from_bytes(length, "big"), os.SEEK_CUR)
    await asyncio.to_thread(scanning.join)
    report.put(_Done(began, time.monotonic(), _cpu_s() - cpu_began))
    await connection.close()
    client.close()


async def _pieces(descriptor: int, offset: int, length: int) -> AsyncIterator[bytes]:
    end = offset + length
    while offset < end:
        piece = os.pread(descriptor, min(SEND_BYTES, end - offset), offset)
        offset += len(piece)
        yield piece


def _scan(client: mongo.Client, share: Share) -> None:
    for span in share.ranges:
        reader = _reader(client, share, span)
        while reader.next_batch() is not None:
            pass


def _insert(start: Any, report: Any, source_uri: str, collection: str, low: int, high: int) -> None:
    documents = shapes.USERS.make(low, high)
    with MongoClient[dict[str, Any]](source_uri) as client:
        start.wait()
        began, cpu_began = time.monotonic(), _cpu_s()
        shapes.insert(client[shapes.DATABASE][collection], documents)
        report.put(_Done(began, time.monotonic(), _cpu_s() - cpu_began))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _execute(target_uri: str, *statements: str) -> None:
    connection: asyncpg.Connection = await postgres.connect(target_uri)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
