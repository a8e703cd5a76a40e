"""Text from outside: what of it may be kept, and how the rest is shown."""

from __future__ import annotations

import re
from typing import Final

# What a terminal or a reader takes for something else than text: controls (ESC and NUL among them), ends of lines, marks that turn
# the direction of writing or show nothing, halves of characters. Joiners stay: scripts and emoji need them.
_UNCLEAN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def is_clean(text: str) -> bool:
    """Return whether a text is nothing but what can be seen."""
    return text.isprintable() or _UNCLEAN.search(text) is None


def escape(text: str) -> str:
    r"""Return a text on one line, with what cannot be seen written out.

    As ``\x1b``, ``\n``, ``\u202e``.
    """
    return _UNCLEAN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def escape_lines(text: str) -> str:
    """Return a text whose line ends stay, with all else that cannot be seen escaped."""
    return "\n".join(map(escape, text.split("\n")))
