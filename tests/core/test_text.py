"""Text from outside: what may be kept, and what is written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplaned.core.text import escape, escape_lines, is_clean

ANY_TEXT = st.text(st.characters())  # surrogates too


@pytest.mark.parametrize("text", ["", "plain", "größer", "模型", "a b", "👩‍🔬", "نموذج", "a\u00a0b", "\\x1b"])
def test_words_of_every_script_are_clean(text: str) -> None:
    """Letters, spaces and joined emoji stay as they are."""
    assert is_clean(text)
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x00", r"\x00"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("\u2066\u061c\u2028", r"\u2066\u061c\u2028"),
        ("\ufeff\u200b", r"\ufeff\u200b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_not_clean(text: str, shown: str) -> None:
    """Controls, marks of direction and invisible characters are written out."""
    assert not is_clean(text)
    assert escape(text) == shown


@given(ANY_TEXT)
def test_an_escaped_text_is_clean(text: str) -> None:
    """Escaping leaves one line that is clean, and changes nothing of a clean text."""
    assert is_clean(escape(text))
    assert is_clean(escape_lines(text).replace("\n", ""))
    if is_clean(text):
        assert escape(text) == text
