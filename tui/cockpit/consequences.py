"""What starting something will do, in lines for the question that is asked before."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config import Mode, Settings
from engine.protocol import CollectionInfo, TableView
from tui.cockpit.planning import EditedPlan
from tui.words.format import bytes_size, number
from tui.words.safe import safe
from tui.words.uri import place, shown

MODES: dict[Mode, str] = {
    "create": "tables are created; one that exists is refused",
    "append": "rows are added to tables that exist",
    "replace": "loaded beside, then swapped for tables that exist",
    "upsert": "rows with the same _id are replaced",
}
"""What happens to an existing table."""


def of_start(settings: Settings, chosen: Sequence[CollectionInfo], n_others: int) -> list[str]:
    """A copy.

    Args:
        chosen: collections with what is known of them; none when nothing was listed.
        n_others: configured collections that were not listed.
    """
    what = _sum(chosen) if chosen else "the configured collections"
    if chosen and n_others:
        what += f", and {n_others} of other databases"
    return _copy(settings, what, f"schema {safe(settings.target.schema_name, 63)}", settings.run.mode)


def of_edited_start(settings: Settings, edited: EditedPlan) -> list[str]:
    """A copy as a plan says that the operator has edited."""
    lines = _copy(settings, _sum(edited.plan.tables), "into the plan's tables", edited.plan.mode)
    edits = f"{edited.n_edits} edit{'' if edited.n_edits == 1 else 's'}"
    lines += [f"{edits}: collections, tables, mode and columns are the plan's own."]
    if edited.is_older:
        lines += ["! Setup has changed since: its collections and mapping do not count."]
    return lines


def _sum(parts: Sequence[CollectionInfo | TableView]) -> str:
    documents = sum(max(0, part.documents) for part in parts)
    size = bytes_size(sum(part.size_bytes for part in parts))
    return f"{len(parts)} collection{'s' * (len(parts) != 1)}, about {number(documents)} documents · {size}"


def _copy(settings: Settings, what: str, where: str, mode: str) -> list[str]:
    source, target = shown(settings.source.uri.get_secret_value()), shown(settings.target.uri.get_secret_value())
    means = next((means for name, means in MODES.items() if name == mode), "")
    return [
        f"Copy {what}",
        f"from  {safe(place(source), 80)}",
        f"to    {safe(place(target), 80)}, {where}",
        f"with  {settings.run.cluster_size} workers, {number(settings.run.page_size)} documents a page",
        "",
        f"Mode {safe(mode, 20)}: {means}.",
    ]


def of_seed(settings: Settings) -> list[str]:
    """Seeding alone."""
    return [
        f"Fill {safe(settings.seed.collection, 120)} with synthetic users, up to {number(settings.seed.count)},",
        f"in    {safe(place(shown(settings.source.uri.get_secret_value())), 80)}",
        f"with  {settings.run.cluster_size} workers",
        "",
        "Nothing is deleted; a collection that holds other documents is refused.",
    ]


def of_demo(settings: Settings) -> list[str]:
    """Embedded servers, seeded and migrated."""
    where = safe(settings.demo.dir, 200) or "a temporary folder"
    end = "keep running at the end" if settings.demo.keep else "end and are removed when you leave"
    return [
        f"Start MongoDB and PostgreSQL on this machine, in {where};",
        f"seed {number(settings.seed.count)} synthetic users and copy them",
        f"with {settings.run.cluster_size} workers. The servers {end}.",
    ]
