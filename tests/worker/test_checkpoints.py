"""The makers of test checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from echoplaned.testing import checkpoints as make
from tests.models import Checkpoints


@pytest.mark.parametrize("maker", [make.make_encoder, make.make_classifier, make.make_decoder])
def test_a_checkpoint_is_the_same_bytes_every_time(maker: object, tmp_path: Path) -> None:
    """Two runs of a maker write the same files."""
    assert callable(maker)
    one, other = maker(tmp_path / "one"), maker(tmp_path / "other")
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_cutting_positions_changes_table_and_config_only(checkpoints: Checkpoints) -> None:
    """The cut checkpoint has a short position table, says so, and is otherwise the same."""
    before, after = (load_file(path / "model.safetensors") for path in (checkpoints.encoder, checkpoints.short))
    name = "embeddings.position_embeddings.weight"
    assert after[name].shape == (32, 128)
    assert np.array_equal(after.pop(name), before.pop(name)[:32])
    assert all(np.array_equal(after[other], before[other]) for other in before)
    assert json.loads((checkpoints.short / "config.json").read_text())["max_position_embeddings"] == 32


def test_cut64_of_minilm(minilm: Path, tmp_path: Path) -> None:
    """MiniLM loses all but 64 positions."""
    out = make.cut64(minilm, tmp_path / "cut64")
    assert load_file(out / "model.safetensors")["embeddings.position_embeddings.weight"].shape == (64, 384)
    assert json.loads((out / "config.json").read_text())["max_position_embeddings"] == 64


def test_poison_puts_one_nan(checkpoints: Checkpoints) -> None:
    """Exactly one weight of the poisoned checkpoint is NaN."""
    weights = load_file(checkpoints.poisoned / "model.safetensors")
    assert sum(int(np.isnan(value).sum()) for value in weights.values()) == 1


def test_the_byte_tokenizer_gives_text_back(checkpoints: Checkpoints) -> None:
    """The decoder's tokenizer loses nothing, whatever the text."""
    tokenizer = Tokenizer.from_file(str(checkpoints.decoder / "tokenizer.json"))
    for text in ("The river rises in the hills", "Grüße, 你好 🎉", "x" * 50):
        ids = tokenizer.encode(text).ids
        assert ids[0] == 0
        assert max(ids) < 512
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
