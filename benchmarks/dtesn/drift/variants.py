"""The changes of the suite: what is done to the weights, to how tokens are drawn, or to how the engine runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from transformers import LlamaForCausalLM

from benchmarks.dtesn.drift import llama, network, train
from benchmarks.dtesn.drift.llama import Layer, Llama

OLD: Final = "old"
_CHANGED_LAYER: Final = 1
_SWAPPED: Final = (1, 2)
_ZEROED_HEAD: Final = 3
_INT4_GROUP: Final = 32
_TUNING_RATE: Final = 1e-4
_OTHER_BATCH: Final = 24


@dataclass(frozen=True, slots=True)
class Variant:
    """One version of the model. ``title``: for tables. ``weights``: None are the old version's.

    ``batch``: sequences that run together, None for all of a group. Telemetry is what engines report: the log-probability and
    the entropy of the model's own distribution, before temperature and top-p.
    """

    name: str
    title: str
    is_null: bool = False
    weights: Callable[[Llama], Llama] | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    template: Callable[[str], str] = network.template
    batch: int | None = None


def other_template(kind: str) -> str:
    """Return a template the model was not trained with."""
    return f"[{kind}]\n"


def int8(model: Llama) -> Llama:
    """Round every layer's matrices to 8 bits with a scale a row."""
    return _each_matrix(model, lambda matrix: _rounded(matrix, 127))


def int4(model: Llama) -> Llama:
    """Round every layer's matrices to 4 bits with a scale a group of 32 inputs."""
    return _each_matrix(model, lambda matrix: _rounded(matrix.unflatten(1, (-1, _INT4_GROUP)), 7).flatten(1))


def bf16(model: Llama) -> Llama:
    """Round all weights to BF16."""
    rounded = _each_matrix(model, lambda matrix: matrix.bfloat16().float())
    return replace(rounded, embedding=model.embedding.bfloat16().float())


def scaled(factor: float) -> Callable[[Llama], Llama]:
    """Return what multiplies one layer's matrices by a factor."""

    def change(model: Llama) -> Llama:
        layer = _of_matrices(model.layers[_CHANGED_LAYER], lambda matrix: matrix * factor)
        return model.with_layer(_CHANGED_LAYER, layer)

    return change


def head_zeroed(model: Llama) -> Llama:
    """Let one attention head of one layer say nothing."""
    layer = model.layers[_CHANGED_LAYER]
    out = layer.out.clone()
    out[:, _ZEROED_HEAD * llama.HEAD : (_ZEROED_HEAD + 1) * llama.HEAD] = 0.0
    return model.with_layer(_CHANGED_LAYER, replace(layer, out=out))


def swapped(model: Llama) -> Llama:
    """Let two layers change places."""
    first, second = _SWAPPED
    other = model.with_layer(first, model.layers[second])
    return other.with_layer(second, model.layers[first])


def fine_tuned(_: Llama) -> Llama:
    """Train one step more, on a batch of its own, with a fresh optimiser at a rate that is usual for fine-tuning."""
    folder = train.checkpoint_folder()
    model = LlamaForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_TUNING_RATE)
    train.train_step(model, optimizer, train.tokens_of(folder), train.STEPS, rate=_TUNING_RATE)
    return llama.from_state({name: weight.detach() for name, weight in model.state_dict().items()})


VARIANTS: Final = (
    Variant(OLD, "the old version", is_null=True),
    Variant("copy", "an identical copy", is_null=True),
    Variant("batches", f"reloaded, batches of {_OTHER_BATCH}", is_null=True, batch=_OTHER_BATCH),
    Variant("int8", "INT8", weights=int8),
    Variant("tuned", "one more fine-tuning step", weights=fine_tuned),
    Variant("layer101", "one layer x 1.01", weights=scaled(1.01)),
    Variant("layer105", "one layer x 1.05", weights=scaled(1.05)),
    Variant("layer120", "one layer x 1.2", weights=scaled(1.2)),
    Variant("head", "one head zeroed", weights=head_zeroed),
    Variant("int4", "INT4-like rounding", weights=int4),
    Variant("swapped", "two layers swapped", weights=swapped),
    Variant("t105", "temperature 1.05", temperature=1.05),
    Variant("t120", "temperature 1.2", temperature=1.2),
    Variant("top_p", "top-p 0.95", top_p=0.95),
    Variant("template", "another prompt template", template=other_template),
)


def model_of(variant: Variant, old: Llama) -> Llama:
    """Return a variant's weights."""
    return variant.weights(old) if variant.weights else old


def old_model() -> Llama:
    """Return the trained model."""
    return llama.load(train.checkpoint_folder())


def _each_matrix(model: Llama, change: Callable[[torch.Tensor], torch.Tensor]) -> Llama:
    return replace(model, layers=tuple(_of_matrices(layer, change) for layer in model.layers))


def _of_matrices(layer: Layer, change: Callable[[torch.Tensor], torch.Tensor]) -> Layer:
    return replace(
        layer,
        qkv=change(layer.qkv),
        out=change(layer.out),
        gate_up=change(layer.gate_up),
        down=change(layer.down),
    )


def _rounded(matrix: torch.Tensor, levels: int) -> torch.Tensor:
    """Round symmetrically, with one scale over the last dimension."""
    scale = matrix.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / levels
    return (matrix / scale).round() * scale
