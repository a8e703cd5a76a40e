"""Counts against the engine's own classes, built without memory on torch's meta device from configs drawn at test time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echoplaned.planning import inspect_config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DRAWS = 10


def _encoder(rng: random.Random) -> dict[str, Any]:
    heads = rng.randint(1, 8)
    return {
        "hidden_size": heads * rng.randint(1, 16),
        "num_attention_heads": heads,
        "num_hidden_layers": rng.randint(1, 5),
        "intermediate_size": rng.randint(1, 200),
        "vocab_size": rng.randint(10, 500),
        "max_position_embeddings": rng.randint(10, 100),
        "type_vocab_size": rng.randint(1, 4),
        "num_labels": rng.randint(1, 9),
    }


def _distilbert(rng: random.Random) -> dict[str, Any]:
    heads = rng.randint(1, 8)
    return {
        "dim": heads * rng.randint(1, 16),
        "n_heads": heads,
        "n_layers": rng.randint(1, 5),
        "hidden_dim": rng.randint(1, 200),
        "vocab_size": rng.randint(10, 500),
        "max_position_embeddings": rng.randint(10, 100),
        "num_labels": rng.randint(1, 9),
    }


def _decoder(rng: random.Random) -> dict[str, Any]:
    kv_heads = rng.randint(1, 4)
    heads = kv_heads * rng.randint(1, 4)
    head_dim = 2 * rng.randint(1, 16)
    fields: dict[str, Any] = {
        "hidden_size": heads * head_dim,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": rng.randint(1, 5),
        "intermediate_size": rng.randint(1, 200),
        "vocab_size": rng.randint(10, 500),
        "max_position_embeddings": rng.randint(10, 100),
        "tie_word_embeddings": rng.random() < 0.5,
    }
    return fields


def _llama(rng: random.Random) -> dict[str, Any]:
    fields = _decoder(rng)
    return fields | {
        "head_dim": 2 * rng.randint(1, 16),
        "attention_bias": rng.random() < 0.5,
        "mlp_bias": rng.random() < 0.5,
    }


def _gpt2(rng: random.Random) -> dict[str, Any]:
    heads = rng.randint(1, 8)
    return {
        "n_embd": heads * rng.randint(1, 16),
        "n_head": heads,
        "n_layer": rng.randint(1, 5),
        "n_inner": rng.choice([None, rng.randint(1, 200)]),
        "vocab_size": rng.randint(10, 500),
        "n_positions": rng.randint(10, 100),
        "tie_word_embeddings": rng.random() < 0.5,
    }


ARCHITECTURES: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "BertModel": _encoder,
    "BertForSequenceClassification": _encoder,
    "RobertaModel": _encoder,
    "RobertaForSequenceClassification": _encoder,
    "XLMRobertaModel": _encoder,
    "XLMRobertaForSequenceClassification": _encoder,
    "DistilBertModel": _distilbert,
    "DistilBertForSequenceClassification": _distilbert,
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _decoder,
    "Qwen2ForCausalLM": _decoder,
    "GPT2LMHeadModel": _gpt2,
}


# The libraries' own sources warn while they are compiled.
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_counts_are_the_engines_own(
    architecture: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Parameters, and bytes of buffers, equal those of the class that transformers builds from the same config."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    rng = random.Random(seed)
    model_class = getattr(transformers, architecture)
    for _ in range(DRAWS):
        config = model_class.config_class(
            bos_token_id=0, eos_token_id=1, pad_token_id=1, **ARCHITECTURES[architecture](rng)
        )
        with torch.device("meta"):
            model = model_class(config)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config.to_dict() | {"architectures": [architecture]}))
        found = inspect_config(path)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        assert found.facts.parameter_count == parameters, f"seed {seed}: {config}"
        buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
        sized = found.native.size(dtype_name="FP32", context_length=1, max_concurrency=1, engine_name="torch")
        assert sum(part.bytes for part in sized.components if part.name == "buffers") == buffers, f"seed {seed}"
