"""The real Envoy as a second kind of xDS client of the real daemon: routes acknowledged, requests through it, an update followed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import grpc.aio
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc
from echoplaned.testing.loadgen import VERSION_TRAILER
from tests.e2e import e2e_system as e
from tests.xds import xds_envoy


async def infer(envoy: xds_envoy.Envoy, model: str) -> tuple[str, int]:
    """Ask for one embedding through the gateway; return the version that answered and the embedding's width."""
    stub = cast(
        "grpc_service_pb2_grpc.GRPCInferenceServiceAsyncStub",
        grpc_service_pb2_grpc.GRPCInferenceServiceStub(envoy.channel),
    )
    request = oip.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"a short text for the gateway")
    call = stub.ModelInfer(request, metadata=(("echoplane-model", model),), timeout=20.0)
    response = await call
    trailers = dict(cast("list[tuple[str, str]]", list(await call.trailing_metadata() or ())))
    assert [output.name for output in response.outputs] == ["embedding"]
    return trailers[VERSION_TRAILER], response.outputs[0].shape[-1]


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_envoy_serves_the_model(system: e.System, tmp_path: Path, delta: bool) -> None:
    """All four types are acknowledged and none refused; a request through Envoy reaches the model; one for nobody does not."""
    model = f"envoy-{'delta' if delta else 'sotw'}"
    system.load(model)
    before = system.client.get_status().xds
    async with xds_envoy.envoy(tmp_path, system.daemon.address, delta=delta) as envoy:
        e.eventually(lambda: system.client.get_status().xds.ack_count >= before.ack_count + 4, 30.0, "four ACKs")
        answers = Counter([await infer(envoy, model) for _ in range(20)])
        assert answers == {("v1", 128): 20}
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await infer(envoy, "nobody")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        if not delta:
            await follow_an_update(system, envoy, model)
        status = system.client.get_status().xds
        assert status.nack_count == before.nack_count
        assert status.stream_count >= before.stream_count + 1
    log = envoy.log.read_text()
    assert "rejected" not in log
    system.delete(model)


async def follow_an_update(system: e.System, envoy: xds_envoy.Envoy, model: str) -> None:
    """Shift to a new version while Envoy is the only subscriber: it is counted, acknowledges each stage, and no request fails."""
    operation = system.update(model, "v2", "better", e.fast_policy(stages_percent=(50, 100)))
    answers: Counter[str] = Counter()
    observed: set[int] = set()
    while not (rollout := system.rollout(model)).outcome:
        if rollout.phase == e.Phase.ROLLOUT_PHASE_OBSERVING:
            observed.add(rollout.subscriber_count)
        assert not rollout.stale_subscribers
        answers[(await infer(envoy, model))[0]] += 1
        e.pause(0.05)
    system.finish(operation)
    assert observed == {1}
    assert answers.keys() == {"v1", "v2"}
    assert {(await infer(envoy, model))[0] for _ in range(5)} == {"v2"}
