"""What a failure means is said once, whichever server failed, and by a module that knows no driver."""

from __future__ import annotations

import subprocess
import sys

import asyncpg
import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from engine.errors import ConnectError, MigrationError, UsageError
from engine.failures import DISK_FULL, HELP, LOCK_NOT_AVAILABLE, Failure
from engine.work.connections import failure_of

COLLECTION_GONE = "MongoDB refused the operation (code 26): the collection does not exist any more."
DIVIDED = "PostgreSQL says: division by zero (22012)."


def test_failures_need_no_driver() -> None:
    look = "import sys, engine.failures; sys.exit(not {'asyncpg', 'pymongo', 'bson'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", look]).returncode == 0


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (AutoReconnect("secret"), Failure("connection_lost", "The connection to MongoDB was lost.", True)),
        (OperationFailure("secret", 26), Failure("26", COLLECTION_GONE, False)),
        (ConnectionResetError("gone"), Failure("08006", "The connection to PostgreSQL broke: gone (08006).", True)),
        (asyncpg.DivisionByZeroError("division by zero"), Failure("22012", DIVIDED, False)),
        (ConnectError("No server."), Failure(ConnectError("").code, "No server.", True)),
        (ConnectError("No.", is_final=True), Failure(ConnectError("").code, "No.", False, is_refused=True)),
        (MigrationError("Locked.", code=LOCK_NOT_AVAILABLE), Failure(LOCK_NOT_AVAILABLE, "Locked.", True)),
        (UsageError("Wrong."), Failure(UsageError("").code, "Wrong.", False)),
    ],
)  # fmt: skip
def test_failures_of_both_servers_are_told_alike(error: Exception, failure: Failure) -> None:
    assert failure_of(error) == failure


def test_what_needs_an_operator_has_advice_and_a_reason_to_pause() -> None:
    assert set(HELP) == {DISK_FULL, LOCK_NOT_AVAILABLE, "53300"}
    assert all(each.reason.startswith("waiting: ") and each.advice for each in HELP.values())
