"""Text as PostgreSQL takes it: UTF-8 without NUL, by the policies of the field it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.convert.rejection import NUL, UTF8, RejectedError
from engine.errors import UsageError
from engine.mapping.model import Column, Role
from engine.mapping.names import show_path
from engine.mapping.options import POLICIES, MappingOptions, choices

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Hit = Callable[[str], None]
"""Counts that a policy touched a value: `nul.strip`, `overflow`, ..."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What happens to values that PostgreSQL or their column cannot take; see `MappingOptions`."""

    nul: str
    date_range: str
    utf8: str
    overflow: str

    @classmethod
    def of(cls, column: Column | None, options: MappingOptions) -> Policies:
        """The policies of one column, or of fields without one.

        `_id` is never altered: two documents could become one.

        Raises:
            UsageError: the column has a policy that there is not.
        """
        if column is None:
            return cls(options.nul, options.date_range, options.utf8, options.overflow)
        if column.role is Role.ID:
            return cls("reject", "reject", "reject", "reject")
        for policy in POLICIES:
            word = getattr(column, policy)
            if word and word not in choices(policy):
                raise UsageError(
                    f"Field {show_path(column.path)}: {policy} must be one of {', '.join(choices(policy))}, not {word!r}."
                )
        return cls(
            column.nul or options.nul,
            column.date_range or options.date_range,
            column.utf8 or options.utf8,
            column.overflow or options.overflow,
        )


def clean_text(content: bytes, policies: Policies, hit: Hit) -> str:
    """The string, with the policies for UTF-8 and then for NUL applied.

    Invalid bytes become U+FFFD as Unicode recommends and Python does it: one for each maximal part of a sequence.

    Raises:
        RejectedError: a policy says so.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        if policies.utf8 == "reject":
            raise RejectedError(UTF8) from None
        hit("utf8.replace")
        text = content.decode(errors="replace")
    if "\0" in text:
        if policies.nul == "reject":
            raise RejectedError(NUL)
        hit(f"nul.{policies.nul}")
        text = text.replace("\0", "" if policies.nul == "strip" else REPLACEMENT)
    return text
