"""Arming the crash points that `planted/sitecustomize.py` puts into every engine and worker."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class CrashPoints:
    """Points that are armed by files in a folder."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Variables with which an engine has the points."""
        python_path = os.pathsep.join(filter(None, [str(PLANTED), os.environ.get("PYTHONPATH", "")]))
        return {"MONGOPG_CRASH_POINTS": str(self.folder), "PYTHONPATH": python_path}

    def arm(self, point: str) -> None:
        """The next process that passes the point dies there."""
        (self.folder / point).touch()

    def is_armed(self, point: str) -> bool:
        """Nobody has died there yet."""
        return (self.folder / point).exists()

    def disarm(self, point: str) -> bool:
        """Let everybody pass again; False when somebody has died there."""
        try:
            (self.folder / point).unlink()
        except FileNotFoundError:
            return False
        return True
