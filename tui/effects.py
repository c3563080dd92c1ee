"""What starting something will do, in lines for the question that is asked before."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config import Mode, Settings
from engine.control.protocol import CollectionInfo
from tui.format import bytes_size, number
from tui.safe import safe
from tui.uri import place, shown

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
    documents = sum(max(0, info.documents) for info in chosen)
    size = bytes_size(sum(info.size_bytes for info in chosen))
    what = f"{len(chosen)} collection{'s' * (len(chosen) != 1)}, about {number(documents)} documents · {size}"
    if n_others:
        what += f", and {n_others} of other databases"
    source, target = shown(settings.source.uri.get_secret_value()), shown(settings.target.uri.get_secret_value())
    return [
        f"Copy {what if chosen else 'the configured collections'}",
        f"from  {safe(place(source), 80)}",
        f"to    {safe(place(target), 80)}, schema {safe(settings.target.schema_name, 63)}",
        f"with  {settings.run.cluster_size} workers, {number(settings.run.page_size)} documents a page",
        "",
        f"Mode {settings.run.mode}: {MODES[settings.run.mode]}.",
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
    """Servers of our own, seeded and migrated; sets what asks for them."""
    settings.demo.embedded = True
    settings.run.collections = []
    where = safe(settings.demo.dir, 200) or "a temporary folder"
    end = "keep running at the end" if settings.demo.keep else "end and are removed when you leave"
    return [
        f"Start MongoDB and PostgreSQL on this machine, in {where};",
        f"seed {number(settings.seed.count)} synthetic users and copy them",
        f"with {settings.run.cluster_size} workers. The servers {end}.",
    ]
