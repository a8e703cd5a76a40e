"""Engines that live and do not compute, or compute nothing of sense: what callers of health, and of the model, see of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from echoplane.channels import DIRECT_OPTIONS
from echoplane.errors import EchoplaneError
from echoplane.inference import grpc_service_pb2, grpc_service_pb2_grpc
from echoplane.v1 import models_pb2, types_pb2
from echoplaned.runtime.clock import SteadyClock
from echoplaned.testing.loadgen import Sample
from tests.e2e import e2e_system as e
from tests.hostile.frozen_thread import bury, busiest_thread, freeze

SERVING = types_pb2.HEALTH_STATE_SERVING
BAR_S = 10.0
LATE_S = 10.0
"""So much later the daemon may be where another suite has its two cores; the bar is for a machine at rest, and the figure is printed."""

BEFORE = 84
"""Calls that failed of 30 a second when one of two engines was stopped, before stuck engines were taken out softly: 84 to 93."""


def request(model: str, words: int = 3) -> grpc_service_pb2.ModelInferRequest:
    """Return a request for one embedding."""
    made = grpc_service_pb2.ModelInferRequest(model_name=model)
    made.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"word " * words)
    return made


def instances(system: e.System, model: str) -> list[models_pb2.Instance]:
    """Return the instances of a model's one version."""
    (version,) = system.client.list_versions(model)
    return list(version.instances)


@contextmanager
def stub_at(address: str) -> Iterator[Any]:
    """Yield an inference stub for an address."""
    with grpc.insecure_channel(address, DIRECT_OPTIONS) as channel:
        yield grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def is_serving(system: e.System, name: str) -> bool:
    """Whether the standard health service says so of a model or a version."""
    with grpc.insecure_channel(system.daemon.address, DIRECT_OPTIONS) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=10.0)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def check_agreement(health: models_pb2.ModelHealth) -> None:
    """Check that the state of each version and the last probes of its instances say the same."""
    for version in health.versions:
        passed = [probe.passed for probe in version.probes]
        assert version.state != SERVING or all(passed), health
        assert version.state == SERVING or not all(passed) or len(passed) < version.wanted_instance_count, health


def freeze_inference(stub: Any, model: str, pid: int) -> int:
    """Stop the thread of a worker that computes, found by letting it work; return its id."""

    def work() -> None:
        for _ in range(60):
            stub.ModelInfer(request(model, 60), timeout=20.0)

    frozen = busiest_thread(pid, work)
    freeze(frozen)
    return frozen


def test_a_hung_step_is_not_serving_within_ten_seconds(system: e.System) -> None:
    """Its reports go on and a call is in flight; health says so, of model and version, and every probe that is shown agrees."""
    system.load("hung")
    (instance,) = instances(system, "hung")
    with stub_at(instance.address) as stub:
        frozen = freeze_inference(stub, "hung", instance.pid)
        call = stub.ModelInfer.future(request("hung"), timeout=60.0)
        began_s = time.monotonic()
        while system.client.get_health("hung").state == SERVING:
            check_agreement(system.client.get_health("hung"))
            assert time.monotonic() - began_s < BAR_S + LATE_S
            e.pause(0.1)
        took_s = time.monotonic() - began_s
        print(f"a hung step was NOT_SERVING after {took_s:.1f} s")  # noqa: T201 - a result
        assert not is_serving(system, "models/hung")
        assert not is_serving(system, "models/hung/versions/v1")
        check_agreement(system.client.check_health("hung"))
        assert call.exception(timeout=30.0).code() is grpc.StatusCode.UNAVAILABLE
        bury(frozen)
    e.eventually(lambda: system.client.get_health("hung").state == SERVING, e.LOAD_S, "another engine")
    check_agreement(system.client.check_health("hung"))
    system.delete("hung")


def test_an_idle_engine_that_hangs_is_found(system: e.System) -> None:
    """Nobody calls it: the daemon's own probe hangs, and from its freezing to NOT_SERVING it takes no longer than with a call in flight."""
    system.load("idle")
    (instance,) = instances(system, "idle")
    with stub_at(instance.address) as stub:
        frozen = freeze_inference(stub, "idle", instance.pid)
    began_s = time.monotonic()
    e.eventually(lambda: not is_serving(system, "models/idle"), BAR_S + LATE_S, "an idle engine to be found hung")
    print(f"an idle hung engine was NOT_SERVING after {time.monotonic() - began_s:.1f} s")  # noqa: T201 - a result
    check_agreement(system.client.check_health("idle"))
    bury(frozen)
    system.delete("idle")


def answers_alike(folder: Path) -> None:
    """Take the texts out of an encoder: its last layer's scale is 0, so that its offset alone is left."""

    def change(weights: dict[str, Any]) -> None:
        for name, value in weights.items():
            if name.endswith("output.LayerNorm.weight"):
                weights[name] = np.zeros_like(value)
            elif name.endswith("output.LayerNorm.bias"):
                weights[name] = np.ones_like(value)

    e.change_tensors(folder, change)


def test_an_engine_that_answers_all_texts_alike_fails_its_probes(system: e.System) -> None:
    """The same finite vector to every golden text: the load ends with PROBE_FAILED and nothing of it serves."""
    source = system.made.broken("alike", answers_alike).removeprefix("file:")
    with pytest.raises(EchoplaneError) as caught:
        system.finish(
            system.client.load_model(
                models_pb2.LoadModelRequest(model_id="alike", version_id="v1", source_uri=f"file:{source}")
            )
        )
    assert caught.value.reason == "PROBE_FAILED"
    assert "answered alike" in caught.value.failure.message
    assert not is_serving(system, "models/alike")
    system.delete("alike")


@contextmanager
def load_of(system: e.System, model: str, output: Path, rate: float, deadline_s: float) -> Iterator[None]:
    """Send requests over xDS; the first has been answered when the block begins."""
    words = [sys.executable, "-m", "echoplaned.testing.loadgen", "--address", system.daemon.address, "--model", model]
    words += ["--rate", str(rate), "--deadline", str(deadline_s), "--output", str(output)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        e.eventually(lambda: output.exists() and output.stat().st_size, 60.0, "an answer")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30.0)


def test_a_stopped_engine_of_two_costs_only_the_calls_before_it_left(system: e.System, tmp_path: Path) -> None:
    """SIGSTOP at 30 requests a second with deadlines of 5 s: at most a third fails of what failed before."""
    system.load("stopped", replicas=2)
    output = tmp_path / "load.tsv"
    clock = SteadyClock(time.time, time.monotonic)  # as the load generator's
    with load_of(system, "stopped", output, 30.0, 5.0):
        e.pause(3.0)
        os.kill(instances(system, "stopped")[1].pid, signal.SIGSTOP)
        stopped_s = clock()
        e.pause(14.0)
    samples = [Sample.read(line) for line in output.read_text(encoding="utf-8").splitlines()]
    after = [sample for sample in samples if sample.time_s > stopped_s]
    failed = e.failures(after)
    sent_s = [sample.time_s - sample.latency_ms / 1000 - stopped_s for sample in failed]
    codes = {code: sum(sample.code == code for sample in failed) for code in {sample.code for sample in failed}}
    last_s = max(sent_s, default=0.0)
    print(f"{len(failed)} of {len(after)} failed: {codes}, the last sent {last_s:.1f} s after SIGSTOP")  # noqa: T201 - a result
    assert len(after) > 300
    assert len(failed) <= BEFORE // 2  # a third at rest
    assert last_s < 5.0  # 1.2 s at rest; silence alone is judged after 5 s
    e.eventually(lambda: system.client.get_health("stopped").state == SERVING, e.LOAD_S, "both engines")
    system.delete("stopped")


@pytest.mark.parametrize("seconds", [20, pytest.param(1800, marks=(pytest.mark.soak, pytest.mark.timeout(2400)))])
def test_a_busy_machine_is_no_hang(system: e.System, tmp_path: Path, seconds: int) -> None:
    """Four processes a core that do nothing but compute, beside traffic: no engine is ever said not to serve, and none is ended."""
    system.load("busy", replicas=2)
    with ExitStack() as stack:
        stack.enter_context(load_of(system, "busy", tmp_path / "load.tsv", 10.0, 30.0))
        for _ in range(4 * len(os.sched_getaffinity(0))):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            health = system.client.get_health("busy", timeout_s=60.0)
            assert health.state == SERVING, health
            check_agreement(health)
            e.pause(0.5)
    assert [(one.ordinal, one.generation) for one in instances(system, "busy")] == [(0, 1), (1, 1)]
    system.delete("busy")
