"""What other tools say a model needs, beside what it does: bytes of weights and cache, their errors, and the time of an answer.

Run: ``python -m benchmarks.allocator.peers [--environment DIR] [--vllm PYTHON]``. The peers live in an environment of their own at
DIR, made on the first run with ``pip install hf-mem==0.5.6 accelerate`` (accelerate takes torch and transformers from this project's
environment) and ``go build`` for gguf-parser-go 0.28.2; without Go, or without ``--vllm`` (a Python that has vLLM), these say so.

The truth: parameters of transformers' class on the meta device, and keys and values as transformers' cache holds them (the table of
published models, compared with its cache objects in ``tests/planning/test_kv_caches.py``). A tool that speaks of another engine is
held to that engine's way: llama.cpp holds a tied embedding twice, and states have each engine's dtypes. What a tool does not answer is
"none".
Figures go into ``benchmarks/results/allocator-sizes.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.peers.headers import write_gguf, write_safetensors
from benchmarks.reporting import RESULTS, machine
from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import inspect_config, size_model
from tests.planning.test_published import MODELS, Published


class Engine(StrEnum):
    """Whose memory a tool speaks of."""

    TORCH = "transformers"
    VLLM = "vLLM"
    LLAMA = "llama.cpp"


CONTEXT: Final = 4096
"""No window of the models is shorter, so that every engine keeps the same tokens."""
SEQUENCES: Final = 8
_ROOT: Final = Path(__file__).parents[2]
_PEERS: Final = _ROOT / "benchmarks" / "peers"
_OURS: Final = (_ROOT / "daemon", _ROOT / "clients" / "python" / "src", _ROOT)
"""Where vLLM's Python, which has an environment of its own, finds this repository's packages."""
_STATE_BYTES: Final = {
    "Falcon-Mamba-7B": {
        Engine.TORCH: 37_748_736,
        Engine.VLLM: 19_922_944,
        Engine.LLAMA: 64 * (3 * 8192 + 16 * 8192) * 4,
    }
}
"""A sequence's states: four inputs and FP32 in transformers, three and BF16 in vLLM, three and FP32 in llama.cpp."""
_ENGINES: Final = {"gguf-parser-go 0.28.2": Engine.LLAMA, "vLLM 0.32's cache specs": Engine.VLLM}
"""Of tools that speak of another engine than transformers."""
_REPEATS: Final = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One tool on one model. Bytes are None where it gives none; ``note``: why, in its own words."""

    tool: str
    model: str
    weight_bytes: int | None = None
    kv_bytes: int | None = None
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A published model and its checkpoint of holes; the truth in bytes. ``again``: the table that llama.cpp holds once more.

    Where the output embedding is the input embedding, llama.cpp has one on the host and one on the device.
    """

    name: str
    directory: Path
    context: int
    parameter_bytes: int
    again: int
    kv_bytes: int

    def truth(self, engine: Engine) -> tuple[int, int]:
        """Return bytes of weights, and of keys, values and states, in an engine."""
        states = SEQUENCES * _STATE_BYTES[self.name][engine] if self.name in _STATE_BYTES else 0
        return self.parameter_bytes + (self.again if engine == Engine.LLAMA else 0), self.kv_bytes + states


def prepared(name: str, published: Published, folder: Path) -> Subject:
    """Write config, safetensors and GGUF; check the published parameters against the meta device."""
    model_class = getattr(transformers, published.config["architectures"][0])
    config = model_class.config_class(**published.config)
    with torch.device("meta"):
        model = model_class(config)
    shapes = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if parameters != published.parameters:
        raise ValueError(f"{name}: {parameters:,} parameters on the meta device, published {published.parameters:,}")
    directory = folder / name
    directory.mkdir()
    fields = {**published.config, "model_type": config.model_type}
    (directory / "config.json").write_text(json.dumps(fields))
    write_safetensors(directory / "model.safetensors", shapes)
    (folder / "gguf").mkdir(exist_ok=True)
    write_gguf(folder / "gguf" / f"{name}.gguf", config, shapes)
    context = min(CONTEXT, published.config.get("n_positions", CONTEXT))
    again = 2 * config.vocab_size * config.hidden_size if config.tie_word_embeddings else 0
    kv = SEQUENCES * published.kv_bytes_per_token * context
    return Subject(name, directory, context, 2 * parameters, again, kv)


def ours(subject: Subject) -> Answer:
    """Read the config alone and plan; the least of several rounds."""
    least, weights, kv = float("inf"), 0, 0
    for _ in range(_REPEATS):
        began = time.perf_counter()
        checkpoint = inspect_config(subject.directory / "config.json")
        sized = size_model(
            checkpoint,
            ShapeRequest(dtype=Dtype.BF16, context_length=subject.context, max_concurrency=SEQUENCES, engine="torch"),
        )
        least = min(least, time.perf_counter() - began)
        weights = sum(part.bytes for part in sized.components if part.name == "weights")
        kv = sum(part.bytes for part in sized.components if part.name.endswith("_cache"))
    return Answer("ours, config alone", subject.name, weights, kv, least)


def environment(folder: Path) -> Path:
    """Return the peers' Python, made where it is not there yet."""
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "hf-mem==0.5.6"], check=True)
        subprocess.run([*pip, "--no-deps", "accelerate"], check=True)
        (folder / "made").touch()
    return python


def lines(command: list[str], variables: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Run a peer; return what it printed, a record a line."""
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **(variables or {})}, timeout=600
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def read(tool: str, subject: Subject, record: dict[str, Any]) -> Answer:
    """Return an answer from a peer's record."""
    if record["error"]:
        return Answer(tool, subject.name, note=record["error"][:200])
    return Answer(tool, subject.name, record.get("weight_bytes"), record.get("kv_bytes"), record["seconds"])


def in_python(python: Path, subjects: list[Subject]) -> list[Answer]:
    """Ask hf-mem and accelerate."""
    found = []
    for one in subjects:
        command = [str(python), str(_PEERS / "hf_mem_sizes.py"), str(one.context), str(SEQUENCES), str(one.directory)]
        found += [read("hf-mem 0.5.6", one, record) for record in lines(command, {"PYTHONPATH": ""})]
    borrowed = {"PYTHONPATH": sysconfig.get_paths()["purelib"], "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(_PEERS / "accelerate_sizes.py"), *(str(one.directory) for one in subjects)]
    records = lines(command, borrowed)
    return found + [read("accelerate", one, record) for one, record in zip(subjects, records, strict=True)]


def in_go(folder: Path, subjects: list[Subject]) -> list[Answer]:
    """Ask gguf-parser-go, built from the module proxy on the first run."""
    tool, program = "gguf-parser-go 0.28.2", folder / "gguf_sizes"
    if not program.exists():
        compiler = shutil.which("go")
        if compiler is None:
            return [Answer(tool, one.name, note="there is no Go to build it with") for one in subjects]
        subprocess.run([compiler, "build", "-o", program, "."], cwd=_PEERS / "gguf_sizes", check=True)
    found = []
    for one in subjects:
        file = one.directory.parent / "gguf" / f"{one.name}.gguf"
        record = lines([str(program), str(one.context), str(SEQUENCES), str(file)])[0]
        found.append(read(tool, one, record))
    return found


def in_vllm(python: str | None, subjects: list[Subject]) -> list[Answer]:
    """Ask vLLM's own cache specs, which know nothing of weights."""
    tool = "vLLM 0.32's cache specs"
    if python is None:
        return [Answer(tool, one.name, note="asked with --vllm PYTHON only") for one in subjects]
    command = [python, str(_PEERS / "vllm_sizes.py"), str(SEQUENCES)]
    command += [f"{one.directory}:{one.context}" for one in subjects]
    records = lines(command, {"PYTHONPATH": os.pathsep.join(map(str, _OURS))})
    return [read(tool, one, record) for one, record in zip(subjects, records, strict=True)]


def off(predicted: int | None, truth: int) -> float | None:
    """Return the relative error; None without an answer, and where there is nothing to be off from."""
    return None if predicted is None or not truth else predicted / truth - 1


def judged(answer: Answer, subject: Subject) -> dict[str, Any]:
    """Return an answer with its errors: of weights, of the cache, and of both together where it gives both."""
    both = None
    if answer.weight_bytes is not None and answer.kv_bytes is not None:
        both = answer.weight_bytes + answer.kv_bytes
    engine = _ENGINES.get(answer.tool, Engine.TORCH)
    weights, kv = subject.truth(engine)
    return {
        **asdict(answer),
        "engine": engine.value,
        "serving_bytes": both,
        "weight_error": off(answer.weight_bytes, weights),
        "kv_error": off(answer.kv_bytes, kv),
        "serving_error": off(both, weights + kv),
    }


def summary(tool: str, rows: list[dict[str, Any]], fastest: float) -> dict[str, Any]:
    """Return a tool's medians and worst over the models that it answered."""
    found: dict[str, Any] = {"tool": tool}
    for name in ("weight_error", "kv_error", "serving_error"):
        errors = [abs(row[name]) for row in rows if row[name] is not None]
        found[name] = {"answered": len(errors), "of": len(rows)}
        if errors:
            found[name] |= {"median": statistics.median(errors), "worst": max(errors)}
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    found["median_seconds"] = statistics.median(seconds) if seconds else None
    found["times_ours"] = found["median_seconds"] / fastest if seconds else None
    return found


def show(console: Console, rows: list[dict[str, Any]], totals: list[dict[str, Any]]) -> None:
    """Print a table of every answer, and one of medians."""
    percent = lambda value: "none" if value is None else f"{100 * value:+.2f} %"  # noqa: E731
    table = Table("model", "tool", "weights", "keys and values", "together", "seconds", "note", title="error by model")
    for row in sorted(rows, key=lambda row: row["model"]):
        errors = [percent(row[name]) for name in ("weight_error", "kv_error", "serving_error")]
        seconds = "none" if row["seconds"] is None else f"{row['seconds']:.6f}"
        table.add_row(row["model"], row["tool"], *errors, seconds, row["note"][:50])
    console.print(table)
    table = Table(
        "tool", "weights", "keys and values", "together", "seconds", "x ours", title="median / worst, answered"
    )
    for row in totals:
        cells = []
        for name in ("weight_error", "kv_error", "serving_error"):
            one = row[name]
            figures = f"{100 * one['median']:.2f} / {100 * one['worst']:.2f} %" if "median" in one else "none"
            cells.append(f"{figures}, {one['answered']} of {one['of']}")
        times = ["none", "none"]
        if row["median_seconds"] is not None:
            times = [f"{row['median_seconds']:.6f}", f"{row['times_ours']:.0f}"]
        table.add_row(row["tool"], *cells, *times)
    console.print(table)


def main() -> int:
    """Print the tables and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path(".venv-peers"), help="where the peers are installed")
    parser.add_argument("--vllm", help="a Python that has vLLM")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    python = environment(options.environment.absolute())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = [prepared(model, published, folder) for model, published in MODELS.items()]
        answers = [ours(one) for one in subjects]
        answers += in_python(python, subjects)
        answers += in_go(options.environment.absolute(), subjects)
        answers += in_vllm(options.vllm, subjects)
    by_name = {one.name: one for one in subjects}
    rows = [judged(answer, by_name[answer.model]) for answer in answers]
    fastest = statistics.median(row["seconds"] for row in rows if row["tool"].startswith("ours"))
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    totals = [summary(tool, [row for row in rows if row["tool"] == tool], fastest) for tool in tools]
    truth = [
        {"model": one.name, "context": one.context} | {engine.value: one.truth(engine) for engine in Engine}
        for one in subjects
    ]
    found = {"sequences": SEQUENCES, "truth": truth, "tools": totals, "models": rows, "machine": asdict(machine(load))}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "allocator-sizes.json").write_text(json.dumps(found, indent=1) + "\n")
    show(Console(width=170), rows, totals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
