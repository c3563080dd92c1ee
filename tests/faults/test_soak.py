"""A short soak: random faults in real runs, and the whole oracle after each (`make soak` runs it for longer)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINUTES = 2.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_faults_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    """From a new seed each time; it is printed, with everything that is needed to do it again."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", str(MINUTES), "--documents", "30000"]
    command += ["--json", str(tmp_path / "figures.json"), "--evidence", str(tmp_path)]
    soak = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(soak.stdout)
    assert soak.returncode == 0, soak.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["runs"] > 0
    assert figures["kill_cycles"] > 0
    assert (figures["lost"], figures["duplicated"]) == (0, 0)
    assert figures["missed"] == []
