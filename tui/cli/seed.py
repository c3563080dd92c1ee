"""`seed`: synthetic users, generated into MongoDB."""

from __future__ import annotations

from engine.protocol import Start
from tui.cli import front_ends
from tui.cli.options import Given, HeadlessOption, JsonOption, PlainOption, takes


@takes(
    "source",
    "seed_collection",
    "seed_count",
    "seed",
    "cluster_size",
    "dask",
    "page_size",
    "into_existing",
    "on_finish",
    "ascii",
    "no_mouse",
)
def seed(
    given: Given, headless: HeadlessOption = False, plain: PlainOption = False, as_json: JsonOption = False
) -> int:
    """Generate synthetic users into MongoDB, in parallel, the same ones for the same seed."""
    return front_ends.start_run(
        given.load(),
        lambda: Start(seed=True, migrate=False),
        sides=("source",),
        headless=headless,
        plain=plain,
        as_json=as_json,
    )
