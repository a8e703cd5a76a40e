"""PlanningService: what-if plans, devices, reservoirs."""

from __future__ import annotations

import threading

import grpc
import pytest

from echoplane.v1 import planning_pb2, plans_pb2, types_pb2
from echoplaned.core.failure import Reason
from echoplaned.core.fit import fit_error
from echoplaned.rpc.convert.plans import plan_from_pb
from echoplaned.testing.builders import GIB

from .world import World, failed

CODE = grpc.StatusCode


async def test_plan_changes_nothing(world: World) -> None:
    """A plan has components, devices and the reservoir; one that does not fit is an answer with alternatives."""
    before = world.handle.state
    plan = await world.stubs.planning.PlanModel(
        planning_pb2.PlanModelRequest(source_uri="file:fp32", dtype=types_pb2.DTYPE_FP16, context_length=128)
    )
    assert (plan.fits, plan.dtype, plan.context_length, plan.surge) == (True, types_pb2.DTYPE_FP16, 128, False)
    assert plan.components[0].inputs[0].name == "parameters"
    huge = await world.stubs.planning.PlanModel(planning_pb2.PlanModelRequest(source_uri="file:huge"))
    assert not huge.fits
    assert huge.alternatives
    assert world.handle.state is before


async def test_plan_as_an_update(world: World) -> None:
    """With a model the plan counts a copy beside the serving one; the model must be there."""
    await world.load("half")
    request = planning_pb2.PlanModelRequest(model_id="minilm", source_uri="file:other")
    plan = await world.stubs.planning.PlanModel(request)
    assert (plan.fits, plan.surge) == (False, True)
    request.model_id = "nobody"
    await failed(world.stubs.planning.PlanModel(request), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)


async def test_devices(world: World) -> None:
    """A device shows what is reserved on it, and by whom."""
    await world.load("fp32", replicas=2)
    listed = await world.stubs.planning.ListDevices(planning_pb2.ListDevicesRequest())
    device = listed.devices[0]
    assert (device.device_id, device.kind) == ("host", planning_pb2.DEVICE_KIND_HOST)
    assert device.capacity_bytes == 16 * GIB
    assert [(r.version, r.ordinal) for r in device.reservations] == [
        ("models/minilm/versions/fp32", 0),
        ("models/minilm/versions/fp32", 1),
    ]
    assert device.reserved_bytes == sum(r.bytes for r in device.reservations)
    assert device.free_bytes == device.capacity_bytes - device.reserve_bytes - device.reserved_bytes


async def test_reservoir(world: World) -> None:
    """A reservoir follows from the parameter count and the overrides."""
    request = planning_pb2.GetReservoirParametersRequest(
        parameter_count=22_713_216, max_concurrency=8, overrides=plans_pb2.ReservoirOverrides(spectral_radius=0.9)
    )
    reservoir = await world.stubs.planning.GetReservoirParameters(request)
    assert reservoir.spectral_radius == pytest.approx(0.9)
    assert reservoir.total_bytes == 8 * reservoir.bytes_per_stream
    assert reservoir.block_density == 0.125
    request.overrides.block_density = 0.25
    assert (await world.stubs.planning.GetReservoirParameters(request)).block_density == 0.25
    request.overrides.block_density = 0.3
    call = world.stubs.planning.GetReservoirParameters(request)
    found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"overrides.block_density"}
    call = world.stubs.planning.GetReservoirParameters(planning_pb2.GetReservoirParametersRequest())
    found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"parameter_count"}


async def test_a_batch_is_planned_in_order(world: World) -> None:
    """Each plan stands beside those before it, until nothing fits; an error is its own result, and nothing is changed."""
    source = planning_pb2.PlanModelRequest(source_uri="file:fp32")
    one = await world.stubs.planning.PlanModel(source)
    room = one.devices[0].free_bytes // one.upper_bytes
    requests = [source, planning_pb2.PlanModelRequest(source_uri="file:nothing"), *[source] * int(room)]
    found = await world.stubs.planning.BatchPlanModels(planning_pb2.BatchPlanModelsRequest(requests=requests[:100]))
    first, broken, second = found.results[:3]
    assert first.plan == one
    assert broken.error.code
    assert second.plan.devices[0].free_bytes == one.devices[0].free_bytes - one.upper_bytes
    assert (await world.stubs.planning.PlanModel(source)) == one


async def test_nothing_is_read_on_the_event_loop(world: World) -> None:
    """Loads, updates, dry runs, plans, batches and reservoirs ask the planning in worker threads alone."""
    await world.load("fp32", validate_only=True)
    await world.load("fp32")
    await world.update("int8")
    source = planning_pb2.PlanModelRequest(source_uri="file:fp32")
    await world.stubs.planning.PlanModel(source)
    await world.stubs.planning.BatchPlanModels(planning_pb2.BatchPlanModelsRequest(requests=[source, source]))
    await world.stubs.planning.GetReservoirParameters(planning_pb2.GetReservoirParametersRequest(parameter_count=1))
    assert world.planning.threads
    assert threading.get_ident() not in world.planning.threads


async def test_one_text_says_that_it_does_not_fit(world: World) -> None:
    """A load, its dry run and an error of the loop say the same words of the same plan."""
    plan = await world.stubs.planning.PlanModel(planning_pb2.PlanModelRequest(source_uri="file:huge"))
    said = str(fit_error(plan_from_pb(plan)))
    for dry in (False, True):
        found = await failed(world.load("huge", validate_only=dry), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)
        assert found.message == said
