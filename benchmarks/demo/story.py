"""The story: load, serve, a good update in seven stages, a bad one that is rolled back. Every step asks the daemon what really happened."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.demo.http_calls import HttpCall
from echoplane import AsyncInferenceClient, Client, RolledBackError
from echoplane.tensors import Query
from echoplane.v1 import models_pb2, operations_pb2, rollouts_pb2, types_pb2
from echoplaned.testing.loadgen import LoadProcesses, make_text

MODEL = "minilm"
LOAD_PROCESSES = 4
MAX_RATE = 50.0
SHARE_OF_CAPACITY = 0.4
LONG_SHARE = 0.1
GATEWAY_S = 60.0

POLICY = rollouts_pb2.RolloutPolicy(
    name="demo",
    stage_min_s=4.0,
    stage_max_s=180.0,
    soak_s=8.0,
    max_error_increase=0.08,
    confidence=0.95,
    alpha=0.001,
    slo_error_rate=0.01,
    probe_count=30,
    drain_timeout_s=30.0,
)


@dataclass(slots=True)
class Story:
    """What the demo has seen so far. Times in seconds since the epoch."""

    client: Client
    gateway: str
    console: Console
    minilm: Path
    cut64: Path
    load: LoadProcesses
    capacity: float = 0.0
    rate: float = 0.0
    rollouts: dict[str, rollouts_pb2.Rollout] = field(default_factory=dict)
    versions: dict[str, models_pb2.ModelVersion] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print one step."""
        self.console.print(f"[bold]==[/bold] {text}", highlight=False)

    def load_first(self) -> None:
        """Load all-MiniLM-L6-v2 as version fp32 and note what it takes."""
        self.say("loading all-MiniLM-L6-v2 from its package as minilm/fp32")
        request = models_pb2.LoadModelRequest(model_id=MODEL, version_id="fp32", source_uri=f"file:{self.minilm}")
        self.client.wait(self.client.load_model(request), 120)
        self.note("fp32")

    def note(self, version: str) -> None:
        """Keep what the daemon says of a version; its measured memory is the largest that was reported."""
        found = self.client.get_version(f"models/{MODEL}/versions/{version}")
        known = self.versions.get(version)
        largest = known.memory.measured.increment_bytes if known is not None else 0
        if known is None or found.memory.measured.increment_bytes >= largest:
            self.versions[version] = found

    def call_over_http(self) -> None:
        """Ask by REST what is served, and by OpenAI's API for an embedding, both through the gateway."""
        self.say(
            "curl and OpenAI clients call it through the gateway, from this machine only; changes there need a key"
        )
        self._show(HttpCall(self.gateway, f"/api/v1/model_serving/models/{MODEL}"))
        self._show(HttpCall(self.gateway, "/v1/embeddings", {"model": MODEL, "input": "hello world"}))

    def _show(self, call: HttpCall) -> None:
        answer = call.make(GATEWAY_S)
        self.console.print(f"$ {call.curl()}", markup=False, highlight=False, soft_wrap=True)
        self.console.print(answer.shortened(), markup=False, highlight=False, soft_wrap=True)
        if answer.version:
            (found,) = json.loads(answer.text)["data"]
            self.say(f"{answer.version} answered, with {len(found['embedding'])} numbers")

    def start_traffic(self) -> None:
        """Measure the capacity, then start a part of it as steady traffic from processes of their own."""
        address = self.versions["fp32"].instances[0].address
        self.capacity = asyncio.run(measure_capacity(address))
        self.rate = min(MAX_RATE, SHARE_OF_CAPACITY * self.capacity)
        self.say(
            f"capacity {self.capacity:.0f} requests/s; {LOAD_PROCESSES} client processes now send {self.rate:.0f} a second "
            f"to xds:///models/{MODEL}, one in ten over 64 tokens"
        )
        self.load.start(LOAD_PROCESSES, self.rate, LONG_SHARE)
        began = time.monotonic()
        while len(self.load.samples()) < 3 * LOAD_PROCESSES:
            if time.monotonic() - began > 60:
                raise RuntimeError("the clients got no answers within 60 s; see .demo/load-0.log")
            time.sleep(0.2)

    def update(self, version: str, source: Path, dtype: types_pb2.Dtype = types_pb2.DTYPE_UNSPECIFIED) -> str:
        """Update to a version and follow the rollout; return the rollout's outcome."""
        request = models_pb2.UpdateModelRequest(
            model_id=MODEL, version_id=version, source_uri=f"file:{source}", dtype=dtype, policy=POLICY
        )
        operation = self.client.update_model(request)
        name = self._rollout_name(operation.name)
        self._follow(name, version)
        try:
            self.client.wait(operation, 240)
        except RolledBackError as error:
            self.say(f"the operation ended: {error}")
        rollout = self.client.get_rollout(name)
        self.rollouts[version] = rollout
        return rollouts_pb2.RolloutOutcome.Name(rollout.outcome).removeprefix("ROLLOUT_OUTCOME_")

    def _rollout_name(self, operation: str) -> str:
        metadata = operations_pb2.OperationMetadata()
        if not self.client.get_operation(operation).metadata.Unpack(metadata) or not metadata.rollout:
            raise RuntimeError(f"{operation} has no rollout")
        return metadata.rollout

    def _follow(self, name: str, version: str) -> None:
        seen: tuple[int, int] | None = None
        for rollout in self.client.watch_rollout(name, 240):
            now = (rollout.phase, rollout.stage)
            if now == seen:
                continue
            seen = now
            phase = rollouts_pb2.RolloutPhase.Name(rollout.phase).removeprefix("ROLLOUT_PHASE_")
            shares = ", ".join(f"{w.version.rsplit('/', 1)[-1]} {w.weight_ppm / 10_000:g} %" for w in rollout.desired)
            self.say(f"{version}: {phase} stage {rollout.stage}/7   {shares}")
            for each in {rollout.from_version, rollout.to_version} if phase != "DONE" else ():
                self.note(each.rsplit("/", 1)[-1])


async def measure_capacity(address: str, seconds: float = 4.0, concurrency: int = 8) -> float:
    """Return how many requests a second one instance answers, of the mixture that the traffic will have."""
    rng = random.Random(7)
    done = 0
    ends_at = time.monotonic() + seconds
    async with AsyncInferenceClient(MODEL, target=address) as client:

        async def caller() -> None:
            nonlocal done
            while time.monotonic() < ends_at:
                text = make_text(rng, long=rng.random() < LONG_SHARE)
                await client.infer(Query(texts=[text]))
                done += 1

        await asyncio.gather(*(caller() for _ in range(concurrency)))
    return done / seconds
