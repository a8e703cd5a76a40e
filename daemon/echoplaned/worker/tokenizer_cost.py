"""What a tokenizer may cost, read from its rules before it sees a text."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenizers import Tokenizer, models

# Every text limit has room for so many characters in place of one, as Unicode's own forms make.
_FREE_GROWTH: Final = 18

# How many characters an ordinary word or piece has. Measured on one core with 33 ki characters: 0.1 s in words of 100, 1.8 s in words
# of 1,000, 12 s in words of 4,000; 16 s where a vocabulary has all runs of one letter up to 2,000.
_WORD_UNIT: Final = 64
_PIECE_UNIT: Final = 16
_MAX_REACH: Final = 256
"""More would let nothing in above the shortest text limit, which stands whatever the tokenizer says."""


@dataclass(frozen=True, slots=True)
class TokenizerCost:
    """What is known of a tokenizer's cost before it sees a text.

    Attributes:
        growth: characters that its own rules may make of one, 1 or more.
        is_linear: whether its time is in proportion to the text: it has no regular expression of its own, which may go back and forth.
        reach: how far it looks ahead from each character for the longest piece that it knows, in ordinary words or pieces, 1 or more.
    """

    growth: int = 1
    is_linear: bool = True
    reach: int = 1

    @property
    def work(self) -> int:
        """Return what a character takes, in characters of an ordinary tokenizer."""
        return self.growth * self.reach


def read_cost(tokenizer: Tokenizer) -> TokenizerCost:
    """Read what texts may cost from a tokenizer's rules."""
    parts = [part for part in (tokenizer.normalizer, tokenizer.pre_tokenizer) if part is not None]
    rules = [json.loads(part.__getstate__()) for part in parts]
    reach = max(1, min(_longest_look(tokenizer), _MAX_REACH))
    return TokenizerCost(math.prod(map(_growth, rules)), not any(map(_has_expression, rules)), reach)


def _growth(rule: Mapping[str, Any]) -> int:
    """Return how many characters a normaliser's rule may make of one."""
    match rule.get("type"):
        case "Replace":
            pattern, content = rule["pattern"].get("String", ""), rule["content"]
            # An expression may match nothing, and so may an empty text: then the character stays beside what is put in.
            return max(1, math.ceil(len(content) / len(pattern)) if pattern else 1 + len(content))
        case "Prepend":
            # At every piece between special tokens, which may be a character each.
            return max(1, math.ceil(len(rule["prepend"]) / _FREE_GROWTH))
        case "Precompiled":
            return max(1, math.ceil(_longest_form(rule["precompiled_charsmap"]) / _FREE_GROWTH))
    return math.prod(_growth(one) for one in rule.get("normalizers", ()))


def _longest_form(charsmap: str) -> int:
    """Return the characters of the longest text in SentencePiece's table.

    Its layout: the length of a search tree as 32 bits, the tree, and the texts, each ended by NUL.
    """
    table = base64.b64decode(charsmap)
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return max(len(text.decode(errors="replace")) for text in texts.split(b"\0"))


def _longest_look(tokenizer: Tokenizer) -> int:
    """Return how far the model may look ahead for its longest piece, in ordinary ones."""
    if isinstance(tokenizer.model, models.WordPiece):
        return int(tokenizer.model.max_input_chars_per_word) // _WORD_UNIT
    if isinstance(tokenizer.model, models.Unigram):
        return max(map(len, tokenizer.get_vocab(with_added_tokens=False)), default=0) // _PIECE_UNIT
    return 0


def _has_expression(rule: Mapping[str, Any]) -> bool:
    pattern = rule.get("pattern")
    own = isinstance(pattern, dict) and "Regex" in pattern
    return own or any(map(_has_expression, (*rule.get("normalizers", ()), *rule.get("pretokenizers", ()))))
