"""A load from a real checkpoint: real sources, real inspection, real sizing; only the engine is scripted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from echoplane.v1 import models_pb2, planning_pb2, plans_pb2, types_pb2
from echoplaned.core.failure import Reason
from echoplaned.planning.adapter import Allocator
from echoplaned.rpc.deps import RpcDeps
from echoplaned.testing.builders import MIB, device, empty_state
from echoplaned.testing.checkpoints import make_encoder, perturb
from echoplaned.testing.handle import FakeHandle

from .reading import metadata
from .world import World, failed

CODE = grpc.StatusCode


class RealWorld(World):
    """A daemon that reads checkpoints beneath a directory."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def deps(self) -> RpcDeps:
        """Return the same with the real planning."""
        return replace(super().deps(), planning=Allocator((self.root,)))


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealWorld]:
    """Yield a daemon over two encoders of the same shape."""
    root = tmp_path / "models"
    make_encoder(root / "v1")
    perturb(root / "v1", root / "v2", scale=0.001)
    world = RealWorld(root)
    server = await world.start()
    yield world
    await world.stubs.channel.close(None)
    world.lifecycle.begin_stop()
    await server.stop(None)


async def test_load_and_update(real: RealWorld) -> None:
    """A checkpoint is loaded, its content is its digest, and another one of the same shape is an update."""
    started = await real.load("v1")
    plan = metadata(started).plan
    assert plan.fits
    assert plan.bytes == sum(c.bytes for c in plan.components)
    assert all(c.source for c in plan.components)
    version = await real.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name="models/minilm/versions/v1")
    )
    assert version.source.digest.startswith("blake3:")
    assert version.reservoir.units == 512
    assert len(version.reservoir.tree) == 8
    assert version.reservoir.block_density == 0.125
    again = await real.load("v1", source_uri=str(real.root / "v1"))
    assert metadata(again).cache_hit
    await real.update("v2")
    assert real.handle.state.models["minilm"].rollout is not None


async def test_refusals(real: RealWorld) -> None:
    """What lies outside, is not there, or is cut short is refused with its own reason, and no path is told."""
    (real.root / "cut").mkdir()
    for name in ("config.json", "model.safetensors"):
        content = (real.root / "v1" / name).read_bytes()
        (real.root / "cut" / name).write_bytes(content if name == "config.json" else content[:-100])
    (real.root / "out").symlink_to("/etc")
    cases = {
        "file:../v1": (Reason.SOURCE_NOT_ALLOWED, CODE.PERMISSION_DENIED),
        "file:/etc": (Reason.SOURCE_NOT_ALLOWED, CODE.PERMISSION_DENIED),
        "file:out": (Reason.SOURCE_NOT_ALLOWED, CODE.PERMISSION_DENIED),
        "https://example.org/v1": (Reason.SOURCE_NOT_ALLOWED, CODE.PERMISSION_DENIED),
        "file:missing": (Reason.SOURCE_NOT_FOUND, CODE.NOT_FOUND),
        "file:cut": (Reason.SOURCE_CORRUPT, CODE.FAILED_PRECONDITION),
    }
    for uri, (reason, code) in cases.items():
        found = await failed(real.load("v1", source_uri=uri), reason, code)
        assert str(real.root) not in str(found.status)
    assert not real.handle.state.models


async def test_what_no_load_takes_has_a_size(real: RealWorld) -> None:
    """A plan of sound files that the engine would refuse says how large they are and why not; the load says the same."""
    config = json.loads((real.root / "v1" / "config.json").read_text(encoding="utf-8"))
    asked = json.dumps({**config, "auto_map": {"AutoModel": "a.B"}})
    (real.root / "v2" / "config.json").write_text(asked, encoding="utf-8")
    plan = await real.stubs.planning.PlanModel(planning_pb2.PlanModelRequest(source_uri="file:v2"))
    same = await real.stubs.planning.PlanModel(planning_pb2.PlanModelRequest(source_uri="file:v1"))
    assert (same.serves, same.serves_reason) == (True, "")
    assert (plan.serves, plan.serves_reason, plan.bytes) == (False, "SOURCE_UNSUPPORTED", same.bytes)
    assert "auto_map" in plan.serves_detail
    await failed(real.load("v2"), Reason.SOURCE_UNSUPPORTED, CODE.FAILED_PRECONDITION)


async def test_what_would_fit(real: RealWorld) -> None:
    """On a device that is too small the error has the plan with bytes needed and free."""
    real.handle = FakeHandle(empty_state(device(capacity_bytes=4 * MIB)))
    server = await real.start()
    found = await failed(real.load("v1"), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)
    plan = found.detail(plans_pb2.Plan)
    assert plan.devices[0].needed_bytes > plan.devices[0].free_bytes
    await real.stubs.channel.close(None)
    await server.stop(None)


async def test_planning(real: RealWorld) -> None:
    """PlanModel and GetReservoirParameters answer from the allocator; an override out of range is named."""
    request = planning_pb2.PlanModelRequest(source_uri="file:v1", dtype=types_pb2.DTYPE_INT8)
    plan = await real.stubs.planning.PlanModel(request)
    assert (plan.fits, plan.dtype) == (True, types_pb2.DTYPE_INT8)
    reservoir = await real.stubs.planning.GetReservoirParameters(
        planning_pb2.GetReservoirParametersRequest(parameter_count=13 * 10**9)
    )
    assert (reservoir.units, reservoir.membrane_depth, reservoir.size_class) == (1024, 6, types_pb2.SIZE_CLASS_MEDIUM)
    dense = planning_pb2.PlanModelRequest(source_uri="file:v1", dtype=types_pb2.DTYPE_INT8)
    dense.reservoir.block_density = 1.0
    more = await real.stubs.planning.PlanModel(dense)
    assert more.reservoir.block_density == 8 * plan.reservoir.block_density == 1.0
    assert more.upper_bytes - plan.upper_bytes == 3 * 4 * more.reservoir.units
    dense.reservoir.block_density = 0.3
    found = await failed(real.stubs.planning.PlanModel(dense), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"reservoir.block_density"}
    request.context_length = 100_000
    found = await failed(real.stubs.planning.PlanModel(request), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"context_length"}
