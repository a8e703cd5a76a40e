"""Gives the bytes that a token stands for.

A token may hold half of a character, and then has no text of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenizers import Tokenizer

_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_METASPACE: Final = "\u2581"


class TokenBytes:
    """A tokenizer's tokens as bytes.

    Args:
        tokenizer: whose decoder says how its tokens are written: in letters that stand for bytes, with bytes by number, or plainly.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        kinds = set(_kinds(json.loads(tokenizer.decoder.__getstate__()))) if tokenizer.decoder is not None else set()
        self._letters = _byte_letters() if "ByteLevel" in kinds else {}
        self._has_numbers = "ByteFallback" in kinds
        self._has_metaspace = bool(kinds & {"Metaspace", "Replace"})

    def of(self, token_id: int) -> bytes:
        """Return one token's bytes; none for one that the vocabulary does not have."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if self._letters and all(letter in self._letters for letter in token):
            return bytes(self._letters[letter] for letter in token)
        if self._has_numbers and (found := _BYTE.fullmatch(token)):
            return bytes.fromhex(found[1])
        if self._has_metaspace:
            token = token.replace(_METASPACE, " ")
        return str(token).encode("utf-8", errors="replace")


def _kinds(rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a decoder's parts."""
    yield str(rule.get("type", ""))
    for part in rule.get("decoders", ()):
        yield from _kinds(part)


def _byte_letters() -> dict[str, int]:
    """Return GPT-2's letters and the byte that each stands for.

    Printable bytes stand for themselves, the rest are letters from U+0100 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in plain}
    others = [byte for byte in range(0x100) if byte not in set(plain)]
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(others)}
