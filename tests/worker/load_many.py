"""Run by a test in a process of its own: loads every checkpoint it is given in every way, and prints what came of it as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker.memory import release_free_memory
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Outcome, RowFailure, Sampling, TokenSequence, Vector
from echoplaned.worker.torch_model import TorchRuntime
from echoplaned.worker_contract.inference.errors import LoadError


def outcome_of(runtime: TorchRuntime, source: str, task: str, dtype: str) -> dict[str, object]:
    """Load one checkpoint and run one text through it."""
    instance = InstanceKey.parse("m/v#0")
    options = LoadOptions(instance, 1, Path(source), Task(task), Dtype(dtype), context_length=16, max_concurrency=2)
    try:
        model = runtime.load(options)
    except LoadError as error:
        return {"error": str(error)}
    got: list[Outcome] = []
    release_free_memory()  # as a worker does when it has loaded
    run = model.start_run([TokenSequence(model.tokenize(["the river"])[0], Sampling(max_tokens=2), got.append)])
    while not run.done:
        for sequence, outcome in run.step():
            sequence.deliver(outcome)
    failed = [str(outcome.error) for outcome in got if isinstance(outcome, RowFailure)]
    vectors = [outcome.values.tolist() for outcome in got if isinstance(outcome, Vector)]
    return {
        "bytes": model.tensor_bytes,
        "outcomes": len(got),
        "failed": failed,
        "mapped": str(Path(source) / "model.safetensors") in Path("/proc/self/maps").read_text(encoding="utf-8"),
        "vector": vectors[0] if vectors else [],
        "beside": sorted(path.name for path in Path(source).glob("*.ran")),
    }


def main() -> None:
    """Answer the list of cases that stdin holds."""
    runtime = TorchRuntime()
    json.dump([outcome_of(runtime, *case) for case in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
