"""Measured memory and chosen contexts, as callers see them."""

from __future__ import annotations

from dataclasses import replace

import grpc

from echoplane.googleapis import operations_pb2
from echoplane.v1 import diagnostics_pb2, models_pb2, planning_pb2
from echoplaned.core.events import DeviceMemoryMeasured, PlacementDelayed
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import MeasuredMemory, MemoryHolder
from echoplaned.rpc.version_request import default_version_id, with_longest
from echoplaned.testing.builders import GIB, MIB, facts, order

from .reading import metadata
from .world import World, failed

CODE = grpc.StatusCode
KEY = InstanceKey.parse("minilm/fp32#0")
TRAINER = MemoryHolder("trainer (pid 7)", 12 * GIB)
FULL = MeasuredMemory("host", 16 * GIB, 20 * MIB, 0, (TRAINER,))


def sample(world: World, *measured: MeasuredMemory) -> None:
    """Let the devices be measured."""
    world.handle.emit(DeviceMemoryMeasured(world.handle.now_s(), measured))


async def host(world: World) -> planning_pb2.Device:
    """Return the one device as it is listed."""
    listed: planning_pb2.ListDevicesResponse = await world.stubs.planning.ListDevices(planning_pb2.ListDevicesRequest())
    return listed.devices[0]


async def test_a_device_tells_what_others_hold(world: World) -> None:
    """Beside the reservations stands what was measured; not told is unset, and is no zero."""
    before = await host(world)
    assert not before.HasField("measured")
    assert before.available_bytes == before.free_bytes
    sample(world, FULL)
    device = await host(world)
    assert (device.free_bytes, device.available_bytes) == (before.free_bytes, 20 * MIB)
    measured = device.measured
    assert (measured.total_bytes, measured.free_bytes, measured.own_bytes) == (16 * GIB, 20 * MIB, 0)
    assert measured.foreign_bytes == 16 * GIB - 20 * MIB
    assert [(one.name, one.bytes) for one in measured.holders] == [("trainer (pid 7)", 12 * GIB)]
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    assert (status.devices[0].available_bytes, status.devices[0].foreign_bytes) == (20 * MIB, 16 * GIB - 20 * MIB)


async def test_a_broken_promise_is_among_the_alarms(world: World) -> None:
    """Others hold what an instance was promised: GetStatus says so until it is there again."""
    await world.load("fp32")
    sample(world, FULL)
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    (alarm,) = status.alarms
    assert alarm.startswith("host: ")
    assert "trainer (pid 7)" in alarm
    sample(world, replace(FULL, free_bytes=8 * GIB))
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    assert list(status.alarms) == []


async def test_an_operation_says_what_it_waits_for(world: World) -> None:
    """While its instance waits for memory the operation has the reason; none once it has ended."""
    world.script.reserve = False
    operation = await world.load("fp32")
    assert metadata(operation).waiting_reason == ""
    state = world.handle.state
    world.handle.emit(PlacementDelayed(world.handle.now_s(), KEY, "host is not free yet", state.reservation_epoch))
    request = operations_pb2.GetOperationRequest(name=operation.name)
    assert metadata(await world.stubs.operations.GetOperation(request)).waiting_reason == "host is not free yet"
    await world.stubs.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    assert metadata(await world.stubs.operations.GetOperation(request)).waiting_reason == ""


async def test_what_was_just_released_counts_as_free(world: World) -> None:
    """A load is refused for what others hold, but for a while after an engine's end, when the memory may not be back yet."""
    await world.load("half", "old")
    sample(world, FULL)
    refused = await failed(world.load("fp32"), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)
    assert refused.code is CODE.RESOURCE_EXHAUSTED
    await world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="models/old", force=True))
    world.script.reserve = False
    assert world.handle.state.released_s == world.handle.now_s()
    await world.load("fp32")
    world.handle.advance(31.0)
    await failed(world.load("int8"), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)


async def test_an_open_context_is_told_once_it_is_chosen(world: World) -> None:
    """The version keeps 0 as what was asked for; the operation and the version say what is answered."""
    operation = await world.load("fp32")
    assert metadata(operation).plan.context_length == 512
    request = operations_pb2.GetOperationRequest(name=operation.name)
    assert metadata(await world.stubs.operations.GetOperation(request)).context_length == 512
    name = "models/minilm/versions/fp32"
    version = await world.stubs.models.GetModelVersion(models_pb2.GetModelVersionRequest(name=name))
    assert (version.context_length, version.requested_context_length) == (512, 0)
    await world.load("int8", context_length=64)
    name = "models/minilm/versions/int8"
    version = await world.stubs.models.GetModelVersion(models_pb2.GetModelVersionRequest(name=name))
    assert (version.context_length, version.requested_context_length) == (64, 64)


async def test_an_update_asks_for_the_serving_context(world: World) -> None:
    """Where no context is asked for, the new version answers no less than the one that it replaces; a load asks for nothing."""
    await world.load("fp32")
    await world.load("int8")
    await world.update("int8", version_id="v3", validate_only=True)
    request = planning_pb2.PlanModelRequest(model_id="minilm", source_uri="file:int8")
    await world.stubs.planning.PlanModel(request)
    assert [question.least_context for question in world.planning.planned] == [0, 0, 512, 512]


async def test_what_an_older_release_loaded_keeps_its_id(world: World) -> None:
    """A request without a context finds the version that an older daemon named by the checkpoint's longest."""
    operation = await world.load("fp32", context_length=512, version_id="")
    older = metadata(operation).target
    assert metadata(await world.load("fp32", version_id="")).target == older
    named = await world.load("int8", context_length=512)
    assert metadata(await world.load("int8")).target == metadata(named).target


def test_an_open_context_has_an_id_of_its_own() -> None:
    """The id is of what was asked for: with a context, and without one."""
    asked = order().spec
    left_open = order(context_length=0).spec
    assert default_version_id(left_open) != default_version_id(asked)
    assert with_longest(left_open, facts()) == asked
    assert with_longest(asked, facts()) == asked
