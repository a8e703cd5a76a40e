"""What a CUDA device really takes, each part on its own, beside the plan: weights, one call's peak, context, workspace, eager softmax.

Run: ``python measure.py [--hidden 1024 --layers 8 ...]``. Needs torch, transformers and the wheel of echoplaned, nothing of the
repository. Without a GPU it measures what a CPU can tell (weights, one call's peak by torch's allocation events) and says so.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import inspect_config, size_model

_DTYPES = {"FP32": torch.float32, "BF16": torch.bfloat16, "FP16": torch.float16}


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes; None where this machine cannot tell. ``context``: the process on the device before anything of ours.

    ``workspace``: what the first matrix product keeps. ``eager_factor``: bytes of the attention scores' temporaries by one score matrix.
    """

    device: str
    weights: int
    call_peak: int
    context: int | None = None
    workspace: int | None = None
    eager_factor: float | None = None


def shape_of(arguments: argparse.Namespace) -> LlamaConfig:
    """Return a Llama of the asked size."""
    return LlamaConfig(
        hidden_size=arguments.hidden,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.hidden // 64,
        num_key_value_heads=max(1, arguments.hidden // 256),
        intermediate_size=arguments.hidden * 11 // 4,
        vocab_size=arguments.vocabulary,
        max_position_embeddings=4096,
        architectures=["LlamaForCausalLM"],
    )


def planned(config: LlamaConfig, arguments: argparse.Namespace) -> dict[str, int]:
    """Return the plan's components for the same workload."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config.to_dict()), encoding="utf-8")
        sized = size_model(
            inspect_config(path),
            ShapeRequest(
                dtype=Dtype(arguments.dtype), context_length=arguments.tokens, max_concurrency=arguments.sequences
            ),
        )
    return {part.name: part.bytes for part in sized.components}


def on_cpu(model: Any, ids: torch.Tensor) -> Measured:  # noqa: ANN401 - transformers' classes have no common public type
    """Trace one call's allocations."""
    with torch.inference_mode():
        model(input_ids=ids[:1, :2], use_cache=True, logits_to_keep=1)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as traced:
            output = model(input_ids=ids, attention_mask=padded(ids), use_cache=True, logits_to_keep=1)
    results = traced.profiler
    assert results is not None
    assert results.kineto_results is not None
    held = most = 0
    events = (event for event in results.kineto_results.events() if event.name() == "[memory]")
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    del output
    return Measured("cpu", weights_of(model), most)


def on_cuda(build: Any, ids: torch.Tensor) -> Measured:  # noqa: ANN401 - as above
    """Measure each part on the first device; what others hold there must not change meanwhile."""
    device = torch.device("cuda:0")
    _, total = torch.cuda.mem_get_info(device)
    torch.cuda.synchronize(device)
    free, _ = torch.cuda.mem_get_info(device)
    context = total - free  # of a device that nobody else uses
    before = torch.cuda.memory_allocated(device)
    square = torch.ones(512, 512, device=device)
    kept = torch.cuda.memory_allocated(device)
    product = square @ square
    workspace = torch.cuda.memory_allocated(device) - kept - product.untyped_storage().nbytes()
    del square, product
    model = build().to(device)
    weights = torch.cuda.memory_allocated(device) - before - workspace
    with torch.inference_mode():
        model(input_ids=ids[:1, :2].to(device), use_cache=True, logits_to_keep=1)
        peak = _cuda_peak(
            lambda: model(
                input_ids=ids.to(device), attention_mask=padded(ids).to(device), use_cache=True, logits_to_keep=1
            )
        )
        model.set_attn_implementation("eager")
        eager = _cuda_peak(
            lambda: model(
                input_ids=ids.to(device), attention_mask=padded(ids).to(device), use_cache=True, logits_to_keep=1
            )
        )
    sequences, tokens = ids.shape
    scores = sequences * model.config.num_attention_heads * tokens * tokens
    return Measured(torch.cuda.get_device_name(device), weights, peak, context, workspace, (eager - peak) / scores)


def _cuda_peak(call: Any) -> int:  # noqa: ANN401 - a call without arguments
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    output = call()
    torch.cuda.synchronize()
    del output
    return torch.cuda.max_memory_allocated() - before


def padded(ids: torch.Tensor) -> torch.Tensor:
    """Return a mask by which the last row is a token shorter: what is planned is a padded batch."""
    mask = torch.ones_like(ids)
    if len(ids) > 1:
        mask[-1, 0] = 0
    return mask


def weights_of(model: Any) -> int:  # noqa: ANN401 - as above
    """Return the bytes of all distinct storages."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def main() -> None:
    """Print measured and planned bytes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8_000)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--dtype", choices=sorted(_DTYPES), default="FP32")
    arguments = parser.parse_args()
    config = shape_of(arguments)
    ids = torch.randint(0, arguments.vocabulary, (arguments.sequences, arguments.tokens))

    def build() -> Any:  # noqa: ANN401 - as above
        # As transformers loads it: rotary frequencies stay in FP32, which a later cast would narrow.
        torch.set_default_dtype(_DTYPES[arguments.dtype])
        try:
            return LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(torch.float32)

    measured = on_cuda(build, ids) if torch.cuda.is_available() else on_cpu(build(), ids)
    parts = planned(config, arguments)
    call = sum(parts.get(name, 0) for name in ("kv_cache", "activations", "logits"))
    weights = parts["weights"] + parts.get("buffers", 0)
    print(
        json.dumps(
            {
                "measured": asdict(measured),
                "planned": {"weights": weights, "call_peak": call},
                "error": {"weights": weights - measured.weights, "call_peak": call / measured.call_peak - 1},
                "torch": torch.__version__,
                "note": "" if torch.cuda.is_available() else "no CUDA device: the CPU part only",
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
