"""GetModel beside open ADS streams, against a grpc.aio server that does nothing, by turns under the same callers."""

from __future__ import annotations

import json
import statistics
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.reporting import Row
from benchmarks.world import daemon, hear, peer, say, scratch
from echoplane import Client
from echoplane.v1 import models_pb2
from echoplaned.testing.checkpoints import make_encoder

STREAMS = 100
ROUNDS = 5
CALLERS = 8
PACED_PER_S = 100
SECONDS = 2.0
MODEL = "tiny"


@dataclass(frozen=True, slots=True)
class Round:
    """One round against one server."""

    calls_per_s: float
    median_ms: float
    p99_ms: float


def measure() -> list[Row]:
    """Call both servers by turns: at full speed, and at a steady pace that both carry."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        source = make_encoder(folder / "models" / MODEL)
        process = stack.enter_context(daemon(standby=0, roots=(source.parent,)))
        echo = f"127.0.0.1:{hear(stack.enter_context(peer('echo_server')))}"
        with Client(process.address) as client:
            request = models_pb2.LoadModelRequest(model_id=MODEL, version_id="v1", source_uri=f"file:{source}")
            client.wait(client.load_model(request), 120)
        hear(stack.enter_context(peer("ads_streams", process.address, MODEL, str(STREAMS))))
        callers = stack.enter_context(peer("callers", MODEL))
        ask(callers, process.address, 0)  # warms both paths; thrown away
        full, full_echo, paced, paced_echo = [], [], [], []
        for _ in range(ROUNDS):
            full_echo.append(ask(callers, echo, 0))
            full.append(ask(callers, process.address, 0))
            paced_echo.append(ask(callers, echo, PACED_PER_S))
            paced.append(ask(callers, process.address, PACED_PER_S))
    return rows(full, full_echo, paced, paced_echo)


def ask(callers: subprocess.Popen[str], address: str, rate: float) -> Round:
    """Have the callers call one server for a while."""
    say(callers, f"{address} {CALLERS} {rate} {SECONDS}")
    return Round(**json.loads(hear(callers)))


def rows(full: list[Round], full_echo: list[Round], paced: list[Round], paced_echo: list[Round]) -> list[Row]:
    """Fold the rounds."""
    p99, p99_echo = middle(full, "p99_ms"), middle(full_echo, "p99_ms")
    calm, calm_echo = middle(paced, "p99_ms"), middle(paced_echo, "p99_ms")
    return [
        Row(f"GetModel p99, {CALLERS} callers", p99, "ms", "echo", p99_echo, 3 * p99_echo, "<= 3 x echo"),
        Row("- median", middle(full, "median_ms"), "ms", "echo", middle(full_echo, "median_ms")),
        Row("- calls", middle(full, "calls_per_s"), "1/s", "echo", middle(full_echo, "calls_per_s")),
        Row(f"GetModel p99 at {PACED_PER_S} calls/s", calm, "ms", "echo", calm_echo, 3 * calm_echo, "<= 3 x echo"),
        Row("- median", middle(paced, "median_ms"), "ms", "echo", middle(paced_echo, "median_ms")),
    ]


def middle(rounds: list[Round], field: str) -> float:
    """Return the median of one figure over the rounds."""
    return statistics.median(float(getattr(each, field)) for each in rounds)
