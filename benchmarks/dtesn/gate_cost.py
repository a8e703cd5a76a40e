"""What the echo gate takes of the daemon's CPU for 1,000 live requests, from telemetry to a kept verdict.

python -m benchmarks.dtesn.gate_cost [--tokens 32] [--rounds 5]

Requests of both versions come in turn, so that each finds a partner: the dearest case. Telemetry is drawn, as what it says does not
change the work. CPU is the process's own, so other load on the machine disturbs it little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from rich.console import Console

from benchmarks.reporting import Row, machine, show, write
from echoplaned.core.facts import Task
from echoplaned.core.ids import VersionKey
from echoplaned.core.spec import BehaviourChange, EchoPolicy
from echoplaned.dtesn import SIZE_CLASSES
from echoplaned.dtesn.trees import default_tree
from echoplaned.gates.echo import description, encoding, evidence, features, verdict
from echoplaned.gates.echo.evidence import BehaviourObservation, EchoEvidence, FitResult
from echoplaned.gates.echo.features import Network
from echoplaned.gates.echo.live import CALIBRATION_WANTED
from echoplaned.gates.echo.matching import TracedRequest
from echoplaned.gates.echo.sequences import sequence_of, stratum_of
from echoplaned.gates.echo.subject import EchoSubject
from echoplaned.ports.traces import RequestTrace, TraceFlag, TraceKind

REQUESTS: Final = 1_000
REQUESTS_A_TICK: Final = 50
"""Requests between two verdicts: 100 a second, judged twice a second."""

_NEW: Final = VersionKey("m", "v2")
_OLD: Final = VersionKey("m", "v1")
_SUBJECT: Final = EchoSubject(EchoPolicy(), BehaviourChange.EQUIVALENT, Task.GENERATION, 0.95)


def traces(count: int, tokens: int, seed: int) -> list[RequestTrace]:
    """Draw the telemetry of requests of both versions in turn."""
    rng = np.random.default_rng(seed)
    none = np.zeros(0, dtype=np.float32)
    return [
        RequestTrace(
            _NEW if number % 2 else _OLD,
            float(number),
            TraceKind.TOKENS,
            12,
            -rng.gamma(2.0, 0.7, tokens).astype(np.float32),
            rng.gamma(3.0, 0.7, tokens).astype(np.float32),
            np.arange(tokens, dtype=np.int32),
            none,
            TraceFlag.NONE,
        )
        for number in range(count)
    ]


def requests(told: list[RequestTrace]) -> tuple[TracedRequest, ...]:
    """Return telemetry as the gate takes it."""
    return tuple(
        TracedRequest(trace.version == _NEW, stratum_of(trace), sequence_of(trace), trace.conversation)
        for trace in told
    )


def gathered(tokens: int, network: Network) -> EchoEvidence:
    """Return evidence that has what the listeners are to be fitted on."""
    told = requests(traces(2 * CALIBRATION_WANTED, tokens, 0))
    seen = BehaviourObservation(calibration=tuple(one for one in told if not one.is_new))
    return evidence.observe(evidence.begin(replace(_SUBJECT, network=network)), seen)


def calibrated(known: EchoEvidence) -> EchoEvidence:
    """Return evidence whose listeners are fitted."""
    return evidence.observe(
        known, BehaviourObservation(fit_result=FitResult(features.fit(known.live.to_fit, known.subject.network)))
    )


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that work takes."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def listened(known: EchoEvidence, told: list[RequestTrace]) -> EchoEvidence:
    """Take requests in, tick by tick, with a verdict after each."""
    for first in range(0, len(told), REQUESTS_A_TICK):
        known = evidence.observe(known, BehaviourObservation(requests=requests(told[first : first + REQUESTS_A_TICK])))
        verdict.decide(known)
    return known


def measure(tokens: int, rounds: int) -> list[Row]:
    """Return CPU seconds, part by part: medians over rounds, each with requests of its own."""
    rows = [row for size_class in SIZE_CLASSES for row in of_class(size_class, tokens, rounds)]
    begun = calibrated(gathered(tokens, Network()))
    kept, described = [], []
    for number in range(1, rounds + 1):
        known = listened(begun, traces(REQUESTS, tokens, number))
        kept.append(REQUESTS // REQUESTS_A_TICK * cpu_s(lambda known=known: encoding.encode(known)))  # type: ignore[misc]
        described.append(cpu_s(lambda known=known: description.describe(known.live.newest)))  # type: ignore[misc]
    written = f"evidence written {REQUESTS // REQUESTS_A_TICK} times, without the disk"
    one = f"one description (MMD) of {description.MAX_PAIRS} pairs"
    return [
        *rows,
        Row(written, statistics.median(kept), "s of CPU"),
        Row(one, statistics.median(described), "s of CPU"),
    ]


def of_class(size_class: str, tokens: int, rounds: int) -> list[Row]:
    """Return what a size class of reservoir costs: a request's features, and the fit."""
    known = gathered(tokens, Network(default_tree(*SIZE_CLASSES[size_class])))
    begun = calibrated(known)
    bets, fitted = [], []
    for number in range(1, rounds + 1):
        told = traces(REQUESTS, tokens, number)
        bets.append(cpu_s(lambda told=told: listened(begun, told)))  # type: ignore[misc]
        fitted.append(cpu_s(lambda: calibrated(known)))
    name = f"{size_class} reservoir: bets and verdicts, {REQUESTS // 2} pairs of {tokens} tokens"
    once = f"{size_class} reservoir: listeners fitted on {CALIBRATION_WANTED} requests, once, in a thread"
    return [Row(name, statistics.median(bets), "s of CPU"), Row(once, statistics.median(fitted), "s of CPU")]


def main() -> None:
    """Measure, print, and write ``benchmarks/results/echo-gate.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    load_average = os.getloadavg()[0]
    rows = measure(arguments.tokens, arguments.rounds)
    write("echo-gate", rows, machine(load_average))
    show(Console(width=None if os.isatty(1) else 150), [("echo-gate", rows)])


if __name__ == "__main__":
    main()
