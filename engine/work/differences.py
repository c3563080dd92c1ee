"""Documents that have no equal row, and what a slice's comparison comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as Lookup
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from engine.ledger import rejects
from engine.mapping.model import Mapping
from engine.mapping.names import show_path
from engine.postgres.compare import ComparedPage, RowProblem
from engine.rows import document_at
from engine.work.messages import Difference

RESPELLED = "equal in value, but spelled in another way in the table"
OTHER_TYPE = "compared by value, as the column is {} now"
DIFFERENCES_IN_SLICE = 20
"""Documents that are described for each slice; all are counted."""
CORRUPT = "corrupt"
"""The reason of documents that break the rules of BSON."""
FIELDS_SHOWN = 5
"""Fields that are described for each of them."""


@dataclass(slots=True)
class Suspect:
    """A document without an equal row."""

    raw: bytes
    is_there: bool = False
    """The table has a row of its key."""
    problem: RowProblem | None = None
    """None when the document cannot be written as mapped."""
    field: str = ""
    """Then the field at fault, and why."""
    reason: str = ""

    @property
    def id(self) -> str:
        """The document's `_id` as `mongopg.reject` has it; reading it takes some time."""
        return rejects.stored_id(rejects.extended_id(self.raw))

    def is_among(self, kept: Set[str]) -> bool:
        """It is one of a slice's rejects, whose `_id`s these are; older versions kept corrupt documents without theirs."""
        return self.id in kept or (self.reason == CORRUPT and "" in kept)


@dataclass(slots=True)
class Tally:
    """What is known of the slice in hand."""

    n_documents: int = 0
    n_rejected: int = 0
    n_different: int = 0
    n_missing: int = 0
    n_bytes: int = 0
    checksum: int = 0
    differences: list[Difference] = field(default_factory=list)
    less_strict: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Column, field and reason -> values that were compared less strictly."""
    n_described: int = 0
    """Documents that the differences are about."""

    @property
    def room(self) -> int:
        """So many documents more are described."""
        return DIFFERENCES_IN_SLICE - self.n_described

    def count_respelled(self, mapping: Mapping, compared: ComparedPage) -> None:
        """Values of a page that are equal but not spelled alike."""
        names = _fields_of(mapping)
        for column, count in compared.respelled.items():
            self.less_strict[column, names[column], RESPELLED] += count

    def count_less_strict(
        self, mapping: Mapping, numbers: Counter[tuple[str, str, str]], looser: Lookup[str, str]
    ) -> None:
        """What could only be compared less strictly in the slice.

        Args:
            mapping: of the rows.
            numbers: column, field and reason -> numbers that PostgreSQL does not hold whole.
            looser: columns whose type is another now -> that type.
        """
        names = _fields_of(mapping)
        self.less_strict.update(numbers)
        for column, type_now in looser.items():
            self.less_strict[column, names[column], OTHER_TYPE.format(type_now)] += self.n_documents

    def convict(self, suspects: Sequence[Suspect], mapping: Mapping) -> None:
        """Count documents as differences."""
        for suspect in suspects:
            self.n_different += suspect.is_there
            self.n_missing += not suspect.is_there
            if self.room > 0:
                self.n_described += 1
                self.differences += _described(suspect, mapping)


def suspects_of(compared: ComparedPage) -> list[Suspect]:
    """The documents of a page that have no equal row."""
    found = []
    for piece in compared.page.pieces:
        for reject in piece.rows.rejects:
            raw = document_at(piece.batch, reject.offset)
            found.append(Suspect(raw, field=reject.field, reason=reject.reason))
    for refusal in compared.refusals:
        raw = compared.page.document(refusal.row)
        found.append(Suspect(raw, field=refusal.column, reason=refusal.reason))
    for problem in compared.problems:
        raw = compared.page.document(problem.row)
        found.append(Suspect(raw, is_there=problem.is_there, problem=problem))
    return found


def _fields_of(mapping: Mapping) -> dict[str, str]:
    """The dotted path of each column's field."""
    return {column.name: show_path(column.path) or column.name for column in mapping.columns}


def _described(suspect: Suspect, mapping: Mapping) -> list[Difference]:
    kind, identifier = "different" if suspect.is_there else "missing", suspect.id
    if suspect.problem is None or not suspect.problem.values:
        return [Difference(kind, identifier, suspect.field, "", None, None, suspect.reason)]
    names = _fields_of(mapping)
    return [
        Difference(
            kind,
            identifier,
            value.field or names[value.column],
            value.column,
            value.expected,
            value.found,
            value.reason,
        )
        for value in suspect.problem.values[:FIELDS_SHOWN]
    ]
