"""Text from outside: what of it may be kept, and how the rest is shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

MAX_MARKS: Final = 4
"""Combining marks in a row: scripts stack up to three or four, more of them run over the lines around."""

# What shows nothing, or is taken for something else than text: controls (ESC and NUL among them), ends of lines, halves of characters,
# marks of annotation (U+FFF9), format controls of Egyptian hieroglyphs (U+13430), and every Default_Ignorable_Code_Point of Unicode 15.1
# (https://www.unicode.org/Public/15.1.0/ucd/DerivedCoreProperties.txt) but the two joiners.
_HIDDEN: Final = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_JOINERS: Final = "\u200c\u200d"
_SEEN: Final = f"[^\x00-\x7f{_JOINERS}{_HIDDEN}]"
# Scripts and emoji need joiners, one at a time between two characters of theirs; elsewhere they hide.
_LOOSE: Final = f"[{_JOINERS}](?:(?<!{_SEEN}[{_JOINERS}])|(?!{_SEEN}))"
_UNCLEAN: Final = re.compile(f"[{_HIDDEN}]|{_LOOSE}")
# The same in two: a set alone is searched for several times as fast.
_HIDDEN_ONE: Final = re.compile(f"[{_HIDDEN}]")
_LOOSE_JOINER: Final = re.compile(_LOOSE)
# Where marks upon a letter may be, as none is a letter, a digit or ASCII: the few such places are looked at one by one.
_PERHAPS_MARKS: Final = re.compile(r"[^\w\s\x00-\x7f]{5,}")


def is_clean(text: str) -> bool:
    """Return whether a text is nothing but what can be seen."""
    if text.isascii() and text.isprintable():
        return True
    if _HIDDEN_ONE.search(text) is not None:
        return False
    if any(joiner in text for joiner in _JOINERS) and _LOOSE_JOINER.search(text) is not None:
        return False
    return all(next(_surplus(run[0]), None) is None for run in _PERHAPS_MARKS.finditer(text))


def escape(text: str) -> str:
    r"""Return a text on one line, with what cannot be seen written out.

    As ``\x1b``, ``\n``, ``\u202e``.
    """
    if text.isascii() and text.isprintable():
        return text
    fewer = _PERHAPS_MARKS.sub(lambda run: _without_surplus(run[0]), text)
    return _UNCLEAN.sub(lambda found: _written(found[0]), fewer)


def escape_lines(text: str) -> str:
    """Return a text whose line ends stay, with all else that cannot be seen escaped."""
    return "\n".join(map(escape, text.split("\n")))


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _without_surplus(run: str) -> str:
    surplus = set(_surplus(run))
    return "".join(_written(each) if at in surplus else each for at, each in enumerate(run)) if surplus else run


def _surplus(run: str) -> Iterator[int]:
    """Yield where the marks are that follow ``MAX_MARKS`` others.

    Joiners between them end no row.
    """
    row = 0
    for at, each in enumerate(run):
        if unicodedata.category(each) in ("Mn", "Me"):
            row += 1
            if row > MAX_MARKS:
                yield at
        elif each not in _JOINERS:
            row = 0
