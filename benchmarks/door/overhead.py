"""What a request costs on its way: the engine called directly, through the gateway, through a bare Envoy, through LiteLLM's proxy.

python -m benchmarks.door.overhead [--quick]. One server answers all of them, one process loads all of them, and the ways take turns in
short rounds, so that what the machine does beside it meets all alike. CPU seconds are those of the proxy's processes, a request.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import psutil

from benchmarks.door import running
from benchmarks.door.proxies import ProxyMissingError, bare_envoy, litellm
from benchmarks.door.world import MODEL, cpu_s, front_door, short_folder
from benchmarks.reporting import Row
from benchmarks.world import hear, peer, say

IN_FLIGHT: Final = (1, 16, 64)
ROUNDS: Final = 5
SECONDS: Final = 5.0
DIRECT, DOOR, BARE, LITELLM = "direct", "gateway", "bare Envoy", "LiteLLM"
CPU_LIMIT: Final = 1.5
THROUGHPUT_AIM: Final = 10.0


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the server. ``process``: what stands in between; None: nothing does."""

    name: str
    address: str
    process: psutil.Process | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw. CPU in ms a request: of the proxy, and of the load itself."""

    way: str
    in_flight: int
    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    load_cpu_ms: float
    failed: int


def measure(*, quick: bool) -> list[Row]:
    """Take turns with all ways at each number of requests in flight."""
    seconds, rounds = (1.0, 1) if quick else (SECONDS, ROUNDS)
    seen: list[Round] = []
    with ExitStack() as stack:
        ways, missing = open_ways(stack)
        loader = stack.enter_context(peer("door_load"))
        for in_flight in IN_FLIGHT:
            running.say(
                f"{in_flight} in flight: {', '.join(way.name for way in ways)}, {rounds} rounds of {seconds:g} s"
            )
            seen += [one_round(loader, way, in_flight, seconds) for _ in range(rounds) for way in ways]
    for why in missing:
        running.say(f"left out: {why}")
    return [*rows(seen), *load_rows(seen)]


def open_ways(stack: ExitStack) -> tuple[list[Way], list[str]]:
    """Start everything; return the ways, and what could not be had."""
    door = stack.enter_context(front_door())
    folder = stack.enter_context(short_folder())
    ways = [Way(DIRECT, door.backend), Way(DOOR, door.listening, door.envoy())]
    address, pid = stack.enter_context(bare_envoy(folder, door.backend))
    ways.append(Way(BARE, address, psutil.Process(pid)))
    missing = []
    try:
        address, pid = stack.enter_context(litellm(folder, door.backend))
        ways.append(Way(LITELLM, address, psutil.Process(pid)))
    except (ProxyMissingError, RuntimeError) as error:
        missing.append(f"{LITELLM}: {error}")
    return ways, missing


def one_round(loader: subprocess.Popen[str], way: Way, in_flight: int, seconds: float) -> Round:
    """Load one way; the CPU is read from when the warm-up is over."""
    order = {"address": way.address, "model": MODEL, "in_flight": in_flight, "seconds": seconds}
    say(loader, json.dumps(order))
    hear(loader)
    before_s = cpu_s(way.process) if way.process else 0.0
    told = json.loads(hear(loader))
    used_s = cpu_s(way.process) - before_s if way.process else 0.0
    count = max(1, told["answers"])
    return Round(
        way.name, in_flight, told["answers"] / told["seconds"], told["p50_ms"], told["p99_ms"],
        1000 * used_s / count, 1000 * told["cpu_s"] / count, sum(told["failed"].values()),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folded:
    """Medians of the rounds of one way, and all that failed."""

    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    failed: int


def fold(seen: Sequence[Round]) -> dict[tuple[str, int], Folded]:
    """Return the medians by way and number in flight."""
    keys = dict.fromkeys((each.way, each.in_flight) for each in seen)
    found = {}
    for key in keys:
        mine = [each for each in seen if (each.way, each.in_flight) == key]
        found[key] = Folded(
            statistics.median(each.throughput for each in mine),
            statistics.median(each.p50_ms for each in mine),
            statistics.median(each.p99_ms for each in mine),
            statistics.median(each.cpu_ms for each in mine),
            sum(each.failed for each in mine),
        )
    return found


def rows(seen: Sequence[Round]) -> list[Row]:
    """Return the table: throughput, latency and CPU of each way."""
    found = fold(seen)
    made: list[Row] = []
    for (way, in_flight), mine in found.items():
        direct, door, bare = (found.get((name, in_flight)) for name in (DIRECT, DOOR, BARE))
        assert direct is not None
        assert door is not None
        at = f"{way}, {in_flight} in flight"
        if way == LITELLM:
            limit = door.throughput / THROUGHPUT_AIM
            made.append(
                Row(f"{at}: throughput", mine.throughput, "/s", DOOR, door.throughput, limit, "<= 1/10 of gateway")
            )
        else:
            made.append(Row(f"{at}: throughput", mine.throughput, "/s", DIRECT, direct.throughput))
        made.append(Row(f"{at}: p50", mine.p50_ms, "ms", DIRECT, direct.p50_ms))
        made.append(Row(f"{at}: p99", mine.p99_ms, "ms", DIRECT, direct.p99_ms))
        if way != DIRECT and bare is not None:
            made.append(_cpu_row(at, way, mine, bare))
        made.append(Row(f"{at}: failed", mine.failed, "requests", limit=0.0, aim="0"))
    return made


def _cpu_row(at: str, way: str, mine: Folded, bare: Folded) -> Row:
    name = f"{at}: CPU of the proxy"
    if way != DOOR:
        return Row(name, mine.cpu_ms, "ms a request", BARE, bare.cpu_ms)
    return Row(name, mine.cpu_ms, "ms a request", BARE, bare.cpu_ms, CPU_LIMIT * bare.cpu_ms, f"<= {CPU_LIMIT} x bare")


def load_rows(seen: Sequence[Round]) -> Iterator[Row]:
    """Say what the load itself costs: no way can be seen faster than that allows."""
    direct = [each for each in seen if each.way == DIRECT]
    for in_flight in dict.fromkeys(each.in_flight for each in direct):
        cost_ms = statistics.median(each.load_cpu_ms for each in direct if each.in_flight == in_flight)
        with contextlib.suppress(ZeroDivisionError):
            yield Row(f"the load's own ceiling on one core, {in_flight} in flight", 1000 / cost_ms, "/s")


def main() -> int:
    """Measure what was asked for."""
    options = running.parser("overhead", "The gateway's cost beside a bare Envoy and LiteLLM's proxy.").parse_args()
    return running.run("overhead", lambda: measure(quick=options.quick), quick=options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
