"""Planting crash points, constants, a jumping clock and little memory into engines: see `planted/sitecustomize.py`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

PLANTED = Path(__file__).parent / "planted"
IN_WORKERS = ("reading", "converted", "mid_copy", "claimed", "pre_commit", "in_commit", "post_commit")
IN_ENGINE = tuple(
    f"{when}_{what}"
    for what in (
        "making_tables", "taking_over", "keeping_state", "looking_for_gaps", "cutting_again", "building_key", "analyzing",
        "swapping",
    )
    for when in ("before", "after")
)  # fmt: skip

IN_APPLYING = ("lane_claimed", "lane_read", "lane_written", "lane_pre_commit", "in_commit", "post_commit")
"""Of a worker that applies changes."""
IN_COLLECTING = ("before_collecting", "slice_claimed", "slice_pre_commit", "after_collecting")
"""Of the engine, while it collects them."""
IN_CUTTING_OVER = tuple(
    f"{when}_{what}"
    for what in ("entering_phase", "settling", "finishing", "completing")
    for when in ("before", "after")
)
"""Of the engine; `completing` is the whole of the last transaction."""
AT_THE_BEGINNING = ("beginning_0", "beginning_1", "beginning_2", "beginning_3")
"""Each ends one worker before it is ready."""


def constants(values: dict[str, float]) -> dict[str, str]:
    """Variables with which engines have other values for "module:NAME"."""
    return _python_path() | {"MONGOPG_PLANTED_CONSTANTS": json.dumps(values)}


def small_batches(documents: int) -> dict[str, str]:
    """Variables with which workers read so many documents at a time, so that a range takes several batches."""
    return constants({f"engine.mongo.reader:{name}": documents for name in ("BATCH_DOCUMENTS", "MAX_BATCH_DOCUMENTS")})


def jumping_clock(seconds: float) -> dict[str, str]:
    """Variables with which an engine's wall clock jumps to and fro."""
    return _python_path() | {"MONGOPG_PLANTED_CLOCK_S": str(seconds)}


def little_memory(mib: int) -> dict[str, str]:
    """Variables with which an engine's workers may take so much more than they have in the beginning."""
    return _python_path() | {"MONGOPG_PLANTED_MEMORY_MB": str(mib)}


def _python_path() -> dict[str, str]:
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(PLANTED))]
    return {"PYTHONPATH": os.pathsep.join([str(PLANTED), *others])}


@dataclass(frozen=True, slots=True)
class CrashPoints:
    """Points that are armed by files in a folder."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Variables with which an engine has the points."""
        return _python_path() | {"MONGOPG_CRASH_POINTS": str(self.folder)}

    def arm(self, point: str) -> None:
        """The next process that passes the point dies there."""
        (self.folder / point).touch()

    def is_armed(self, point: str) -> bool:
        """No process has died there yet."""
        return (self.folder / point).exists()

    def disarm(self, point: str) -> bool:
        """Let all pass again; False when one has died there."""
        try:
            (self.folder / point).unlink()
        except FileNotFoundError:
            return False
        return True
