"""How collections, their tables and patterns of them are typed: in flags, in settings, in the environment.

::

    db.collection                        the database ends at the first dot; whatever follows is the collection
    db.collection:table                  into a table of target.schema
    db.collection:schema.table           into a table of another schema, which ends at the last dot
    db.events\\:archive:public.t          a backslash before a colon: the colon belongs to the name
    db.events:a\\.b.c\\.d                  the same before a dot, in the schema and the table

A backslash is itself wherever it does not stand before such a character; there it is written twice (`\\\\:` is a backslash
and then what the colon means, `\\\\\\:` a backslash and a colon of the name). `written` is the inverse of `parsed`: what
the catalogue of a server holds is never typed notation until it went through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import UsageError

_SHOWN = 200
"""Characters of a wrong entry that a message repeats."""


@dataclass(frozen=True, slots=True)
class NamedCollection:
    """A collection that was named, and where it is to go."""

    database: str
    collection: str
    schema: str = ""
    """Empty leaves it to `target.schema`."""
    table: str = ""
    """Empty leaves it to the collection's name."""

    @property
    def namespace(self) -> str:
        """`database.collection`, as MongoDB spells it: nothing is escaped."""
        return f"{self.database}.{self.collection}"


def parsed(text: str) -> NamedCollection:
    """An entry of `run.collections`.

    Raises:
        UsageError: database or collection is missing.
    """
    database, dot, rest = text.partition(".")
    collection, target = _cut(rest, ":", ":")
    if not database or not dot or not collection:
        raise UsageError(
            f'run.collections: {_shown(text)} must be "database.collection" or "database.collection:schema.table"; '
            r"a colon that belongs to a name is written \:."
        )
    # Behind the colon that separates, colons have no meaning, and may be escaped all the same.
    first, second = _cut(target or "", ".", ".:", at_last=True)
    schema, table = ("", first) if second is None else (first, _unescaped(second, ".:"))
    return NamedCollection(_unescaped(database, ":"), collection, schema, table)


def parsed_source(text: str, setting: str) -> NamedCollection:
    """A setting that names a collection and no table: a colon has no meaning there, and may be escaped all the same.

    Raises:
        UsageError: database or collection is missing.
    """
    database, _, collection = text.partition(".")
    if not database or not collection:
        raise UsageError(f'{setting} must be "database.collection", not {_shown(text)}.')
    return NamedCollection(_unescaped(database, ":"), _unescaped(collection, ":"))


def written(database: str, collection: str, schema: str = "", table: str = "") -> str:
    """The entry of `run.collections` that means just this."""
    source = written_namespace(f"{database}.{collection}", has_table=bool(schema or table))
    return f"{source}:{written_table(schema, table)}" if schema or table else source


def written_namespace(namespace: str, *, has_table: bool = False) -> str:
    """The entry of `run.collections` for `database.collection` as MongoDB spells it.

    Args:
        has_table: a colon and a table are to follow.
    """
    database, _, collection = namespace.partition(".")
    return f"{_escaped(database, ':')}.{_escaped(collection, ':', at_end=has_table)}"


def written_table(schema: str, table: str) -> str:
    """`schema.table` as it is typed behind the colon: no two tables are written the same."""
    return f"{_escaped(schema, '.:', at_end=True)}.{_escaped(table, '.:')}" if schema else _escaped(table, ".:")


# --- patterns ---------------------------------------------------------------------------------------------------------


class Pattern:
    """An entry of `run.exclude`: `*` is any text, `?` any character, a backslash before one of them takes its meaning away."""

    def __init__(self, text: str) -> None:
        self.text = text
        parts = []
        for literal, special in _tokens(text, "*?:"):
            parts.append(re.escape(literal))
            parts.append({"*": ".*", "?": "."}.get(special, re.escape(special)))
        self._meant = re.compile("".join(parts), re.DOTALL)

    def matches(self, database: str, collection: str) -> bool:
        """The collection's name as a whole, with its database before it or without, is like this."""
        return bool(self._meant.fullmatch(collection) or self._meant.fullmatch(f"{database}.{collection}"))


def leaves_out(patterns: Iterable[str], namespace: str) -> bool:
    """One of the patterns is about `database.collection`."""
    database, _, collection = namespace.partition(".")
    return any(Pattern(text).matches(database, collection) for text in patterns)


# --- lists in one text ------------------------------------------------------------------------------------------------


def split_list(text: str) -> list[str]:
    """Entries with commas between them; a backslash before a comma makes it part of the entry."""
    entries = []
    rest: str | None = text
    while rest is not None:
        entry, rest = _cut(rest, ",", ",")
        entries.append(entry.strip())
    return [entry for entry in entries if entry]


def joined_list(entries: Sequence[str]) -> str:
    """The inverse of `split_list`, for entries without blanks around them."""
    last = len(entries) - 1
    return ",".join(_escaped(entry, ",", at_end=number < last) for number, entry in enumerate(entries))


# --- backslashes ------------------------------------------------------------------------------------------------------


def _tokens(text: str, specials: str) -> Iterator[tuple[str, str]]:
    """Text and the unescaped special character behind it, which is empty at the end."""
    literal: list[str] = []
    for found in re.finditer(rf"(\\+)([{re.escape(specials)}])|(.)", text, re.DOTALL):
        slashes, special, other = found.groups()
        if special:
            literal.append("\\" * (len(slashes) // 2))
            if len(slashes) % 2:
                literal.append(special)
                continue
            other = special
        if other in specials:
            yield "".join(literal), other
            literal.clear()
        else:
            literal.append(other)
    yield "".join(literal), ""


def _cut(text: str, separator: str, specials: str, *, at_last: bool = False) -> tuple[str, str | None]:
    """What is before an unescaped separator, unescaped, and what is behind it, as typed; None without one.

    Args:
        specials: characters that a backslash may stand before.
        at_last: cut at the last one, not at the first.
    """
    places = [found for found in re.finditer(rf"(\\*){re.escape(separator)}", text) if len(found[1]) % 2 == 0]
    if not places:
        return _unescaped(text, specials), None
    place = places[-1 if at_last else 0]
    return _unescaped(text[: place.start()], specials) + "\\" * (len(place[1]) // 2), text[place.end() :]


def _escaped(text: str, specials: str, *, at_end: bool = False) -> str:
    """A name as it is typed.

    Args:
        at_end: a special character that separates follows, so backslashes at the end are written twice.
    """
    behind = rf"(\\*)([{re.escape(specials)}])"
    escaped = re.sub(behind, lambda found: f"{found[1] * 2}\\{found[2]}", text)
    slashes = len(text) - len(text.rstrip("\\")) if at_end else 0
    return escaped + "\\" * slashes


def _unescaped(text: str, specials: str) -> str:
    return "".join(literal + special for literal, special in _tokens(text, specials))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
