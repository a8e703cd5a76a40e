"""What the supervisor of a foreign engine costs: its memory, its CPU at rest, and a request by translation beside the engine itself.

python -m benchmarks.engine.supervisor [--quick]. llama-server with SmolLM2's first layer and 1,024 tokens, so that the engine keeps up
with 300 requests a second of one token, and at the end with all of it. The two ways take turns in short rounds at each rate, so that what
the machine does beside it meets both alike; one process loads both. CPU is that of the supervisor alone, and of the engine alone, a
request.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from benchmarks.door import running
from benchmarks.door.world import memory_mib, pause, short_folder
from benchmarks.engine.short_model import shorten
from benchmarks.engine.world import CHAT, Engine, engine, llama_daemon, load
from benchmarks.peers.engine_load import DIRECT, TRANSLATED
from benchmarks.quickstart import model_file
from benchmarks.reporting import Row
from benchmarks.world import hear, peer, say

RATES: Final = (50, 100, 200, 300)
WHOLE_RATES: Final = (10,)
ROUNDS: Final = 3
SECONDS: Final = 6.0
REST_S: Final = 60.0
SETTLE_S: Final = 10.0
PSS_LIMIT_MB: Final = 60.0
_MIB: Final = 2**20 / 1e6
SHORT, WHOLE = "short model", "SmolLM2-135M"
SHORT_TOKENS: Final = 1024


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw. CPU in ms a request: of the supervisor, of the engine and of the load itself."""

    model: str
    way: str
    rate: int
    throughput: float
    p50_ms: float
    p99_ms: float
    supervisor_ms: float
    engine_ms: float
    load_ms: float
    failed: int


@dataclass(frozen=True, slots=True)
class Rest:
    """A supervisor whose engine has nothing to do. ``cpu_percent``: of one core."""

    pss_mb: float
    cpu_percent: float


def measure(*, quick: bool) -> list[Row]:
    """Measure at rest, then take turns at each rate, with the short model and with the whole one."""
    seconds, rounds, rest_s = (1.0, 1, 2.0) if quick else (SECONDS, ROUNDS, REST_S)
    found: list[Row] = []
    with short_folder() as folder:
        short = shorten(model_file(), folder / "short.gguf", layers=1, tokens=SHORT_TOKENS)
        for model, source, rates in ((SHORT, short, RATES), (WHOLE, model_file(), WHOLE_RATES)):
            home = folder / f"of-{len(rates)}"  # the path of a socket beneath it has to be short
            home.mkdir()
            with llama_daemon(home, source.parent, "--standby-workers", "0") as daemon, peer("engine_load") as loader:
                load(daemon, source)
                served = engine(daemon)
                rest = at_rest(served.leader, rest_s)
                running.say(f"{model}: at rest {rest}")
                turns = [(rate, way) for rate in rates for _ in range(rounds) for way in (DIRECT, TRANSLATED)]
                seen = [one_round(loader, served, (model, way, rate), seconds) for rate, way in turns]
                found += [*rest_rows(model, rest, memory_mib(served.leader)[1] * _MIB), *rows(seen)]
    return found


def at_rest(leader: psutil.Process, rest_s: float) -> Rest:
    """Look at a supervisor that does nothing but watch and report."""
    pause(min(rest_s, SETTLE_S))
    before_s, began_s = own_cpu_s(leader), time.monotonic()
    pause(rest_s)
    used_s, took_s = own_cpu_s(leader) - before_s, time.monotonic() - began_s
    return Rest(memory_mib(leader)[1] * _MIB, 100 * used_s / took_s)


def own_cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of one process alone, those of its threads that have ended included: an HTTP server's do."""
    times = process.cpu_times()
    return float(times.user + times.system)


def one_round(loader: subprocess.Popen[str], served: Engine, what: tuple[str, str, int], seconds: float) -> Round:
    """Load one way; the CPU is read from when the warm-up is over."""
    model, way, rate = what
    address = served.socket if way == DIRECT else served.translated
    say(loader, json.dumps({"way": way, "address": address, "model": CHAT, "rate": rate, "seconds": seconds}))
    hear(loader)
    watched = (served.leader, served.server)
    before = [own_cpu_s(each) for each in watched]
    told = json.loads(hear(loader))
    supervisor_s, engine_s = (own_cpu_s(each) - was for each, was in zip(watched, before, strict=True))
    count = max(1, told["answers"])
    found = Round(
        model, way, rate, told["answers"] / told["seconds"], told["p50_ms"], told["p99_ms"],
        1000 * supervisor_s / count, 1000 * engine_s / count, 1000 * told["cpu_s"] / count,
        sum(told["failed"].values()),
    )  # fmt: skip
    running.say(str(found))
    return found


def rest_rows(model: str, rest: Rest, loaded_mb: float) -> Iterator[Row]:
    """Return what it takes before and after the load."""
    aim = f"< {PSS_LIMIT_MB:g} MB"
    yield Row(f"{model}: the supervisor's PSS at rest", rest.pss_mb, "MB", limit=PSS_LIMIT_MB, aim=aim)
    yield Row(f"{model}: its PSS after the load", loaded_mb, "MB", limit=PSS_LIMIT_MB, aim=aim)
    yield Row(f"{model}: its CPU at rest", rest.cpu_percent, "% of a core")


def rows(seen: Sequence[Round]) -> Iterator[Row]:
    """Return medians of the rounds: what comes by translation beside what the engine answers itself."""
    for model, rate in dict.fromkeys((each.model, each.rate) for each in seen):
        mine = [each for each in seen if (each.model, each.rate) == (model, rate)]
        ways = {way: [each for each in mine if each.way == way] for way in (DIRECT, TRANSLATED)}
        at = f"{model}, {rate}/s"
        for name, unit in (
            ("throughput", "/s"),
            ("p50_ms", "ms"),
            ("p99_ms", "ms"),
            ("supervisor_ms", "ms of CPU a request"),
            ("engine_ms", "ms of CPU a request"),
            ("load_ms", "ms of CPU a request"),
        ):
            there, here = (statistics.median(getattr(one, name) for one in ways[way]) for way in (DIRECT, TRANSLATED))
            yield Row(f"{at}: {name.removesuffix('_ms')}", here, unit, DIRECT, there)
        yield Row(f"{at}: failed, both ways", sum(each.failed for each in mine), "requests", limit=0.0, aim="0")


def main() -> int:
    """Measure what was asked for."""
    parser = running.parser("supervisor", "What the supervisor of a foreign engine costs.", "engine")
    options = parser.parse_args()
    return running.run("supervisor", lambda: measure(quick=options.quick), quick=options.quick, room="engine")


if __name__ == "__main__":
    raise SystemExit(main())
