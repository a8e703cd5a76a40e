"""Versions whose weights are packed by their file: what the file said of them is not asked for again in the caller's name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.v1 import models_pb2, types_pb2
from echoplaned.core.failure import Reason
from tests.rpc.world import World, failed

FORMAT = "Q4_K_M"


@pytest.fixture
async def packed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a daemon whose checkpoints are all packed, as GGUF files are; one version serves, another one is ready."""
    inspect = world.planning.inspect
    monkeypatch.setattr(
        type(world.planning), "inspect", lambda _self, *asked: replace(inspect(*asked), weights_format=FORMAT)
    )
    await world.load("fp32")
    await world.load("int8")
    return world


async def test_a_version_is_updated_to_by_its_id_alone(packed: World) -> None:
    """Neither its format nor the dtype that it is computed in was the caller's wish."""
    request = models_pb2.UpdateModelRequest(model_id="minilm", version_id="int8")
    await packed.stubs.models.UpdateModel(request)
    rollout = packed.handle.state.models["minilm"].rollout
    assert rollout is not None
    assert rollout.to_version == "int8"
    assert packed.handle.state.models["minilm"].versions["int8"].spec.shape.weights_format == FORMAT


async def test_its_name_loads_it_again(packed: World) -> None:
    """While it serves, and after an unload, by what was kept of it then."""
    load: Any = packed.stubs.oip.RepositoryModelLoad
    request = oip.RepositoryModelLoadRequest(model_name="minilm")
    await load(request)
    await packed.stubs.oip.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="minilm"))
    assert "minilm" not in packed.handle.state.models
    await load(request)
    (version,) = packed.handle.state.models["minilm"].versions.values()
    assert version.spec.shape.weights_format == FORMAT


async def test_a_callers_own_wish_is_judged_as_before(packed: World) -> None:
    """Another dtype of such a file cannot be served."""
    call = packed.load("int8", model="other", dtype=types_pb2.DTYPE_INT8)
    found = await failed(call, Reason.FIELD_INVALID, grpc.StatusCode.INVALID_ARGUMENT)
    assert found.fields == {"dtype"}
