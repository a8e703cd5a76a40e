"""The daemon killed and started again, again and again, under streams of a chat model on llama-server: nobody notices.

python -m benchmarks.engine.adoptions [--count 100] [--quick]. Each time kill -9 at a random moment, a start after a random pause, and a
look: the same engine has to serve on, beneath the same supervisor, and be known to the new daemon. Afterwards the model is deleted, and
what is left is counted.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.door import running
from benchmarks.door.world import START_S, gateway_flags, pause, short_folder
from benchmarks.engine.world import CHAT, Callers, called, engine, llama_daemon, load, processes_left, segments
from benchmarks.quickstart import model_file
from benchmarks.reporting import Row
from benchmarks.world import wait_until
from echoplane import Client
from echoplaned.testing.daemon import DaemonProcess, free_port

COUNT: Final = 100
QUICK_COUNT: Final = 3
RATE: Final = 0.5
LONGEST_PAUSE_S: Final = 2.0
ADOPTED_S: Final = 60.0
DELETE_S: Final = 120.0
SETTLE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Adoption:
    """One death of the daemon. ``serves_s``: from its start until it serves; ``adopted_s``: until it knows the engine as well."""

    serves_s: float
    adopted_s: float
    same_engine: bool


def measure(count: int, rate: float) -> list[Row]:
    """Kill and start it so often."""
    before, rng = segments(), random.Random(3)
    with short_folder() as folder:
        gateway = f"127.0.0.1:{free_port()}"
        with llama_daemon(folder, model_file().parent, *gateway_flags(gateway)) as daemon:
            load(daemon, model_file())
            with called(daemon, gateway, rate) as callers:
                seen = [adopt(daemon, rng, number) for number in range(count)]
                pause(SETTLE_S)
                callers.stop()
                found = rows(seen, callers)
            with Client(daemon.address) as client:
                client.wait(client.delete_model(CHAT, force=True), DELETE_S)
            found.append(Row("processes left of the engine", processes_left(daemon), "", limit=0.0, aim="0"))
    found.append(Row("segments left in shared memory", len(segments() - before), "", limit=0.0, aim="0"))
    return found


def adopt(daemon: DaemonProcess, rng: random.Random, number: int) -> Adoption:
    """Kill the daemon, start it again, and wait until it knows its engine."""
    leader = engine(daemon).leader
    server = engine(daemon).server
    pause(rng.random())
    daemon.kill()
    pause(LONGEST_PAUSE_S * rng.random())
    serves_s = daemon.start(START_S)

    def adopted() -> bool:
        versions = list(client.list_versions(CHAT))
        return any(one.pid == leader.pid and one.address for version in versions for one in version.instances)

    with Client(daemon.address) as client:
        waited_s = _timed(adopted)
    now = engine(daemon)
    same = (now.leader, now.server) == (leader, server)
    found = Adoption(serves_s, serves_s + waited_s, same)
    running.say(f"{number + 1}: {found}")
    return found


def _timed(true: Callable[[], bool]) -> float:
    began_s = time.monotonic()
    wait_until(true, ADOPTED_S, "the engine was not adopted")
    return time.monotonic() - began_s


def rows(seen: list[Adoption], callers: Callers) -> list[Row]:
    """Return the table, and say of each request that failed what it was."""
    requests = callers.requests()
    failed = [each for each in requests if not each.ok]
    for each in failed[:10]:
        running.say(f"failed: {each}")
    return [
        Row("kill -9 of the daemon and a start", len(seen), "times"),
        Row("engines that were started anew", sum(not each.same_engine for each in seen), "", limit=0.0, aim="0"),
        Row("requests meanwhile", len(requests), "requests"),
        Row("failed", len(failed), "requests", limit=0.0, aim="0"),
        Row("the daemon's start, median", statistics.median(each.serves_s for each in seen), "s"),
        Row("from its start to the adopted engine, median", statistics.median(each.adopted_s for each in seen), "s"),
        Row("the same, longest", max(each.adopted_s for each in seen), "s"),
    ]


def main() -> int:
    """Measure what was asked for."""
    parser = running.parser("adoptions", "Kills of the daemon under streams of a model on llama-server.", "engine")
    parser.add_argument("--count", type=int, default=0, help=f"kills; default: {COUNT}, quick: {QUICK_COUNT}")
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second of each kind; default: {RATE:g}")
    options = parser.parse_args()
    count = options.count or (QUICK_COUNT if options.quick else COUNT)
    return running.run("adoptions", lambda: measure(count, options.rate), quick=options.quick, room="engine")


if __name__ == "__main__":
    sys.exit(main())
