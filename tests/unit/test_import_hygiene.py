"""Dependencies run downwards only; checked in a fresh interpreter and by import-linter."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_asking_for_embedded_servers_does_not_load_the_drivers() -> None:
    loaded = set(json.loads(python(LOADED_AFTER.format(module="engine.demo, engine.demo.keeper"))))
    assert not {"pymongo", "asyncpg", "pydantic", "asyncio"} & loaded


def test_workers_load_nothing_that_only_an_engine_needs() -> None:
    """Of plans and of its protocol: that costs every run a tenth of a second, and workers memory."""
    loaded = json.loads(python(LOADED_AFTER.format(module="engine.work.preload")))
    assert not [
        name for name in loaded if name.startswith(("engine.plan", "engine.protocol", "engine.config", "tomlkit"))
    ]


def test_the_layers_hold() -> None:
    lint = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    finished = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


LAZY = {
    "tui.__main__": {"tui.cli.entry"},  # ctrl-C while it loads is no traceback
    "tui.cli.commands": {"tui.cli.cockpit"},
    "tui.cli.cockpit": {"tui.cockpit.app"},  # loads while the engine starts
    "tui.cli.entry": {
        "engine.redaction",
        "engine.service.sockets",
        "traceback",
        "tui.cli.json_lines",
        "tui.cli.output",
    },
    "tui.cli.front_ends": {"tui.cli.cockpit", "tui.cli.headless", "tui.cli.live", "tui.cli.printers"},
    "tui.cli.options": {"engine.loading", "tui.cli.output", "tui.cli.password", "tui.profiles"},
    "tui.cli.run": {"engine.protocol"},  # loads while the engine starts
}
"""Imports inside functions of the front ends, all of them so that `--help` and runs without a screen start quickly."""


def lazy_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    found |= {each.name for each in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add(node.module or "")
    return found


def test_the_front_ends_import_inside_functions_only_what_is_listed() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): lazy
        for path in sorted((ROOT / "tui").rglob("*.py"))
        if (lazy := lazy_imports(path))
    }
    assert found == LAZY


def test_a_run_without_a_screen_loads_no_screen() -> None:
    loaded = set(json.loads(python(LOADED_AFTER.format(module="tui.cli.run, tui.cli.headless"))))
    assert not {"textual", "rich"} & loaded


def listed_in(package: Path) -> list[str]:
    """What the lines of a package's listing name, up to the two spaces before what they say of it."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    lines = docstring.partition("::\n")[2].splitlines()
    return [name for line in lines if line for name in line.strip().partition("  ")[0].split(", ")]


@pytest.mark.parametrize(
    "package", sorted(path.parent for path in (ROOT / "tui").rglob("__init__.py")), ids=lambda path: path.name
)
def test_a_package_of_the_front_ends_lists_its_modules(package: Path) -> None:
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(listed_in(package)) == sorted(modules | packages)


def test_the_cockpits_listing_goes_downwards() -> None:
    folder = ROOT / "tui" / "cockpit"
    order = listed_in(folder)
    upwards = [
        f"{path.relative_to(folder)}: {imported}"
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tui.cockpit")
        for name in node.names
        for imported in [f"{node.module}.{name.name}".split(".")[2]]
        if order.index(imported) < order.index(path.relative_to(folder).with_suffix("").parts[0])
    ]
    assert upwards == []


def test_what_a_screen_may_ask_stays_narrow() -> None:
    tree = ast.parse((ROOT / "tui" / "cockpit" / "api.py").read_text(encoding="utf-8"))
    protocols = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    sizes = {name: sum(isinstance(each, ast.stmt) and not isinstance(each, ast.Expr) for each in body)
             for name, body in protocols.items()}  # fmt: skip
    assert sizes.keys() >= {"CockpitApi", "ChoicesApi", "RunsApi", "AnswersApi", "OrdersApi"}
    assert max(sizes.values()) <= 12, sizes
    assert "Any" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
