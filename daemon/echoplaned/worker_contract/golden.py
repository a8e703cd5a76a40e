"""Golden prompts: short texts of many kinds to probe an engine with.

Their answers are checked for being answers at all.

They are short on purpose: every version with a context of 32 tokens or more takes them.
"""

from __future__ import annotations

from typing import Final

GOLDEN_TEXTS: Final = (
    "Hello.",
    "What is the capital of France?",
    "The quick brown fox jumps over the lazy dog.",
    "a",
    "2 + 2 = 4",
    "Terrible service, never again!",
    "An excellent meal at a fair price.",
    "def add(a, b): return a + b",
    "Guten Morgen, wie geht es dir?",
    "SELECT name FROM users;",
    "e = m * c ** 2",
    "The meeting is at 10:30 on Monday.",
)

GOLDEN_TOKENS: Final = 4
"""How many tokens a golden generation asks for."""

PROBE_MARK: Final = ("echoplane-probe", "1")
"""Metadata of the daemon's own probes: traffic in all respects but one, that no client sent it and may send more."""


def golden_text(index: int) -> str:
    """Return a golden prompt; the index wraps around."""
    return GOLDEN_TEXTS[index % len(GOLDEN_TEXTS)]
