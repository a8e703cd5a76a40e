"""Thousands of connections that idle: what each takes of Envoy, and how long honest calls wait beside them.

python -m benchmarks.door.connections [--quick]. Each connection was answered once before it idles. 50 requests a second go over some of
them, with 50 connections first, which is the baseline, then with 1,000 and 10,000.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.door import running
from benchmarks.door.world import MODEL, Door, front_door, memory_mib, pause
from benchmarks.reporting import Row, percentile
from benchmarks.world import hear, peer, say

FEW: Final = 50
SIZES: Final = (1_000, 10_000)
RATE: Final = 50.0
SECONDS: Final = 30.0
ROOM: Final = 100
SETTLE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Crowded:
    """What so many connections did. Memory of Envoy in MiB, resident and proportional; ``lost``: connections that were closed."""

    wanted: int
    held: int
    failed: int
    lost: int
    latencies_ms: list[float]
    envoy_mib: tuple[float, float]


def measure(*, quick: bool) -> list[Row]:
    """Hold more and more connections."""
    sizes, seconds = ((100, 300), 2.0) if quick else (SIZES, SECONDS)
    flags = ("--gateway-max-connections", str(max(sizes) + ROOM))
    with front_door(*flags) as door, peer("door_crowd", door.listening, MODEL) as crowd:
        seen = [hold(door, crowd, count, seconds) for count in (FEW, *sizes)]
    return list(rows(seen))


def hold(door: Door, crowd: subprocess.Popen[str], count: int, seconds: float) -> Crowded:
    """Hold so many, and call over some of them."""
    running.say(f"{count} connections, {RATE:g} requests/s for {seconds:g} s")
    say(crowd, json.dumps({"hold": count}))
    held = json.loads(hear(crowd))
    pause(SETTLE_S)
    envoy_mib = memory_mib(door.envoy())
    say(crowd, json.dumps({"rate": RATE, "seconds": seconds}))
    called = json.loads(hear(crowd))
    failed = held["failed"] + called["failed"]
    return Crowded(count, held["held"], failed, called["lost"], called["latencies_ms"], envoy_mib)


def rows(seen: Sequence[Crowded]) -> Iterator[Row]:
    """Return the table; the first size is the baseline."""
    few = seen[0]
    base = {share: percentile(few.latencies_ms or [0.0], share) for share in (0.5, 0.99)}
    for each in seen:
        at = f"{each.wanted:,} connections"
        yield Row(f"{at}: held", each.held, "connections", "asked for", each.wanted)
        yield Row(f"{at}: failed calls and lost connections", each.failed + each.lost, "", limit=0.0, aim="0")
        yield Row(f"{at}: Envoy, resident", each.envoy_mib[0], "MiB", f"{few.wanted}", few.envoy_mib[0])
        if each is not few:
            kib = 1024 * (each.envoy_mib[1] - few.envoy_mib[1]) / (each.held - few.held)
            yield Row(f"{at}: Envoy, proportional, each more", kib, "KiB")
        took_ms = each.latencies_ms or [0.0]
        yield Row(
            f"{at}: p50 of {len(each.latencies_ms)} calls", percentile(took_ms, 0.5), "ms", f"{few.wanted}", base[0.5]
        )
        yield Row(f"{at}: p99", percentile(took_ms, 0.99), "ms", f"{few.wanted}", base[0.99])


def main() -> int:
    """Measure what was asked for."""
    options = running.parser("connections", "Thousands of idle connections at the gateway.").parse_args()
    return running.run("connections", lambda: measure(quick=options.quick), quick=options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
