"""What the end-to-end tests share: checkpoints on disk, a real daemon with a client, the fast policy, waiting, and reading samples."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from echoplane import Client, ClientOptions, RetryPolicy
from echoplane.errors import EchoplaneError
from echoplane.googleapis import operations_pb2
from echoplane.operations import Completed
from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.testing.loadgen import LoadProcesses, Sample
from echoplaned.worker_contract.record import WorkerPhase, read_records

T = TypeVar("T")
Phase = rollouts_pb2.RolloutPhase
Outcome = rollouts_pb2.RolloutOutcome

LOAD_S = 200.0
"""Longest wait for a load, in seconds: a cold engine on a busy machine. An idle one takes 0.3 s, or 8 s where no spare is warm."""

# Answers as they are: a test wants the first one, not the one after five attempts.
ONCE = ClientOptions(retry=RetryPolicy(max_attempts=1))


def fast_policy(**changes: Any) -> rollouts_pb2.RolloutPolicy:
    """Return the policy of these tests: as strict in what it asks, but with a margin that some 60 requests/s can decide in seconds.

    Without an error a stage needs about 30 requests of the new version (margin 10 %, confidence 95 %).
    """
    policy = rollouts_pb2.RolloutPolicy(
        name="fast",
        stage_min_s=1.5,
        stage_max_s=90.0,
        soak_s=2.0,
        max_error_increase=0.1,
        probe_count=20,
        ack_timeout_s=10.0,
        drain_timeout_s=20.0,
        prepare_timeout_s=LOAD_S,
    )
    policy.MergeFrom(rollouts_pb2.RolloutPolicy(**changes))
    return policy


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Checkpoints beneath an allowed root; each is made at its first use."""

    root: Path

    def path(self, name: str) -> Path:
        """Return a checkpoint's directory; the first call makes it."""
        out = self.root / name
        if not out.exists():
            _MAKERS[name](self, out)
        return out

    def uri(self, name: str) -> str:
        """Return what a caller writes to mean it."""
        self.path(name)
        return f"file:{name}"

    def broken(self, name: str, change: Callable[[Path], None]) -> str:
        """Make a copy of the encoder, spoil it, and return its URI."""
        out = self.root / name
        if not out.exists():
            shutil.copytree(self.path("encoder"), out)
            change(out)
        return f"file:{name}"


def _speaking(_: Checkpoints, out: Path) -> Path:
    """Write a small Llama with random weights in which every layer has a say, as in a trained one."""
    made = checkpoints.make_decoder(out, shape=checkpoints.DecoderShape(layers=4))
    change_tensors(made, lambda w: w.update({k: v * 2 for k, v in w.items() if v.ndim == 2 and k != "lm_head.weight"}))
    return made


def _swapped(made: Checkpoints, out: Path) -> Path:
    """Copy the small Llama with its two middle layers swapped."""
    shutil.copytree(made.path("speaking"), out)
    names = {"model.layers.1.": "model.layers.2.", "model.layers.2.": "model.layers.1."}

    def swap(weights: dict[str, Any]) -> None:
        moved = {k: weights[names[k[:15]] + k[15:]] for k in weights if k[:15] in names}
        weights.update(moved)

    change_tensors(out, swap)
    return out


def _louder(made: Checkpoints, out: Path) -> Path:
    """Copy the small Llama with one layer's weights multiplied by 1.2."""
    shutil.copytree(made.path("speaking"), out)
    layer = "model.layers.1."
    change_tensors(out, lambda w: w.update({k: v * np.float32(1.2) for k, v in w.items() if k.startswith(layer)}))
    return out


_MAKERS: dict[str, Callable[[Checkpoints, Path], Path]] = {
    "speaking": _speaking,
    "swapped": _swapped,
    "louder": _louder,
    "encoder": lambda _, out: checkpoints.make_encoder(out),
    # The same model after a little more training: answers differ in the third digit.
    "better": lambda made, out: checkpoints.perturb(made.path("encoder"), out, scale=1e-3),
    "cut64": lambda made, out: checkpoints.cut_positions(made.path("encoder"), out, positions=64),
    "narrow": lambda _, out: checkpoints.make_encoder(out, shape=checkpoints.EncoderShape(width=64)),
    "poisoned": lambda made, out: checkpoints.poison(made.path("encoder"), out),
}


@dataclass(frozen=True, slots=True)
class System:
    """A running daemon, a client of it, and what it may load."""

    daemon: DaemonProcess
    client: Client
    made: Checkpoints

    def load_request(self, model: str, version: str = "v1", source: str = "encoder", **fields: Any) -> Any:
        """Return a request to load a version."""
        return models_pb2.LoadModelRequest(
            model_id=model, version_id=version, source_uri=self.made.uri(source), **fields
        )

    def load(self, model: str, version: str = "v1", source: str = "encoder", **fields: Any) -> Completed:
        """Load a version and wait until it is ready."""
        return self.finish(self.client.load_model(self.load_request(model, version, source, **fields)))

    def update(
        self, model: str, version: str, source: str, policy: rollouts_pb2.RolloutPolicy | None = None, **fields: Any
    ) -> operations_pb2.Operation:
        """Start an update."""
        request = models_pb2.UpdateModelRequest(
            model_id=model,
            version_id=version,
            source_uri=self.made.uri(source),
            policy=policy or fast_policy(),
            **fields,
        )
        return self.client.update_model(request)

    def finish(self, operation: operations_pb2.Operation, timeout_s: float = LOAD_S) -> Completed:
        """Wait until an operation ends well."""
        return self.client.wait(operation, timeout_s)

    def rollout(self, model: str) -> rollouts_pb2.Rollout:
        """Return a model's latest rollout, with its history."""
        return self.client.get_rollout(next(iter(self.client.list_rollouts(model))).name)

    def delete(self, model: str) -> None:
        """Delete a model and wait until its engines have gone."""
        self.finish(self.client.delete_model(model, force=True, allow_missing=True), 60.0)

    def wait_standby(self, timeout_s: float = 60.0) -> None:
        """Wait until a worker that serves nothing is warm: a load then takes its own time."""

        def warm() -> bool:
            return any(record.phase is WorkerPhase.STANDBY for record in read_records(self.daemon.state_dir))

        eventually(warm, timeout_s, "a worker on standby")

    def listing(self) -> list[bytes]:
        """Return everything that there is, for a comparison before and after."""
        models = list(self.client.list_models())
        versions = [v for m in models for v in self.client.list_versions(m.name)]
        for version in versions:
            version.memory.ClearField("measured")  # measured again and again while it serves
            version.ClearField("update_time")
        return [each.SerializeToString(deterministic=True) for each in (*models, *versions)]


MakeSystem = Callable[..., System]
MakeLoad = Callable[..., LoadProcesses]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What load generators send, in all.

    Attributes:
        processes: how many client processes.
        rate: requests a second.
        long_share: share of texts over 64 tokens.
        max_tokens: tokens that a generation may get; 0: the default.
    """

    processes: int
    rate: float
    long_share: float = 0.1
    max_tokens: int = 0


def begin_load(stack: ExitStack, folder: Path, system: System, model: str, traffic: Traffic) -> LoadProcesses:
    """Start load generators on a model, wait for the first answer to each, and leave their end to a stack."""
    load = LoadProcesses(system.daemon.address, model, folder)
    stack.callback(load.stop)
    load.start(traffic.processes, traffic.rate, traffic.long_share, traffic.max_tokens)
    eventually(
        lambda: {path for path in load.outputs if path.exists() and path.stat().st_size} == set(load.outputs),
        60.0,
        "an answer to every load process",
    )
    return load


def eventually(condition: Callable[[], T], timeout_s: float, what: str, poll_s: float = 0.05) -> T:
    """Return the first true answer of a condition; fail the test where none comes in time."""
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        answer = condition()
        if answer:
            return answer
        pause(poll_s)
    pytest.fail(f"waited {timeout_s:g} s in vain for {what}")


def pause(seconds: float) -> None:
    """Let real processes go on for a while."""
    time.sleep(seconds)


def wait_phase(
    system: System, model: str, phase: int, stage: int = 0, timeout_s: float = LOAD_S
) -> rollouts_pb2.Rollout:
    """Wait until a model's rollout is in a phase, and at a stage or beyond it."""

    def there() -> rollouts_pb2.Rollout | None:
        rollout = system.rollout(model)
        assert not rollout.outcome, f"the rollout ended meanwhile: {rollout.outcome_reason}"
        return rollout if rollout.phase == phase and rollout.stage >= stage else None

    return eventually(there, timeout_s, f"phase {Phase.Name(phase)} at stage {stage}")  # type: ignore[return-value]


def stage_of_percent(policy: rollouts_pb2.RolloutPolicy, percent: int) -> int:
    """Return the number of the stage with this weight, from 1."""
    return list(policy.stages_percent).index(percent) + 1


@contextmanager
def refused(reason: str, code: grpc.StatusCode) -> Iterator[pytest.ExceptionInfo[EchoplaneError]]:
    """Expect an error with a reason and a code, and something to do about it."""
    with pytest.raises(EchoplaneError) as caught:
        yield caught
    error = caught.value
    assert (error.reason, error.failure.code) == (reason, code), error
    assert error.failure.message
    assert error.advice, f"nothing is said of what to do about {reason}"
    assert "Traceback" not in error.failure.message


def write_header(folder: Path, header: dict[str, Any], *, length: int | None = None, body: bytes = b"") -> None:
    """Write a safetensors file by hand; ``length``: the header length that it claims."""
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def read_header(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return a safetensors file's header and what follows it."""
    content = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def change_tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Read a checkpoint's tensors, change them, write them."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def failures(samples: list[Sample]) -> list[Sample]:
    """Return the requests that failed."""
    return [sample for sample in samples if not sample.ok]
