"""The tutorial's commands do what it says, on servers that come along."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import PROJECT
from tests.docs.tutorial import FOLDER, MARK, script, shape, steps

PATIENCE_S = 800.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that another user may enter, as PostgreSQL may be one."""
    with tempfile.TemporaryDirectory(prefix="mpg") as name:
        Path(name).chmod(0o711)
        (Path(name) / "private").mkdir(mode=0o700)
        yield Path(name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_works_as_it_is_written(folder: Path) -> None:
    private = str(folder / "private")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONGOPG_RUN")} | {
        "MONGOPG_SEED_COUNT": "20000",  # of `make demo`: a million takes longer than a test may
        "VENV": sys.prefix,
        "XDG_RUNTIME_DIR": private,
        "XDG_STATE_HOME": private,
        "XDG_CONFIG_HOME": private,
        "TMPDIR": str(folder),
    }
    servers = str(folder / "servers")
    # `make` keeps its environment where VENV says, and so does the tutorial's path.
    text = script(servers).replace("$PWD/.venv/bin", f"{sys.prefix}/bin")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    outputs = done.stdout.split(f"{MARK}\n")[1:]
    assert len(outputs) == len(steps()), done.stdout
    for step, output in zip(steps(), outputs, strict=True):
        shown = {shape(line.replace(servers, FOLDER)) for line in output.splitlines()}
        assert {shape(line) for line in step.printed} <= shown, f"after\n{step.commands}it printed\n{output}"
    assert not Path(servers).exists()
