"""What vLLM's own cache specs say of models; runs in an environment that has vLLM, one line of JSON a model.

python vllm_sizes.py SEQUENCES DIRECTORY:CONTEXT...

vLLM says what a model's weights take when they are loaded, not before; its rule for the cache needs neither weights nor a GPU.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm.model_executor.layers.mamba.mamba_utils import MambaStateShapeCalculator
from vllm.v1 import kv_cache_interface as specs

from benchmarks.allocator.vllm_specs import Case, Spec, Split, attention, full, mixed, of_vllm, state, window

REPEATS = 20


def layer(config: dict[str, Any]) -> Callable[[int], Callable[[Split], Spec]]:
    """Return the spec of each layer by its number, as vLLM's model of this architecture registers it."""
    if "kv_lora_rank" in config:
        width = config["kv_lora_rank"] + config["qk_rope_head_dim"]
        return lambda _: lambda split: attention(specs.MLAAttentionSpec, split, 1, width)
    if "state_size" in config:
        inner, kept, kernel = (config[name] for name in ("intermediate_size", "state_size", "conv_kernel"))
        shapes = state(lambda ranks: MambaStateShapeCalculator.mamba1_state_shape(ranks, inner, kept, kernel))
        return lambda _: shapes
    heads = config.get("num_attention_heads", config.get("n_head"))
    kv_heads = config.get("num_key_value_heads", heads)
    head_dim = config.get("head_dim", config.get("hidden_size", config.get("n_embd")) // heads)
    if config["model_type"] == "gemma2":
        local, whole = window(kv_heads, head_dim, config["sliding_window"]), full(kv_heads, head_dim)
        return lambda at: whole if at % 2 else local
    return lambda _: full(kv_heads, head_dim)


def sizes(directory: Path, context: int, sequences: int) -> tuple[int, float]:
    """Return bytes of the cache of so many sequences, and the seconds."""
    began = time.perf_counter()
    config = json.loads((directory / "config.json").read_text())
    count = config.get("num_hidden_layers", config.get("n_layer"))
    kind = "attention_free" if "state_size" in config else "decoder"
    page, layers, _, pages, _ = of_vllm(Case(directory.name, config, mixed(count, layer(config)), context, kind))
    return sequences * pages * page * layers, time.perf_counter() - began


def main(sequences: str, *asked: str) -> None:
    """Answer for each directory: the quickest of several rounds."""
    for one in asked:
        directory, _, context = one.rpartition(":")
        rounds = [sizes(Path(directory), int(context), int(sequences)) for _ in range(REPEATS)]
        seconds = min(seconds for _, seconds in rounds)
        record = {"weight_bytes": None, "kv_bytes": rounds[0][0], "seconds": seconds, "error": ""}
        print(json.dumps({"file": directory, **record}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
