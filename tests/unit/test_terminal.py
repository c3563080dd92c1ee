"""What the tests' terminal hands on of what a program writes, wherever a read ends."""

from __future__ import annotations

import re

import pytest

from tests.tui.terminal import whole_sequences

WRITTEN = "\x1b[?25l\x1b[3;1H\x1b[7mt\x1b[0;38;2;201;7;3mype to filter\x1b[0m\x1b]0;a title\x07\x1b(B\x1bP1;2\x1b\\end"
STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("cut", range(len(WRITTEN) + 1))
def test_a_read_that_ends_within_a_sequence_hides_nothing(cut: int) -> None:
    first, begun = whole_sequences(WRITTEN[:cut])
    second, rest = whole_sequences(begun + WRITTEN[cut:])
    assert STYLE.sub("", first) + STYLE.sub("", second) == STYLE.sub("", WRITTEN)
    assert rest == ""
