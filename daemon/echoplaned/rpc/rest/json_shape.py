"""What is wrong with a text of JSON, seen before any of it is parsed.

Everything here is linear in the text, and by calls that cost little a character: it runs between other callers' requests.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 32
"""Of objects and lists within each other; the deepest request of the API has four."""

MAX_VALUES: Final = 4096
"""Names and values of a body; the largest request that keeps every rule has about 400."""

_FIRST_HALF: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_SECOND_HALF: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF: Final = re.compile(rf"{_FIRST_HALF}(?!{_SECOND_HALF})|(?<!{_FIRST_HALF}){_SECOND_HALF}")
"""An escaped half of a character without its other half, in a text without escaped backslashes."""

_BRACKETS: Final = re.compile(r"[\[\]{}]")
_CROWDED: Final = f"has more than {MAX_VALUES} names and values: nothing of it was read"


def find_fault(text: str) -> str:
    """Return why a text is not parsed; empty: nothing speaks against it."""
    # Two characters for two: what stood apart must not meet.
    if "\\u" in text and _HALF.search(text.replace("\\\\", "  ")) is not None:
        return "holds half of a character: \\ud800 to \\udfff come in pairs"
    plain = text.replace("\\\\", "").replace('\\"', "") if "\\" in text else text
    # Counted first: a text of quotes alone would be cut into as many pieces.
    if plain.count('"') > 2 * MAX_VALUES:
        return _CROWDED
    outside = "".join(plain.split('"')[::2])
    if sum(map(outside.count, ",:[{")) > MAX_VALUES or sum(map(outside.count, "]}")) > MAX_VALUES:
        return _CROWDED
    if _depth(outside) > MAX_DEPTH:
        return f"has more than {MAX_DEPTH} objects and lists within each other"
    return ""


def _depth(outside: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(outside):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
