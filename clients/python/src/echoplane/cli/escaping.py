"""What comes from a daemon, made safe for a terminal.

Labels, node ids and reasons are other people's text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

_MAX_MARKS: Final = 4
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
_UNCLEAN: Final = re.compile(f"[{_HIDDEN}]|[{_JOINERS}](?:(?<!{_SEEN}[{_JOINERS}])|(?!{_SEEN}))")
# Where marks upon a letter may be, as none is a letter, a digit or ASCII: the few such places are looked at one by one.
_PERHAPS_MARKS: Final = re.compile(r"[^\w\s\x00-\x7f]{5,}")
# What rich writes for colours and bold; its own tables are the only source of it, since every cell of them is escaped.
_STYLE: Final = re.compile("(\x1b\\[[0-9;]*m)")


def escape(text: str) -> str:
    r"""Return a text on one line, with what cannot be seen written out.

    Such as ``\x1b``, ``\n``, ``\u202e``.
    """
    return _write_out(text, lambda character: character.encode("unicode_escape").decode("ascii"))


def escape_lines(text: str, indent: str = "") -> str:
    """Return a text whose ends of lines stay, with everything else escaped.

    Each further line is indented: none of it passes for a line of ours.
    """
    return f"\n{indent}".join(map(escape, text.split("\n")))


def escape_drawn(text: str) -> str:
    """Return finished output with nothing in it that cannot be seen.

    Only ends of lines and the styles of a table stay.
    """
    parts = _STYLE.split(text)
    return "".join(part if at % 2 else escape_lines(part) for at, part in enumerate(parts))


def escape_json(text: str) -> str:
    """Return the same JSON with what cannot be seen as JSON's own escapes.

    Ends of lines between values are left alone.
    """
    return _write_out(text, lambda character: character if character == "\n" else _json_escape(character))


def _json_escape(character: str) -> str:
    # JSON writes what is beyond 16 bits as a pair.
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _write_out(text: str, write: Callable[[str], str]) -> str:
    """Return a text with each character that cannot be seen as ``write`` has it."""
    if text.isascii() and text.isprintable():
        return text
    fewer = _PERHAPS_MARKS.sub(lambda run: _write_marks(run[0], write), text)
    return _UNCLEAN.sub(lambda found: write(found[0]), fewer)


def _write_marks(run: str, write: Callable[[str], str]) -> str:
    """Write out the combining marks that follow four others.

    Joiners between them end no row.
    """
    written: list[str] = []
    row = 0
    for each in run:
        if unicodedata.category(each) in ("Mn", "Me"):
            row += 1
        elif each not in _JOINERS:
            row = 0
        written.append(write(each) if row > _MAX_MARKS and each not in _JOINERS else each)
    return "".join(written)
