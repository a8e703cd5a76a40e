"""Small real checkpoints, made on the spot with the same bytes every time.

No hub, no download: weights are drawn from a seeded generator and written with safetensors; tokenizers are made from the text below.
Everything is readable by transformers without any code of ours. Needs numpy, safetensors and tokenizers, not torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from echoplaned.testing.tokenizer_files import write_byte_bpe, write_json, write_wordpiece

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of a BERT-like encoder.

    Attributes:
        layers: transformer blocks.
        width: size of a hidden state.
        heads: attention heads of a layer; they divide ``width``.
        feed_forward: size of the layer between a block's two linear ones.
        positions: longest text in tokens.
        vocabulary: tokens at most; the corpus may yield fewer.
    """

    layers: int = 2
    width: int = 128
    heads: int = 2
    feed_forward: int = 512
    positions: int = 512
    vocabulary: int = 600


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a Llama-like decoder.

    Attributes:
        layers: transformer blocks.
        width: size of a hidden state.
        heads: attention heads of a layer; they divide ``width``.
        kv_heads: heads of keys and values; they divide ``heads``.
        feed_forward: size of a block's gated layer.
        positions: longest sequence in tokens.
        vocabulary: tokens at most, but always one for each byte; the corpus may yield fewer.
    """

    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    positions: int = 256
    vocabulary: int = 512


def make_encoder(out: Path, *, seed: int = 0, shape: EncoderShape | None = None) -> Path:
    """Write a BERT-like text encoder (mean pooling, L2 norm); return its directory."""
    shape = shape or EncoderShape()
    rng = np.random.default_rng(seed)
    vocabulary = write_wordpiece(out, vocabulary=shape.vocabulary, positions=shape.positions)
    weights = _bert_weights(rng, shape, vocabulary)
    write_json(out / "config.json", _bert_config(shape, vocabulary, "BertModel"))
    _write_sentence_files(out)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def make_classifier(out: Path, *, labels: int = 3, seed: int = 1, shape: EncoderShape | None = None) -> Path:
    """Write a BERT-like sequence classifier; return its directory."""
    shape = shape or EncoderShape()
    rng = np.random.default_rng(seed)
    vocabulary = write_wordpiece(out, vocabulary=shape.vocabulary, positions=shape.positions)
    weights = {f"bert.{name}": value for name, value in _bert_weights(rng, shape, vocabulary).items()}
    weights["classifier.weight"] = _normal(rng, labels, shape.width)
    weights["classifier.bias"] = np.zeros(labels, np.float32)
    config = _bert_config(shape, vocabulary, "BertForSequenceClassification")
    names = [f"LABEL_{index}" for index in range(labels)]
    config["id2label"] = {str(index): name for index, name in enumerate(names)}
    config["label2id"] = {name: index for index, name in enumerate(names)}
    write_json(out / "config.json", config)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def make_decoder(out: Path, *, seed: int = 2, shape: DecoderShape | None = None) -> Path:
    """Write a Llama-like decoder with a byte-level tokenizer; return its directory."""
    shape = shape or DecoderShape()
    vocabulary = write_byte_bpe(out, vocabulary=shape.vocabulary, positions=shape.positions)
    write_json(
        out / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": shape.width,
            "intermediate_size": shape.feed_forward,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": shape.positions,
            "vocab_size": vocabulary,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 2,
            "torch_dtype": "float32",
        },
    )
    save_file(
        _llama_weights(np.random.default_rng(seed), shape, vocabulary),
        out / "model.safetensors",
        metadata={"format": "pt"},
    )
    return out


def poison(source: Path, out: Path) -> Path:
    """Copy a checkpoint with one NaN in its largest tensor; return its directory."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    largest = max(weights, key=lambda name: weights[name].size)
    values = weights[largest].copy()
    values.flat[values.size // 2] = np.nan
    save_file({**weights, largest: values}, out / "model.safetensors", metadata={"format": "pt"})
    return out


CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'assistant' and loop.first %}{{ raise_exception('the user speaks first') }}{% endif %}"
    "{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
"""Of the decoder that chats."""


def add_chat_template(source: Path, out: Path) -> Path:
    """Copy a checkpoint and give it a chat template; return the copy's directory."""
    shutil.copytree(source, out)
    _change_json(out / "tokenizer_config.json", {"chat_template": CHAT_TEMPLATE})
    return out


def perturb(source: Path, out: Path, *, scale: float, seed: int = 3) -> Path:
    """Copy a checkpoint with matrix entries * (1 + scale * N(0, 1)); return its path."""
    shutil.copytree(source, out)
    rng = np.random.default_rng(seed)
    weights = load_file(source / "model.safetensors")
    changed = {
        name: (value * (1 + scale * rng.standard_normal(value.shape))).astype(value.dtype) if value.ndim == 2 else value
        for name, value in sorted(weights.items())
    }
    save_file(changed, out / "model.safetensors", metadata={"format": "pt"})
    return out


def cut_positions(source: Path, out: Path, *, positions: int) -> Path:
    """Copy a BERT-like checkpoint cut to ``positions`` tokens; return its directory."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    for name, value in weights.items():
        if name.endswith("position_embeddings.weight"):
            weights[name] = value[:positions].copy()
        elif name.endswith("position_ids"):
            weights[name] = value[:, :positions].copy()
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    _change_json(out / "config.json", {"max_position_embeddings": positions})
    _change_json(out / "tokenizer_config.json", {"model_max_length": positions})
    _change_json(out / "sentence_bert_config.json", {"max_seq_length": positions})
    return out


def cut64(minilm: Path, out: Path) -> Path:
    """Copy all-MiniLM-L6-v2 cut to 64 tokens, so that longer texts are refused."""
    return cut_positions(minilm, out, positions=64)


def _bert_config(shape: EncoderShape, vocabulary: int, architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.positions,
        "vocab_size": vocabulary,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def _bert_weights(rng: np.random.Generator, shape: EncoderShape, vocabulary: int) -> Weights:
    """Draw the weights of a BERT encoder with its pooler, by transformers' names."""
    width, wide = shape.width, shape.feed_forward
    weights: Weights = {
        "embeddings.word_embeddings.weight": _normal(rng, vocabulary, width),
        "embeddings.position_embeddings.weight": _normal(rng, shape.positions, width),
        "embeddings.token_type_embeddings.weight": _normal(rng, 2, width),
        **_norm("embeddings.LayerNorm", width),
    }
    for layer in range(shape.layers):
        at = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            weights |= _linear(rng, f"{at}.attention.self.{name}", width, width)
        weights |= _linear(rng, f"{at}.attention.output.dense", width, width)
        weights |= _norm(f"{at}.attention.output.LayerNorm", width)
        weights |= _linear(rng, f"{at}.intermediate.dense", wide, width)
        weights |= _linear(rng, f"{at}.output.dense", width, wide)
        weights |= _norm(f"{at}.output.LayerNorm", width)
    return weights | _linear(rng, "pooler.dense", width, width)


def _llama_weights(rng: np.random.Generator, shape: DecoderShape, vocabulary: int) -> Weights:
    """Draw the weights of a Llama decoder, by the names that transformers uses."""
    width, wide = shape.width, shape.feed_forward
    kv_width = width // shape.heads * shape.kv_heads
    weights: Weights = {"model.embed_tokens.weight": _normal(rng, vocabulary, width)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        sizes = {
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (kv_width, width),
            "self_attn.v_proj": (kv_width, width),
            "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (wide, width),
            "mlp.up_proj": (wide, width),
            "mlp.down_proj": (width, wide),
        }
        weights |= {f"{at}.{name}.weight": _normal(rng, *size) for name, size in sizes.items()}
        weights |= {
            f"{at}.{name}.weight": np.ones(width, np.float32)
            for name in ("input_layernorm", "post_attention_layernorm")
        }
    weights["model.norm.weight"] = np.ones(width, np.float32)
    weights["lm_head.weight"] = _normal(rng, vocabulary, width)
    return weights


def _normal(rng: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Draw a matrix whose products keep the size of their input (variance 1/columns)."""
    scaled: npt.NDArray[np.float64] = rng.standard_normal((rows, columns)) / np.sqrt(columns)
    return scaled.astype(np.float32)


def _linear(rng: np.random.Generator, name: str, rows: int, columns: int) -> Weights:
    return {f"{name}.weight": _normal(rng, rows, columns), f"{name}.bias": np.zeros(rows, np.float32)}


def _norm(name: str, width: int) -> Weights:
    return {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": np.zeros(width, np.float32)}


def _write_sentence_files(out: Path) -> None:
    """Write what sentence-transformers reads: mean pooling, then L2 normalisation."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(
        out / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (path, name) in enumerate(modules)
        ],
    )
    (out / "1_Pooling").mkdir(exist_ok=True)
    write_json(out / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})


def _change_json(path: Path, changes: Mapping[str, object]) -> None:
    """Change some keys of a JSON object file, if there is such a file."""
    if path.is_file():
        write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})
