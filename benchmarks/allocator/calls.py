"""The allocator's peak of one call, from torch's own allocation events, in a process that loads as a worker does.

Run: ``python -m benchmarks.allocator.calls``; it reads one order a line as JSON and answers with one line of JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker.encoding import EncoderRun
from echoplaned.worker.generating import GenerationRun
from echoplaned.worker.loading import LoadedModel, load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Sampling, TokenSequence


@dataclass(frozen=True, slots=True)
class CallPeak:
    """Bytes of all distinct tensor storages of the model, and the most that one full batch held beside them."""

    storage_bytes: int
    peak_bytes: int


def measure(order: dict[str, Any]) -> CallPeak:
    """Load a checkpoint and trace one full batch of random tokens, of which the last row is padded by one."""
    loaded = load_model(
        LoadOptions(
            instance=InstanceKey.parse("m/v1#0"),
            generation=1,
            source_path=Path(order["source"]),
            task=Task(order["task"]),
            dtype=Dtype(order["dtype"]),
            context_length=order["tokens"],
            max_concurrency=order["sequences"],
        )
    )
    shape = (order["sequences"], order["tokens"])
    _step(loaded, (1, 2))  # what only the first call makes is not the call's own
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as traced:
        _step(loaded, shape)
    peak = _peak_bytes(traced)
    return CallPeak(loaded.storage_bytes, peak)


def _step(loaded: LoadedModel, shape: tuple[int, int]) -> None:
    """Compute the first step of a batch, the one in which every token of a prompt is computed."""
    ids = torch.randint(2, loaded.vocabulary_size, shape).tolist()
    if len(ids) > 1:
        # What is planned is a padded batch: with rows of one length there is no mask, and nothing made of it.
        ids[-1].pop()
    rows = [TokenSequence(row, Sampling(max_tokens=1), lambda _outcome: None) for row in ids]
    run = GenerationRun(loaded, rows) if loaded.options.task is Task.GENERATION else EncoderRun(loaded, rows)
    run.step()


def _peak_bytes(traced: profile) -> int:
    """Return the largest sum of allocations less frees since the trace began."""
    results = traced.profiler
    assert results is not None
    assert results.kineto_results is not None
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def main() -> None:
    """Answer orders until the input ends."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        answer = measure(json.loads(line))
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        print(json.dumps(asdict(answer)), flush=True)


if __name__ == "__main__":
    main()
