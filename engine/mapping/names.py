"""Names in PostgreSQL for fields and collections of MongoDB (TYPES.md, "Names").

A MongoDB name may be anything but NUL: empty, dotted, `$`-prefixed, with control characters, longer than PostgreSQL's
63 bytes. What comes out of here is always a legal identifier once it is quoted, never the same one twice in a table.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Literal

Naming = Literal["snake_case", "preserve"]

MAX_NAME_BYTES = 63
"""PostgreSQL's NAMEDATALEN - 1; the server cuts longer identifiers without asking."""
HASH_DIGITS = 8
"""Hex digits that tell shortened names apart."""
EMPTY_NAME = "_empty"
"""Stands for a name without a character: PostgreSQL has no zero-length identifiers."""
ID_NAME, DOCUMENT_NAME, EXTRA_NAME, MISSING_NAME = "_id", "doc", "_extra", "_missing"
SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})
"""Every table has these already; quoting does not help (PostgreSQL docs, "System Columns")."""

_NOT_WORD = re.compile(r"\W+")
_ACTED_UPON = frozenset({"Cc", "Cf", "Cs"})
"""Unicode categories of control and invisible format characters and of lone surrogates."""


def quote_identifier(name: str) -> str:
    """`name` as a quoted SQL identifier; safe whatever it holds.

    Raises:
        ValueError: the name is empty, holds a NUL, or is longer than 63 bytes; no such name comes from this module.
    """
    if not name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"not a PostgreSQL identifier: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def fold(name: str, naming: Naming) -> str:
    """The name in the chosen spelling, of any length: `registeredAt` becomes `registered_at`.

    Control and invisible format characters become `_` in either spelling, since a terminal or psql would act on them.
    """
    if naming == "snake_case":
        folded = _NOT_WORD.sub("_", _split_words(name)).lower()
    else:
        folded = "".join("_" if unicodedata.category(character) in _ACTED_UPON else character for character in name)
    return folded or EMPTY_NAME


def shorten(name: str, identity: str) -> str:
    """`name` cut at a character so that it fits 63 bytes, with a hash of `identity` when something was cut off."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()[:HASH_DIGITS]
    kept = name.encode()[: MAX_NAME_BYTES - HASH_DIGITS - 1].decode(errors="ignore")
    return f"{kept}_{digest}"


def table_name(collection: str, naming: Naming) -> str:
    """The table for a collection."""
    return shorten(fold(collection, naming), collection)


def column_names(
    paths: Iterable[tuple[str, ...]], naming: Naming, taken: Collection[str] = ()
) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """A column name for each field path, all different and none of `taken`, and a warning for each that had to differ.

    Which of several fields keeps a name does not depend on their order: the one spelled like it, else the first by
    spelling; so another sample of the same collection gives the same names.
    """
    wanted: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        name = shorten("_".join(fold(key, naming) for key in path), "\0".join(path))
        wanted.setdefault(name, []).append(path)
    names: dict[tuple[str, ...], str] = {}
    warnings: list[str] = []
    used = {*taken, *SYSTEM_COLUMNS, *wanted}
    for name, rivals in wanted.items():
        rivals.sort()
        if (name,) in rivals:
            rivals.remove((name,))
            rivals.insert(0, (name,))
        if name in taken or name in SYSTEM_COLUMNS:
            heirs = rivals
        else:
            names[rivals[0]] = name
            heirs = rivals[1:]
        for path in heirs:
            other = _next_free(name, used)
            used.add(other)
            names[path] = other
            reason = "is used by this tool" if name in taken else "is a system column of PostgreSQL"
            if len(rivals) > len(heirs):
                reason = f"is taken by the field {show_path(rivals[0])}"
            warnings.append(f"Field {show_path(path)} goes to column {other}: the name {name} {reason}.")
    return names, warnings


def show_path(path: tuple[str, ...]) -> str:
    """A field path for people: keys joined by dots."""
    return ".".join(path)


def _next_free(name: str, used: Collection[str]) -> str:
    number = 2
    while True:
        suffix = f"_{number}"
        kept = name.encode()[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")
        if kept + suffix not in used:
            return kept + suffix
        number += 1


def _split_words(name: str) -> str:
    """`_` before a capital after a small letter or digit, and before the last capital of a run: `user_ID`, `HTTP_Server`."""
    parts = []
    for index, character in enumerate(name):
        before, after = name[index - 1 : index], name[index + 1 : index + 2]
        if character.isupper() and (before.islower() or before.isdigit() or (before.isupper() and after.islower())):
            parts.append("_")
        parts.append(character)
    return "".join(parts)
