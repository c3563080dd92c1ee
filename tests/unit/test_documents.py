"""The documents say what the code does, and lead nowhere that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine import errors
from engine.config import variable_of
from engine.knobs import KNOBS
from engine.loading import setting_names
from engine.mapping.kinds import KIND_NAMES
from engine.mapping.options import MappingOptions
from tests.docs import mapping_page
from tests.docs.markdown import DOCUMENTS, PROJECT, names_of_sections, with_sections
from tests.docs.outcomes_page import exit_codes
from tests.docs.sections import SECTIONS
from tests.docs.settings_page import flags
from tui.cockpit.commands import COMMANDS, SCREENS, Place

PAGES = PROJECT / "docs"
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
_PATH = re.compile(r"(?<![\w/-])(?:engine|tui|tests|docs)/[\w./]*\w")
_NAMED = re.compile(r"((?:engine|tui)/[\w./]+\.pyx?) +([A-Z]\w+)\.(\w+)")
"""A file and what stands in it: `engine/work/feed.py  Feed.page`."""
ABOUT_CODE = ("architecture.md", "developing.md", "security.md", "glossary.md", "types.md", "performance.md")
NOT_HERE = re.compile(r"\b[A-Z]{4,}\.md\b")
"""Pages in capitals; those of this repository are README, CHANGELOG and CONTRIBUTING."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_generated_sections_are_up_to_date(document: Path) -> None:
    text = document.read_text()
    assert with_sections(text, SECTIONS) == text, "run `make docs`"


def test_every_section_stands_somewhere() -> None:
    assert {name for document in DOCUMENTS for name in names_of_sections(document.read_text())} == set(SECTIONS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_and_pictures_are_there(document: Path) -> None:
    links = [link for link in _LINK.findall(document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_to_headings_lead_to_one(document: Path) -> None:
    for page, anchor in _ANCHOR.findall(document.read_text()):
        if "://" not in page:
            text = ((document.parent / page) if page else document).read_text()
            assert anchor in {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def anchor_of(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_in_the_index() -> None:
    linked = set(_LINK.findall((PAGES / "README.md").read_text()))
    assert {page.name for page in PAGES.glob("*.md")} - linked == {"README.md"}


@pytest.mark.parametrize("name", ABOUT_CODE)
def test_paths_that_pages_name_exist(name: str) -> None:
    paths = set(_PATH.findall((PAGES / name).read_text()))
    assert [path for path in paths if not (PROJECT / path).exists()] == []


def test_the_architecture_names_what_is_in_its_files() -> None:
    named = _NAMED.findall((PAGES / "architecture.md").read_text())
    assert named
    for path, owner, member in named:
        text = (PROJECT / path).read_text()
        assert f"class {owner}" in text, (path, owner)
        assert re.search(rf"\b{member}\b", text), (path, owner, member)


def test_every_package_of_the_engine_lists_its_modules() -> None:
    for package in (PROJECT / "engine", *(PROJECT / "engine").iterdir()):
        if (package / "__init__.py").exists():
            listed = set(re.findall(r"\w+", (package / "__init__.py").read_text().partition('"""\n')[0]))
            modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
            modules |= {path.parent.name for path in package.glob("*/__init__.py")}
            assert modules <= listed, package.name


def test_every_target_of_make_is_on_the_page_for_developers() -> None:
    text = (PAGES / "developing.md").read_text()
    targets = re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert [target for target in targets if f"make {target}" not in text] == []


def test_no_page_is_named_that_is_not_here() -> None:
    ours = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    files = [*DOCUMENTS, *PROJECT.glob("*.md"), *PROJECT.glob("tests/**/*.md")]
    files += [path for folder in ("engine", "tui", "tests") for path in PROJECT.glob(f"{folder}/**/*.py*")]
    files += list(PROJECT.glob("engine/**/*.px*"))
    for path in files:
        if path.suffix in (".md", ".py", ".pyx", ".pxd", ".pxi"):
            assert set(NOT_HERE.findall(path.read_text())) <= ours, path


def test_every_setting_has_its_row_with_variable_and_flag() -> None:
    rows = [line for line in SECTIONS["settings"]().splitlines() if line.startswith("| `")]
    for name, row in zip(setting_names(), rows, strict=True):
        assert row.startswith(f"| `{name.partition('.')[2]}` | ")
        assert f"| `{variable_of(name)}` |" in row
        assert all(f"`{flag}`" in row for flag, _ in flags().get(name, []))
        assert not row.endswith("|  |"), "no docstring below the setting"
    given = {(name, flag) for name, found in flags().items() for flag, _ in found}
    assert given >= {("run.cluster_size", "--cluster-size"), ("seed.collection", "--collection"), ("demo.dir", "--dir")}


def test_every_knob_has_its_bounds() -> None:
    for knob in KNOBS.values():
        (row,) = (line for line in SECTIONS["knobs"]().splitlines() if line.startswith(f"| `{knob.name}`"))
        assert f" | {knob.unit} | {knob.low:,} to {knob.high:,}" in row


def test_every_command_of_the_cockpit_is_on_a_page() -> None:
    for command in COMMANDS:
        page = PAGES / f"{'keys' if command.place is Place.APP else command.place.value}.md"
        assert f"| {command.help} | `{command.id}` |" in page.read_text()


@pytest.mark.parametrize("place", SCREENS)
def test_every_screen_has_a_page_with_its_picture(place: Place) -> None:
    text = (PAGES / f"{place.value}.md").read_text()
    assert f"](pictures/{place.value}.svg)" in text
    assert f"keys-{place.value}" in names_of_sections(text)


def test_every_exit_code_has_a_meaning() -> None:
    codes = {int(code) for shown in exit_codes() for code in shown.split("/")}
    assert codes == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_every_option_and_every_kind_of_the_mapping_has_its_row() -> None:
    text = mapping_page.page()
    for name in MappingOptions.model_fields:
        assert f"\n| `{name}` | " in text
    for name in KIND_NAMES.values():
        assert name == "null" or f"\n| {name} | `" in text
