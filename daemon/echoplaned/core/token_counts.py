"""Tokens that an engine counted."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.numbers import clamp_count


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens: a running total, or what came on top of one.

    Attributes:
        prompt: of the texts that were given, as far as the engine computed them.
        generated: that were generated.
    """

    prompt: int = 0
    generated: int = 0

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(clamp_count(self.prompt + other.prompt), clamp_count(self.generated + other.generated))

    def since(self, earlier: TokenCounts) -> TokenCounts:
        """Return what came on top of an earlier total; a count that fell is no count."""
        return TokenCounts(max(0, self.prompt - earlier.prompt), max(0, self.generated - earlier.generated))

    def at_least(self, other: TokenCounts) -> TokenCounts:
        """Return the larger of each count."""
        return TokenCounts(max(self.prompt, other.prompt), max(self.generated, other.generated))
