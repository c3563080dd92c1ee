"""A plan as TOML for people: each table with what was seen of it, what may be edited explained where it stands.

The standard library reads TOML but does not write it; this writes the one layout that `engine.plan.reading` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.container import Container
from tomlkit.items import AoT, Array, Comment, InlineTable, Item, String, StringType, Table, Trivia, Whitespace

from engine.mapping.kinds import KIND_NAMES, kinds_to_take
from engine.mapping.model import Column, Kind
from engine.mapping.options import POLICIES, MappingOptions
from engine.plan.reading import VERSION, is_nullable
from engine.protocol.saved_plan import SavedPlan, SavedTable

HELP = """\
A plan of mongopg-tui: which collections go to which tables, and what becomes of every field.
Look at it with `mongopg-tui plan --plan FILE`, run it with `mongopg-tui run --plan FILE`. What may be edited:

  target       schema and table; mode is create, append, replace or upsert
  rename       column = "..." at a field
  retype       type = "..." at a field; kinds are those that the column takes, left out all that the type can hold;
               a value of another kind goes to _extra, or its document is rejected, as overflow says
  exclude      remove the field's line and name the field in exclude; without its name there, overflow says what becomes of it
  flatten      in place of a document's line, lines for its fields: field = "address.city"
  policies     nul, date_range, utf8, overflow at a field, where it differs from [options]
  filter       Extended JSON: only documents that match are copied, such as '{"active": true}'

A field is its keys with dots between them, or a list of keys where a key holds a dot itself: ["a.b", "c"].
Without columns, the documents decide them once more. Resuming a run with another plan is refused."""

OPTIONS_HELP = """\
nul, date_range, utf8, overflow, json_values and uuid_legacy count while rows are written; the others decided the columns
below, and count again only for a table without columns."""


@dataclass(frozen=True, slots=True)
class Remarks:
    """Comments for one table."""

    heading: Sequence[str] = ()
    """Lines above the table."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column name -> behind its line."""
    flattened: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    """Column name -> the columns that could stand in its place."""
    footing: Sequence[str] = ()
    """Lines below its columns."""


def write_plan(
    plan: SavedPlan, remarks: Mapping[str, Remarks] | None = None, table_remarks: Sequence[Remarks] = ()
) -> str:
    """The plan as TOML.

    Args:
        remarks: by namespace of the collection.
        table_remarks: for each table in order, instead.
    """
    said = table_remarks or [(remarks or {}).get(table.namespace, Remarks()) for table in plan.tables]
    document = TOMLDocument(parsed=True)  # so that no distances are added to ours
    _comment(document, HELP.split("\n"))
    document.add(tomlkit.nl())
    document.add("version", tomlkit.item(VERSION))
    document.add("mode", quoted(plan.mode))
    document.add(tomlkit.nl())
    options = tomlkit.table()
    document.add("options", options)
    _comment(options, OPTIONS_HELP.split("\n"))
    for name, value in plan.options.model_dump(mode="json").items():
        options.append(name, quoted(value) if isinstance(value, str) else tomlkit.item(value))
    # For TOML, what is above a table is the end of the part before it.
    above: Table = options
    tables = []
    for table, remark in zip(plan.tables, said, strict=True):
        above.add(tomlkit.nl())
        _comment(above, remark.heading)
        above = _table(table, plan.options, remark)
        tables.append(above)
    document.append("tables", AoT(tables, parsed=True))
    return document.as_string()


def _table(table: SavedTable, options: MappingOptions, remarks: Remarks) -> Table:
    written = tomlkit.table()
    for name, text in (
        ("collection", table.namespace),
        ("schema", table.schema_name),
        ("table", table.table),
        ("filter", table.filter),
    ):
        written.append(name, quoted(text))
    written.append("exclude", _list(map(_path, table.ignored)))
    if table.columns is not None:
        written.append("columns", Array(list(_lines(table.columns, options, remarks)), Trivia()))
    _comment(written, remarks.footing)
    return written


def _lines(columns: Iterable[Column], options: MappingOptions, remarks: Remarks) -> Iterator[Item]:
    """A line for each column, with what is said of it."""
    for column in columns:
        yield from (Whitespace("\n  "), _column(column, options), Whitespace(","))
        if note := remarks.columns.get(column.name, ""):
            yield _remark(harmless(note), "  ")
        if inner := remarks.flattened.get(column.name, ()):
            yield from (Whitespace("\n  "), _remark("to flatten it, in place of the line above:"))
            for each in inner:
                yield from (Whitespace("\n  "), _remark(f"{_column(each, options).as_string()},"))
    yield Whitespace("\n")


def _column(column: Column, options: MappingOptions) -> InlineTable:
    entry: dict[str, Item] = {"field": _path(column.path)} if column.path else {"role": quoted(column.role.value)}
    entry["column"] = quoted(column.name)
    entry["type"] = quoted(column.sql_type)
    if column.path and column.kinds != kinds_to_take(column.type, options):
        entry["kinds"] = _list(quoted(KIND_NAMES[kind]) for kind in Kind if kind in column.kinds)
    if column.nullable != is_nullable(column.role):
        entry["nullable"] = tomlkit.item(column.nullable)
    entry |= {policy: quoted(getattr(column, policy)) for policy in POLICIES if getattr(column, policy)}
    first, *_, last = entry.values()
    first.trivia.indent = last.trivia.trail = " "
    table = InlineTable(Container(), Trivia(), new=True)
    for name, item in entry.items():
        table.append(name, item)
    return table


def _path(path: tuple[str, ...]) -> Item:
    if any("." in key for key in path):
        return _list(map(quoted, path))
    return quoted(".".join(path))


def _list(items: Iterable[Item]) -> Array:
    """Items on one line."""
    spaced: list[Item] = []
    for item in items:
        spaced += [Whitespace(","), Whitespace(" "), item] if spaced else [item]
    return Array(spaced, Trivia())


def quoted(text: str) -> String:
    """`text` as a TOML string, everything that acts or hides escaped; quotes within it stay readable where they can."""
    if '"' in text and "'" not in text and text.isprintable():
        return String(StringType.SLL, text, text, Trivia())
    escaped = harmless(text.replace("\\", "\\\\").replace('"', '\\"'))
    return String(StringType.SLB, text, escaped, Trivia())


def harmless(text: str) -> str:
    """`text` with every character that is not printable as `\\u` and its number, which TOML's strings understand."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    number = ord(letter)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _comment(part: TOMLDocument | Table, lines: Iterable[str]) -> None:
    """Lines for people at the end of `part`."""
    for line in lines:
        part.add(tomlkit.comment(harmless(line).rstrip()))


def _remark(text: str, indent: str = "") -> Comment:
    """A comment within a list."""
    return Comment(Trivia(indent, "", f"# {text}".rstrip(), ""))
