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
        assert f"| `{knob.name}` | {knob.unit} | {knob.low:,} to {knob.high:,}" in SECTIONS["knobs"]()


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
