"""A plan drawn: its heading, a field's line, previewed rows, warnings, and how far a census is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import chop_cells
from textual.content import Content

from engine.protocol import ColumnView, CountingView, PlanView, TableView, policies_for
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.bars import bar
from tui.cockpit.widgets.listing import Cell
from tui.words.census import documents_words, kinds_words, order_words, values_words
from tui.words.format import NO_NUMBER, about_copy, bytes_size, compact, counted, duration, number, part, percent, share
from tui.words.rejects import policy_value, reason_words
from tui.words.safe import safe

EDITED = "*"
"""The mark of what is not as it was before the edits."""
_NAME = 24
"""Cells of a column's name, at most."""
_LEAST = 10
"""Cells of a line of a value, at least."""
_BAR = 12
"""Cells of the bar of a full census."""
_VALUE = 60
"""Characters of a previewed value."""


def counting_line(counting: CountingView, since: str) -> Content:
    """How far a full census is."""
    fraction = share(counting.seen, counting.total)
    left = f"{duration(counting.eta_s)} left" if counting.eta_s is not None else ""
    words = [
        Content(f"◐ counting {since}"),
        bar(fraction, _BAR, "$primary"),
        Content(f"{percent(fraction)}  {number(counting.seen)} / {number(counting.total)}"),
        Content(f"{compact(counting.rows_per_s)}/s"),
        Content(left),
    ]
    return Content("  ").join(words)


def heading(plan: PlanView, table: TableView, index: int, own: Sequence[str]) -> Content:
    """A table's heading: two lines, and a third one where the collection is not read in the order of `_id`.

    Args:
        own: words for what is the operator's: edits, and the file.
    """
    words = [documents_words(table), bytes_size(table.size_bytes)]
    if table.census == "full":
        words.append("all counted")
    elif table.sampled:
        words.append(f"{number(table.sampled)} sampled")
    if table.filter:
        words.append(f"filter {safe(table.filter, 80)}")
    if table.estimate is not None:
        size = bytes_size(table.estimate.table_bytes + table.estimate.index_bytes)
        words.append(f"{about_copy(table.estimate.seconds)} and {size} in PostgreSQL")
    if table.ignored:
        words.append(f"{len(table.ignored)} excluded: {safe(', '.join(table.ignored), 80)}")
    title = Content.assemble(
        (safe(table.namespace, 120), "bold"), (" → ", MUTED), (safe(table.table, 120), "bold"),
        (f"   {index + 1} of {counted(len(plan.tables), 'collection')}", MUTED),
        (f"   {' · '.join(own)}" if own else "", "bold $warning"),
    )  # fmt: skip
    lines = [" · ".join(words), *([order_words(table)] if table.order == "natural" else [])]
    return title + Content("\n") + Content.styled("\n".join(lines), MUTED)


def table_row(table: TableView, *, is_edited: bool) -> list[Cell]:
    """A collection of the plan: whether it was edited, its name, how many documents it has and how many warnings."""
    count = len(table.warnings)
    return [
        Content.styled(EDITED, "$warning") if is_edited else "",
        safe(table.namespace.partition(".")[2] or table.namespace, 120),
        compact(table.documents) if table.documents >= 0 else NO_NUMBER,
        Content.styled(f"!{count}", "bold") if count else "",
    ]


def column_row(column: ColumnView, *, is_edited: bool = False, own: Sequence[str] = ()) -> list[Cell]:
    """A field with its column.

    Args:
        own: what was chosen for it instead of the policies of all columns.
    """
    return [
        Content.styled(EDITED, "$warning") if is_edited else "",
        safe(column.field, 120),
        part(column.seen_percent) if column.kinds else "",
        Content.styled(", ".join(kinds_words(column)), "$warning" if len(column.kinds) > 1 else ""),
        safe(column.column, 120),
        ", ".join([safe(column.type, 60), *dict.fromkeys(map(policy_value, own))]),
        "yes" if column.nullable else "no",
        Content.styled(_seen(column), MUTED),
    ]


def field_row(label: str, why: str) -> list[Cell]:
    """A field without a column.

    Args:
        label: the field, as a plan's file names it.
        why: it has none.
    """
    cells = ["-", safe(label, 120), "", "", f"({why})", "", "", ""]
    return [Content.styled(cell, MUTED) for cell in cells]


def _seen(column: ColumnView) -> str:
    """Oddities and extremes of its values, and what the note says beyond BSON types and shares, which are shown before it."""
    if column.values is None:
        return safe(column.note, 200) or _of_extra(column)
    remark = column.note.partition(" of the documents; ")[2]
    return ", ".join(filter(None, [values_words(column.values), safe(remark, 200)]))


def _of_extra(column: ColumnView) -> str:
    """What the column holds that has no field of its own; of another nothing."""
    is_extra = column.field == "extra" and not column.kinds and column.values is None
    return "fields without a column, and values that do not fit theirs" if is_extra else ""


def column_details(
    column: ColumnView, table: TableView, own: Mapping[str, str], defaults: Mapping[str, str]
) -> Content:
    """Everything that is known of a column, for reading.

    Args:
        own: its policies.
        defaults: the policies of all columns.
    """
    nullable = "may be NULL" if column.nullable else "not NULL"
    lines: list[tuple[str, str]] = [
        ("Field", safe(column.field, 500)),
        ("Column", f"{safe(column.column, 200)}  {safe(column.type, 60)}, {nullable}"),
        ("Present", f"in {part(column.seen_percent)} of the documents" if column.kinds else "not seen"),
    ]
    present = column.values.present if column.values is not None else 0
    ranked = sorted(column.kinds.items(), key=lambda each: -each[1])
    for place, (kind, of_present) in enumerate(ranked):
        count = f"  {number(round(of_present * present / 100))} of {number(present)}" if present else ""
        lines.append(("BSON types" if not place else "", f"{safe(kind, 20):<16}{part(of_present):>8}{count}"))
    lines.append(("Values", values_words(column.values)))
    lines.append(("Note", safe(column.note, 2_000) or _of_extra(column)))
    applying = [(policy, word) for policy, word in defaults.items() if policy in policies_for(column.type)]
    for place, (policy, word) in enumerate(applying):
        lines.append(
            (
                "Policies" if not place else "",
                f"{policy:<12}{policy_value(own[policy]) if own.get(policy) else f'inherit ({policy_value(word)})':<20}"
                f"  {reason_words(policy)[0]}",
            )
        )
    at = table.columns.index(column) if column in table.columns else None
    if at is not None:
        values = [row.values[at] for row in table.preview if at < len(row.values)]
        for place, value in enumerate(dict.fromkeys(values)):
            lines.append(("Examples" if not place else "", "NULL" if value is None else safe(value, 500)))
    mentions = [warning for warning in table.warnings if _names(warning, column)]
    for place, warning in enumerate(mentions):
        lines.append(("Warnings" if not place else "", f"! {safe(warning, 1_000)}"))
    return Content("\n").join(Content.assemble((f"{label:<12}", MUTED), words) for label, words in lines if words)


def _names(warning: str, column: ColumnView) -> bool:
    """Whether a warning is about this field or column: it has the name as a word of its own."""
    words = {word.strip(",.:;()'\"") for word in warning.split()}
    return column.field in words or column.column in words


def preview_text(table: TableView, width: int) -> Content:
    """The sampled documents as rows, a line for each column that has a value; a long one goes on under itself. Those that would
    be rejected come first.

    Args:
        width: of a line, in cells.
    """
    if not table.preview:
        return Content.styled("no rows to show", MUTED)
    names = [Content(safe(column.column, 60)).truncate(_NAME, ellipsis=True) for column in table.columns]
    indent = max((name.cell_length for name in names), default=0) + 4
    next_line = "\n" + " " * indent
    blocks = []
    for row in sorted(table.preview, key=lambda row: not row.reject):
        lines = [Content.styled(f"_id {safe(row.id, 80)}", "bold")]
        if row.reject:
            lines.append(Content.styled(f"! rejected: {safe(row.reject, 200)}", "$warning"))
        for name, value in zip(names, row.values, strict=False):
            if value is not None:
                blank = " " * (indent - 2 - name.cell_length)
                words = next_line.join(chop_cells(safe(value, _VALUE), max(_LEAST, width - indent)))
                lines.append(Content.assemble("  ", name.stylize(MUTED), blank, words))
        blocks.append(Content("\n").join(lines))
    return Content("\n\n").join(blocks)


def warnings_text(own: list[str], others: list[str]) -> Content:
    """The most serious first, as the engine sorts them; those of other collections after."""
    lines = [Content.assemble(("! ", "$warning"), safe(warning, 400)) for warning in own]
    if not own:
        lines.append(Content.styled("none for this collection", MUTED))
    if others:
        lines += [Content(""), Content.styled("Other collections", MUTED)]
        lines += [Content.assemble(("! ", "$warning"), safe(warning, 400)) for warning in others]
    return Content("\n").join(lines)
