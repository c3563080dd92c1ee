"""A worker starts with everything imported: each import would cost every worker milliseconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_worker_imports_nothing_that_the_fork_server_has_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.engine.preloaded", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    assert {name for name in done.stdout.split() if name.partition(".")[0] != "tests"} == set()
