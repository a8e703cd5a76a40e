"""Turns texts and token ids of a request into sequences of token ids.

They fit the version's limits, or an error says why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenizers import Encoding, Tokenizer

from echoplaned.worker_contract.inference.errors import InvalidInputError, ModelFailedError
from echoplaned.worker_contract.inference.lengths import check_length

# The library's native code panics (an expression went back and forth too often, say), and the class of that can be told by its name
# alone. It is no Exception: uncaught, it ends neither the call nor the process, and the caller waits for ever.
_PANIC: Final = "PanicException"


def highest_token(tokenizer: Tokenizer) -> int:
    """Return the highest token id that a tokenizer can give; -1: it has none.

    Tokens that it adds to every text are included.

    Raises:
        InvalidInputError: it cannot take the empty text apart.
    """
    (added,) = _encode(tokenizer, [""])
    return max((*tokenizer.get_vocab(with_added_tokens=True).values(), *added.ids), default=-1)


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], context_length: int, *, truncate: bool, special: bool = True
) -> list[list[int]]:
    """Return the token ids of each text.

    ``special``: with the special tokens that the tokenizer adds to every text; a text that is cut has them as well.

    Raises:
        InvalidInputError: the tokenizer fails for the texts, or one of them has more tokens than the context and may not be cut.
    """
    rows: list[list[int]] = []
    for index, found in enumerate(_encode(tokenizer, list(texts), special=special and not truncate)):
        encoding = _cut(tokenizer, found, context_length, special=special) if truncate else found
        check_length(index, len(encoding), context_length)
        rows.append(encoding.ids)
    return rows


def _cut(tokenizer: Tokenizer, encoding: Encoding, context_length: int, *, special: bool) -> Encoding:
    """Cut a text's own tokens to the room there is, then add the special ones.

    A model that was trained with a sign for the end of a text misses it in one that is cut with its special tokens.
    """
    room = context_length - (tokenizer.num_special_tokens_to_add(is_pair=False) if special else 0)
    # Before the ids are read: each becomes an object of its own.
    if len(encoding) > room:
        encoding.truncate(max(0, room))
    whole = tokenizer.post_process(encoding) if special else encoding
    if len(whole) > context_length:  # which has no room for the special tokens alone
        whole.truncate(context_length)
    return whole


def detokenize(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    """Return the text of tokens, without special ones.

    Raises:
        ModelFailedError: the tokenizer fails.
    """
    try:
        return str(tokenizer.decode(token_ids, skip_special_tokens=True))
    except BaseException as error:
        if not _is_of_tokenizer(error):
            raise
        raise ModelFailedError("the tokenizer failed to make text of the tokens") from error


def _encode(tokenizer: Tokenizer, texts: list[str], *, special: bool = True) -> list[Encoding]:
    try:
        encodings: list[Encoding] = tokenizer.encode_batch_fast(texts, add_special_tokens=special)
    except BaseException as error:
        if not _is_of_tokenizer(error):
            raise
        raise InvalidInputError(f"the version's tokenizer fails for this text: {str(error)[:200]}") from error
    return encodings


def _is_of_tokenizer(error: BaseException) -> bool:
    """Whether an error was raised by the tokenizer library.

    It raises plain exceptions for what it refuses, and panics for what it did not foresee.
    """
    return type(error) is Exception or type(error).__name__ == _PANIC


def check_vocabulary(rows: Sequence[Sequence[int]], vocabulary_size: int) -> None:
    """Refuse token ids that the model has no embedding for.

    Every row has at least one id.

    Raises:
        InvalidInputError: names the first such row and the range.
    """
    for index, row in enumerate(rows):
        if min(row) < 0 or max(row) >= vocabulary_size:
            raise InvalidInputError(f"sequence {index} of input_ids holds an id outside 0..{vocabulary_size - 1}")
