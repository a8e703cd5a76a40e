"""Text from outside: what may be kept, and what is written out."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane.cli.escaping import escape as command_escape
from echoplaned.core.text import escape, escape_lines, is_clean

SCRIPTS = (
    "\u0646\u0627\u0645\u0647\u200c\u0647\u0627",  # Persian, with a joiner that parts
    "\u0915\u094d\u200d\u0937",  # Devanagari
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",  # Hebrew with points
    "\u0e17\u0e35\u0e48",  # Thai, two marks upon a letter
    "\u0f66\u0f92\u0fb2\u0f72",  # Tibetan, three below and above
    "Vie\u0302\u0323t",
    "\u2500" * 100,
)
ODD = "a \u0301\u20dd\u200d\u200c\xad\ufe0f\u6a21\xe4\U0001f600\u3164\ud800\n"
ANY_TEXT = st.text(st.characters()) | st.text(st.sampled_from(ODD))  # surrogates too


@pytest.mark.parametrize("text", ["", "plain", "größer", "模型", "a b", "👩‍🔬", "نموذج", "a\u00a0b", "\\x1b", *SCRIPTS])
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
        ("a\xadb", r"a\xadb"),
        ("\ufe0f\U000e0100\U000e01ef", r"\ufe0f\U000e0100\U000e01ef"),
        ("\u3164\u115f\u1160\uffa0\u034f", r"\u3164\u115f\u1160\uffa0\u034f"),
        ("\U0001d173\U0001d17a\U0001bca0", r"\U0001d173\U0001d17a\U0001bca0"),
        ("\U00013430\U0001343f", r"\U00013430\U0001343f"),
        ("\u17b4\u17b5\u180b\u180f\u2065\ufff0", r"\u17b4\u17b5\u180b\u180f\u2065\ufff0"),
        ("a\u200db", r"a\u200db"),
        ("\u6a21\u200d\u200d\u6a21", "\u6a21" + r"\u200d\u200d" + "\u6a21"),
        ("\u6a21\u200c", "\u6a21" + r"\u200c"),
        ("\xe4\xad\u200d\xe4", "\xe4" + r"\xad\u200d" + "\xe4"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + r"\u0301\u0301"),
        ("e" + "\u0301\u20dd" * 3, "e" + "\u0301\u20dd" * 2 + r"\u0301\u20dd"),
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


def test_marks_are_counted_through_joiners() -> None:
    """Two hundred marks upon one letter are not clean, whatever is between them."""
    for between in ("", "\u200d", "\u200c"):
        assert not is_clean("\u0915" + f"\u0301{between}" * 200 + "\u0915")


def test_a_long_text_is_read_in_milliseconds() -> None:
    """Marks, emoji and letters by the hundred thousand."""
    for text in ("\u0301" * 300_000, "\u6a21" * 300_000, "\U0001f600" * 200_000, "\u6a21\u200d" * 150_000):
        began = time.process_time()
        is_clean(text)
        assert time.process_time() - began < 0.5


def test_the_command_escapes_the_same() -> None:
    """It knows nothing of the daemon, and so has the table a second time."""
    every = "".join(map(chr, range(0x110000)))
    assert command_escape(every) == escape(every)
    marks = "e\u0301\u200d" + "\u0301" * 9 + "\u200d\u20dd"
    assert command_escape(marks) == escape(marks)


@given(ANY_TEXT)
def test_the_command_escapes_any_text_the_same(text: str) -> None:
    """In whatever order the characters come."""
    assert command_escape(text) == escape(text)
