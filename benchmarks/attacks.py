"""Honest clients beside one attacker, against the same clients beside the same bytes at the same rate, benign: ten kinds, by turns.

python -m benchmarks.attacks [--rounds 5] [--seconds 5] [--connections 1000] [--rate 50] [--kind NAME …]

A round measures each kind once with the attack and once without, the order by turns; a kind's figure is the median of its rounds' ratios
of the 99th percentiles, over inference and the daemon's answers together. An honest call that fails counts, whatever it was.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console

from benchmarks.peers.attack_kinds import kinds
from benchmarks.reporting import Row, machine, percentile, show, write
from benchmarks.world import daemon, hear, minilm, peer, say, scratch, wait_for_standby
from echoplane import Client
from echoplane.v1 import models_pb2

NAME: Final = "attacks"
MODEL: Final = "minilm"
MAX_RATIO: Final = 2.0
SHARE: Final = 0.99
LEAD_S: Final = 0.5
"""Seconds that an attack is under way before the honest clients are measured; it goes on as long after them."""

_PAUSE_S: Final = 0.5
_DESCRIPTORS_PER_CONNECTION: Final = 2


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: of each kind.
        seconds: of one measurement.
        connections: of honest clients.
        rate: honest requests a second, in all.
    """

    rounds: int = 5
    seconds: float = 5.0
    connections: int = 1000
    rate: float = 50.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What honest clients saw while something was sent beside them.

    Attributes:
        taken_ms: by method.
        failed: by method and code.
        codes: how the units of the attacker ended.
        sent_bytes: of the attacker.
        cpu_s: of the daemon and the worker, for both.
    """

    taken_ms: dict[str, list[float]]
    failed: Counter[str]
    codes: Counter[str]
    sent_bytes: int
    cpu_s: float

    def p99_ms(self, method: str = "") -> float:
        """Return the 99th percentile of a method, or of all."""
        chosen = [ms for name, taken in self.taken_ms.items() if method in {"", name} for ms in taken]
        return percentile(chosen, SHARE) if chosen else float("inf")


@dataclass(slots=True)
class Measured:
    """The rounds of one kind."""

    attacked: list[Seen] = field(default_factory=list)
    benign: list[Seen] = field(default_factory=list)

    def ratio(self, method: str = "") -> float:
        """Return the median of the rounds' ratios."""
        pairs = zip(self.attacked, self.benign, strict=True)
        return statistics.median(attacked.p99_ms(method) / benign.p99_ms(method) for attacked, benign in pairs)

    def p99_ms(self, seen: Sequence[Seen]) -> float:
        """Return the median of some rounds' 99th percentiles."""
        return statistics.median(each.p99_ms() for each in seen)

    def cpu_s(self, seen: Sequence[Seen]) -> float:
        """Return the median of what some rounds took of the daemon and the worker."""
        return statistics.median(each.cpu_s for each in seen)

    @property
    def failed(self) -> Counter[str]:
        """Honest calls that failed, with the attack or without."""
        return sum((each.failed for each in (*self.attacked, *self.benign)), Counter[str]())


class Stage:
    """A daemon with MiniLM, the honest clients and the attacker, all under way."""

    def __init__(
        self,
        honest: subprocess.Popen[str],
        attacker: subprocess.Popen[str],
        attacked: Sequence[psutil.Process],
        scale: Scale,
    ) -> None:
        self._honest = honest
        self._attacker = attacker
        self._attacked = attacked
        self._scale = scale

    def measure(self, kind: str, form: str) -> Seen:
        """Measure honest clients beside one kind, in one form."""
        seconds, before_s = self._scale.seconds, self._cpu_s()
        say(self._attacker, f"{form} {seconds + 2 * LEAD_S} {kind}")
        hear(self._attacker)
        time.sleep(LEAD_S)
        say(self._honest, str(seconds))
        honest = json.loads(hear(self._honest))
        hostile = json.loads(hear(self._attacker))
        time.sleep(_PAUSE_S)
        failed, codes = Counter(honest["failed"]), Counter(hostile["codes"])
        return Seen(honest["taken_ms"], failed, codes, hostile["bytes"], self._cpu_s() - before_s)

    def warm_up(self) -> None:
        """Measure once in vain: the first calls on a connection take longer."""
        say(self._honest, str(self._scale.seconds))
        hear(self._honest)

    def _cpu_s(self) -> float:
        """Return what the attacked have used so far.

        Raises:
            psutil.NoSuchProcess: one of them has gone.
        """
        return sum(sum(process.cpu_times()[:2]) for process in self._attacked)


@contextmanager
def stage(scale: Scale) -> Iterator[Stage]:
    """Start everything; it is gone afterwards."""
    source = minilm()
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        process = stack.enter_context(daemon(standby=1, roots=(source.parent,)))
        request = load_request(source)
        with Client(process.address) as client:
            wait_for_standby(process, 1)
            client.wait(client.load_model(request), 120)
            instance = client.get_version(f"{MODEL}/v1").instances[0]
        load = folder / "load.bin"
        load.write_bytes(request.SerializeToString())
        where = (instance.address, process.address, MODEL)
        honest = stack.enter_context(peer("honest", *where, str(scale.connections), str(scale.rate)))
        attacker = stack.enter_context(peer("attacker", *where, str(load)))
        hear(honest)
        assert process.process is not None
        yield Stage(honest, attacker, [psutil.Process(process.process.pid), psutil.Process(instance.pid)], scale)


def load_request(source: Path) -> models_pb2.LoadModelRequest:
    """Return the request that loads the model; a retry under its id, with as many labels as there may be, is what is benign."""
    return models_pb2.LoadModelRequest(
        model_id=MODEL,
        version_id="v1",
        source_uri=f"file:{source}",
        labels={f"label{number}": "x" * 200 for number in range(64)},
        request_id="the-first-load",
    )


def measure(scale: Scale | None = None, names: Sequence[str] = ()) -> list[Row]:
    """Measure some kinds, or all, and return the rows."""
    scale = scale or Scale()
    chosen = list(names) or list(kinds(MODEL, b""))
    allow_descriptors(scale.connections)
    measured = {name: Measured() for name in chosen}
    with stage(scale) as running:
        running.warm_up()
        for number in range(scale.rounds):
            for name, so_far in measured.items():
                # By turns, so that neither form always has the calmer or the warmer half.
                forms = [("attack", so_far.attacked), ("benign", so_far.benign)]
                for form, seen in forms if number % 2 else reversed(forms):
                    seen.append(running.measure(name, form))
    return [row for name, each in measured.items() for row in rows(name, each)]


def rows(name: str, measured: Measured) -> list[Row]:
    """Fold the rounds of a kind."""
    benign = measured.p99_ms(measured.benign)
    ratio = measured.ratio()
    codes = sum((each.codes for each in measured.attacked), Counter[str]())
    refused = sum(count for code, count in codes.items() if code != "OK") / max(1, codes.total())
    return [
        Row(f"{name}: p99", measured.p99_ms(measured.attacked), "ms", "benign", benign),
        Row("- median of the rounds' ratios", ratio, "", limit=MAX_RATIO, aim=f"<= {MAX_RATIO:g}"),
        Row("- of them inference", measured.ratio("ModelInfer"), ""),
        Row("- of them the daemon's answers", measured.ratio("GetModel"), ""),
        Row("- honest calls that failed", measured.failed.total(), "", limit=0, aim=f"0; {dict(measured.failed)}"),
        Row(f"- of the attack refused: {dict(codes)}", refused, ""),
        Row(
            "- CPU of daemon and worker",
            measured.cpu_s(measured.attacked),
            "s",
            "benign",
            measured.cpu_s(measured.benign),
        ),
        Row("- bytes of the attack", measured.attacked[0].sent_bytes, "B", "benign", measured.benign[0].sent_bytes),
    ]


def allow_descriptors(connections: int) -> None:
    """Let the processes that are started have so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_PER_CONNECTION * connections + 1024
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def main() -> int:
    """Measure what was asked for, and show it; all kinds at full scale are written to the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=Scale().rounds)
    parser.add_argument("--seconds", type=float, default=Scale().seconds)
    parser.add_argument("--connections", type=int, default=Scale().connections)
    parser.add_argument("--rate", type=float, default=Scale().rate)
    parser.add_argument("--kind", action="append", default=[], choices=list(kinds(MODEL, b"")))
    options = parser.parse_args()
    scale = Scale(options.rounds, options.seconds, options.connections, options.rate)
    load_average = os.getloadavg()[0]
    found = measure(scale, options.kind)
    if not options.kind:
        write(NAME, found, machine(load_average))
    show(Console(width=None if os.isatty(1) else 180), [(NAME, found)])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
