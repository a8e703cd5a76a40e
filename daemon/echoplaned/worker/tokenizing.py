"""Texts and token ids of a request become sequences that fit the version's limits, or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenizers import Tokenizer

from echoplaned.worker.errors import InvalidInputError

# Tokens have 4 to 5 characters on average; a caller must not keep a core busy with a text that cannot be answered anyway.
_CHARACTERS_PER_TOKEN: Final = 64
_MIN_CHARACTERS: Final = 4096


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, special tokens included, nothing cut off."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def check_text_lengths(texts: Sequence[str], context_length: int) -> None:
    """Refuse texts that are too long to be worth counting the tokens of.

    Raises:
        InvalidInputError: names the first such text and the limit.
    """
    limit = max(_MIN_CHARACTERS, _CHARACTERS_PER_TOKEN * context_length)
    for index, text in enumerate(texts):
        if len(text) > limit:
            raise InvalidInputError(
                f"sequence {index} has {len(text)} characters; this version's context_length is {context_length} tokens, "
                f"and no text over {limit} characters is counted"
            )


def check_lengths(rows: Sequence[Sequence[int]], context_length: int) -> None:
    """Refuse sequences that are empty or longer than the version's context.

    Raises:
        InvalidInputError: names the first such row and the limit.
    """
    for index, row in enumerate(rows):
        if not row:
            raise InvalidInputError(f"sequence {index} has no tokens; at least 1 is needed")
        if len(row) > context_length:
            raise InvalidInputError(
                f"sequence {index} has {len(row)} tokens; this version's context_length is {context_length} tokens "
                "(nothing is ever cut off)"
            )


def check_vocabulary(rows: Sequence[Sequence[int]], vocabulary_size: int) -> None:
    """Refuse token ids that the model has no embedding for.

    Raises:
        InvalidInputError: names the first such row and the range.
    """
    for index, row in enumerate(rows):
        if any(not 0 <= token < vocabulary_size for token in row):
            raise InvalidInputError(f"sequence {index} of input_ids holds an id outside 0..{vocabulary_size - 1}")
