"""Versions at both ends of a socket: every request and every reply names the protocol's number and the program's version.

They stand beside the request and the reply, not inside::

    -> {"id": 0, "command": {...}, "protocol": 1, "version": "0.1.0", "by": "ctl of ann@db1"}
    <- {"reply": 0, "result": {...}, "protocol": 1, "version": "0.1.0"}

and a request says who asks, for the log and for other front ends,
so that a version which knows nothing of them passes them over. Within one number, whatever the versions: commands are strict,
since a command that is half understood must not be carried out; replies, events and snapshots are tolerant, a field that the
reader does not know is passed over and a missing one has its default. A change that breaks this takes the next number, and ends
of different numbers do not work together: each says so in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from engine import __version__
from engine.errors import OtherVersion

PROTOCOL = 1
"""The number of this version's protocol. Those before it had none, and count as 0."""

ACTOR_LIMIT = 100
"""Characters of what a front end says about itself."""
_SIGNATURE = {"protocol": PROTOCOL, "version": __version__}


def request(number: int, command: BaseModel, by: str = "") -> bytes:
    """One line that asks an engine for something; its reply bears the same number.

    Args:
        by: who asks, in a few words: "ctl of ann@db1".
    """
    named = {"by": by} if by else {}
    return json.dumps({"id": number, "command": command.model_dump(mode="json")} | _SIGNATURE | named).encode() + b"\n"


def asked_by(request: Mapping[str, Any]) -> str:
    """Who asks; empty when the front end does not say."""
    by = request.get("by")
    return by[:ACTOR_LIMIT] if isinstance(by, str) else ""


def reply(number: Any, answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer, `{"result": ...}` or `{"error": ...}`, to the request of that number."""
    return {"reply": number, **answer, **_SIGNATURE}


def check_engine(reply: Mapping[str, Any], run: str, pid: int | None) -> None:
    """See that a reply comes from an engine of our protocol.

    Args:
        run: that the engine was started for.
        pid: of the engine, where the kernel tells it.

    Raises:
        OtherVersion: it does not.
    """
    number = _number(reply)
    if number == PROTOCOL:
        return
    result = reply.get("result")
    version = reply.get("version") or (result.get("version") if isinstance(result, dict) else None)
    stop = f", or stop it with `kill {pid}`: what is committed stays" if pid else ""
    raise OtherVersion(
        f"The engine of run {run} is {_named(version, number)}, and this command is {_named(__version__, PROTOCOL)}: "
        f"steer the run with the version that started it{stop}."
    )


def check_front_end(request: Mapping[str, Any], run: str) -> None:
    """See that a request comes from a front end of our protocol.

    Raises:
        OtherVersion: it does not.
    """
    number = _number(request)
    if number != PROTOCOL:
        raise OtherVersion(
            f"The engine of run {run} is {_named(__version__, PROTOCOL)}, and this command is "
            f"{_named(request.get('version'), number)}: steer the run with the version that started it."
        )


def _number(message: Mapping[str, Any]) -> int:
    number = message.get("protocol", 0)
    return number if isinstance(number, int) else -1


def _named(version: Any, number: int) -> str:
    known = f"mongopg-tui {version[:40]}" if isinstance(version, str) and version else "an earlier mongopg-tui"
    return f"{known} (protocol {number})" if number >= 0 else known
