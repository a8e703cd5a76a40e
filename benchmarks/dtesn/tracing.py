"""What tracing adds to the worker's own work: a traced and an untraced batch in one process, a step of each in turn.

Steps a few milliseconds apart see the same machine, so the interval is far narrower than that of whole requests (``telemetry.py``).
In the work are the step, handing its tokens to whoever waits, and, with tracing, the finished traces as bytes of a message; sending
answers is not, so the share is of less than a token really takes, and higher than that of a served one.

python -m benchmarks.dtesn.tracing [--batches 60]
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.dtesn.telemetry import CALLERS, SHAPE, TOKENS, Share
from benchmarks.reporting import Row
from echoplane.worker.v1 import worker_pb2
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.testing.checkpoints import make_decoder
from echoplaned.worker.generating import GenerationRun
from echoplaned.worker.loading import LoadedModel, load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Outcome, Sampling, TokenSequence
from echoplaned.worker.tracing import TraceOrigin, Tracer

_PROMPT_TOKENS = 16


class Batch:
    """Rows that generate together; ``tracer``: None for an untraced one."""

    def __init__(self, loaded: LoadedModel, tracer: Tracer | None) -> None:
        self._tracer = tracer
        rows = torch.randint(
            3, loaded.vocabulary_size, (CALLERS, _PROMPT_TOKENS), generator=torch.Generator().manual_seed(1)
        )
        self._run = GenerationRun(loaded, [self._sequence(row) for row in rows.tolist()])

    def _sequence(self, row: list[int]) -> TokenSequence:
        sampling, listener = Sampling(max_tokens=TOKENS), _forget
        if self._tracer is not None:
            listener = self._tracer.tap(TraceOrigin(), row, sampling, listener)
        return TokenSequence(row, sampling, listener, traced=self._tracer is not None)

    @property
    def done(self) -> bool:
        """Whether all tokens are there."""
        return self._run.done

    def step(self) -> float:
        """Make one token a row, and tell it; return the seconds."""
        began_s = time.perf_counter()
        for sequence, outcome in self._run.step():
            sequence.tell(outcome)
        if self._tracer is not None and (traces := self._tracer.channel.take()):
            worker_pb2.TraceBatch(traces=traces).SerializeToString()
        return time.perf_counter() - began_s


def _forget(outcome: Outcome) -> None:
    """Do what a caller's queue does, less."""


def cost(batches: int) -> Share:
    """Return what tracing takes of the rate of tokens, from so many batches of either kind."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="echoplane-bench-") as folder:
        source = make_decoder(Path(folder).resolve() / "decoder", shape=SHAPE)
        loaded = load_model(
            LoadOptions(InstanceKey.parse("m/v1#0"), 1, source, Task.GENERATION, Dtype.FP32, 128, CALLERS)
        )
        compare(loaded, reverse=False)
        gc.collect()
        return Share.of([compare(loaded, reverse=bool(number % 2)) for number in range(batches)])


def compare(loaded: LoadedModel, *, reverse: bool) -> float:
    """Generate with and without tracing, a step of each in turn; return the share that tracing takes."""
    plain, traced = Batch(loaded, None), Batch(loaded, Tracer(time.time))
    times: dict[Batch, float] = {plain: 0.0, traced: 0.0}
    while not plain.done:
        for batch in (traced, plain) if reverse else (plain, traced):
            times[batch] += batch.step()
    assert traced.done
    return 1.0 - times[plain] / times[traced]


def measure() -> list[Row]:
    """Return the share."""
    found = cost(60)
    name = f"tracing's share of a worker's step, 60 batches of {CALLERS} x {TOKENS} tokens, {found}"
    return [Row(name, found.mean, "", limit=0.01, aim="<= 1 %")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=60)
    print(json.dumps(asdict(cost(parser.parse_args().batches)), indent=2))


if __name__ == "__main__":
    main()
