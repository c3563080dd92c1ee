"""Each package of the engine says in its `__init__` what is in it, so that its listing can be read like a table of contents."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import engine

PACKAGES = ["convert", "demo", "ledger", "libpq", "mapping", "mongo", "plan", "postgres", "protocol"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_its_modules_and_nothing_else(package: str) -> None:
    folder = Path(engine.__file__).parent / package
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    words = importlib.import_module(f"engine.{package}").__doc__ or ""
    listed = {
        name
        for line in re.findall(r"^    (\S.*)$", words, re.MULTILINE)
        for name in re.split(r",\s*", re.split(r"\s{2,}", line)[0])
    }
    assert modules <= listed, f"not listed: {sorted(modules - listed)}"
    gone = (
        {name for name in listed if re.fullmatch(r"[a-z_]+", name)}
        - modules
        - {path.stem for path in folder.glob("*.pyx")}
    )
    assert not gone, f"listed, and not there: {sorted(gone)}"
