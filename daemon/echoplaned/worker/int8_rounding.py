"""Runs a model as it would answer in INT8, without a second copy of it.

Each linear layer's weight is rounded when it is used. What that takes for a moment is one layer's weight twice. Only the thread that
enters the mode sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torchao.quantization import Int8WeightOnlyConfig, quantize_
from transformers import PreTrainedModel

from echoplaned.core.facts import Dtype
from echoplaned.worker.batching import Run
from echoplaned.worker.sequences import RowOutcome, TokenSequence


class Int8Rounding(TorchFunctionMode):  # type: ignore[misc] # it has no types
    """Torch mode in which linear layers compute with weights rounded to INT8.

    These are the layers that a load in INT8 would round.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self._rounded = {id(layer.weight) for layer in rounded_layers(model)}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Call a function of torch, a linear layer's with the rounded weight."""
        if func is torch.nn.functional.linear and len(args) > 1 and id(args[1]) in self._rounded:
            args = (args[0], _rounded(args[1]), *args[2:])
        return func(*args, **(kwargs or {}))


class Int8Run:
    """A batch whose every step is computed with rounded weights."""

    def __init__(self, run: Run, model: PreTrainedModel) -> None:
        self._run = run
        self._model = model

    @property
    def done(self) -> bool:
        """Whether nothing is left to compute."""
        return self._run.done

    @property
    def rows(self) -> list[TokenSequence]:
        """The sequences that still wait."""
        return self._run.rows

    def step(self) -> list[RowOutcome]:
        """Compute once and return what came out."""
        with Int8Rounding(self._model):
            return self._run.step()

    def alone(self, row: TokenSequence) -> Int8Run:
        """Return a batch of one of the rows."""
        return Int8Run(self._run.alone(row), self._model)


def rounded_layers(model: PreTrainedModel) -> tuple[torch.nn.Linear, ...]:
    """Return the layers that a load in INT8 rounds.

    These are the linear ones but the output embedding.
    """
    kept = model.get_output_embeddings()
    return tuple(module for module in model.modules() if type(module) is torch.nn.Linear and module is not kept)


def why_not(model: PreTrainedModel, dtype: Dtype) -> str:
    """Return why a model cannot be taken for its INT8 self; empty where it can."""
    if dtype is Dtype.INT8:
        return "it is in INT8 already"
    return "" if rounded_layers(model) else "it has no linear layer that a load in INT8 rounds"


def _rounded(weight: torch.Tensor) -> torch.Tensor:
    """Round a weight as torchao does, and return what it then stands for."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(weight.detach(), requires_grad=False)
    quantize_(layer, Int8WeightOnlyConfig())
    return layer.weight.dequantize()
