"""Python looks for garbage as usual once everything is loaded: closed dialogs are not kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tui import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_little_is_looked_at_while_loading_and_as_usual_afterwards() -> None:
    before = gc.get_threshold()
    garbage.expect_little()
    assert gc.get_threshold()[0] == garbage.WHILE_LOADING
    garbage.settle()
    assert gc.get_threshold() == before
