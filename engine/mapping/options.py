"""The options and policies of a mapping: what an operator may choose about how values become columns (docs/types.md)."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

OfNul = Literal["reject", "strip", "replace"]
"""Policies, the default first: what becomes of a NUL character, of a date out of range, of text that is not UTF-8, and of a
value that does not fit its column."""
OfDates = Literal["reject", "null", "clamp", "infinity"]
OfText = Literal["reject", "replace"]
OfMisfits = Literal["overflow", "reject"]
POLICIES = ("nul", "date_range", "utf8", "overflow")
"""Options that say what becomes of a value that does not fit; a column may have its own."""


class MappingOptions(BaseModel):
    """How values become columns; every choice is per plan, the policies also per field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    naming: Literal["snake_case", "preserve"] = "snake_case"
    """Column names: `registeredAt` becomes `registered_at`, or stays as it is."""
    objectid: Literal["text", "bytea"] = "text"
    """ObjectIds as 24 hex digits or as 12 bytes."""
    uuid_legacy: Literal["", "python", "java", "csharp"] = ""
    """Byte order of binary subtype 3; empty keeps such values as bytea."""
    flatten: int = Field(default=0, ge=0, le=10)
    """Levels of nested documents that become columns of their own (`address.city` becomes `address_city`)."""
    arrays: Literal["jsonb", "native"] = "jsonb"
    """Arrays as jsonb, or as PostgreSQL arrays where the census proves one scalar kind."""
    missing: Literal["null", "track"] = "null"
    """Missing fields are NULL; `track` also lists their names in `_missing text[]`."""
    json_values: Literal["plain", "extended"] = "plain"
    """Values inside jsonb: plain JSON for people, or canonical Extended JSON v2, which loses no type."""
    documents: Literal["jsonb", "json"] = "jsonb"
    """Column type of documents, arrays and mixed fields; `json` keeps key order and -0.0."""
    layout: Literal["columns", "document"] = "columns"
    """One column a field, or `_id` and the whole document in `doc`."""
    nul: OfNul = "reject"
    """A NUL character in a string: reject the document, drop the character, or put U+FFFD in its place."""
    date_range: OfDates = "reject"
    """A date outside 4713 BC .. 294276 AD."""
    utf8: OfText = "reject"
    """Invalid UTF-8 or lone surrogates in a string."""
    overflow: OfMisfits = "overflow"
    """A value that does not fit its column, or a field the census did not see: into `_extra jsonb`, or reject."""


def choices(option: str) -> tuple[str, ...]:
    """The words that an option takes, the default first; empty for one that is a number."""
    return get_args(MappingOptions.model_fields[option].annotation)
