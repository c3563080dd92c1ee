"""Pages on their way to COPY: pieces as converters give them, and any rows of a page as bytes."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

from engine.mapping.names import TableName
from engine.rows import Buffer, Piece, document_at


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """What COPY writes to."""

    table: TableName
    """The target, or the staging table of mode `replace`."""
    columns: tuple[str, ...]
    """In the order of the converter's tuples."""
    namespace: str
    """`database.collection`, for rejects."""
    upsert_key: str = ""
    """Column whose existing rows take new values (mode `upsert`); empty only adds rows."""
    written_since: str = ""
    """SQL of an age of transactions, where several documents may have one key in the table: a row that a younger one wrote
    takes no values of another document. Empty where each has its own."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that the server refuses."""

    row: int
    """Number within the page."""
    reason: str
    """PostgreSQL's condition name."""
    sqlstate: str
    column: str
    """Empty when the server names none."""
    detail: str
    constraint: str = ""
    """Empty when the server names none."""
    is_passed_by: bool = False
    """COPY left it out, and ended for none of it."""


@dataclass(slots=True)
class Page:
    """The pieces of a page, kept until the server has taken all of it."""

    pieces: list[Piece] = field(default_factory=list)
    _first_rows: list[int] = field(default_factory=list)
    """For each piece, the number of its first row within the page."""
    n_rows: int = 0

    async def collect(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[Buffer]:
        """The tuples of the pieces as they come; each piece is kept."""
        async for piece in pieces:
            self.pieces.append(piece)
            self._first_rows.append(self.n_rows)
            self.n_rows += len(piece.rows.row_ends)
            if piece.rows.row_ends:
                yield piece.rows.copy

    def tuples(self, first: int, end: int) -> Iterator[Buffer]:
        """Rows first <= i < end, as few runs of bytes."""
        while first < end:
            piece, row = self._find(first)
            ends = piece.rows.row_ends
            stop = min(len(ends), row + end - first)
            start_at = ends[row - 1] if row else 0
            yield memoryview(piece.rows.copy)[start_at : ends[stop - 1]]
            first += stop - row

    def document(self, row: int) -> bytes:
        """The document that a row was made of, as it was read."""
        piece, number = self._find(row)
        return document_at(piece.batch, piece.rows.row_documents[number])

    def _find(self, row: int) -> tuple[Piece, int]:
        """The piece that holds a row of the page, and its number within the piece."""
        # Pieces without rows begin at the same number as the next one: the last of equals is the one that has the row.
        number = bisect_right(self._first_rows, row) - 1
        return self.pieces[number], row - self._first_rows[number]


def line_of(context: str, table: str) -> int | None:
    """The line of a COPY at which an error seems to have arisen, 1 being the first row; None when the context does not say.

    The context is localised ("COPY users, line 7", "COPY users, Zeile 7"), but COPY's own words are its last line, and the
    line's number is the first one after the table's name. It is a hint only: COPY collects rows, and names the last one
    that it has read for what is wrong with an earlier one.
    """
    own = _own_words(context, table)
    return int(own[1]) if own else None


def column_of(context: str, table: str, columns: Iterable[str]) -> str:
    """The column that COPY was at according to its own words, which end with its name; empty when they name none of these."""
    own = _own_words(context, table)
    rest = own.string[own.end() :] if own else ""
    return max((column for column in columns if rest.endswith(f" {column}")), key=len, default="")


def _own_words(context: str, table: str) -> re.Match[str] | None:
    """Where COPY's own words in an error's context have the number of the line."""
    found = re.search(rf"{re.escape(table)}[^0-9]+([0-9]+)", context[_last_line(context, table) :])
    return None if found is None or found.string.startswith("PL/") else found


def _last_line(context: str, table: str) -> int:
    """Where the last line of a context begins; names of tables may have line breaks."""
    at = context.rfind(table)
    return context.rfind("\n", 0, len(context) if at < 0 or "\n" not in table else at) + 1
