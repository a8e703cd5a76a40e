"""How long a sequence may be.

In characters before its tokens are counted, and in tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from echoplaned.worker_contract.inference.errors import ContextExceededError, InvalidInputError

# Tokens have 4 to 5 characters on average; a caller must not keep a core busy with a text that cannot be answered anyway.
_CHARACTERS_PER_TOKEN: Final = 64
_MIN_CHARACTERS: Final = 4096
_MAX_BYTES_PER_CHARACTER: Final = 4  # of UTF-8
# Characters that a tokenizer may make of a text, each of which takes some 20 bytes while it works; or look at, for the longest piece.
_MAX_WORK: Final = 1024 * 1024


def text_limit(context_length: int, work: int) -> int:
    """Return how many characters a text may have to be worth tokenising.

    ``work``: what the tokenizer takes for each, in characters of one whose rules make no more of any and look no further; 1 or more.
    """
    limit = max(_MIN_CHARACTERS, _CHARACTERS_PER_TOKEN * context_length)
    return limit if work == 1 else min(limit, max(1, _MAX_WORK // work))


def byte_limit(context_length: int) -> int:
    """Return how many bytes a text may have to be worth decoding."""
    return _MAX_BYTES_PER_CHARACTER * text_limit(context_length, 1)


def check_text_lengths(texts: Sequence[str], context_length: int, work: int = 1) -> None:
    """Refuse texts that are too long to be worth counting the tokens of.

    Raises:
        InvalidInputError: names the first such text and the limit.
    """
    limit = text_limit(context_length, work)
    for index, text in enumerate(texts):
        if len(text) > limit:
            raise InvalidInputError(
                f"sequence {index} has {len(text)} characters; this version's context_length is {context_length} tokens, "
                f"and no text over {limit} characters is counted"
            )


def check_length(index: int, length: int, context_length: int) -> None:
    """Refuse a sequence that is empty or longer than the version's context.

    Raises:
        InvalidInputError: names the row and the limit.
    """
    if length == 0:
        raise InvalidInputError(f"sequence {index} has no tokens; at least 1 is needed")
    if length > context_length:
        raise ContextExceededError(
            f"sequence {index} has {length} tokens; this version's context_length is {context_length} tokens "
            "(nothing is ever cut off)"
        )
