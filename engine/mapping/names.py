"""Names in PostgreSQL for fields and collections of MongoDB.

A MongoDB name may be anything but NUL: empty, dotted, `$`-prefixed, with control characters, longer than PostgreSQL's
63 bytes. What comes out of here is always a legal identifier once it is quoted, never the same one twice in a table.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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

JOINERS = frozenset("\u200c\u200d")
"""Letters of some scripts change their meaning with them; Unicode's Join_Control, which UTS 18 counts as part of words."""
BYTE_ORDER_MARK = "\ufeff"
"""What files of some programs begin with, and so the first field of documents that were made from them."""
_ACTED_UPON = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of control and invisible format characters, of lone surrogates, of line and paragraph separators."""


def quote_identifier(name: str) -> str:
    """`name` as a quoted SQL identifier; safe whatever it holds.

    Raises:
        ValueError: the name is empty, holds a NUL, or is longer than 63 bytes; no such name comes from this module.
    """
    if not name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"not a PostgreSQL identifier: {name!r}")
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class TableName:
    """A table by schema and name, unquoted."""

    schema: str
    table: str

    def __str__(self) -> str:
        """`schema.table`, not quoted."""
        return f"{self.schema}.{self.table}"

    @property
    def sql(self) -> str:
        """The name quoted, for statements."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.table)}"


def acts(character: str) -> bool:
    """A terminal, psql or a reader's eye would be led astray by it: it has no place in a name."""
    return unicodedata.category(character) in _ACTED_UPON and character not in JOINERS


@lru_cache(maxsize=4096)  # collections of a database have many fields of the same names
def fold(name: str, naming: Naming) -> str:
    """The name in the chosen spelling, of any length: `registeredAt` becomes `registered_at`.

    Letters, the marks upon them and joiners stay as they are, without normalisation; a byte order mark at the beginning goes.
    Control and invisible format characters become `_` in either spelling, since a terminal or psql would act on them.
    """
    name = name.lstrip(BYTE_ORDER_MARK)
    if naming == "snake_case":
        folded = _words(_split_words(name)).lower()
    else:
        folded = "".join("_" if acts(character) else character for character in name)
    return folded or EMPTY_NAME


def shorten(name: str, identity: str) -> str:
    """`name` cut at a character so that it fits 63 bytes, with a hash of `identity` when something was cut off."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()[:HASH_DIGITS]
    kept = name.encode()[: MAX_NAME_BYTES - HASH_DIGITS - 1].decode(errors="ignore")
    return f"{kept}_{digest}"


def table_name(collection: str, naming: Naming) -> str:
    """The table for a collection, as long as no other collection goes there."""
    return shorten(fold(collection, naming), collection)


def table_names(
    namespaces: Iterable[str],
    naming: Naming,
    taken: Collection[str] = (),
    earlier: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, str], dict[str, str]]:
    """A table name for each `db.collection`, all different and none of `taken`, and a warning where one had to differ.

    Which of several collections keeps a name does not depend on their order: the one that had it in an earlier run, else the
    one spelled like it, else the first by spelling. A number that a collection once got stays with it.

    Args:
        earlier: tables of earlier runs, the newest first, by `db.collection`; one counts where its name could have come from
            the collection's own.
    """
    wanted: dict[str, list[str]] = {}
    for namespace in sorted(namespaces):
        wanted.setdefault(table_name(_collection_of(namespace), naming), []).append(namespace)
    names = _kept_names(wanted, taken, earlier or {})
    used = {*taken, *wanted, *names.values()}
    warnings: dict[str, str] = {}
    for name, rivals in sorted(wanted.items()):
        holder = next((each for each in rivals if names.get(each) == name), None)
        if holder is None and name not in taken:
            left = [each for each in rivals if each not in names]
            holder = next((each for each in left if _collection_of(each) == name), left[0] if left else None)
            if holder is not None:
                names[holder] = name
        for namespace in rivals:
            if namespace == holder:
                continue
            if namespace not in names:
                names[namespace] = _next_free(name, used)
                used.add(names[namespace])
            reason = f"the name {name} is taken by something else"
            if holder is not None:
                reason = f"the name {name} is taken by the collection {holder}"
            elif name not in taken:
                reason = "it went there in an earlier run"
            warnings[namespace] = f"Collection {namespace} goes to table {names[namespace]}: {reason}."
    return names, warnings


def _kept_names(
    wanted: Mapping[str, Sequence[str]], taken: Collection[str], earlier: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The names that collections had in earlier runs, as far as each is one collection's."""
    names: dict[str, str] = {}
    for name, rivals in wanted.items():
        for namespace in rivals:
            for each in earlier.get(namespace, ()):
                if (each == name or _is_numbered(each, name)) and each not in taken and each not in names.values():
                    names[namespace] = each
                    break
    return names


def _is_numbered(name: str, wanted: str) -> bool:
    """`name` is what `_next_free` may have made of `wanted`."""
    number = name.rpartition("_")[2]
    return number != name and number.isascii() and number.isdecimal() and name == _with_number(wanted, int(number))


def _collection_of(namespace: str) -> str:
    return namespace.partition(".")[2]


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
    for name, rivals in sorted(wanted.items()):  # by name: two that are cut may get the same one with a number
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
    while _with_number(name, number) in used:
        number += 1
    return _with_number(name, number)


def _with_number(name: str, number: int) -> str:
    suffix = f"_{number}"
    return name.encode()[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


def _words(name: str) -> str:
    """What belongs to words, with one `_` for whatever is between them."""
    kept: list[str] = []
    is_gap = False
    for character in name:
        if _is_in_word(character):
            kept.append(character)
            is_gap = False
        elif not is_gap:
            kept.append("_")
            is_gap = True
    return "".join(kept)


def _is_in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or character in JOINERS or _is_mark(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _split_words(name: str) -> str:
    """`_` before a capital after a small letter or digit, and before the last capital of a run: `user_ID`, `HTTP_Server`.

    Marks and joiners belong to the letter that they stand behind.
    """
    parts = []
    letters = [character for character in name if not _belongs_to_letter(character)]
    place = -1
    for character in name:
        if not _belongs_to_letter(character):
            place += 1
            before, after = letters[place - 1 : place], letters[place + 1 : place + 2]
            if character.isupper() and before and _begins_word(before[0], after[0] if after else ""):
                parts.append("_")
        parts.append(character)
    return "".join(parts)


def _begins_word(before: str, after: str) -> bool:
    return before.islower() or before.isdigit() or (before.isupper() and after.islower())


def _belongs_to_letter(character: str) -> bool:
    return character in JOINERS or _is_mark(character)
