"""What to know of a mapping before anything is written: warnings with their weights, from what a census saw.

They hold for a mapping that was proposed and for one that an operator gave, whose columns may have policies of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from engine.mapping.census import Census, FieldCensus
from engine.mapping.kinds import JSON_TYPES, KIND_NAMES, scalar_type
from engine.mapping.limits import LONGEST_INSIDE, MAX_ROW_BYTES
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import EXTRA_NAME, ID_NAME, MISSING_NAME, column_names, show_path
from engine.mapping.options import MappingOptions
from engine.plurals import counted

Caution = tuple[int, str]
"""A weight, the greater the further up it is shown, and one sentence."""

BIG_DOCUMENT = 1 << 20
"""Bytes of a document that is worth a warning."""
OWN_NAMES = frozenset({ID_NAME, EXTRA_NAME, MISSING_NAME})
"""Columns that no field's may be called as."""
MANY_KEYS, RARE_SHARE = 100, 0.02
"""So many keys in a document, each in so small a share of the documents on average, are data."""
NEARLY_ALL = 0.95
"""A share of one kind that is worth a word."""
SHOWN_NAMES = 5
"""Names that one warning lists."""

OTHER_MEANING = frozenset({
    "all", "current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp",
    "current_user", "false", "localtime", "localtimestamp", "null", "session_user", "system_user", "true", "user",
})  # fmt: skip
"""Reserved words that a query may hold where a column's name is meant: it gets something else, and no error."""
RESERVED = OTHER_MEANING | frozenset({
    "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "binary", "both", "case", "cast",
    "check", "collate", "collation", "column", "concurrently", "constraint", "create", "cross", "default", "deferrable", "desc",
    "distinct", "do", "else", "end", "except", "fetch", "for", "foreign", "freeze", "from", "full", "grant", "group", "having",
    "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral", "leading", "left", "like",
    "limit", "natural", "not", "notnull", "offset", "on", "only", "or", "order", "outer", "overlaps", "placing", "primary",
    "references", "returning", "right", "select", "similar", "some", "symmetric", "table", "tablesample", "then", "to",
    "trailing", "union", "unique", "using", "variadic", "verbose", "when", "where", "window", "with",
})  # fmt: skip
"""Words that cannot be a column's or a table's name without double quotes: categories R and T of PostgreSQL 18's
`pg_get_keywords()`."""

_WIDTHS = {
    ColumnType.INTEGER: 4,
    ColumnType.BIGINT: 8,
    ColumnType.DOUBLE: 8,
    ColumnType.BOOLEAN: 1,
    ColumnType.TIMESTAMPTZ: 8,
    ColumnType.UUID: 16,
    ColumnType.NUMERIC: 10,
}
"""Bytes of a value in a row; numeric has no fixed width, and seldom more."""


def cautions(census: Census, mapping: Mapping) -> list[Caution]:
    """Every warning about documents as wholes, their values, and the rows they become."""
    found = [*_of_documents(census, mapping), *_of_width(census, mapping)]
    for path, seen in census.walk():
        found += _of_values(path, seen, mapping)
        if seen.elements is not None:
            found += _of_values((*path, "[]"), seen.elements, mapping)
    return found


def several_kinds(
    path: tuple[str, ...], seen: FieldCensus, column: Column, options: MappingOptions
) -> Iterator[Caution]:
    """That a field's column is jsonb because of its several kinds, and what would take nearly all of its values."""
    yield 70, f"Field {show_path(path)} holds {describe_kinds(seen)}: its column is {column.type.value}."
    n_values = seen.present - seen.n_null
    for kind in sorted(seen.kind_set):
        found, count = scalar_type(frozenset({kind}), options), seen.kinds[kind]
        if found and count >= NEARLY_ALL * n_values and (column.overflow or options.overflow) == "overflow":
            yield (
                24,
                f'Field {show_path(path)}: type = "{found[0].value}" in a saved plan would take {percent(count, n_values)} of '
                "its values, and the rest would go to _extra.",
            )


def keys_are_data(seen: FieldCensus) -> bool:
    """Whether a document's keys are data, such as dates or users, and not names of fields: many, and each one rare."""
    n_keys, n_values = len(seen.fields), sum(each.present for each in seen.fields.values())
    return n_keys >= MANY_KEYS and n_values <= RARE_SHARE * n_keys * seen.present


def dictionary(path: tuple[str, ...], seen: FieldCensus) -> Caution:
    """That a document is not flattened because its keys are data."""
    n_keys, n_values = len(seen.fields), sum(each.present for each in seen.fields.values())
    return (
        33,
        f"Field {show_path(path)} has {n_keys:,} keys, each of them in {percent(n_values, n_keys * seen.present)} of its "
        f"documents on average: they look like data, so it stays one column and does not become {n_keys:,}.",
    )


def renamed(mapping: Mapping) -> list[Caution]:
    """About fields whose columns are not called as they are, because the name was taken."""
    own = [column for column in mapping.columns if column.role is Role.FIELD]
    _, sentences = column_names([column.path for column in own], mapping.options.naming, OWN_NAMES)
    known = {f"Field {show_path(column.path)} goes to column {column.name}" for column in own}
    return [(50, text) for text in sentences if text.partition(": ")[0] in known]


def id_cautions(census: Census, column: Column, kinds: frozenset[Kind]) -> list[Caution]:
    """About documents without `_id`, or with one of several kinds.

    Args:
        kinds: all that are known of.
    """
    found: list[Caution] = []
    seen = census.fields.get(ID_NAME)
    if census.n_documents and (seen is None or seen.present < census.n_documents):
        outcome = (
            "the column _id is nullable and there can be no primary key" if column.nullable else "they are rejects"
        )
        found.append((80, f"Some documents have no _id: {outcome}."))
    if column.type is ColumnType.JSONB and len(kinds) > 1:
        named = ", ".join(sorted(KIND_NAMES[kind] for kind in kinds))
        found.append((60, f"_id has several kinds ({named}): its column is jsonb, its key is built first."))
    others = kinds - column.kinds
    if others and column.type not in JSON_TYPES:
        found.append((82, f"Field _id {holds_words(kinds, others)}: documents with such an _id are rejects."))
    return found


def name_cautions(columns: Iterable[Column], table: str = "") -> list[Caution]:
    """About names that a query has to write in double quotes, whatever else it does.

    Args:
        table: the table's own name.
    """
    names = [column.name for column in columns if column.name.lower() in RESERVED]
    silent = [name for name in names if name.lower() in OTHER_MEANING]
    loud = [name for name in names if name.lower() not in OTHER_MEANING]
    found = []
    if silent:
        found.append((
            48,
            f"Column{'s' * (len(silent) > 1)} {listed(silent)}: without double quotes this means something else to "
            f"PostgreSQL, and no error tells: write SELECT \"{silent[0]}\", or rename the column in the plan.",
        ))  # fmt: skip
    if loud:
        found.append((
            28,
            f"Column{'s' * (len(loud) > 1)} {listed(loud)}: reserved words of SQL, which queries have to write in double "
            f"quotes, as in SELECT \"{loud[0]}\".",
        ))  # fmt: skip
    if table.lower() in RESERVED:
        found.append((
            47,
            f"The table is called {table}, a reserved word of SQL: queries have to write it in double quotes, as in "
            f"FROM \"{table}\".",
        ))  # fmt: skip
    return found


def corrupt_caution(n_corrupt: int, n_documents: int) -> Caution:
    """That some documents break the rules of BSON."""
    are = "is" if n_corrupt == 1 else "are"
    seen = counted(n_documents, "document")
    return 95, f"{n_corrupt:,} of {seen} seen {are} corrupt and will be rejected."


def listed(names: list[str]) -> str:
    """Some names as text, for a sentence."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def fate_words(overflow: str) -> str:
    """What becomes of values that have no column or do not fit it.

    Args:
        overflow: the policy that counts for them, a column's own where it has one.
    """
    return "go to _extra" if overflow == "overflow" else "have their documents rejected"


def holds_words(seen: Set[Kind], misfits: Set[Kind]) -> str:
    """What a field holds that its column does not take: `also holds int32`, without "also" where nothing else is there.

    Args:
        seen: all kinds that were seen in it.
        misfits: those that do not fit.
    """
    also = "also " if seen - misfits - {Kind.NULL} else ""
    return f"{also}holds {', '.join(KIND_NAMES[kind] for kind in sorted(misfits))}"


def describe_kinds(seen: FieldCensus) -> str:
    """The kinds with their shares, the most frequent first: `string 97%, int32 3%`."""
    ranked = sorted(seen.kinds.items(), key=lambda item: -item[1])
    return ", ".join(f"{KIND_NAMES[Kind(kind)]} {percent(count, seen.present)}" for kind, count in ranked)


def percent(part: int, whole: int) -> str:
    """A share that is 100 or 0 only when it is exactly so."""
    share = 100 * part / whole if whole else 0.0
    if 99.9 < share < 100 or 0 < share < 0.1:
        return ">99.9%" if share > 50 else "<0.1%"
    return f"{share:.3g}%"


def _of_documents(census: Census, mapping: Mapping) -> Iterator[Caution]:
    if census.n_corrupt:
        yield corrupt_caution(census.n_corrupt, census.n_documents)
    if census.largest >= BIG_DOCUMENT:
        yield 20, f"The largest document seen has {census.largest / (1 << 20):.1f} MiB."
    if census.n_untracked:
        goes, go = ("goes", "go") if mapping.options.overflow == "overflow" else ("rejects", "reject")
        where, everywhere = (
            ("to _extra",) * 2 if mapping.options.overflow == "overflow" else ("its document", "their documents")
        )
        values = counted(
            census.n_untracked,
            f"value is in fields too many to track or not named in UTF-8: it {goes} {where}",
            f"values are in fields too many to track or not named in UTF-8: they {go} {everywhere}",
        )
        yield 40, f"{values}."


def _of_width(census: Census, mapping: Mapping) -> Iterator[Caution]:
    """A warning when rows of all these columns would not fit into a page of PostgreSQL."""
    by_path = dict(census.walk())
    columns = [(column, by_path[column.path]) for column in mapping.columns if column.path in by_path]
    n_bytes = sum(_width(column, seen) * seen.present for column, seen in columns if column.role is Role.FIELD) / max(
        1, census.n_documents
    )
    if n_bytes > MAX_ROW_BYTES:
        yield 88, too_wide(f"Rows would have about {n_bytes:,.0f} bytes", mapping.options)


def too_wide(beginning: str, options: MappingOptions) -> str:
    """What follows of rows that are too long for a page, as a sentence."""
    advice = (
        "Leave fields without a column in a saved plan, so that they go to _extra,"
        if options.overflow == "overflow"
        else "Exclude fields in a saved plan,"
    )
    return (
        f"{beginning} without what PostgreSQL stores outside of them, and {MAX_ROW_BYTES:,} is the most: such documents will "
        f'be rejected. {advice} or set mapping.layout to "document".'
    )


def _width(column: Column, seen: FieldCensus) -> int:
    """Bytes of a value that stay within its row, at most."""
    fixed = _WIDTHS.get(column.type)
    if fixed is not None and not column.array:
        return fixed
    if column.type is ColumnType.TEXT and seen.kind_set == {Kind.STRING}:
        return min(seen.longest, LONGEST_INSIDE) + 1
    return LONGEST_INSIDE + 1


def _of_values(path: tuple[str, ...], seen: FieldCensus, mapping: Mapping) -> Iterator[Caution]:
    if not (seen.n_nul or seen.n_bad_utf8 or seen.n_bad_dates) or _is_ignored(path, mapping):
        return
    column = next((each for each in mapping.columns if each.path and path[: len(each.path)] == each.path), None)
    for count, what, policy in (
        (seen.n_nul, "strings with a NUL character", "nul"),
        (seen.n_bad_utf8, "strings that are not UTF-8", "utf8"),
        (seen.n_bad_dates, "dates beyond PostgreSQL's range", "date_range"),
    ):
        if count:
            choice = (getattr(column, policy) if column is not None else "") or getattr(mapping.options, policy)
            weight = 85 if choice == "reject" else 45
            yield weight, f"Field {show_path(path)}: {what} among those seen: {count}; policy {policy} = {choice}."


def _is_ignored(path: tuple[str, ...], mapping: Mapping) -> bool:
    return any(path[: len(ignored)] == ignored for ignored in mapping.ignored)
