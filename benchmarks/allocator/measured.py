"""Measured runs: what real worker processes take, run by run, beside the components that the plan computes for them.

Run: ``python -m benchmarks.allocator.measured RUNS.jsonl``; one line a run, appended as it comes, so that an interrupted series
goes on where it stopped. ``python -m benchmarks.allocator.measured_report RUNS.jsonl`` makes the figures of it.

The first series has the heap set to hand freed blocks back at once, so that a process is what it holds; the second has it as workers
have it in service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.allocator.checkpoints import Recipe, remove_checkpoint, write_checkpoint
from benchmarks.allocator.workers import Order, Taken, WorkerFailedError, standby_worker
from benchmarks.world import minilm
from echoplaned.core.calibration import MemorySample, MemoryUsage
from echoplaned.core.errors import DaemonError
from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import SizedModel, explain, inspect_checkpoint, size_model

_CALLS: Final = 3
_MINILM: Final = "minilm"
_BIG_BYTES: Final = 800_000_000
_DECODERS: Final = {
    "llama": "LlamaForCausalLM",
    "qwen": "Qwen2ForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "mixtral": "MixtralForCausalLM",
}
# Most of their weights are no linear layers, so that the engine refuses INT8.
_WITHOUT_INT8: Final = frozenset({"gpt2", "mixtral"})


def _llama(name: str, hidden: int, layers: int, wide: int, vocabulary: int, **more: Any) -> Recipe:  # noqa: ANN401 - a config's fields
    config = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": max(1, hidden // 256),
        "intermediate_size": wide,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
    }
    family = name.partition("-")[0]
    return Recipe(name, family, _DECODERS[family], {**config, **more})


def _bert(name: str, hidden: int, layers: int, vocabulary: int) -> Recipe:
    config = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
        "vocab_size": vocabulary,
        "max_position_embeddings": 512,
    }
    return Recipe(name, "bert", "BertModel", config)


def _gpt2(name: str, hidden: int, layers: int, vocabulary: int) -> Recipe:
    config = {
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": hidden // 64,
        "vocab_size": vocabulary,
        "n_positions": 1024,
    }
    return Recipe(name, "gpt2", "GPT2LMHeadModel", config)


RECIPES: Final = (
    Recipe(_MINILM, _MINILM, "BertModel"),
    _bert("bert-small", 512, 4, 8_000),
    _bert("bert-base", 768, 12, 30_522),
    _llama("llama-small", 512, 6, 1376, 16_000),
    _llama("llama-large", 1024, 16, 2816, 32_000),
    _llama("qwen-small", 768, 8, 2048, 30_000, tie_word_embeddings=True),
    _llama("mistral-small", 640, 8, 1792, 20_000),
    _gpt2("gpt2-small", 512, 6, 16_000),
    _gpt2("gpt2-base", 768, 12, 50_257),
    _llama("llama-3g", 2048, 12, 5632, 32_000),
    _llama("qwen3-small", 640, 8, 1792, 20_000, head_dim=128, tie_word_embeddings=True),
    _llama("gemma2-small", 512, 6, 2304, 24_000, num_key_value_heads=4, head_dim=64, sliding_window=128),
    _llama("mixtral-small", 512, 4, 1024, 16_000, num_local_experts=8),
)
# Weights, sequences, tokens of each. INT8 where the engine takes it, else FP32.
_ROUNDS: Final = (
    ("FP32", 8, 256),
    ("BF16", 8, 256),
    ("INT8", 8, 128),
    ("FP16", 4, 192),
    ("FP32", 16, 128),
    ("BF16", 4, 384),
    ("INT8", 4, 320),
)
# So many of the rounds are repeated with the heap as in service.
_IN_SERVICE: Final = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One run to make."""

    recipe: Recipe
    dtype: str
    sequences: int
    tokens: int
    trimmed: bool = True

    @property
    def name(self) -> str:
        """What tells it from the others."""
        heap = "" if self.trimmed else " in service"
        return f"{self.recipe.name} {self.dtype} {self.sequences}x{self.tokens}{heap}"


def cases() -> list[Case]:
    """Return every run: all rounds with a trimmed heap, then some as in service."""
    return [*_series(_ROUNDS, trimmed=True), *_series(_ROUNDS[:_IN_SERVICE], trimmed=False)]


def _series(rounds: tuple[tuple[str, int, int], ...], *, trimmed: bool) -> list[Case]:
    """Return one round of models after another; large models get fewer tokens."""
    found = []
    for dtype, sequences, tokens in rounds:
        for recipe in RECIPES:
            # FP16 has no fast product for GPT-2's layers on a CPU.
            slow = dtype == "FP16" and recipe.name == "gpt2-base"
            large = slow or recipe.name in {"llama-large", "llama-3g"}
            kind = "FP32" if dtype == "INT8" and recipe.family in _WITHOUT_INT8 else dtype
            if recipe.name == "llama-3g" and (dtype, tokens) not in {("FP32", 256), ("BF16", 256)}:
                continue
            found.append(
                Case(
                    recipe,
                    kind,
                    max(1, sequences // 4) if large else sequences,
                    tokens - 16 * (kind != dtype) - 128 * slow,
                    trimmed,
                )
            )
    return found


class Checkpoints:
    """Checkpoints as they are needed; the largest is deleted after each of its runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, recipe: Recipe) -> Path:
        """Return a recipe's directory, written on first use."""
        if recipe.name == _MINILM:
            return minilm()
        path = self._folder / recipe.name
        return path if path.exists() else write_checkpoint(recipe, path)

    def done(self, recipe: Recipe) -> None:
        """Delete what is too large to keep."""
        path = self._folder / recipe.name
        if path.exists() and sum(file.stat().st_size for file in path.iterdir()) > _BIG_BYTES:
            remove_checkpoint(path)


class Tracer:
    """The process that traces single calls."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def trace(self, order: Order) -> dict[str, int]:
        """Return the storage and the peak of one full batch, in bytes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order) | {"source": str(order.source)}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def tracer() -> Iterator[Tracer]:
    """Start the tracing process; it ends with the block."""
    command = [sys.executable, "-m", "benchmarks.allocator.calls"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        try:
            yield Tracer(process)
        finally:
            process.kill()


def run(case: Case, source: Path, calls: Tracer) -> dict[str, Any]:
    """Measure one case and size it.

    Raises:
        DaemonError: it cannot be sized.
        WorkerFailedError: it cannot be served.
    """
    checkpoint = inspect_checkpoint(source, with_digest=False)
    sized = size_model(
        checkpoint, ShapeRequest(dtype=Dtype(case.dtype), context_length=case.tokens, max_concurrency=case.sequences)
    )
    vocabulary = checkpoint.native.vocabulary_size
    order = Order(source, checkpoint.facts.task.value, case.dtype, case.sequences, case.tokens, vocabulary)
    with standby_worker(exact_memory=case.trimmed) as worker:
        taken = worker.measure(order, calls=_CALLS)
    traced = calls.trace(order) if case.trimmed else None
    return {
        "case": case.name,
        "model": case.recipe.name,
        "family": case.recipe.family,
        "dtype": case.dtype,
        "sequences": case.sequences,
        "tokens": case.tokens,
        "trimmed": case.trimmed,
        "stored_bytes": checkpoint.facts.weights_bytes,
        "mapped": sized.is_copied,
        "components": by_name(sized),
        "reading": asdict(reading(case.name, taken, sized, checkpoint.facts.weights_bytes)),
        "unsure": unsure(sized),
        "taken": asdict(taken),
        "call": traced,
    }


def reading(name: str, taken: Taken, sized: SizedModel, stored_bytes: int) -> MemorySample:
    """Return what the daemon would learn of the run."""
    usage = MemoryUsage(
        engine_version=taken.engine_version,
        load_peak_bytes=taken.load_peak_bytes,
        serving_peak_bytes=taken.serving_peak_bytes,
        file_bytes=taken.file_bytes,
        sequences=taken.exercised_sequences,
        tokens=taken.exercised_tokens,
    )
    return explain(name, 0.0, usage, sized, stored_bytes)


def by_name(sized: SizedModel) -> dict[str, int]:
    """Return bytes by component; those of one name, as the caches of layers of two kinds, are added up."""
    found: dict[str, int] = {}
    for part in sized.components:
        found[part.name] = found.get(part.name, 0) + part.bytes
    return found


def unsure(sized: SizedModel) -> int:
    """Return what the formulas' own upper bounds add, in bytes: experts' rows follow the routing."""
    return sum(part.upper_bytes - part.bytes for part in sized.components if part.name == "activations")


def main() -> None:
    """Make the runs that the file does not have yet."""
    out = Path(sys.argv[1])
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    known = {json.loads(line)["case"] for line in lines}
    with tempfile.TemporaryDirectory(prefix="measured-") as folder, tracer() as calls:
        checkpoints = Checkpoints(Path(folder))
        for case in cases():
            if case.name in known:
                continue
            try:
                row = run(case, checkpoints.path(case.recipe), calls)
            except (DaemonError, WorkerFailedError) as error:
                print(f"{case.name}: {error}", file=sys.stderr)
                continue
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            checkpoints.done(case.recipe)
            print(case.name, row["taken"]["serving_peak_bytes"], flush=True)


if __name__ == "__main__":
    main()
