"""Completions of a real worker whose tokenizer marks the spaces before its words, as SentencePiece's do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests.models import Checkpoints
from tests.worker.live import live_worker

pytestmark = pytest.mark.system


def marked(source: Path, out: Path) -> Path:
    """Copy the small decoder, and give it a tokenizer of words with a mark for the space before them."""
    shutil.copytree(source, out)
    # Loading adds the special tokens that the checkpoint's other files name: they need places of their own.
    size = Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab_size() - 8
    tokenizer = Tokenizer(models.WordLevel({f"\u2581w{index}": index for index in range(size)}, unk_token="\u2581w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(out / "tokenizer.json"))
    return out


def test_a_completion_goes_on_with_its_prompt(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Prompt and answer put together are one text: the space between them is there, streamed or not, as its tokens say."""
    source = marked(checkpoints.decoder, tmp_path / "marked")
    asked = {"model": "m", "prompt": "w5 w6", "max_tokens": 4, "temperature": 0, "logprobs": 0}
    with live_worker(source, "GENERATION") as live, live.http() as http:
        (choice,) = http.post("/v1/completions", json=asked).json()["choices"]
        streamed = http.post("/v1/completions", json={**asked, "stream": True}).text
    assert choice["text"] == "".join(choice["logprobs"]["tokens"])
    assert choice["text"].startswith(" w")
    assert '"text":" w' in streamed.split("\n\n", 1)[0]
