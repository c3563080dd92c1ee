"""Failures of MongoDB, sorted by class and code and told without a word of the server's own."""

from __future__ import annotations

import inspect
import ssl

import pytest
from pymongo import client_session_shared
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    CursorNotFound,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from engine.mongo.faults import describe, is_transient

HOSTILE = "mongodb://user:s3cret@host \x1b]52;c;x\x07 [@click=app.bell]x[/] \u202e" + "x" * 10_000


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (AutoReconnect(HOSTILE), "connection_lost"),
        (NetworkTimeout(HOSTILE), "network_timeout"),
        (ServerSelectionTimeoutError(HOSTILE), "no_server"),
        (NotPrimaryError(HOSTILE, {"code": 10107}), "10107"),
        (NotPrimaryError(HOSTILE), "not_primary"),
        (CursorNotFound(HOSTILE, 43), "43"),
        (ExecutionTimeout(HOSTILE, 50), "50"),
        (OperationFailure(HOSTILE, 11602), "11602"),
        (OperationFailure(HOSTILE, 6), "6"),
        (OperationFailure(HOSTILE, 211), "211"),
        (OperationFailure(HOSTILE, 251, {"errorLabels": ["TransientTransactionError"]}), "251"),
        (ConfigurationError("Sessions are not supported by this MongoDB deployment"), "no_sessions"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_that_may_pass_are_transient(exc: PyMongoError, code: str) -> None:
    assert is_transient(exc)
    assert describe(exc)[0] == code


def test_the_driver_still_says_so_of_a_server_without_sessions() -> None:
    source = inspect.getsource(client_session_shared)
    assert 'ConfigurationError("Sessions are not supported by this MongoDB deployment")' in source


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (OperationFailure(HOSTILE, 13, {"codeName": "Unauthorized"}), "13"),
        (OperationFailure(HOSTILE, 2), "2"),
        (OperationFailure(HOSTILE), "mongodb"),
        (OperationFailure(HOSTILE, 136), "136"),
        (BulkWriteError({"writeErrors": [{"code": 121, "errmsg": HOSTILE}]}), "121"),
        (BulkWriteError({"writeErrors": []}), "bulk_write"),
        (ConfigurationError(HOSTILE), "configuration"),
        (PyMongoError(HOSTILE), "mongodb"),
        (KeyError(HOSTILE), "mongodb"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_that_stay_are_not_transient(exc: Exception, code: str) -> None:
    assert not is_transient(exc)
    assert describe(exc)[0] == code


@pytest.mark.parametrize(
    "exc",
    [
        AutoReconnect(HOSTILE),
        OperationFailure(HOSTILE, 13, {"codeName": HOSTILE, "errmsg": HOSTILE}),
        OperationFailure(HOSTILE, 99, {"codeName": "Bad[red]Name"}),
        BulkWriteError({"writeErrors": [{"code": 121, "errmsg": HOSTILE, "op": {"secret": "s3cret"}}]}),
        NotPrimaryError(HOSTILE, {"code": 10107, "errmsg": HOSTILE}),
        PyMongoError(HOSTILE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_foreign_text_reaches_a_sentence(exc: Exception) -> None:
    _, sentence = describe(exc)
    assert sentence.isprintable()
    assert "s3cret" not in sentence
    assert "[" not in sentence
    assert len(sentence) < 200
    assert sentence.endswith(".")


def test_the_code_name_is_shown_with_advice() -> None:
    sentence = describe(OperationFailure("", 13, {"codeName": "Unauthorized"}))[1]
    assert sentence == (
        "MongoDB refused the operation (code 13, Unauthorized): the user of source.uri lacks the right to do this."
    )


def test_the_cause_of_a_lost_connection_is_named() -> None:
    lost = AutoReconnect("")
    lost.__cause__ = ssl.SSLError("")
    assert describe(lost)[1] == "The connection to MongoDB was lost: the TLS handshake failed."
