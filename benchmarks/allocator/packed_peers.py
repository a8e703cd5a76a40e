"""What other tools say of packed checkpoints and of hybrid models, beside what we say, and what is true.

Run by the Python of ``benchmarks.allocator.packers``. The peers are those of ``benchmarks.allocator.peers``, in an environment of their
own:

python -m benchmarks.allocator.packed_peers --environment DIR [--out FILE]

*Packed*: the checkpoints that real packers write (``packers``). The truth is the sum of the tensors' bytes in the headers.
*Hybrid*: models of transformers' classes with states, windows or both beside full attention, at 512 tokens of one sequence. The truth is
the parameters on the meta device in 16 bit, and the bytes that transformers' cache holds after a step there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.allocator import packers, public_configs
from benchmarks.allocator.architectures import UNBUILDABLE
from benchmarks.peers.headers import write_safetensors
from echoplaned import _allocator

_OUT: Final = Path(__file__).parents[1] / "results" / "allocator-packed-peers.json"
_PEERS: Final = Path(__file__).parents[1] / "peers"
_PACKED_CONTEXT: Final = 128
CONTEXT: Final = 512
HYBRIDS: Final = (
    "JambaForCausalLM", "BambaForCausalLM", "Qwen3NextForCausalLM", "FalconH1ForCausalLM", "GraniteMoeHybridForCausalLM",
    "Lfm2ForCausalLM", "NemotronHForCausalLM", "Zamba2ForCausalLM", "FalconMambaForCausalLM", "Gemma2ForCausalLM",
    "Gemma3ForCausalLM", "GptOssForCausalLM", "Cohere2ForCausalLM",
)  # fmt: skip
"""Their default configs."""


@dataclass(frozen=True, slots=True)
class Case:
    """A checkpoint and what is true of it, in bytes. ``cache``: None where nobody says it. ``file``: what a tool of GGUF reads.

    ``is_packed``: whether a packer wrote it; else it is of holes.
    """

    kind: str
    directory: Path
    context: int
    weights: int
    cache: int | None = None
    file: Path | None = None
    is_packed: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One tool's answer. Errors are relative; None: no answer, or nothing to compare with."""

    kind: str
    tool: str
    weights: int | None = None
    cache: int | None = None
    weights_error: float | None = None
    cache_error: float | None = None
    note: str = ""


def packed(folder: Path) -> list[Case]:
    """Return what every packer that is there wrote."""
    found = []
    for kind, (packer, pack) in packers.KINDS.items():
        made = packers.measure(kind, packer, pack, folder)
        out = folder / kind.replace(" ", "-")
        if made.headers_bytes is None:
            print(f"{kind}: {made.outcome}, {made.note}", file=sys.stderr)
            continue
        gguf = out / "model.gguf"
        found.append(Case(kind, out, _PACKED_CONTEXT, made.headers_bytes, file=gguf if gguf.exists() else None))
    return found


def hybrids(folder: Path) -> list[Case]:
    """Return checkpoints of holes, of every class that can be built on the meta device."""
    import transformers  # noqa: PLC0415

    found = []
    for name in HYBRIDS:
        try:
            model_class = getattr(transformers, name)
            fields = {**model_class.config_class().to_dict(), "architectures": [name], "dtype": "bfloat16"}
            model = public_configs.built(model_class, fields)
            cache = public_configs.cache_bytes(model, fields, CONTEXT)
        except (AttributeError, *UNBUILDABLE) as error:
            print(f"{name}: not built, {type(error).__name__}: {error}"[:200], file=sys.stderr)
            continue
        directory = folder / name
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(fields, default=str))
        shapes = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
        write_safetensors(directory / "model.safetensors", shapes)
        weights = 2 * sum(parameter.numel() for parameter in model.parameters())
        found.append(Case(name, directory, CONTEXT, weights, cache, is_packed=False))
    return found


def ours(case: Case) -> Row:
    """Survey the checkpoint with its headers, and plan."""
    try:
        found = _allocator.survey(case.file or case.directory)
        engine = "llama.cpp" if case.file else "vllm" if case.is_packed else "torch"
        request = _allocator.Request(
            engine_name=engine, dtype_name=found.stored_dtype, context_length=case.context, max_concurrency=1
        )
        parts = _allocator.size(found, request).components
    except _allocator.AllocatorError as error:
        return Row(case.kind, "ours", note=f"{type(error).__name__}: {error}"[:160])
    weights = sum(part.bytes for part in parts if part.name == "weights")
    # A packed checkpoint's cache has no truth here.
    cache = None if case.is_packed else sum(part.bytes for part in parts if part.name.endswith("_cache"))
    return _row(case, "ours", weights, cache)


def peers(cases: list[Case], environment: Path) -> Iterable[Row]:
    """Ask every tool that reads such a file."""
    python = str(environment / "bin" / "python")
    borrowed = {"PYTHONPATH": sysconfig.get_paths()["purelib"], "HF_HUB_OFFLINE": "1"}
    for case in cases:
        if case.file is not None:
            go = [str(environment / "gguf_sizes"), str(case.context), "1", str(case.file)]
            yield _asked(case, "gguf-parser-go 0.28.2", go, {})
            continue
        hub = [python, str(_PEERS / "hf_mem_sizes.py"), str(case.context), "1", str(case.directory)]
        yield _asked(case, "hf-mem 0.5.6", hub, {"PYTHONPATH": ""})
        yield _asked(case, "accelerate", [python, str(_PEERS / "accelerate_sizes.py"), str(case.directory)], borrowed)


def _asked(case: Case, tool: str, command: list[str], variables: dict[str, str]) -> Row:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=600, env={**os.environ, **variables}
    )
    record: dict[str, Any] = next((json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")), {})
    if record.get("error", "no answer"):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Row(case.kind, tool, note=str(record.get("error") or last)[:160])
    return _row(case, tool, record.get("weight_bytes"), record.get("kv_bytes"))


def _row(case: Case, tool: str, weights: int | None, cache: int | None) -> Row:
    return Row(case.kind, tool, weights, cache, _off(weights, case.weights), _off(cache, case.cache))


def _off(said: int | None, true: int | None) -> float | None:
    return None if said is None or not true else said / true - 1


def summary(rows: list[Row]) -> list[dict[str, Any]]:
    """Return each tool's errors, of packed checkpoints and of hybrids apart: how many, how many exact, median, worst."""
    found = []
    for group, kinds in (("packed", set(packers.KINDS)), ("hybrid", set(HYBRIDS))):
        for tool in dict.fromkeys(row.tool for row in rows if row.kind in kinds):
            own = [row for row in rows if row.tool == tool and row.kind in kinds]
            line: dict[str, Any] = {"group": group, "tool": tool, "asked": len(own)}
            for name in ("weights_error", "cache_error"):
                errors = [abs(value) for row in own if (value := getattr(row, name)) is not None]
                line[name] = {"answered": len(errors), "exact": sum(error == 0 for error in errors)}
                if errors:
                    line[name] |= {"median": statistics.median(errors), "worst": max(errors)}
            found.append(line)
    return found


def main() -> int:
    """Print one line an answer and the sums; 1 where one of ours is not exact."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--environment", type=Path, required=True, help="where benchmarks.allocator.peers put the peers"
    )
    parser.add_argument("--out", type=Path, default=_OUT)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        cases = [*packed(Path(name)), *hybrids(Path(name))]
        rows = [*map(ours, cases), *peers(cases, arguments.environment.absolute())]
    for row in sorted(rows, key=lambda row: (row.kind, row.tool)):
        errors = ["none" if each is None else f"{each:+.2%}" for each in (row.weights_error, row.cache_error)]
        print(f"{row.kind:32}{row.tool:24}{errors[0]:>12}{errors[1]:>12}  {row.note}")
    found = summary(rows)
    for line in found:
        print(json.dumps(line))
    answer = {"cases": [asdict(case) | {"directory": "", "file": None} for case in cases]}
    answer |= {"tools": found, "rows": [asdict(row) for row in rows]}
    arguments.out.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    return int(any(row.tool == "ours" and (row.weights_error or row.cache_error) for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
