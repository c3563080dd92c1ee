"""A short soak: random faults in real runs, and the whole oracle after each (`make soak` runs it for longer)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MINUTES = 2.0
SEEDS = 1_000
"""Of changes, as many as the time suffices for: how many is printed."""


def soaked(folder: Path, *words: str) -> dict[str, Any]:
    """What a soak counted, from a new seed; it is printed, with everything that is needed to do it again."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", str(MINUTES), *words]
    command += ["--json", str(folder / "figures.json"), "--evidence", str(folder)]
    soak = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(soak.stdout)
    assert soak.returncode == 0, soak.stderr
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    assert figures["runs"] > 0
    assert figures["kill_cycles"] > 0
    assert (figures["lost"], figures["duplicated"], figures["wrong"], figures["left_over"]) == (0, 0, 0, 0)
    return figures


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_faults_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    figures = soaked(tmp_path, "--documents", "30000", "--follow", "never")
    assert figures["missed"] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_followed_is_the_source_whatever_is_killed(tmp_path: Path) -> None:
    """Operations of all kinds on random keys, a seed a collection; our processes, both servers and the network are hurt."""
    figures = soaked(tmp_path, "--documents", "1000", "--follow", "always", "--seeds", str(SEEDS))
    assert figures["seeds"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_faults_on_a_dask_cluster_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    """Workers on two hosts; scheduler, Dask's workers, nannies, host processes and the engine are hurt, some two at once."""
    soaked(tmp_path, "--documents", "10000", "--follow", "never", "--dask")
