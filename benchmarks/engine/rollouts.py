"""Consecutive rollouts of a chat model on llama-server under streams, half of them bad: nobody but a bad version fails a request.

python -m benchmarks.engine.rollouts [--count 20] [--quick]. Bad versions are those of a faulty quantisation, of a context that long
prompts do not fit into, of another chat template, and good ones whose engine is killed, stopped or slowed down once it has traffic.
Afterwards the model is deleted, and what is left of all engines is counted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

from benchmarks.door import running
from benchmarks.door.blame import Ended
from benchmarks.door.rollouts import Story, roll_out_all
from benchmarks.door.rollouts import rows as story_rows
from benchmarks.door.versions import KILLED, SLOWED, STOPPED, Candidate, spoil
from benchmarks.door.world import gateway_flags, pause, short_folder
from benchmarks.engine.world import CHAT, CONTEXT, called, llama_daemon, load, processes_left, segments
from benchmarks.quickstart import ENGINE, model_file
from benchmarks.reporting import Row
from echoplane import Client
from echoplaned.testing.daemon import free_port

COUNT: Final = 20
QUICK_COUNT: Final = 6
RATE: Final = 1.0
QUANTISATION, CUT, TEMPLATE = "wrong quantisation", "cut context", "other chat template"
FAULTS: Final = (QUANTISATION, CUT, TEMPLATE, KILLED, STOPPED, SLOWED)
OTHER_TEMPLATE: Final = "llama2"
CUT_CONTEXT: Final = 64
GOOD_CONTEXT: Final = CONTEXT + 128
DELETE_S: Final = 120.0
SETTLE_S: Final = 2.0


def candidates(count: int, good: Path, spoilt: Path) -> list[Candidate]:
    """Return so many versions, good and bad by turns, the faults by turns too."""
    faults = cycle(FAULTS)
    made = []
    for number in range(1, count + 1):
        fault = "" if number % 2 else next(faults)
        source = spoilt if fault == QUANTISATION else good
        options = (("chat_template", OTHER_TEMPLATE),) if fault == TEMPLATE else ()
        tokens = CUT_CONTEXT if fault == CUT else GOOD_CONTEXT
        made.append(Candidate(CHAT, f"v{number}", source, fault, ENGINE, tokens, options))
    return made


def measure(count: int, rate: float, *, busy: bool) -> list[Row]:
    """Roll out so many versions under so many requests a second of each kind."""
    before = segments()
    with short_folder() as folder:
        good, gateway = model_file(), f"127.0.0.1:{free_port()}"
        spoilt = spoil(good, folder / "spoilt.gguf")
        with llama_daemon(folder, good.parent, "--model-root", str(folder), *gateway_flags(gateway)) as daemon:
            load(daemon, good)
            with called(daemon, gateway, rate) as callers:
                ended = roll_out_all(daemon, candidates(count, good, spoilt), busy=busy)
                pause(SETTLE_S)
                callers.stop()
                requests = callers.requests()
            with Client(daemon.address) as client:
                client.wait(client.delete_model(CHAT, force=True), DELETE_S)
            left = processes_left(daemon)
    found = [*story_rows(Story(ended, requests)), *fault_rows(ended)]
    found.append(Row("processes left of all engines", left, "", limit=0.0, aim="0"))
    found.append(Row("segments left in shared memory", len(segments() - before), "", limit=0.0, aim="0"))
    return found


def fault_rows(ended: Sequence[Ended]) -> Iterator[Row]:
    """Return how many versions of each fault were taken back, and how long a whole rollout of each took."""
    tried = Counter(each.candidate.fault for each in ended)
    for fault, count in tried.items():
        mine = [each for each in ended if each.candidate.fault == fault]
        kept = sum(not each.as_it_must for each in mine)
        about = f"{fault}: not taken back, of {count}" if fault else f"good: taken back, of {count}"
        yield Row(about, kept, "", limit=0.0, aim="0")
        yield Row(f"{fault or 'good'}: the longest rollout", max(each.seconds for each in mine), "s")


def main() -> int:
    """Measure what was asked for."""
    parser = running.parser(
        "rollouts", "Consecutive rollouts on llama-server, half of them bad, under streams.", "engine"
    )
    parser.add_argument("--count", type=int, default=0, help=f"rollouts in all; default: {COUNT}, quick: {QUICK_COUNT}")
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second of each kind; default: {RATE:g}")
    options = parser.parse_args()
    count = options.count or (QUICK_COUNT if options.quick else COUNT)
    return running.run(
        "rollouts", lambda: measure(count, options.rate, busy=options.quick), quick=options.quick, room="engine"
    )


if __name__ == "__main__":
    sys.exit(main())
