"""Consecutive rollouts behind the gateway, half of them bad, under mixed load: nobody but a bad version fails a request.

python -m benchmarks.door.rollouts [--count 40] [--quick]. In one daemon a chat model and an embedding model are updated again and again,
each half of the count, side by side (`benchmarks/door/versions.py`). Chats stream, embeddings and both forms of the Open Inference Protocol
go through the gateway, and two native clients over xds:///. What tells who answered is the version in each answer.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.door import running
from benchmarks.door.blame import Blame, Ended, acknowledgements_s, as_mixed, back_s, blame
from benchmarks.door.versions import CHAT, EMBED, Candidate, Sources, make_sources, strike
from benchmarks.door.world import LOAD_S, START_S, gateway_flags, pause, short_folder
from benchmarks.peers.door_mixed import CHATS_SHARE, Mixed
from benchmarks.reporting import Row
from benchmarks.world import hear, peer, say, wait_until
from echoplane import Client
from echoplane.errors import EchoplaneError
from echoplane.v1 import operations_pb2, rollouts_pb2
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.testing.loadgen import LoadProcesses

COUNT: Final = 40
QUICK_COUNT: Final = 4
RATE: Final = 5.0
QUICK_RATE: Final = 1.0
LONG_SHARE: Final = 0.2
CHAT_TOKENS: Final = 2
ROUTES_S: Final = 1.0
STAGE_MAX_S: Final = 40.0
"""Half of it is what a stage of the chat model takes: so few requests decide nothing, and probes do from there on."""

BUSY_STAGE_MAX_S: Final = 240.0
"""Of a quick run, which is for machines that are busy with something else."""

ROLLOUT_S: Final = 900.0
FIRST_ANSWERS_S: Final = 120.0
OBSERVING: Final = rollouts_pb2.RolloutPhase.ROLLOUT_PHASE_OBSERVING

POLICY: Final = rollouts_pb2.RolloutPolicy(
    name="bench",
    stages_percent=[25, 50, 100],
    extended_stages_percent=[],
    stage_min_s=2.0,
    stage_max_s=STAGE_MAX_S,
    soak_s=2.0,
    max_error_increase=0.1,
    probe_count=10,
    ack_timeout_s=10.0,
    drain_timeout_s=30.0,
    prepare_timeout_s=600.0,
)
# llama-server scores a text token by token: as many as tell a faulty quantisation.
CHAT_ECHO: Final = rollouts_pb2.EchoPolicy(prompt_count=8, preset=rollouts_pb2.ECHO_PRESET_SAME_WEIGHTS)
EMBED_ECHO: Final = rollouts_pb2.EchoPolicy(prompt_count=16)


@dataclass(frozen=True, slots=True)
class Story:
    """All rollouts, and every request that was made meanwhile."""

    ended: list[Ended]
    requests: list[Mixed]


def policy_of(model: str, *, busy: bool) -> rollouts_pb2.RolloutPolicy:
    """Return a model's policy; it is more patient where the machine is busy."""
    policy = rollouts_pb2.RolloutPolicy()
    policy.CopyFrom(POLICY)
    policy.stage_max_s = BUSY_STAGE_MAX_S if busy else STAGE_MAX_S
    policy.echo.CopyFrom(CHAT_ECHO if model == CHAT else EMBED_ECHO)
    return policy


def measure(count: int, rate: float, *, busy: bool) -> list[Row]:
    """Roll out so many versions under load of so many requests a second of each large kind."""
    with short_folder() as folder:
        sources = make_sources(folder / "models")
        with serving(folder, sources) as (daemon, gateway), loaded(daemon, gateway, rate) as load:
            story = tell(daemon, load, sources, count, busy=busy)
    return [Row(f"chat model on {sources.engine or 'the embedded engine'}: rollouts", count // 2, ""), *rows(story)]


@contextlib.contextmanager
def serving(folder: Path, sources: Sources) -> Iterator[tuple[DaemonProcess, str]]:
    """Run a daemon with both models' first versions; yield it and the gateway's address."""
    gateway = f"127.0.0.1:{free_port()}"
    engine = ("--engine", f"{sources.engine}={sys.prefix}") if sources.engine else ()
    flags = gateway_flags(gateway, *engine)
    daemon = DaemonProcess(folder / "state", sources.roots, flags)
    try:
        daemon.start(START_S)
        with Client(daemon.address) as client:
            for operation in [client.load_model(sources.first(model).load()) for model in (CHAT, EMBED)]:
                client.wait(operation, LOAD_S)
        yield daemon, gateway
    except BaseException as error:
        error.add_note(f"the daemon's last lines:\n{daemon.tail()}")
        raise
    finally:
        daemon.clean()


def tell(daemon: DaemonProcess, load: Load, sources: Sources, count: int, *, busy: bool) -> Story:
    """Roll out under load, both models side by side."""
    with ThreadPoolExecutor(2) as side_by_side:
        halves = [
            side_by_side.submit(roll_out_all, daemon, sources.candidates(model, each), busy=busy)
            for model, each in ((CHAT, count // 2), (EMBED, count - count // 2))
        ]
        try:
            ended = [each for half in halves for each in half.result()]
        except BaseException:
            daemon.kill()  # else the other half goes on to its end before anything is told
            raise
    pause(2.0)
    load.stop()
    return Story(ended, load.requests())


@dataclass(frozen=True, slots=True)
class Load:
    """All callers. ``native``: those of each model over xDS."""

    mixed: subprocess.Popen[str]
    output: Path
    native: dict[str, LoadProcesses]

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        say(self.mixed, "stop")
        hear(self.mixed)
        for each in self.native.values():
            each.stop()

    def requests(self) -> list[Mixed]:
        """Return every request so far."""
        whole = self.output.read_text(encoding="utf-8").rpartition("\n")[0]
        found = [Mixed.read(line) for line in whole.splitlines()]
        return found + [one for model, load in self.native.items() for one in as_mixed(load.samples(), model)]


@contextlib.contextmanager
def loaded(daemon: DaemonProcess, gateway: str, rate: float) -> Iterator[Load]:
    """Keep callers of every kind calling; each has been answered by the block's begin."""
    folder = daemon.state_dir.parent
    native = {}
    with contextlib.ExitStack() as stack:
        for model, native_rate, tokens in ((CHAT, rate * CHATS_SHARE, CHAT_TOKENS), (EMBED, rate, 0)):
            (folder / model).mkdir()
            native[model] = LoadProcesses(daemon.address, model, folder / model)
            stack.callback(native[model].stop)
            native[model].start(1, native_rate, 0.0 if model == CHAT else LONG_SHARE, tokens)
        output = folder / "mixed.tsv"
        mixed = stack.enter_context(peer("door_mixed", gateway, CHAT, EMBED, str(output), "--rate", str(rate)))
        hear(mixed)
        load = Load(mixed, output, native)
        wait_until(lambda: len({(one.kind, one.model) for one in load.requests()}) == 7, FIRST_ANSWERS_S, "no answers")
        yield load


def roll_out_all(daemon: DaemonProcess, candidates: Sequence[Candidate], *, busy: bool) -> list[Ended]:
    """Roll out one after another, and say how each ended."""
    ended = []
    with Client(daemon.address) as client:
        for candidate in candidates:
            ended.append(roll_out(client, daemon, candidate, busy=busy))
            running.say(ended[-1].line())
    return ended


def roll_out(client: Client, daemon: DaemonProcess, candidate: Candidate, *, busy: bool) -> Ended:
    """Roll one version out; one that is to be struck is once it has traffic."""
    began_s, struck_s = time.monotonic(), 0.0
    operation = client.update_model(candidate.update(policy_of(candidate.model, busy=busy)))
    metadata = operations_pb2.OperationMetadata()
    client.get_operation(operation.name).metadata.Unpack(metadata)
    for rollout in client.watch_rollout(metadata.rollout, ROLLOUT_S):
        if candidate.is_struck and not struck_s and rollout.phase == OBSERVING:
            struck_s = time.time()
            strike(daemon, candidate)
    # How it ended is in the rollout, also where that is an error of the operation.
    with contextlib.suppress(EchoplaneError):
        client.wait(operation, ROLLOUT_S)
    rollout = client.get_rollout(metadata.rollout)
    outcome = rollouts_pb2.RolloutOutcome.Name(rollout.outcome).removeprefix("ROLLOUT_OUTCOME_")
    history = rollout.history
    return Ended(
        candidate, outcome, rollout.outcome_reason, time.monotonic() - began_s, struck_s, back_s(history),
        acknowledgements_s(history),
    )  # fmt: skip


def rows(story: Story) -> Iterator[Row]:
    """Return the table, and say of each request that failed by nobody's fault what it was."""
    found = blame(story.requests, story.ended)
    for each in found.others[:10]:
        running.say(f"failed: {each}")
    good = [each for each in story.ended if not each.candidate.fault]
    bad = [each for each in story.ended if each.candidate.fault]
    yield Row(
        f"{len(good)} good rollouts: not SUCCEEDED", sum(not each.as_it_must for each in good), "", limit=0.0, aim="0"
    )
    about = f"{len(bad)} bad rollouts: not ROLLED_BACK with a reason"
    yield Row(about, sum(not each.as_it_must for each in bad), "", limit=0.0, aim="0")
    yield from request_rows(story, found)
    changes = [taken for each in story.ended for taken in each.acknowledged_s]
    slowest = max(changes, default=0.0)
    about = f"verdict to the last acknowledgement, worst of {len(changes)} changes"
    yield Row(about, slowest, "s", limit=ROUTES_S, aim=f"<= {ROUTES_S:g} s")
    yield Row("the longest rollout", max((each.seconds for each in story.ended), default=0.0), "s")


def request_rows(story: Story, found: Blame) -> Iterator[Row]:
    """Return what became of the requests."""
    for kind, count in sorted(Counter(each.kind for each in story.requests).items()):
        yield Row(f"requests: {kind}", count, "requests")
    yield Row("failed, answered by a bad version", len(found.bad), "requests")
    yield Row("failed, under way in a version that was killed or stopped", len(found.struck), "requests")
    yield Row("failed otherwise", len(found.others), "requests", limit=0.0, aim="0")
    yield Row("streams cut before their deadline otherwise", found.cut, "streams", limit=0.0, aim="0")


def main() -> int:
    """Measure what was asked for."""
    parser = running.parser("rollouts", "Consecutive rollouts, half of them bad, under mixed load.")
    parser.add_argument("--count", type=int, default=0, help=f"rollouts in all; default: {COUNT}, quick: {QUICK_COUNT}")
    about = f"requests a second of each large kind; default: {RATE:g}, quick: {QUICK_RATE:g}; chats are a fifth of it"
    parser.add_argument("--rate", type=float, default=0.0, help=about)
    options = parser.parse_args()
    count = options.count or (QUICK_COUNT if options.quick else COUNT)
    rate = options.rate or (QUICK_RATE if options.quick else RATE)
    return running.run("rollouts", lambda: measure(count, rate, busy=options.quick), quick=options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
