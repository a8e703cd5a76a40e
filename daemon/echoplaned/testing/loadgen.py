"""A load generator: one process that calls a model at a steady rate.

It is one xDS subscriber; it calls ``ModelInfer`` and writes what came back.
``python -m echoplaned.testing.loadgen --address HOST:PORT --model NAME --rate 12.5 --output FILE``; it ends by SIGTERM or after
``--duration``. Each line of the output: seconds since the epoch at the answer, version (from the trailer; empty: no version
answered), gRPC code, latency in ms, ``long`` or ``short``, detail. Its clock is set at its start alone, as the daemon's, so that the two
go on agreeing when the machine's is put right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TextIO, cast

import grpc
import grpc.aio

from echoplane.channels import BOOTSTRAP_VARIABLE, DIRECT_OPTIONS, bootstrap, bypass_proxy
from echoplane.inference import grpc_service_pb2, grpc_service_pb2_grpc
from echoplane.inferring import target_of
from echoplaned.runtime.clock import SteadyClock

MAX_IN_FLIGHT = 500
VERSION_TRAILER = "echoplane-version"

_WORDS = [
    "the",
    "model",
    "answers",
    "every",
    "request",
    "that",
    "reaches",
    "it",
    "while",
    "a",
    "new",
    "version",
    "takes",
    "a",
    "growing",
    "share",
    "of",
    "the",
    "traffic",
    "and",
    "nobody",
    "notices",
    "because",
    "nothing",
    "fails",
    "and",
    "when",
    "the",
    "new",
    "one",
    "is",
    "worse",
    "the",
    "old",
    "one",
    "has",
    "it",
    "all",
    "back",
    "before",
    "anyone",
    "had",
    "to",
    "ask",
]


def make_text(rng: random.Random, *, long: bool) -> str:
    """Return a text of 3 to 24 words, or one of 80 to 120 (well over 64 tokens)."""
    count = rng.randint(80, 120) if long else rng.randint(3, 24)
    return " ".join(rng.choice(_WORDS) for _ in range(count))


@dataclass(frozen=True, slots=True)
class Sample:
    """One request as the client saw it.

    Attributes:
        time_s: seconds since the epoch at the answer.
        version: version that answered; empty: none did.
        code: gRPC code by name.
        latency_ms: time from request to answer, milliseconds.
        kind: ``long`` or ``short``, by the text that was sent.
        detail: what the error says, without tabs and ends of lines once it is written; empty: nothing.
    """

    time_s: float
    version: str
    code: str
    latency_ms: float
    kind: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the answer was OK."""
        return self.code == "OK"

    def line(self) -> str:
        """Write it as one tab-separated line."""
        detail = self.detail.replace("\t", " ").replace("\n", " ")[:200]
        return f"{self.time_s:.4f}\t{self.version}\t{self.code}\t{self.latency_ms:.2f}\t{self.kind}\t{detail}\n"

    @classmethod
    def read(cls, line: str) -> Self:
        """Read what ``line`` wrote."""
        time_s, version, code, latency_ms, kind, detail = line.rstrip("\n").split("\t")
        return cls(float(time_s), version, code, float(latency_ms), kind, detail)


@dataclass(slots=True)
class LoadProcesses:
    """Load generators as processes: each one subscriber of its own.

    Attributes:
        address: the daemon's ``HOST:PORT``.
        model: name of the model that they call.
        folder: directory of their outputs and logs.
        processes: those that were started, in order.
        outputs: file that each of them writes, in the same order.
    """

    address: str
    model: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    _seen: list[Sample] = field(default_factory=list)
    _offsets: dict[Path, int] = field(default_factory=dict)

    def start(self, count: int, rate_total: float, long_share: float = 0.1, max_tokens: int = 0) -> None:
        """Start generators that share a rate.

        Args:
            count: how many.
            rate_total: requests a second of all of them together.
            long_share: share of long texts, 0 to 1.
            max_tokens: of a generation; 0: the default.
        """
        for _ in range(count):
            number = len(self.processes)
            output = self.folder / f"load-{number}.tsv"
            command = [
                sys.executable,
                "-m",
                "echoplaned.testing.loadgen",
                "--address",
                self.address,
                "--model",
                self.model,
            ]
            command += [
                "--rate",
                str(rate_total / count),
                "--seed",
                str(number),
                "--long-share",
                str(long_share),
                "--max-tokens",
                str(max_tokens),
                "--output",
                str(output),
            ]
            log = (self.folder / f"load-{number}.log").open("wb")
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            log.close()
            self.outputs.append(output)

    def stop(self) -> None:
        """End them all; what is in flight is waited for."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def samples(self) -> list[Sample]:
        """Return everything written so far, in order of time.

        Only what is new since the last call is read.
        """
        for path in self.outputs:
            self._seen += self._news(path)
        self._seen.sort(key=lambda sample: sample.time_s)
        return list(self._seen)

    def _news(self, path: Path) -> Iterator[Sample]:
        if path.exists():
            with path.open("rb") as output:
                output.seek(self._offsets.get(path, 0))
                whole, _, _ = output.read().rpartition(b"\n")  # a line that is still being written comes the next time
            if whole:
                self._offsets[path] = self._offsets.get(path, 0) + len(whole) + 1
                yield from map(Sample.read, whole.decode().splitlines())


class Generator:
    """Sends requests on one channel and collects a line for each answer."""

    def __init__(self, options: argparse.Namespace, channel: grpc.aio.Channel) -> None:
        self._options = options
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._stub = cast("grpc_service_pb2_grpc.GRPCInferenceServiceAsyncStub", stub)
        self._rng = random.Random(options.seed)  # noqa: S311 - repeatable load, not a secret
        self._running: set[asyncio.Task[None]] = set()
        self._lines: list[str] = []
        self._clock = SteadyClock(time.time, time.monotonic)

    async def run(self, stopping: asyncio.Event) -> None:
        """Send at the given rate, Poisson arrivals, until told to stop.

        Then wait for what is in flight.
        """
        options = self._options
        await self._one(long=False, first=True)
        began = next_at = time.monotonic()
        with options.output.open("a", encoding="utf-8") as output:
            while not stopping.is_set() and time.monotonic() - began < options.duration:
                if len(self._running) < MAX_IN_FLIGHT:
                    self._send()
                next_at += self._rng.expovariate(options.rate)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
                self._flush(output)
            if self._running:
                await asyncio.wait(self._running, timeout=options.deadline)
            self._flush(output)

    def _send(self) -> None:
        task = asyncio.create_task(self._one(long=self._rng.random() < self._options.long_share, first=False))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _flush(self, output: TextIO) -> None:
        if self._lines:
            output.write("".join(self._lines))
            output.flush()
            self._lines.clear()

    async def _one(self, *, long: bool, first: bool) -> None:
        """Send one request; the first waits until the routes have come."""
        request = grpc_service_pb2.ModelInferRequest(model_name=self._options.model)
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(make_text(self._rng, long=long).encode())
        if self._options.max_tokens:
            request.parameters["max_tokens"].int64_param = self._options.max_tokens
        began = time.perf_counter()
        call = self._stub.ModelInfer(request, timeout=self._options.deadline, wait_for_ready=first)
        code, detail = "OK", ""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            code, detail = error.code().name, error.details() or ""
        latency_ms = (time.perf_counter() - began) * 1000
        trailers = await call.trailing_metadata()
        version = next((str(value) for key, value in trailers or () if key == VERSION_TRAILER), "")
        kind = "long" if long else "short"
        self._lines.append(Sample(self._clock(), version, code, latency_ms, kind, detail).line())


async def generate(options: argparse.Namespace) -> None:
    """Generate load until SIGTERM, SIGINT or the duration."""
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    target = options.target or target_of(options.model)
    async with grpc.aio.insecure_channel(target, DIRECT_OPTIONS) as channel:
        await Generator(options, channel).run(stopping)


def main() -> int:
    """Read the options, put the xDS bootstrap into the environment, generate load."""
    parser = argparse.ArgumentParser(description="Calls a model over xDS at a steady rate.")
    parser.add_argument("--address", required=True, help="the daemon's HOST:PORT")
    parser.add_argument("--model", required=True)
    parser.add_argument("--target", default="", help="another target than xds:///models/MODEL")
    parser.add_argument("--rate", type=float, required=True, help="requests a second, Poisson arrivals")
    parser.add_argument("--duration", type=float, default=3600.0, help="seconds")
    parser.add_argument("--deadline", type=float, default=10.0, help="seconds a request may take")
    parser.add_argument("--long-share", type=float, default=0.1, help="share of texts over 64 tokens")
    parser.add_argument("--max-tokens", type=int, default=0, help="tokens a generation may get; 0: the default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    # grpc reads the bootstrap at its first xDS channel, not at import.
    os.environ[BOOTSTRAP_VARIABLE] = json.dumps(bootstrap(options.address))
    bypass_proxy(options.address)
    asyncio.run(generate(options))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
