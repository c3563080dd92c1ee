"""The README's section on mapping says what the code does."""

from __future__ import annotations

from engine.mapping.kinds import KIND_NAMES
from engine.mapping.options import MappingOptions
from tests.docs.mapping_page import README, page, with_page


def test_the_readme_is_up_to_date() -> None:
    text = README.read_text()
    assert with_page(text) == text, "run `make docs`"


def test_every_option_and_every_kind_has_its_row() -> None:
    text = page()
    for name in MappingOptions.model_fields:
        assert f"\n| `{name}` | " in text
    for name in KIND_NAMES.values():
        assert name == "null" or f"\n| {name} | `" in text
