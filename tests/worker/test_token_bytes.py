"""Bytes of tokens."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models

from echoplaned.worker.token_bytes import TokenBytes
from tests.models import Checkpoints


def test_tokens_of_bytes_make_the_text(checkpoints: Checkpoints) -> None:
    """The bytes of a byte-level tokenizer's tokens, put together, are the text in UTF-8, whatever is cut in between."""
    tokenizer = Tokenizer.from_file(str(Path(checkpoints.decoder) / "tokenizer.json"))
    text = "The river, naïve, 東京, 🦀\n"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    found = TokenBytes(tokenizer)
    assert b"".join(map(found.of, ids)) == text.encode()
    assert found.of(10**6) == b""


def test_tokens_that_are_bytes_by_number() -> None:
    """Decoders that fall back to bytes name them by number, and mark a space by a letter."""
    words = {"\u2581the": 0, "<0xE2>": 1, "<0x0A>": 2, "x": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="x"))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    found = TokenBytes(tokenizer)
    assert [found.of(one) for one in range(4)] == [b" the", b"\xe2", b"\n", b"x"]


def test_a_tokenizer_without_a_decoder() -> None:
    """Its tokens are their own text."""
    tokenizer = Tokenizer(models.WordLevel({"é": 0}, unk_token="é"))
    assert TokenBytes(tokenizer).of(0) == "é".encode()
