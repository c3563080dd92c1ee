"""What a worker finds on its host before it may have a lease: this program, and the servers that it reaches from there.

The engine does the same on its own host and compares (`engine.cluster.gates`): `127.0.0.1` is another server on each host.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

import asyncpg
from pymongo import ReadPreference

from engine import __version__
from engine.convert import converter_name
from engine.errors import ConnectError, MigrationError
from engine.libpq.resolve import has_password
from engine.mongo import connect as mongo
from engine.mongo.causal import set_of
from engine.postgres import connect as postgres
from engine.work.connections import EXPLAINED, failure_of
from engine.work.context import WorkerStart
from engine.work.frames import FORMAT
from engine.work.messages import Probed, SourceServer, TargetServer

T = TypeVar("T")

BOTH_WAYS_OUT = (
    "The connection string has no password: give that host one, as PGPASSWORD where its Dask worker is started or in the "
    "~/.pgpass of its user, or put it into target.uri or target.password here."
)
"""Both ways out, where the engine has found a password that is its own host's alone."""
LOOK_S = 20.0
"""A server that says nothing for so long cannot be reached."""
_TARGET = """
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
       (SELECT oid::text FROM pg_database WHERE datname = current_database()) AS database,
       extract(epoch FROM pg_postmaster_start_time())::text AS started
"""
_TARGET_WITHOUT_CLUSTER = _TARGET.replace("SELECT system_identifier::text FROM pg_control_system()", "SELECT ''")
"""For a role that may not see the cluster's identifier."""


async def look_around(start: WorkerStart) -> Probed:
    """Look at this host and at both servers; what cannot be reached is in `problem`, nothing is raised."""
    try:
        converter, problem = converter_name(start.converter), ""
    except MigrationError as error:
        converter, problem = "", error.message
    found = Probed(
        version=__version__,
        message_format=FORMAT,
        converter=converter,
        python=platform.python_version(),
        cores=os.cpu_count() or 0,
        problem=problem,
    )
    if problem:
        return found
    try:
        if start.source_uri:
            found = replace(found, source=await _in_time(asyncio.to_thread(_look_at_source, start)))
        if start.target_uri:
            found = replace(found, target=await _in_time(_look_at_target(start)))
    except TimeoutError:
        side = "target" if found.source is not None or not start.source_uri else "source"
        return replace(found, problem=f"the {side} does not answer there within {LOOK_S:.0f} s", is_away=True)
    except EXPLAINED as error:
        failure = failure_of(error)
        problem = failure.sentence
        is_target = found.source is not None or not start.source_uri
        if (
            is_target
            and isinstance(error, ConnectError)
            and error.wants_password
            and not has_password(start.target_uri)
        ):
            problem = f"{problem.rstrip('.')}. {BOTH_WAYS_OUT}"
        return replace(found, problem=problem, is_away=failure.is_transient)
    return found


async def _in_time(look: Awaitable[T]) -> T:
    async with asyncio.timeout(LOOK_S):
        return await look


def _look_at_source(start: WorkerStart) -> SourceServer:
    client = mongo.connect(start.source_uri, app_name=start.app_name)
    try:
        hello = client.admin.command("hello", read_preference=ReadPreference.PRIMARY_PREFERRED)
        process = str(hello.get("topologyVersion", {}).get("processId", ""))
        if "setName" not in hello:
            return SourceServer(process=process)
        found = set_of(client)
        return SourceServer(found.name, found.id, process)
    finally:
        client.close()


async def _look_at_target(start: WorkerStart) -> TargetServer:
    connection = await postgres.connect(start.target_uri, application_name=start.app_name)
    try:
        try:
            row = await connection.fetchrow(_TARGET)
        except asyncpg.InsufficientPrivilegeError:
            row = await connection.fetchrow(_TARGET_WITHOUT_CLUSTER)
        assert row is not None
        return TargetServer(row["cluster"], row["database"], row["started"])
    finally:
        connection.terminate()
