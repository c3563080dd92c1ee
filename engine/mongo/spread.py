"""Documents that lie evenly spread over a collection, found by their record ids: to cut it at, and to see what it holds.

Record ids are counted up, so those between the lowest and the highest are mostly taken. Where many are free by now, since
documents were deleted, others have to be found (`engine.mongo.record_cuts`, `engine.mongo.reader`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mongo import natural
from engine.mongo.bounds import record_of
from engine.mongo.connect import Document
from engine.mongo.rawcursor import UnsupportedDriver, natural_cursor
from engine.mongo.reader import COMMENT

TRIES, MOST_FREE = 3, 0.25
"""How many neighbouring record ids are tried, and of how many places, at most, all may be free."""
ASKED_AT_ONCE = 4
"""Places that are asked for at a time: each is a question of its own, most of whose time is its way."""
RUN_DOCUMENTS, RUN_BYTES = 10, 16 * 1024
"""A run has so many neighbours, unless they are large: about as many as one page of the disk holds."""
SHORTEST_RUN = 4
"""Shorter runs cost more questions than `$sample` costs pages."""
FEWEST_TRIED = 40
"""Places that are tried before it is judged how many are free."""
RUNS_AT_ONCE = 32
"""Runs in a batch."""


def spread_bounds(
    collection: Collection[Document], parts: int, session: ClientSession | None = None
) -> list[bytes] | None:
    """Bounds of at most `parts - 1` documents that lie evenly spread, in the order of their records.

    A page of the disk is read for each. Even a small `$sample` has the server read 4 MB of documents, each from another page.

    Returns:
        None where so many record ids are free, since documents were deleted, that others would have to be found.
    """
    low, high = natural.lowest(collection, session), natural.highest(collection, session)
    if low is None or high is None:
        return []
    first, last = record_of(low), record_of(high)
    places = [first + (last - first) * number // parts for number in range(1, parts)]
    found: list[bytes] = []
    n_free = 0
    # A session is for one question at a time.
    pool = ThreadPoolExecutor(1 if session is not None else ASKED_AT_ONCE, thread_name_prefix="spread")
    try:
        for bound in pool.map(partial(_bound_near, collection, session), places):
            if bound is None:
                n_free += 1
                if n_free > parts * MOST_FREE:
                    return None
            elif not found or record_of(bound) > record_of(found[-1]):
                found.append(bound)
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def runs(collection: Collection[Document], size: int, average_bytes: int) -> Iterator[bytes]:
    """About so many documents as batches, in runs of neighbours: one in each of equal stretches of records, its place drawn.

    `$sample` draws each document from another page of the disk: of two million documents that the server's cache does not hold,
    ten thousand took it four times as much processor time as a thousand runs of ten. What is so in a part of the collection
    only is found for certain where that is as large as two stretches, which makes a five-hundredth of it. Stretches come in no
    order, so that a sample that ends early lies spread, too.

    Fewer come where many record ids are free, and none where documents are large, or the server does not tell where they lie.

    Args:
        size: documents.
        average_bytes: of one of them.
    """
    length = min(RUN_DOCUMENTS, RUN_BYTES // max(1, average_bytes))
    if length < SHORTEST_RUN:
        return
    try:
        low, high = natural.lowest(collection), natural.highest(collection)
    except (OperationFailure, UnsupportedDriver, ValueError):
        return
    if low is None or high is None:
        return
    first, span, n_runs = record_of(low), record_of(high) - record_of(low), -(-size // length)
    chance = random.Random()  # noqa: S311 - nothing is kept secret by it
    places = [first + int((number + chance.random()) * span / n_runs) for number in range(n_runs)]
    chance.shuffle(places)
    n_tried = n_free = 0
    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="runs") as pool:
        for begin in range(0, n_runs, RUNS_AT_ONCE):
            some = list(pool.map(partial(_run_near, collection, length), places[begin : begin + RUNS_AT_ONCE]))
            if batch := b"".join(some):
                yield batch
            n_tried += len(some)
            n_free += some.count(b"")
            if n_tried >= FEWEST_TRIED and n_free > n_tried * MOST_FREE:
                return


def _bound_near(collection: Collection[Document], session: ClientSession | None, place: int) -> bytes | None:
    """The bound of a document behind a record, or behind one of its neighbours; None where all of these are free."""
    nearby = (natural.bound_behind(collection, place + step, session) for step in range(TRIES))
    return next(filter(None, nearby), None)


def _run_near(collection: Collection[Document], length: int, place: int) -> bytes:
    """So many documents behind a record, or behind one of its neighbours; empty where all of these are free."""
    for step in range(TRIES):
        try:
            cursor = natural_cursor(collection, place + step, limit=length, batch_size=length, comment=COMMENT)
            if run := b"".join(cursor):
                return run
        except (OperationFailure, UnsupportedDriver):
            continue
    return b""
