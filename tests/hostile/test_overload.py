"""A burst on the new version alone: refused for want of room or time, and no reason to roll back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import grpc
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2, grpc_service_pb2_grpc
from tests.e2e import e2e_system as e

CALLS_AT_ONCE = 1200
BURSTS = 4


@pytest.fixture
def serving(system: e.System) -> Iterator[e.System]:
    """The shared daemon, with a model whose engines compute one sequence at a time."""
    system.load("burst", max_concurrency=1)
    yield system
    system.delete("burst")


def burst(stub: grpc_service_pb2_grpc.GRPCInferenceServiceStub, timeout_s: float) -> Counter[str]:
    """Send many calls at once; return how they ended."""
    request = grpc_service_pb2.ModelInferRequest(model_name="burst")
    text = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    text.contents.bytes_contents.append(b"one of very many requests at the same time " * 4)
    calls = [stub.ModelInfer.future(request, timeout=timeout_s) for _ in range(CALLS_AT_ONCE)]
    return Counter(call.code().name for call in calls)


def test_a_burst_rolls_nothing_back(serving: e.System) -> None:
    """Thousands of calls with short deadlines at the new version's own port: the stage says OVERLOADED, waits, and goes on."""
    policy = e.fast_policy(stages_percent=(50, 100), stage_min_s=3.0)
    operation = serving.update("burst", "v2", "better", policy, max_concurrency=1)
    e.wait_phase(serving, "burst", e.Phase.ROLLOUT_PHASE_OBSERVING, 1)
    address = serving.client.get_version("burst/v2").instances[0].address
    ended: Counter[str] = Counter()
    with grpc.insecure_channel(address, DIRECT_OPTIONS) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(BURSTS):
            ended += burst(stub, timeout_s=1.0)
        held = e.eventually(
            lambda: "OVERLOADED" in serving.rollout("burst").held_reason or serving.rollout("burst").outcome,
            20.0,
            "the overload to be told",
        )
    assert held is True, serving.rollout("burst").outcome_reason
    serving.finish(operation)
    print(f"burst: {dict(ended)}")  # noqa: T201 - a figure
    rollout = serving.rollout("burst")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED, rollout.outcome_reason
    assert ended["RESOURCE_EXHAUSTED"] + ended["DEADLINE_EXCEEDED"] > CALLS_AT_ONCE
    counts = [each.overload_count for each in serving.client.get_metrics("burst").versions[-1].requests]
    assert max(counts) > CALLS_AT_ONCE // 10, counts
