"""What an engine says of itself once it serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """An engine's own numbers, beside what it was ordered; 0 where it names none.

    Attributes:
        context_length: tokens of one sequence at most.
        cache_tokens: tokens that its cache of keys and values has room for, of all sequences together.
        cache_blocks: blocks that the cache is made of.
        cache_bytes: bytes of the cache on each device.
    """

    context_length: int = 0
    cache_tokens: int = 0
    cache_blocks: int = 0
    cache_bytes: int = 0
