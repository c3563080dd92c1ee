"""What a full verification knows of one table so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from engine.ledger.partitions import CHECKSUM_MODULUS
from engine.mapping.names import TableName
from engine.mongo.natural import Numbering
from engine.mongo.reader import Range
from engine.plan import TablePlan
from engine.plurals import counted
from engine.postgres.keys import ExtraRows
from engine.protocol import ComparingTable, DifferenceView, LessStrictView, TableCounts
from engine.rows import TableLoad
from engine.work.messages import Compared, Difference

MOST_LESS_STRICT = 500
"""Fields of a table that are named so: a reply has to fit into a line of the protocol."""


@dataclass(slots=True)
class ComparedTable:
    """One table of the run."""

    plan: TablePlan
    load: TableLoad
    name: TableName
    """What it is called now."""
    max_samples: int
    """Differences of each kind that are described."""
    documents: int = 0
    slices: int = 0
    """As the ledger has them."""
    ranges: tuple[Range, ...] = ()
    """Where the run's own slices are not read again: all of them are judged together, by one sum."""
    numbering: Numbering | None = None
    """Whose record ids the ranges have; None is ranges of `_id`."""
    checksum_then: int | None = None
    """That of the run, where there are such ranges; None where it kept none."""
    written_then: int = 0
    """Rows that the run wrote, likewise."""
    checksum: int = 0
    """That of the documents now."""
    hindrance: str = ""
    """Why its rows cannot be compared."""
    is_wrong: bool = False
    """That is a mismatch of its own."""
    equal: int = 0
    different: int = 0
    missing: int = 0
    kept: int = 0
    extra: int = 0
    source_changed: int = 0
    """Of the differences, those in slices whose documents are not the ones that were read."""
    changed_slices: list[tuple[int, int]] = field(default_factory=list)
    """Those slices, as partition and number."""
    slices_unknown: int = 0
    """Slices of which the run kept no checksum."""
    vanished: int = 0
    """Rows that they have written and no document has now."""
    less_strict: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Column, field and reason -> values that were compared less strictly."""
    samples: dict[str, list[DifferenceView]] = field(
        default_factory=lambda: {"missing": [], "different": [], "extra": []}
    )

    def begun_again(self) -> ComparedTable:
        """The same before anything was compared."""
        return ComparedTable(
            self.plan,
            self.load,
            self.name,
            self.max_samples,
            documents=self.documents,
            slices=self.slices,
            checksum_then=self.checksum_then,
            written_then=self.written_then,
        )

    @property
    def checked(self) -> int:
        """Documents that are compared."""
        return self.equal + self.different + self.missing + self.kept

    @property
    def found(self) -> int:
        """Rows that belong to a document."""
        return self.equal + self.different

    def view(self) -> ComparingTable:
        """How far it is."""
        return ComparingTable(
            table=str(self.load.target),
            checked=self.checked,
            total=-1 if self.hindrance else self.documents,
            differ=self.different + self.missing,
        )

    def add(self, message: Compared) -> None:
        """Count a slice that is compared."""
        self.equal += message.n_equal
        self.different += message.n_different
        self.missing += message.n_missing
        self.kept += message.n_rejected
        for each in message.less_strict:
            self.less_strict[each.column, each.field, each.reason] += each.count
        if self.ranges:
            self.checksum = (self.checksum + message.checksum) % CHECKSUM_MODULUS
            for difference in message.differences:
                self._describe(difference, source_changed=False)
            return
        self.slices_unknown += not message.has_checksum
        if message.is_changed:
            self.changed_slices.append((message.partition_id, message.slice_no))
            self.source_changed += message.n_different + message.n_missing
            self.vanished += max(0, message.n_written_then - message.n_equal - message.n_different)
        for difference in message.differences:
            self._describe(difference, source_changed=message.is_changed)

    def judge_ranges(self) -> None:
        """All ranges are compared: whether the source is what the run has read."""
        if not self.ranges or self.hindrance:
            return
        self.slices = 1
        if self.checksum_then is None:
            self.slices_unknown = 1
        elif self.checksum_then != self.checksum:
            self.changed_slices.append((0, 0))
            self.source_changed = self.different + self.missing
            self.vanished = max(0, self.written_then - self.found)
            for kind, samples in self.samples.items():
                self.samples[kind] = [sample.model_copy(update={"source_changed": True}) for sample in samples]

    def add_extra(self, extra: ExtraRows) -> None:
        """Rows that no document has."""
        self.extra = extra.count
        # Where keys do not sort as MongoDB sorts them, a row's slice is unknown: only all of them or none can be explained.
        all_explained = extra.count <= self.vanished
        in_changed = extra.in_changed if extra.in_changed is not None else min(extra.count, self.vanished)
        self.source_changed += in_changed
        for row in extra.rows:
            changed = all_explained if row.in_changed is None else row.in_changed
            self._keep(DifferenceView(
                namespace=self.plan.namespace, table=str(self.load.target), kind="extra", id=row.key,
                source_changed=changed,
            ))  # fmt: skip

    def less_strictly(self) -> list[LessStrictView]:
        """What was compared less strictly, the most first."""
        return [
            LessStrictView(
                namespace=self.plan.namespace,
                table=str(self.load.target),
                column=column,
                field=path,
                reason=reason,
                count=count,
            )
            for (column, path, reason), count in self.less_strict.most_common(MOST_LESS_STRICT)
        ]

    def over(self, counts: TableCounts) -> TableCounts:
        """The counts of the table with what the comparison of its rows has found."""
        differences = {"different": self.different, "missing": self.missing, "extra": self.extra}
        words = [f"{count:,} {what}" for what, count in differences.items() if count]
        if self.source_changed:
            words.append(f"{self.source_changed:,} of them where the source changed since")
        if self.slices_unknown:
            have = "has" if self.slices_unknown == 1 else "have"
            words.append(
                f"{self.slices_unknown:,} of {counted(self.slices, 'slice')} {have} no checksum, so whether the source changed "
                "since is not known"
            )
        problems = [word for word in (counts.message, self.hindrance, ", ".join(words)) if word]
        return counts.model_copy(
            update={
                "ok": counts.ok and not any(differences.values()) and not self.is_wrong,
                "message": "; ".join(problems),
                "level": "counts" if self.hindrance else "full",
                "equal": self.equal,
                **differences,
                "kept": self.kept,
                "source_changed": self.source_changed,
                "slices": self.slices,
                "slices_changed": len(self.changed_slices),
                "slices_unknown": self.slices_unknown,
            }
        )

    def _describe(self, difference: Difference, *, source_changed: bool) -> None:
        self._keep(
            DifferenceView(
                namespace=self.plan.namespace,
                table=str(self.load.target),
                kind=difference.kind,
                id=difference.id,
                field=difference.field,
                column=difference.column,
                source=difference.expected,
                target=difference.found,
                reason=difference.reason,
                source_changed=source_changed,
            )
        )

    def _keep(self, difference: DifferenceView) -> None:
        samples = self.samples[difference.kind]
        named = {sample.id for sample in samples}
        # A document may have several fields that differ: they stay together.
        if len(named) < self.max_samples or (samples and samples[-1].id == difference.id):
            samples.append(difference)
