"""The worker's own load and a first answer, in a process that is as warm as a standby; a round for each line on stdin, a checkpoint's path.

PYTHON .../benchmarks/peers/worker_load.py DIRECTORY: as a file, so that the environment of another release can run it.
Answers with seconds, processor seconds and page faults as JSON.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from pathlib import Path

import torch

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker.loading import load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.warming import warm_up


def load(source: Path) -> str:
    """Load, answer one row, and let go of it all; return what it took."""
    gc.collect()
    before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    options = LoadOptions(
        InstanceKey.parse("m/v1#0"), 1, source, Task.EMBEDDING, Dtype.FP32, context_length=64, max_concurrency=2
    )
    loaded = load_model(options)
    with torch.inference_mode():
        answer = loaded.model(input_ids=torch.tensor([[101, 102]])).last_hidden_state
    took_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_SELF)
    assert bool(torch.isfinite(answer).all())
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.dumps({"total_s": took_s, "cpu_s": cpu_s, "faults": after.ru_minflt - before.ru_minflt})


def main(directory: str) -> None:
    """Pay for the first load of a process, then load whenever asked."""
    torch.set_num_threads(1)
    warm_up(Path(directory))
    print("warm", flush=True)
    for line in sys.stdin:
        print(load(Path(line.strip())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
