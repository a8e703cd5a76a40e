"""Builders of domain values with sensible defaults."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.commands import VersionOrder
from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.core.facts import Dtype, ModelFacts, Signature, Task, TensorSpec
from echoplaned.core.plan import Device, Plan
from echoplaned.core.spec import RolloutPolicy, ServingShape, VersionSpec
from echoplaned.core.state import State
from echoplaned.core.step import StepInput, step

MIB = 1024 * 1024
GIB = 1024 * MIB


def device(device_id: str = "host", capacity_bytes: int = 16 * GIB) -> Device:
    """Return a device with a tenth of its memory held back."""
    return Device(device_id, "host", "host memory", capacity_bytes, capacity_bytes // 10)


def endpoints(target: str) -> tuple[Endpoint, ...]:
    """Return the one endpoint of an Open Inference engine at ``HOST:PORT``."""
    return (tcp_endpoint(EndpointProtocol.OIP_GRPC, target),)


def signature(width: int = 384) -> Signature:
    """Return an embedding model's signature."""
    return Signature((TensorSpec("text", "BYTES", (-1,)),), (TensorSpec("embedding", "FP32", (-1, width)),))


def facts(digest: str = "blake3:00", width: int = 384) -> ModelFacts:
    """Return the facts of a small encoder."""
    return ModelFacts(
        architecture="BertModel",
        task=Task.EMBEDDING,
        parameter_count=22_713_216,
        stored_dtype=Dtype.FP32,
        weights_bytes=90_868_376,
        max_context_length=512,
        size_class="small",
        digest=digest,
        signature=signature(width),
    )


def plan(replicas: int = 1, upper_bytes: int = 128 * MIB) -> Plan:
    """Return a plan that fits on the host."""
    return Plan(
        fits=True,
        architecture="BertModel",
        parameter_count=22_713_216,
        dtype=Dtype.FP32,
        context_length=512,
        max_concurrency=8,
        replicas=replicas,
        bytes=upper_bytes * 9 // 10,
        upper_bytes=upper_bytes,
        device_ids=("host",) * replicas,
    )


def order(
    model: str = "m",
    version: str = "v1",
    *,
    replicas: int = 1,
    digest: str = "",
    width: int = 384,
    context_length: int = 512,
) -> VersionOrder:
    """Return an order for a version whose content is named after it.

    A context length of 0 is left open.
    """
    digest = digest or f"blake3:{version}"
    spec = VersionSpec(
        source_uri=f"file:{version}",
        source_path=f"/models/{version}",
        digest=digest,
        shape=ServingShape(Dtype.FP32, context_length, max_concurrency=8, engine="torch", replicas=replicas),
    )
    return VersionOrder(model, version, spec, facts(digest, width), plan(replicas))


def policy(**changes: object) -> RolloutPolicy:
    """Return a policy of two stages with short times, changed as asked."""
    base = RolloutPolicy(
        name="test",
        stages_percent=(50, 100),
        extended_stages_percent=(),
        stage_min_s=0.0,
        stage_max_s=100.0,
        soak_s=1.0,
        prepare_timeout_s=100.0,
        revert_timeout_s=100.0,
        drain_timeout_s=50.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the names are RolloutPolicy's own; a wrong one raises


def empty_state(*devices: Device) -> State:
    """Return the state of a daemon that was never used."""
    return State(devices=devices or (device(),))


def run(state: State, *happened: StepInput) -> State:
    """Apply events in turn and return the last state."""
    for event in happened:
        state = step(state, event).state
    return state
