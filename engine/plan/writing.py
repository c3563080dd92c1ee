"""A plan as TOML for people: each table with what was seen of it, what may be edited explained where it stands.

The standard library reads TOML but does not write it; this writes the one layout that `engine.plan.reading` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
  leave out    remove the field's line and name the field in ignore; without its name there it goes to _extra
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
    lines = [*_comments(HELP.split("\n")), "", f"version = {VERSION}", f"mode = {quoted(plan.mode)}", "", "[options]"]
    lines += _comments(OPTIONS_HELP.split("\n"))
    lines += [f"{name} = {_scalar(value)}" for name, value in plan.options.model_dump(mode="json").items()]
    for number, table in enumerate(plan.tables):
        said = table_remarks[number] if table_remarks else (remarks or {}).get(table.namespace, Remarks())
        lines += ["", *_table(table, plan.options, said)]
    return "\n".join(lines) + "\n"


def _table(table: SavedTable, options: MappingOptions, remarks: Remarks) -> Iterable[str]:
    yield from _comments(remarks.heading)
    yield "[[tables]]"
    yield f"collection = {quoted(table.namespace)}"
    yield f"schema = {quoted(table.schema_name)}"
    yield f"table = {quoted(table.table)}"
    yield f"filter = {quoted(table.filter)}"
    yield f"ignore = [{', '.join(_path(path) for path in table.ignored)}]"
    if table.columns is not None:
        yield "columns = ["
        for column in table.columns:
            note = remarks.columns.get(column.name, "")
            yield f"  {_column(column, options)},{'  # ' + harmless(note) if note else ''}"
            inner = remarks.flattened.get(column.name, ())
            if inner:
                yield "  # to flatten it, in place of the line above:"
                yield from (f"  # {_column(each, options)}," for each in inner)
        yield "]"
    yield from _comments(remarks.footing)


def _column(column: Column, options: MappingOptions) -> str:
    entry = {"field": _path(column.path)} if column.path else {"role": quoted(column.role.value)}
    entry["column"] = quoted(column.name)
    entry["type"] = quoted(column.sql_type)
    if column.path and column.kinds != kinds_to_take(column.type, options):
        entry["kinds"] = f"[{', '.join(quoted(KIND_NAMES[kind]) for kind in Kind if kind in column.kinds)}]"
    if column.nullable != is_nullable(column.role):
        entry["nullable"] = _scalar(column.nullable)
    entry |= {policy: quoted(getattr(column, policy)) for policy in POLICIES if getattr(column, policy)}
    return "{ " + ", ".join(f"{name} = {value}" for name, value in entry.items()) + " }"


def _path(path: tuple[str, ...]) -> str:
    if any("." in key for key in path):
        return f"[{', '.join(map(quoted, path))}]"
    return quoted(".".join(path))


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quoted(str(value))


def quoted(text: str) -> str:
    """`text` as a TOML string, everything that acts or hides escaped; quotes within it stay readable where they can."""
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return '"' + harmless(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def harmless(text: str) -> str:
    """`text` with every character that is not printable as `\\u` and its number, which TOML's strings understand."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    number = ord(letter)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _comments(lines: Iterable[str]) -> Iterable[str]:
    return [f"# {harmless(line)}".rstrip() for line in lines]
