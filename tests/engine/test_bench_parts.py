"""Parts of `make bench`, with few documents: that they measure what they say, not how fast it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENTS = 30_000
"""Twice as many are more than those of which a run reads all keys."""


@pytest.mark.slow
def test_random_ids_are_read_in_both_orders_beside_a_floor_in_natural_order(tmp_path: Path) -> None:
    words = ["--parts", "random_ids", "--only", "floor,ours", "--documents", str(DOCUMENTS), "--runs", "1"]
    words += ["--cache-mb", "8", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (contest,) = json.loads((tmp_path / "results.json").read_text())["contests"]
    assert contest["documents"] == 2 * DOCUMENTS
    assert "random_ids, 60,000" in done.stdout, "no limit was judged"
