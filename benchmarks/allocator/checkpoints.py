"""Checkpoints with random weights, written by transformers' own names, for measuring what they take."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

_WORDS: Final = ("[PAD]", "[UNK]", "warm", "up")
_DTYPES: Final = {"FP32": torch.float32, "BF16": torch.bfloat16, "FP16": torch.float16}
_SHARED_CONFIG: Final = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model to write. ``architecture``: the class in transformers; ``config``: fields of its config that differ from the default.

    ``stored``: dtype of the file. ``family``: what it is shaped after.
    """

    name: str
    family: str
    architecture: str
    config: dict[str, Any] = field(default_factory=dict)
    stored: str = "FP32"

    @property
    def task(self) -> str:
        """What it is served for."""
        return "GENERATION" if self.architecture.endswith(("CausalLM", "LMHeadModel")) else "EMBEDDING"


def write_checkpoint(recipe: Recipe, out: Path) -> Path:
    """Write config, tokenizer and random weights; return the directory."""
    out.mkdir(parents=True)
    model_class = getattr(transformers, recipe.architecture)
    config = model_class.config_class(**{**_SHARED_CONFIG, **recipe.config})
    with torch.device("meta"):
        model = model_class(config)
    torch.manual_seed(len(recipe.name))
    tied = set(getattr(model, "all_tied_weights_keys", None) or ()) if config.tie_word_embeddings else set()
    weights = {
        name: _draw(tensor.shape, _DTYPES[recipe.stored])
        for name, tensor in model.state_dict().items()
        if name not in tied and tensor.is_floating_point()
    }
    weights = {name: tensor for each in weights.items() for name, tensor in _apart(*each)}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    content = config.to_dict() | {
        "architectures": [recipe.architecture],
        "torch_dtype": str(_DTYPES[recipe.stored])[6:],
    }
    content.pop("dtype", None)
    (out / "config.json").write_text(json.dumps(content), encoding="utf-8")
    write_tokenizer(out)
    return out


def _apart(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a parameter as files keep it: Mixtral's experts one by one, of which transformers makes one parameter."""
    stem, _, kind = name.partition(".mlp.experts.")
    if kind == "gate_up_proj":
        for expert, both in enumerate(tensor):
            for matrix, half in zip(("w1", "w3"), both.chunk(2), strict=True):
                yield f"{stem}.block_sparse_moe.experts.{expert}.{matrix}.weight", half.clone()
    elif kind == "down_proj":
        for expert, half in enumerate(tensor):
            yield f"{stem}.block_sparse_moe.experts.{expert}.w2.weight", half.clone()
    else:
        yield name.replace(".mlp.gate.weight", ".block_sparse_moe.gate.weight"), tensor


def write_tokenizer(out: Path) -> None:
    """Write a tokenizer of four words; requests bring token ids."""
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(_WORDS)}, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(out)


def remove_checkpoint(path: Path) -> None:
    """Delete what was written."""
    shutil.rmtree(path, ignore_errors=True)


def _draw(shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Return weights small enough that no layer's output leaves FP16's range; vectors are ones."""
    if len(shape) < 2:
        return torch.ones(shape, dtype=dtype)
    return torch.empty(shape, dtype=dtype).uniform_(-1, 1).mul_(1 / math.sqrt(shape[-1]))
