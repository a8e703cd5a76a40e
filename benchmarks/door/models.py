"""From a change of the routes to its effect, and memory, with 10, 100 and 1,000 models behind the gateway.

python -m benchmarks.door.models [--quick]. So many engines fit no machine: the publisher, ADS and Envoy are the real ones, the models
are made up, and one small server stands behind all of them. Each size has a process and an Envoy of its own. What is measured as control
plane is that process: the daemon's xDS part with the snapshot. The rest of a daemon is shown with one model beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.door import running
from benchmarks.door.staged import FIRST, SECOND, TOTAL_PPM, Stage, staged
from benchmarks.door.world import cpu_s, end, front_door, memory_mib
from benchmarks.peers import door_backend
from benchmarks.peers.door_watch import now_s
from benchmarks.reporting import Row
from benchmarks.world import hear, peer, say

SIZES: Final = (10, 100, 1_000)
ROUNDS: Final = 20
PUSHES: Final = 20
SETTLE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Sized:
    """What one size takes.

    Times in ms; ``effect``: until the gateway answers by it; CPU in ms a push; memory in MiB: resident, proportional.
    """

    models: int
    weight_effect_ms: list[float]
    new_model_effect_ms: list[float]
    acknowledged_ms: list[float]
    envoy_cpu_ms: float
    control_cpu_ms: float
    envoy_mib: tuple[float, float]
    control_mib: tuple[float, float]


async def measure_size(models: int, rounds: int, backend: str) -> Sized:
    """Measure with so many models, in this process."""
    names = tuple(f"model-{number}" for number in range(models))
    async with staged(names, backend) as stage:
        await asyncio.sleep(SETTLE_S)
        envoy_mib, control_mib = memory_mib(stage.envoy()), memory_mib(psutil.Process())
        acknowledged_ms, envoy_cpu_ms, control_cpu_ms = await pushes(stage, names[-1])
        with peer("door_probe", stage.listening) as prober:
            weights = [await effect(stage, prober, names[-1], number % 2 == 0) for number in range(rounds)]
            new = [await effect(stage, prober, f"new-{number}", second=False) for number in range(rounds)]
        return Sized(
            models, weights, new, acknowledged_ms, envoy_cpu_ms, control_cpu_ms, envoy_mib, control_mib
        )  # fmt: skip


async def pushes(stage: Stage, model: str) -> tuple[list[float], float, float]:
    """Push weights one after another; return the times until they were acknowledged, and the CPU of Envoy and of this process a push."""
    envoy = stage.envoy()
    before_s = (cpu_s(envoy), time.process_time())
    taken_ms = [1000 * await stage.publish(model, number % 2 * 1000) for number in range(PUSHES)]
    await stage.publish(model, 0)
    count = len(taken_ms) + 1
    used_s = (cpu_s(envoy) - before_s[0], time.process_time() - before_s[1])
    return taken_ms, 1000 * used_s[0] / count, 1000 * used_s[1] / count


async def effect(stage: Stage, prober: subprocess.Popen[str], model: str, second: bool) -> float:  # noqa: FBT001 - by turns
    """Move all weight, or publish a new model; return the ms until a request was answered by it."""
    say(prober, json.dumps({"model": model, "version": SECOND if second else FIRST}))
    await asyncio.to_thread(hear, prober)
    began_s = now_s()
    await stage.publish(model, TOTAL_PPM if second else 0)
    at_s = float((await asyncio.to_thread(hear, prober)).split()[0])
    await asyncio.sleep(SETTLE_S / 10)
    return 1000 * (at_s - began_s)


def measure(*, quick: bool) -> list[Row]:
    """Measure each size in a process of its own."""
    sizes, rounds = ((10, 100), 4) if quick else (SIZES, ROUNDS)
    server = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(door_backend.__file__))], stdout=subprocess.PIPE
    )  # fmt: skip
    try:
        assert server.stdout is not None
        backend = f"127.0.0.1:{int(server.stdout.readline())}"
        seen = []
        for models in sizes:
            running.say(f"{models} models, {rounds} changes of weights, {rounds} new models")
            seen.append(in_own_process(models, rounds, backend))
    finally:
        end(server)
    return [*rows(seen), *daemon_rows()]


def in_own_process(models: int, rounds: int, backend: str) -> Sized:
    """Measure one size where no other one has left its memory.

    Raises:
        RuntimeError: it failed; the message has its last words.
    """
    command = [sys.executable, "-m", "benchmarks.door.models", "--size", str(models), "--rounds", str(rounds)]
    done = subprocess.run([*command, "--backend", backend], capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise RuntimeError(f"{models} models: {done.stderr[-3000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Sized(**{**told, "envoy_mib": tuple(told["envoy_mib"]), "control_mib": tuple(told["control_mib"])})


def rows(seen: Iterable[Sized]) -> Iterator[Row]:
    """Return the table."""
    first: Sized | None = None
    for each in seen:
        first = first or each
        at, beside = f"{each.models:,} models", f"{first.models}"
        times = {
            "a change of weights to its effect": (each.weight_effect_ms, first.weight_effect_ms),
            "a new model to its effect": (each.new_model_effect_ms, first.new_model_effect_ms),
            "a push until it is acknowledged": (each.acknowledged_ms, first.acknowledged_ms),
        }
        for name, (values, base) in times.items():
            yield Row(f"{at}: {name}, median", statistics.median(values), "ms", beside, statistics.median(base))
            yield Row(f"{at}: {name}, worst of {len(values)}", max(values), "ms", beside, max(base))
        yield Row(f"{at}: CPU of a push, Envoy", each.envoy_cpu_ms, "ms", beside, first.envoy_cpu_ms)
        yield Row(f"{at}: CPU of a push, control plane", each.control_cpu_ms, "ms", beside, first.control_cpu_ms)
        for name, mib, base_mib in (
            ("Envoy", each.envoy_mib, first.envoy_mib),
            ("control plane", each.control_mib, first.control_mib),
        ):
            yield Row(f"{at}: {name}, resident", mib[0], "MiB", beside, base_mib[0])
            yield Row(f"{at}: {name}, proportional", mib[1], "MiB", beside, base_mib[1])


def daemon_rows() -> Iterator[Row]:
    """Return the memory of a whole daemon and its Envoy with one real model."""
    running.say("a whole daemon with one model")
    with front_door() as door:
        assert door.daemon.process is not None
        for name, process in (("daemon", psutil.Process(door.daemon.process.pid)), ("Envoy", door.envoy())):
            rss_mib, pss_mib = memory_mib(process)
            yield Row(f"a whole daemon, one model: {name}, resident", rss_mib, "MiB")
            yield Row(f"a whole daemon, one model: {name}, proportional", pss_mib, "MiB")


def main() -> int:
    """Measure what was asked for; with ``--size``: one size, told as JSON."""
    parser = running.parser("models", "Changes of routes and memory by the number of models.")
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=argparse.SUPPRESS)
    parser.add_argument("--backend", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        print(json.dumps(asdict(asyncio.run(measure_size(options.size, options.rounds, options.backend)))))
        return 0
    return running.run("models", lambda: measure(quick=options.quick), quick=options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
