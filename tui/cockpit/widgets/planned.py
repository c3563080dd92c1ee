"""A plan drawn: its heading, a field's line, previewed rows, warnings, and how far a census is."""

from __future__ import annotations

from rich.cells import chop_cells
from textual.content import Content

from engine.protocol import ColumnView, CountingView, PlanView, TableView
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.bars import bar
from tui.cockpit.widgets.listing import Cell
from tui.words.census import documents_words, values_words
from tui.words.format import bytes_size, compact, duration, number, percent, share
from tui.words.safe import safe

_NAME = 24
"""Cells of a column's name, at most."""
_LEAST = 10
"""Cells of a line of a value, at least."""
_BAR = 16
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


def heading(plan: PlanView, table: TableView, index: int, n_edits: int) -> Content:
    words = [documents_words(table), bytes_size(table.size_bytes)]
    if table.census == "full":
        words.append("all counted")
    elif table.sampled:
        words.append(f"{number(table.sampled)} sampled")
    if table.filter:
        words.append(f"only {safe(table.filter, 80)}")
    if table.ignored:
        words.append(f"{len(table.ignored)} left out: {safe(', '.join(table.ignored), 80)}")
    if table.estimate is not None:
        size = bytes_size(table.estimate.table_bytes + table.estimate.index_bytes)
        words.append(f"about {duration(table.estimate.seconds)} and {size} in PostgreSQL")
    title = Content.assemble(
        (safe(table.namespace, 120), "bold"), (" → ", MUTED), (safe(table.table, 120), "bold"),
        (f"   {index + 1} of {len(plan.tables)} collections", MUTED),
        (f"   {n_edits} edit{'' if n_edits == 1 else 's'}" if n_edits else "", "bold $warning"),
    )  # fmt: skip
    return title + Content("\n") + Content.styled(" · ".join(words), MUTED)


def column_row(column: ColumnView) -> list[Cell]:
    kinds = " ".join(f"{safe(kind, 20)} {share:.0f}%" for kind, share in column.kinds.items())
    return [
        safe(column.field, 120),
        percent(column.seen_percent / 100) if column.kinds else "",
        Content.styled(kinds, "$warning" if len(column.kinds) > 1 else ""),
        safe(column.column, 120),
        safe(column.type, 60),
        "yes" if column.nullable else "no",
        Content.styled(_seen(column), MUTED),
    ]


def _seen(column: ColumnView) -> str:
    """Extremes and oddities of its values, and what the note says beyond kinds and shares, which are shown before it."""
    if column.values is None:
        return safe(column.note, 200)
    remark = column.note.partition(" of the documents; ")[2]
    return ", ".join(filter(None, [values_words(column.values), safe(remark, 200)]))


def preview_text(table: TableView, width: int) -> Content:
    """The sampled documents as rows, a line for each column that has a value; a long one goes on under itself.

    Args:
        width: of a line, in cells.
    """
    if not table.preview:
        return Content.styled("no rows to show", MUTED)
    names = [Content(safe(column.column, 60)).truncate(_NAME, ellipsis=True) for column in table.columns]
    indent = max((name.cell_length for name in names), default=0) + 4
    next_line = "\n" + " " * indent
    blocks = []
    for row in table.preview:
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
    """The weightiest first, as the engine sorts them; those of other collections after."""
    lines = [Content.assemble(("! ", "$warning"), safe(warning, 400)) for warning in own]
    if not own:
        lines.append(Content.styled("none for this collection", MUTED))
    if others:
        lines += [Content(""), Content.styled("Other collections", MUTED)]
        lines += [Content.assemble(("! ", "$warning"), safe(warning, 400)) for warning in others]
    return Content("\n").join(lines)
