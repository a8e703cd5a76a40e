"""google.longrunning.Operations: get, list, wait, cancel, delete."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from echoplane.googleapis import operations_pb2 as longrunning_pb2
from echoplane.v1 import diagnostics_pb2, models_pb2, operations_pb2
from echoplaned.core.engine_events import EngineLost, ProbesPassed
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.spec import Tier
from echoplaned.core.state import Operation, OperationKind
from echoplaned.rpc.deps import RpcLimits
from echoplaned.rpc.paging import MAX_PAGE_BYTES
from echoplaned.testing.builders import empty_state
from echoplaned.testing.handle import FakeHandle

from .reading import get, metadata, reason_of, version_in
from .world import MakeWorld, World, failed

CODE = grpc.StatusCode


def waiting(name: str, seconds: float) -> longrunning_pb2.WaitOperationRequest:
    """Return the request to wait for an operation."""
    timeout = Duration()
    timeout.FromMilliseconds(int(seconds * 1000))
    return longrunning_pb2.WaitOperationRequest(name=name, timeout=timeout)


async def test_metadata(world: World) -> None:
    """The metadata tells target, kind, phase, bytes, plan and request id while the load goes on."""
    world.script.probe = False
    started = await world.load("fp32", replicas=2, request_id="r1")
    found = metadata(started)
    assert found.target == "models/minilm/versions/fp32"
    assert found.kind == operations_pb2.OPERATION_KIND_LOAD
    assert found.phase == operations_pb2.OPERATION_PHASE_PROBING
    assert (found.done_bytes, found.total_bytes) == (2 * 90_868_376, 2 * 90_868_376)
    assert found.plan.replicas == 2
    assert found.request_id == "r1"
    assert found.start_time.seconds == 1000
    assert not found.HasField("end_time")
    assert not found.HasField("estimated_finish_time")


async def test_wait(world: World) -> None:
    """WaitOperation answers when the operation is done, and with what there is when the time is up."""
    world.script.probe = False
    started = await world.load("fp32")
    early = await world.stubs.operations.WaitOperation(waiting(started.name, 0.01))
    assert not early.done
    call = world.stubs.operations.WaitOperation(waiting(started.name, 60))
    key = InstanceKey(VersionKey("minilm", "fp32"), 0)
    world.handle.waited_for.clear()
    await world.handle.waited_for.wait()
    world.handle.emit(ProbesPassed(world.handle.now_s(), key, 1))
    operation = await call
    assert operation.done
    assert version_in(operation).name == "models/minilm/versions/fp32"


async def test_wait_ends_when_the_daemon_stops(world: World) -> None:
    """A daemon that stops does not keep those who wait."""
    world.script.start = False
    started = await world.load("fp32")
    call = world.stubs.operations.WaitOperation(waiting(started.name, 60))
    await world.handle.waited_for.wait()
    world.lifecycle.begin_stop()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is CODE.UNAVAILABLE


async def test_cancel_a_load(world: World) -> None:
    """A cancelled load ends CANCELLED and leaves no instance."""
    world.script.start = False
    started = await world.load("fp32")
    await world.stubs.operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name=started.name))
    operation = await world.stubs.operations.GetOperation(get(started.name))
    assert operation.error.code == CODE.CANCELLED.value[0]
    assert reason_of(operation) == "CANCELLED"
    assert not world.handle.state.models["minilm"].versions["fp32"].instances


async def test_cancel_a_load_of_what_serves(world: World) -> None:
    """A load that waits for a replica of the serving version may be given up; the version goes on serving."""
    await world.load("fp32", replicas=2)
    world.script.start = False
    key = InstanceKey(VersionKey("minilm", "fp32"), 0)
    world.handle.emit(EngineLost(world.handle.now_s(), key, 1, "killed"))
    waits = await world.load("fp32", replicas=2)
    assert not waits.done
    await world.stubs.operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name=waits.name))
    operation = await world.stubs.operations.GetOperation(get(waits.name))
    assert reason_of(operation) == "CANCELLED"
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert [t.weight_ppm for t in model.traffic] == [1_000_000]
    assert world.handle.state.models["minilm"].versions["fp32"].desired_tier is Tier.HOT


async def test_cancel_what_is_done(world: World) -> None:
    """Cancelling an operation that is done changes nothing."""
    started = await world.load("fp32")
    await world.stubs.operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name=started.name))
    operation = await world.stubs.operations.GetOperation(get(started.name))
    assert not operation.HasField("error")


async def test_list(world: World) -> None:
    """Operations are listed the latest first, by pages, and by whether they are done."""
    names = []
    for model in ("a", "b", "c"):
        world.handle.advance(1)
        names.append((await world.load("fp32", model)).name)
    world.script.start = False
    world.handle.advance(1)
    names.append((await world.load("fp32", "d")).name)
    operations = world.stubs.operations.ListOperations
    first = await operations(longrunning_pb2.ListOperationsRequest(name="operations", page_size=3))
    token = first.next_page_token
    second = await operations(longrunning_pb2.ListOperationsRequest(name="operations", page_token=token))
    assert [o.name for o in (*first.operations, *second.operations)] == names[::-1]
    opened = await operations(longrunning_pb2.ListOperationsRequest(filter="done = false"))
    assert [o.name for o in opened.operations] == names[-1:]


async def test_a_list_of_large_operations_can_be_received() -> None:
    """1,000 operations of 4 KiB each are more than a client takes in one answer: they come in pages, each once."""
    failure = FailureDetail(Reason.MEMORY_INSUFFICIENT, "x" * 4096)
    operations = [
        Operation(f"o{number}", OperationKind.LOAD, "m", create_time_s=number, done=True, failure=failure)
        for number in range(1000)
    ]
    world = World()
    world.handle = FakeHandle(replace(empty_state(), operations={each.operation_id: each for each in operations}))
    server = await world.start()
    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        request = longrunning_pb2.ListOperationsRequest(page_size=1000, page_token=token)
        page = await world.stubs.operations.ListOperations(request)
        assert page.ByteSize() < 1.1 * MAX_PAGE_BYTES
        seen += [each.name for each in page.operations]
        token, pages = page.next_page_token, pages + 1
    assert seen == [f"operations/o{number}" for number in reversed(range(1000))]
    await world.stubs.channel.close(None)
    world.lifecycle.begin_stop()
    await server.stop(None)


async def test_bad_lists(world: World) -> None:
    """What a list of operations does not know is FIELD_INVALID, all at once."""
    request = longrunning_pb2.ListOperationsRequest(name="models", filter="kind=LOAD", page_size=-1)
    call = world.stubs.operations.ListOperations(request)
    found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"name", "filter", "page_size"}
    call = world.stubs.operations.WaitOperation(
        longrunning_pb2.WaitOperationRequest(name="x", timeout=Duration(seconds=-1))
    )
    await failed(call, Reason.OPERATION_NOT_FOUND, CODE.NOT_FOUND)
    started = await world.load("fp32")
    request = longrunning_pb2.WaitOperationRequest(name=started.name, timeout=Duration(seconds=-1))
    found = await failed(world.stubs.operations.WaitOperation(request), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"timeout"}


async def test_unknown(world: World) -> None:
    """An operation that is not there is OPERATION_NOT_FOUND in every method."""
    operations = world.stubs.operations
    for call in (
        operations.GetOperation(get("operations/nobody")),
        operations.WaitOperation(waiting("nobody", 1)),
        operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name="operations/nobody")),
        operations.DeleteOperation(longrunning_pb2.DeleteOperationRequest(name="operations/nobody")),
    ):
        found = await failed(call, Reason.OPERATION_NOT_FOUND, CODE.NOT_FOUND)
        assert found.detail(error_details_pb2.ResourceInfo).resource_name == "operations/nobody"


async def test_delete(world: World) -> None:
    """An operation that is done can be deleted, and its request is a new one then; one that runs is STATE_INVALID."""
    operations = world.stubs.operations
    world.script.start = False
    running = await world.load("fp32", request_id="once")
    delete = longrunning_pb2.DeleteOperationRequest(name=running.name)
    found = await failed(operations.DeleteOperation(delete), Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    assert "cancel it" in found.message
    assert (await world.load("fp32", request_id="once")).name == running.name
    await operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name=running.name))
    await operations.DeleteOperation(delete)
    counted = await world.stubs.status.GetMetrics(diagnostics_pb2.GetMetricsRequest())
    assert counted.loads.cancelled_count == 1, "a load is counted before it is forgotten"
    await failed(operations.GetOperation(get(running.name)), Reason.OPERATION_NOT_FOUND, CODE.NOT_FOUND)
    await failed(operations.DeleteOperation(delete), Reason.OPERATION_NOT_FOUND, CODE.NOT_FOUND)
    assert (await world.load("fp32", request_id="once")).name != running.name


async def test_deletion_cannot_be_cancelled(world: World) -> None:
    """A deletion that is under way is STATE_INVALID to cancel."""
    world.script.stop = False
    await world.load("fp32")
    operation = await world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm"))
    assert metadata(operation).phase == operations_pb2.OPERATION_PHASE_DRAINING
    call = world.stubs.operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name=operation.name))
    await failed(call, Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)


async def test_too_many_wait(make_world: MakeWorld) -> None:
    """More streams and waiters than are allowed are LIMIT_EXCEEDED, and only those."""
    world = await make_world(RpcLimits(max_watchers=0))
    started = await world.load("fp32")
    call = world.stubs.operations.WaitOperation(waiting(started.name, 60))
    found = await failed(call, Reason.LIMIT_EXCEEDED, CODE.RESOURCE_EXHAUSTED)
    assert found.detail(error_details_pb2.QuotaFailure).violations[0].subject == "watchers"
    assert (await world.stubs.operations.GetOperation(get(started.name))).done
