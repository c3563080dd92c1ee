"""The floor: what the two servers take for a copy when nothing is converted.

Two processes, each with a thread that scans its share of the ranges as raw batches and throws them away, while its main
thread sends ready-made COPY bytes of the same documents over one connection; then the primary key is built. The bytes
were converted beforehand, by our own converter, into files, in portions as large as a slice of a run. Every portion is a
transaction of its own, committed as a run commits (not waiting for the disk, which the key's commit then does).

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

from engine.config import Settings
from engine.convert import make_converter
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.mongo.reader import Range, RangeReader
from engine.plan import TablePlan, choose, cut, make_plan
from engine.postgres import connect as postgres
from engine.postgres import ddl
from engine.rows import COPY_HEADER, COPY_TRAILER
from engine.work.copy import SLICE_BYTES
from tests.bench import shapes
from tests.bench.measure import Cost, Ran

TABLE = TableName("public", "bench_floor")
SEND_BYTES = 512 * 1024
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


def prepare(source_uri: str, collection: str, folder: Path, processes: int) -> Prepared:
    """Plan the table as a run would, and convert every document into the files of the shares."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"collections": [f"{shapes.DATABASE}.{collection}:{TABLE}"]}
    settings = Settings.model_validate({"source": {"uri": source_uri}, "run": names})
    client = mongo.connect(source_uri, app_name="mongopg-tui bench")
    try:
        choices = choose(client, settings)
        ranges = [span for _, span in cut(client, settings, choices, {}, processes)]
        (table,) = make_plan(client, settings, choices).tables
    finally:
        client.close()
    shares = tuple(
        Share(collection, tuple(ranges[number::processes]), table.mapping, folder / f"{collection}.{number}.copy")
        for number in range(processes)
    )
    _run_processes(_convert, [(source_uri, share) for share in shares])
    return Prepared(shares, table)


def measure(prepared: Prepared, source_uri: str, target_uri: str) -> Ran:
    """Scan, send, build the key. The table is made before the clock starts."""
    asyncio.run(_execute(target_uri, ddl.drop_table(TABLE), ddl.create_table(TABLE, prepared.table.mapping)))
    done = _run_processes(_scan_and_send, [(source_uri, target_uri, share) for share in prepared.shares])
    began = time.monotonic()
    key = prepared.table.mapping.id_column.name
    asyncio.run(_execute(target_uri, ddl.add_primary_key(TABLE, key, ddl.key_name(TABLE))))
    return _ran(done, {"key_s": time.monotonic() - began})


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


def _run_processes(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[_Done]:
    """Run `work(start, report, *arguments)` in as many processes; it begins when all of them have met at `start`."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(arguments))
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


def _convert(start: Any, report: Any, source_uri: str, share: Share) -> None:
    converter = make_converter(share.mapping)
    start.wait()
    began = time.monotonic()
    with share.file.open("wb") as file, MongoClient[dict[str, Any]](source_uri) as client:
        portion, n_bytes = [COPY_HEADER], 0
        for span in share.ranges:
            reader = RangeReader(client[shapes.DATABASE][share.collection], span.lower, True, span.upper)
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
    report.put(_Done(began, time.monotonic(), 0.0))


def _write(file: Any, portion: list[bytes]) -> None:
    """A portion with its length before it."""
    content = b"".join([*portion, COPY_TRAILER])
    file.write(len(content).to_bytes(8, "big") + content)


def _scan_and_send(start: Any, report: Any, source_uri: str, target_uri: str, share: Share) -> None:
    asyncio.run(_scan_while_sending(start, report, source_uri, target_uri, share))


async def _scan_while_sending(start: Any, report: Any, source_uri: str, target_uri: str, share: Share) -> None:
    client = mongo.connect(source_uri, app_name="mongopg-tui bench")
    connection = await postgres.connect(target_uri, synchronous_commit=False)
    scanning = threading.Thread(target=_scan, args=(client, share))
    start.wait()
    began, cpu_began = time.monotonic(), _cpu_s()
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
        reader = RangeReader(client[shapes.DATABASE][share.collection], span.lower, True, span.upper)
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
