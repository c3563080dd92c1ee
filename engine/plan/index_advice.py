"""SQL for indexes that are not carried over: what an operator could build by hand to serve the same queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.mapping.kinds import JSON_TYPES
from engine.mapping.model import Column, ColumnType, Kind, Role
from engine.mapping.model import Mapping as TableMapping
from engine.mapping.names import TableName, quote_identifier
from engine.mongo.indexes import SourceIndex
from engine.plan.index_filters import NotExpressibleError, condition
from engine.plan.writing import harmless

MOST_COLUMNS = 32
"""INDEX_MAX_KEYS of PostgreSQL's pg_config_manual.h."""
_COLLATION_TYPES = {
    "phonebook": "phonebk", "traditional": "trad", "dictionary": "dict", "gb2312han": "gb2312",
}  # fmt: skip
"""Old names of ICU's orders and what language tags call them (Unicode Technical Standard 35, part 5)."""


def by_hand(source: SourceIndex, table: TableName, mapping: TableMapping) -> str:
    """Statements, each with its semicolon; empty when nothing would do, or nothing is known."""
    try:
        return _Advice(source, table, mapping).text()
    except Exception:  # advice that cannot be given is no reason to end a plan
        return ""


class _Advice:
    def __init__(self, source: SourceIndex, table: TableName, mapping: TableMapping) -> None:
        self._source = source
        self._table = table
        self._columns = {column.path: column for column in mapping.columns if column.path}
        self._mapping = mapping

    def text(self) -> str:
        source = self._source
        if source.kind == "text":
            return self._full_text()
        if source.kind == "wildcard":
            return "".join(self._gin(each) for each in self._json_values())
        if source.kind == "hashed":
            return "".join(self._create(f"USING hash ({self._scalar(path)})") for path in source.fields)
        if source.kind == "2dsphere":
            shapes = [f"ST_GeomFromGeoJSON({self._json(path)})" for path in source.fields]
            return "CREATE EXTENSION IF NOT EXISTS postgis;\n" + "".join(
                self._create(f"USING gist (({shape}::geography))") for shape in shapes
            )
        if source.kind in ("2d", "geoHaystack"):
            return "".join(self._create(f"USING gist ({self._point(path)})") for path in source.fields)
        return self._ordered()

    def _ordered(self) -> str:
        """B-trees over what fits into one, and a GIN index for each array."""
        source = self._source
        if not source.keys:
            return ""
        arrays = [path for path, _ in source.keys if self._holds_arrays(path)]
        found = "".join(self._gin(self._json(path)) for path in dict.fromkeys(map(self._top_of_array, arrays)))
        others = [(path, descending) for path, descending in source.keys if path not in arrays][:MOST_COLUMNS]
        if not others:
            return found
        collation = _collation(source.collation) if source.collation else None
        keys = []
        for path, descending in others:
            expression, is_text = self._scalar(path), self._is_text(path)
            ordered = f" COLLATE {quote_identifier(collation[0])}" if collation and is_text else ""
            keys.append(expression + ordered + (" DESC" if descending else ""))
        where, is_whole = self._where()
        is_unique = source.unique and is_whole and not arrays and len(others) == len(source.keys)
        statement = self._create(f"({', '.join(keys)}){where}", unique=is_unique)
        return (collation[1] if collation else "") + statement + found

    def _where(self) -> tuple[str, bool]:
        """The condition as far as it has a counterpart, and whether that is all of it; fewer conditions are more rows."""
        query = self._source.partial
        if not query:
            return "", True
        parts, is_whole = [], True
        for name, wanted in query.items():
            try:
                parts.append(condition({name: wanted}, self._plain, is_unique=self._source.unique))
            except Exception:  # as in by_hand
                is_whole = False
        found = " AND ".join(filter(None, parts))
        return (f" WHERE {found}" if found else ""), is_whole

    def _plain(self, path: str) -> Column:
        column = self._columns.get(tuple(path.split(".")))
        if column is None or column.array or column.type in JSON_TYPES:
            raise NotExpressibleError(path)
        return column

    def _full_text(self) -> str:
        """One index over all texts, jsonb among them as text, and one for each array; other types hold no words."""
        places = [self._place(path) for path in self._source.fields if path != "$**"]
        if not places:
            columns = [column for column in self._mapping.columns if column.role in (Role.FIELD, Role.DOCUMENT)]
            places = [(column, ()) for column in columns]
        arrays = [column for column, _ in places if column.array]
        texts = [
            _text(column, keys)
            for column, keys in places
            if not column.array and (column.type is ColumnType.TEXT or column.type in JSON_TYPES)
        ]
        document = " || ' ' || ".join(texts)
        found = self._create(f"USING gin (to_tsvector('simple', {document}))") if texts else ""
        return found + "".join(self._gin(quote_identifier(column.name)) for column in arrays)

    # --- values as SQL ------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[Column, tuple[str, ...]]:
        """The column that has a field's value, and the keys within it; raises LookupError where there is none."""
        keys = tuple(path.split("."))
        for depth in range(len(keys), 0, -1):
            column = self._columns.get(keys[:depth])
            if column is not None and (depth == len(keys) or column.type in JSON_TYPES):
                return column, keys[depth:]
        whole = {column.role: column for column in self._mapping.columns}
        column = whole.get(Role.DOCUMENT) or whole.get(Role.EXTRA)
        if column is None:
            raise LookupError(path)
        return column, keys

    def _scalar(self, path: str) -> str:
        """What a B-tree or a hash index compares: a column, or a text taken out of one."""
        column, keys = self._place(path)
        name = quote_identifier(column.name)
        if keys:
            return f"({_within(name, keys, as_text=True)})"
        return f"({name}::jsonb)" if column.type is ColumnType.JSON else name

    def _is_text(self, path: str) -> bool:
        column, keys = self._place(path)
        return bool(keys) or column.type is ColumnType.TEXT

    def _json(self, path: str) -> str:
        """A value as jsonb, or the array column that it is."""
        column, keys = self._place(path)
        name = quote_identifier(column.name)
        cast = f"({name}::jsonb)" if column.type is ColumnType.JSON else name
        return f"({_within(cast, keys, as_text=False)})" if keys else cast

    def _point(self, path: str) -> str:
        """Pairs of coordinates as MongoDB's old planar indexes have them: an array, or a document's first two numbers."""
        value = self._json(path)
        return f"point(({value} ->> 0)::float8, ({value} ->> 1)::float8)"

    def _json_values(self) -> list[str]:
        """What a wildcard index covers, as far as it is jsonb."""
        tops = [path for path in self._source.fields if path]
        if tops:
            return [self._json(path) for path in tops]
        columns = [
            column for column in self._mapping.columns if column.type in JSON_TYPES and column.role is not Role.ID
        ]
        return [
            f"({quote_identifier(column.name)}::jsonb)"
            if column.type is ColumnType.JSON
            else quote_identifier(column.name)
            for column in columns
        ]

    def _holds_arrays(self, path: str) -> bool:
        column, _ = self._place(path)
        return column.array or (column.type in JSON_TYPES and Kind.ARRAY in column.kinds)

    def _top_of_array(self, path: str) -> str:
        """An array's own path: a GIN index on all of it finds what is inside its elements."""
        column, keys = self._place(path)
        return ".".join(column.path) if keys and column.path else path

    def _gin(self, value: str) -> str:
        return self._create(f"USING gin ({value})")

    def _create(self, rest: str, *, unique: bool = False) -> str:
        return f"CREATE {'UNIQUE ' if unique else ''}INDEX ON {self._table.sql} {rest};\n"


def _text(column: Column, keys: tuple[str, ...]) -> str:
    name = quote_identifier(column.name)
    found = f"({_within(name, keys, as_text=True)})" if keys else name
    return f"coalesce({found}, '')" if keys or column.type is ColumnType.TEXT else f"coalesce({found}::text, '')"


def _within(name: str, keys: tuple[str, ...], *, as_text: bool) -> str:
    arrow = "->>" if as_text else "->"
    if len(keys) == 1:
        return f"{name} {arrow} {_quoted(keys[0])}"
    inner = "".join(f" -> {_quoted(key)}" for key in keys[:-1])
    return f"{name}{inner} {arrow} {_quoted(keys[-1])}"


def _quoted(text: str) -> str:
    """A text as SQL on one line."""
    escaped = text.replace("'", "''")
    if "\\" not in escaped and escaped.isprintable():
        return f"'{escaped}'"
    return "E'" + harmless(escaped.replace("\\", "\\\\")) + "'"  # E'' knows the same \\u as TOML


def _collation(found: Mapping[str, Any]) -> tuple[str, str]:
    """An ICU collation's name, and the statement that makes it."""
    locale, _, order = str(found.get("locale", "")).partition("@collation=")
    strength = _integer(found.get("strength"), 3)
    attributes = [("co", _COLLATION_TYPES.get(order, order))] if order else []
    attributes += [("ks", {1: "level1", 2: "level2", 4: "level4", 5: "identic"}[strength])] if strength != 3 else []
    flags: list[tuple[str, str, Callable[[Any], str]]] = [
        ("caseLevel", "kc", lambda value: "true" if value else ""),
        ("numericOrdering", "kn", lambda value: "true" if value else ""),
        ("backwards", "kb", lambda value: "true" if value else ""),
        ("caseFirst", "kf", lambda value: value if value in ("upper", "lower") else ""),
        ("alternate", "ka", lambda value: "shifted" if value == "shifted" else ""),
    ]
    attributes += [(key, text(found[name])) for name, key, text in flags if name in found and text(found[name])]
    tag = "und" if locale == "root" else locale.replace("_", "-")
    if attributes:
        tag += "-u-" + "-".join(f"{key}-{value}" for key, value in sorted(attributes))
    name = f"mongo_{tag}"
    return name, (
        f"CREATE COLLATION IF NOT EXISTS {quote_identifier(name)} "
        f"(provider = icu, locale = {_quoted(tag)}, deterministic = false);\n"
    )


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) and value in (1, 2, 3, 4, 5) else default
