"""The small Llama without a framework around it: weights as tensors, and a forward pass over batches of one length.

It computes what transformers' model of the same checkpoint computes (a test compares them), several times faster: sequences
of a batch have the same length, so there is neither padding nor a mask but the causal one, and the cache is one block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file

from benchmarks.dtesn.drift import network

LAYERS: Final[int] = network.SHAPE["num_hidden_layers"]
HEADS: Final[int] = network.SHAPE["num_attention_heads"]
KV_HEADS: Final[int] = network.SHAPE["num_key_value_heads"]
HEAD: Final[int] = network.SHAPE["hidden_size"] // HEADS
_EPSILON: Final[float] = network.SHAPE["rms_norm_eps"]
_ROTARY_BASE: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's matrices, [outputs, inputs]; ``qkv`` and ``gate_up``: those of the same input, one below the other."""

    before_attention: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    before_mlp: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class Llama:
    """All weights; ``embedding``, [tokens, hidden], is the output's matrix too."""

    embedding: torch.Tensor
    layers: tuple[Layer, ...]
    norm: torch.Tensor

    def with_layer(self, index: int, layer: Layer) -> Llama:
        """Return it with another layer in the place of one."""
        return replace(self, layers=(*self.layers[:index], layer, *self.layers[index + 1 :]))


def load(folder: Path) -> Llama:
    """Read a checkpoint."""
    return from_state(load_file(folder / "model.safetensors"))


def from_state(state: dict[str, torch.Tensor]) -> Llama:
    """Take the weights out of transformers' names."""
    layers = []
    for index in range(LAYERS):
        at = f"model.layers.{index}"
        heads = [state[f"{at}.self_attn.{name}_proj.weight"] for name in "qkv"]
        mlp = [state[f"{at}.mlp.{name}_proj.weight"] for name in ("gate", "up")]
        layers.append(
            Layer(
                state[f"{at}.input_layernorm.weight"],
                torch.cat(heads),
                state[f"{at}.self_attn.o_proj.weight"],
                state[f"{at}.post_attention_layernorm.weight"],
                torch.cat(mlp),
                state[f"{at}.mlp.down_proj.weight"],
            )
        )
    return Llama(state["model.embed_tokens.weight"], tuple(layers), state["model.norm.weight"])


class Cache:
    """Keys and values of a batch: [layers, 2, batch, key-value heads, positions, head]; ``length``: positions that are filled."""

    def __init__(self, batch: int, positions: int) -> None:
        self.blocks = torch.empty(LAYERS, 2, batch, KV_HEADS, positions, HEAD)
        self.length = 0

    def repeated(self, batch: int) -> Cache:
        """Return a cache whose rows all begin like this one's only row."""
        wide = Cache(batch, self.blocks.shape[4])
        wide.blocks[:, :, :, :, : self.length] = self.blocks[:, :, :, :, : self.length]
        wide.length = self.length
        return wide


def forward(model: Llama, tokens: torch.Tensor, cache: Cache) -> torch.Tensor:
    """Return hidden states after the last norm, [batch, new positions, hidden], and fill the cache with these positions."""
    batch, count = tokens.shape
    start = cache.length
    cosine, sine = _rotary(start, count)
    hidden = model.embedding[tokens]
    for index, layer in enumerate(model.layers):
        normed = _norm(hidden, layer.before_attention)
        joint = (normed @ layer.qkv.T).view(batch, count, HEADS + 2 * KV_HEADS, HEAD).transpose(1, 2)
        turned = _turn(joint[:, : HEADS + KV_HEADS], cosine, sine)
        keys, values = cache.blocks[index, 0], cache.blocks[index, 1]
        keys[:, :, start : start + count] = turned[:, HEADS:]
        values[:, :, start : start + count] = joint[:, HEADS + KV_HEADS :]
        seen = slice(0, start + count)
        attended = _attend(turned[:, :HEADS], keys[:, :, seen], values[:, :, seen])
        hidden = hidden + attended @ layer.out.T
        gate, up = (_norm(hidden, layer.before_mlp) @ layer.gate_up.T).chunk(2, dim=-1)
        hidden = hidden + (torch.nn.functional.silu(gate) * up) @ layer.down.T
    cache.length = start + count
    return _norm(hidden, model.norm)


def log_probabilities(model: Llama, hidden: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the next token's distribution after each hidden state."""
    return torch.log_softmax(hidden @ model.embedding.T, dim=-1)


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return [batch, new positions, hidden]. Query heads of one key-value head stand together, so they share one product."""
    batch, _, count, _ = queries.shape
    group = HEADS // KV_HEADS
    grouped = queries.reshape(batch, KV_HEADS, group * count, HEAD)
    scores = grouped @ keys.transpose(2, 3) * HEAD**-0.5
    if count > 1:
        past = keys.shape[2] - count
        hidden = torch.ones(count, count, dtype=torch.bool).triu(1)
        mask = torch.cat([torch.zeros(count, past, dtype=torch.bool), hidden], dim=1).repeat(group, 1)
        scores = scores.masked_fill(mask, float("-inf"))
    mixed = (torch.softmax(scores, dim=-1) @ values).view(batch, HEADS, count, HEAD)
    return mixed.transpose(1, 2).reshape(batch, count, HEADS * HEAD)


def _norm(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(hidden, weight.shape, weight, _EPSILON)


def _rotary(start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    frequencies = _ROTARY_BASE ** (-torch.arange(0, HEAD, 2, dtype=torch.float32) / HEAD)
    angles = torch.arange(start, start + count, dtype=torch.float32)[:, None] * frequencies
    doubled = torch.cat([angles, angles], dim=-1)
    return doubled.cos(), doubled.sin()


def _turn(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat([-second, first], dim=-1) * sine
