"""The connection strings of the drivers' specifications: valid ones are read as they say, the others refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from engine.errors import UsageError
from engine.mongo_uri import MongoUri, read_uri
from tests.specs.outcome import Outcome

_SOCKET = "unix"
_LEVEL = "readConcernLevel"
"""Drivers hand any level to the server, which fails what is asked with one that it does not know. We say so before that."""


def check(folder: Path) -> Iterator[Outcome]:
    """What came of each file with connection strings below `folder`."""
    for path in sorted(folder.rglob("*.json")):
        try:
            cases = json.loads(path.read_text())["tests"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(cases, list) and all(isinstance(case, dict) and "uri" in case for case in cases):
            outcome = Outcome(str(path.relative_to(folder)))
            for case in cases:
                outcome.add(f"{case['description']} ({case['uri']})", wrong_with(case))
            yield outcome


def wrong_with(case: dict[str, Any]) -> str:
    """In what our reading of a connection string differs from the test's; empty when in nothing."""
    try:
        found = read_uri(case["uri"])
    except UsageError as error:
        if case["valid"]:
            return f"refused: {error.message}"
        return "" if _is_sentence(error.message) else f"no sentence: {error.message}"
    if not case["valid"]:
        return "accepted"
    if bool(case.get("warning")) and not found.warnings:
        return "no warning"
    if case.get("warning") is False and any(not _is_ours(warning) for warning in found.warnings):
        return f"a warning: {' '.join(found.warnings)}"
    return _other_hosts(case, found) or _other_user(case, found) or _other_options(case, found) or _driver_says(found)


def _is_ours(warning: str) -> bool:
    """We warn of more than drivers do."""
    return "proxy" in warning or _LEVEL in warning


def _is_sentence(text: str) -> bool:
    return text.endswith((".", "?")) and "\n" not in text and "source.uri" in text


def _other_hosts(case: dict[str, Any], found: MongoUri) -> str:
    wanted = [
        (host["host"].lower(), host["port"]) if host["type"] != _SOCKET else (host["host"], None)
        for host in case.get("hosts") or []
    ]
    got = [(host.name, host.port) for host in found.hosts]
    if wanted and [(name, port or (None if name.endswith(".sock") else 27017)) for name, port in wanted] != [
        (name if name.endswith(".sock") else name.lower(), port) for name, port in got
    ]:
        return f"hosts {got}, not {wanted}"
    return ""


def _other_user(case: dict[str, Any], found: MongoUri) -> str:
    wanted = case.get("auth") or {}
    for name, got in (("username", found.user), ("password", found.password), ("db", found.database or None)):
        if wanted.get(name) is not None and wanted[name] != got:
            same_database = name == "db" and wanted[name].split(".")[0] == got
            if not same_database:
                return f"{name} {got!r}, not {wanted[name]!r}"
    return ""


def _other_options(case: dict[str, Any], found: MongoUri) -> str:
    for name, wanted in (case.get("options") or {}).items():
        got = _value(name, found)
        if got is not None and got != _flat(wanted) and not (isinstance(wanted, dict) and found.properties == wanted):
            return f"{name} {got!r}, not {wanted!r}"
        is_told = bool(case.get("warning")) or (name == _LEVEL and any(name in warning for warning in found.warnings))
        if got is None and not is_told:
            return f"{name} is left out"
    return ""


def _value(name: str, found: MongoUri) -> str | None:
    if name == "readPreferenceTags":
        return ";".join(found.tags)
    return found.options.get(name.lower())


def _flat(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return ";".join(",".join(f"{name}:{what}" for name, what in tags.items()) for tags in value)
        return ",".join(value)
    return str(value)


def _driver_says(found: MongoUri) -> str:
    """The string that the driver gets must be one for it; names in DNS are not its matter."""
    if found.is_srv:
        return ""
    more = {"authMechanismProperties": found.properties} if found.properties else {}
    try:
        MongoClient(found.text, connect=False, **more).close()  # type: ignore[arg-type]  # by its options' names
    except (PyMongoError, ValueError, TypeError) as error:
        is_a_matter_of_login = "assword" in str(error) or "OIDC" in str(error)
        return "" if is_a_matter_of_login else f"the driver refuses {found.text}: {error}"
    return ""
