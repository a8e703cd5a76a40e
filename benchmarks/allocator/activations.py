"""What one step of the embedded engine allocates at most, by torch's own allocation events, and what was planned for it.

``step_peak`` is the measuring function that tests and benchmarks share. Run ``python -m benchmarks.allocator.activations`` for the table
by instruction set and for many drawn shapes.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch.profiler import ProfilerActivity, profile
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.core.spec import ShapeRequest
from echoplaned.engine_kinds.embedded import TORCH_THREADS
from echoplaned.planning import inspect_config, size_model
from echoplaned.worker.encoding import EncoderRun
from echoplaned.worker.generating import GenerationRun
from echoplaned.worker.loading import LoadedModel
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.pooling import Pooling
from echoplaned.worker.sentences import SentenceOptions
from echoplaned.worker.sequences import Sampling, TokenSequence
from echoplaned.worker.tokenizer_cost import TokenizerCost

TORCH_DTYPES: Final = {Dtype.FP32: torch.float32, Dtype.FP16: torch.float16, Dtype.BF16: torch.bfloat16}
WITHOUT_INT8: Final = frozenset({"GPT2LMHeadModel", "MixtralForCausalLM"})
"""Families of which most weights are no linear layers, so that the engine refuses INT8."""
CARRIED: Final = (
    (Dtype.FP32, Dtype.FP32),
    (Dtype.BF16, Dtype.BF16),
    (Dtype.FP16, Dtype.FP16),
    (Dtype.INT8, Dtype.FP32),
    (Dtype.INT8, Dtype.BF16),
)
"""What weights are held in, and what they were stored in."""
HELD_COMPONENTS: Final = frozenset({"activations", "kv_cache"})
FAMILIES: Final = (
    "BertModel",
    "RobertaModel",
    "DistilBertModel",
    "GPT2LMHeadModel",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Gemma2ForCausalLM",
    "MixtralForCausalLM",
)
_WIDE_FROM: Final = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """A model and a batch. ``lengths``: tokens of each row; rows of unequal length are padded."""

    architecture: str
    fields: Mapping[str, Any]
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """What is planned for activations and cache, in bytes: expected, at most, and whether the formula calls itself verified."""

    bytes: int
    upper_bytes: int
    verified: bool


def step_peak(loaded: LoadedModel, rows: list[list[int]]) -> int:
    """Return the most bytes that the first step of a batch holds at once, beside the weights; the cache counts.

    A step runs once before, so that what only the first one allocates is left out.
    """
    run = GenerationRun if loaded.options.task is Task.GENERATION else EncoderRun

    def step() -> object:
        begun = run(loaded, [TokenSequence(list(row), Sampling(max_tokens=4), lambda _: None) for row in rows])
        begun.step()
        return begun

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    live = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def random_model(shape: Shape, dtype: Dtype, stored: Dtype = Dtype.FP32) -> LoadedModel:
    """Return a model with random weights; INT8 starts from ``stored`` and takes linear layers but the output embedding."""
    model_class = getattr(transformers, shape.architecture)
    config = model_class.config_class(pad_token_id=0, bos_token_id=1, eos_token_id=None, **shape.fields)
    model = model_class(config).eval().to(TORCH_DTYPES[stored if dtype is Dtype.INT8 else dtype])
    if dtype is Dtype.INT8:
        head = model.get_output_embeddings()
        quantize_(model, Int8WeightOnlyConfig(), lambda part, _: isinstance(part, torch.nn.Linear) and part is not head)
    task = (
        Task.EMBEDDING
        if shape.architecture.endswith("Model") and "LMHead" not in shape.architecture
        else Task.GENERATION
    )
    options = LoadOptions(
        InstanceKey.parse("m/v#0"), 1, Path("/unused"), task, dtype, max(shape.lengths), len(shape.lengths)
    )
    cost = TokenizerCost()
    return LoadedModel(options, model, None, Pooling(), SentenceOptions(), 0, config.vocab_size, frozenset(), 0, cost)  # type: ignore[arg-type] - texts are not used


def planned(shape: Shape, dtypes: tuple[Dtype, Dtype], cpu_isa: CpuIsa = CpuIsa.UNKNOWN, threads: int = 1) -> Planned:
    """Return what is planned for a step on an instruction set. ``dtypes``: weights are held in and were stored in."""
    dtype, stored = dtypes
    config = getattr(transformers, shape.architecture).config_class(pad_token_id=0, **shape.fields)
    fields = config.to_dict() | {"architectures": [shape.architecture], "torch_dtype": str(TORCH_DTYPES[stored])[6:]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(fields))
        sized = size_model(
            inspect_config(path),
            ShapeRequest(
                dtype=dtype,
                context_length=max(shape.lengths),
                max_concurrency=len(shape.lengths),
                options=((TORCH_THREADS, str(threads)),),
            ),
            cpu_isa=cpu_isa,
        )
    parts = [part for part in sized.components if part.name in HELD_COMPONENTS]
    return Planned(
        sum(part.bytes for part in parts),
        sum(part.upper_bytes for part in parts),
        not any(part.source.startswith("unverified") for part in parts),
    )


def drawn(architecture: str, rng: random.Random, *, padded: bool) -> Shape:
    """Draw a small model and a batch: one row, or several rows of which one is shorter."""
    kv_heads, groups, head_dim = rng.randint(1, 3), rng.randint(1, 3), 8 * rng.randint(1, 4)
    heads, length = kv_heads * groups, rng.choice([rng.randint(2, 60), rng.randint(150, 260), rng.randint(760, 800)])
    inner, layers, vocabulary = 8 * rng.randint(1, 60), rng.randint(1, 3), rng.randint(40, 900)
    fields: dict[str, Any]
    if architecture == "GPT2LMHeadModel":
        fields = {"n_embd": heads * head_dim, "n_head": heads, "n_layer": layers, "n_inner": inner, "n_positions": 1024}
    elif architecture == "DistilBertModel":
        fields = {"dim": heads * head_dim, "n_heads": heads, "n_layers": layers, "hidden_dim": inner}
        fields["max_position_embeddings"] = 1024
    else:
        fields = {"hidden_size": heads * head_dim, "num_attention_heads": heads, "num_hidden_layers": layers}
        fields |= {"intermediate_size": inner, "max_position_embeddings": 1024}
        if not architecture.endswith("Model"):
            fields["num_key_value_heads"] = kv_heads
        if architecture in {"Qwen3ForCausalLM", "Gemma2ForCausalLM"}:
            fields |= {"head_dim": head_dim, "hidden_size": heads * 8 * rng.randint(1, 6)}
        if architecture in {"Gemma2ForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"}:
            fields["sliding_window"] = rng.randint(2, 2 * length)
        if architecture == "MixtralForCausalLM":
            fields |= {"num_local_experts": rng.randint(2, 6), "num_experts_per_tok": 2}
    fields["vocab_size"] = vocabulary
    rows = rng.randint(2, 3) if padded else 1
    lengths = (length, *(rng.randint(1, length - 1) for _ in range(rows - 1)))
    return Shape(architecture, fields, lengths)


def row_ids(shape: Shape) -> list[list[int]]:
    """Return token ids, of no meaning, for each row."""
    return [[2 + at % _WIDE_FROM for at in range(length)] for length in shape.lengths]


if __name__ == "__main__":
    from benchmarks.allocator.activation_report import main

    main()
