"""What comes from a daemon, made safe for a terminal.

Labels, node ids and reasons are other people's text.
"""

from __future__ import annotations

import re
from typing import Final

# Controls (ESC and NUL among them), ends of lines, marks that turn the direction of writing or show nothing, halves of characters.
# Joiners stay: scripts and emoji need them.
_UNCLEAN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# What rich writes for colours and bold; its own tables are the only source of it, since every cell of them is escaped.
_STYLE: Final = re.compile("(\x1b\\[[0-9;]*m)")


def escape(text: str) -> str:
    r"""Return a text on one line, with what cannot be seen written out.

    Such as ``\x1b``, ``\n``, ``\u202e``.
    """
    return _UNCLEAN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


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
    return _UNCLEAN.sub(lambda found: found[0] if found[0] == "\n" else _json_escape(found[0]), text)


def _json_escape(character: str) -> str:
    # JSON writes what is beyond 16 bits as a pair.
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
