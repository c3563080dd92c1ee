from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tui.words.safe import safe, safe_block


def test_ordinary_text_of_any_language_stays_as_it_is() -> None:
    text = "Ünïcode 名前 – naïve [red]name[/] 🙂 a\\b"
    assert safe(text) == text


def test_terminal_sequences_become_visible() -> None:
    assert safe("a\x1b]52;c;eA==\x07b") == "a\\u{1b}]52;c;eA==\\u{7}b"
    assert safe("\x9b31m") == "\\u{9b}31m"
    assert safe("one\r\ntwo\tthree\x7f") == "one\\u{d}\\u{a}two\\u{9}three\\u{7f}"


def test_characters_that_hide_or_turn_text_around_become_visible() -> None:
    for character in "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u200b\u200d\ufeff\u2028\u2029\u00ad\u3164\u2800":
        assert safe(f"a{character}b") == f"a\\u{{{ord(character):x}}}b"
    assert safe("\ud800") == "\\u{d800}"
    assert safe("\ue000\U000e0041\U0010ffff") == "\\u{e000}\\u{e0041}\\u{10ffff}"


def test_long_text_is_capped_before_it_is_looked_at() -> None:
    assert safe("x" * 600) == "x" * 500 + "…"
    assert safe("\x1b" * 20_000_000, limit=3) == "\\u{1b}\\u{1b}\\u{1b}…"
    assert safe("exact", limit=5) == "exact"


def test_a_block_keeps_its_lines_and_nothing_else() -> None:
    assert safe_block("a\n\x1b[2J\n") == "a\n\\u{1b}[2J\n"


@given(st.text(alphabet=st.characters(), max_size=60))
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    for character in safe(text):
        assert not unicodedata.category(character).startswith("C")
        assert character not in "\u2028\u2029"
