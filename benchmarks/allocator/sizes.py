"""How fast a model is sized: one plan through Python, many in arrays, and a checkpoint's header.

Run: ``python -m benchmarks.allocator.sizes``. Native figures are criterion's, of the last ``cargo bench -p sizing``; all together go
into ``benchmarks/results/allocator-speed.json``.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.reporting import Row, machine, show, write
from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import inspect_config, size_batch, size_model, survey_model

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "torch_dtype": "bfloat16",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
}
ROWS = 2_000_000
_CRITERION = Path(__file__).parents[2] / "allocator_rs" / "target" / "criterion"
TENSORS = 10_000


def best(call: Callable[[], object], repeats: int, calls: int) -> float:
    """Return the least seconds of one call, over rounds of several."""
    least = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        least = min(least, (time.perf_counter() - begin) / calls)
    return least


def write_many(path: Path) -> None:
    """Write a foreign checkpoint of many tensors without their bytes' content."""
    header = {
        f"model.layers.{number}.mlp.down_proj.weight": {
            "dtype": "BF16",
            "shape": [2, 4],
            "data_offsets": [number * 16, number * 16 + 16],
        }
        for number in range(TENSORS)
    }
    text = json.dumps(header).encode()
    with (path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + TENSORS * 16)
    config = {
        "architectures": ["StrangeForCausalLM"],
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    (path / "config.json").write_text(json.dumps(config))


def native() -> list[Row]:
    """Return criterion's medians of the last run of ``cargo bench``, in microseconds."""
    found = []
    for path in sorted(_CRITERION.glob("*/new/benchmark.json")):
        name = json.loads(path.read_text())["full_id"]
        median_ns = json.loads(path.with_name("estimates.json").read_text())["median"]["point_estimate"]
        limit = {"safetensors header, 10000 tensors": 10_000.0, "Llama-3.1-8B, breakdown, torch": 10.0}.get(name)
        found.append(
            Row(f"native: {name}", median_ns / 1e3, "us", limit=limit, aim=f"<= {limit:g} us" if limit else "")
        )
    return found


def through_python() -> list[Row]:
    """Return the least of several rounds of each figure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(LLAMA))
        checkpoint = inspect_config(path)
        one = best(
            lambda: size_model(checkpoint, ShapeRequest(dtype=Dtype.BF16, context_length=8192, max_concurrency=8)),
            20,
            500,
        )
        rng = np.random.default_rng(1)
        contexts = rng.integers(1, 131_072, ROWS, dtype=np.uint64)
        sequences = rng.integers(1, 64, ROWS, dtype=np.uint64)
        many = best(lambda: size_batch(checkpoint, contexts, sequences, ShapeRequest(dtype=Dtype.BF16)), 5, 1)
        directory = Path(folder) / "many"
        directory.mkdir()
        write_many(directory)
        header = best(lambda: survey_model(directory), 10, 1)
    return [
        Row("one plan through Python, every component", one * 1e6, "us", limit=50.0, aim="<= 50 us"),
        Row("batch: one plan of two million", many / ROWS * 1e6, "us", limit=1.0, aim=">= 1 M plans/s"),
        Row(f"a checkpoint of {TENSORS:,} tensors, read and summed", header * 1e3, "ms", limit=10.0, aim="<= 10 ms"),
    ]


def main() -> None:
    """Print the figures beside their bars, and write them down."""
    load = os.getloadavg()[0]
    rows = [*through_python(), *native()]
    write("allocator-speed", rows, machine(load))
    show(Console(width=150), [("allocator", rows)])


if __name__ == "__main__":
    main()
