"""Dependencies run downwards only; checked in a fresh interpreter and by import-linter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import engine
names = [module.name for module in pkgutil.walk_packages(engine.__path__, "engine.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""

LOADED_AFTER = "import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"


def python(script: str) -> str:
    finished = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_engine_loads_nothing_of_the_screen() -> None:
    seen = json.loads(python(IMPORT_EVERYTHING))
    assert {"engine.errors", "engine.demo.keeper", "engine.work.messages"} <= set(seen["imported"])
    assert not {"tui", "textual", "rich", "typer"} & set(seen["loaded"])


def test_whoever_asks_for_embedded_servers_does_not_load_the_drivers() -> None:
    loaded = set(json.loads(python(LOADED_AFTER.format(module="engine.demo, engine.demo.keeper"))))
    assert not {"pymongo", "asyncpg", "pydantic", "asyncio"} & loaded


def test_the_layers_hold() -> None:
    lint = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    finished = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
