"""LoadModel: every row of the table of outcomes, and what may go wrong before anything is loaded."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from echoplane.v1 import models_pb2, operations_pb2, plans_pb2, types_pb2
from echoplaned.core.errors import ArchitectureUnsupportedError, SourceUnsafeError
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.engine_kinds.installed import find_missing
from echoplaned.rpc.deps import RpcLimits

from .reading import get, metadata, version_in
from .world import MakeWorld, World, failed

CODE = grpc.StatusCode


async def test_first_version_gets_the_traffic(world: World) -> None:
    """The first version of a model is loaded and serves; a further one stays at weight 0."""
    operation = await world.load("fp32")
    operation = await world.stubs.operations.GetOperation(get(operation.name))
    assert operation.done
    assert version_in(operation).state == models_pb2.VERSION_STATE_SERVING
    await world.load("int8")
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert model.serving_version == "models/minilm/versions/fp32"
    assert [(t.version, t.weight_ppm) for t in model.traffic] == [("models/minilm/versions/fp32", 1_000_000)]
    further = await world.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name="models/minilm/versions/int8")
    )
    assert (further.state, further.weight_ppm) == (models_pb2.VERSION_STATE_READY, 0)


async def test_ready_version_is_a_cache_hit(world: World) -> None:
    """The same version with the same content and options is done at once, without a second plan."""
    await world.load("fp32")
    planned = len(world.planning.planned)
    again = await world.load("fp32")
    assert again.done
    assert metadata(again).cache_hit
    assert version_in(again).cache.hit_count == 1
    assert version_in(again).cache.last_hit_tier == types_pb2.TIER_HOT
    assert len(world.planning.planned) == planned


async def test_same_content_elsewhere_is_a_cache_hit(world: World) -> None:
    """Content and options make a version, not the place that they are read from."""
    await world.load("fp32")
    again = await world.load("fp32", source_uri="file:copies/fp32")
    assert again.done
    assert metadata(again).cache_hit


async def test_version_on_its_way_is_the_same_operation(world: World) -> None:
    """A load of a version that is being loaded answers with the operation that loads it."""
    world.script.start = False
    first = await world.load("fp32")
    second = await world.load("fp32")
    assert not first.done
    assert first.name == second.name
    assert metadata(first).phase == operations_pb2.OPERATION_PHASE_LOADING


async def test_version_at_rest_is_loaded_again(world: World) -> None:
    """A version that failed is loaded again by the next load."""
    world.script.start_failure = FailureDetail(Reason.ENGINE_START_FAILED, "no such file: tokenizer.json")
    first = await world.load("fp32")
    world.script.start_failure = None
    second = await world.load("fp32")
    assert first.name != second.name
    version = await world.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name="models/minilm/versions/fp32")
    )
    assert version.state == models_pb2.VERSION_STATE_SERVING
    assert version.cache.miss_count == 2


async def test_other_content_under_the_same_id(world: World) -> None:
    """A version id that is taken by other content or options is VERSION_EXISTS."""
    await world.load("fp32")
    for other in ({"source_uri": "file:int8"}, {"max_concurrency": 3}, {"dtype": types_pb2.DTYPE_FP16}):
        found = await failed(world.load("fp32", **other), Reason.VERSION_EXISTS, CODE.ALREADY_EXISTS)
        resource = found.detail(error_details_pb2.ResourceInfo)
        assert resource.resource_name == "models/minilm/versions/fp32"


async def test_defaults(world: World) -> None:
    """What a caller leaves out is filled in: id, dtype, context, concurrency, replicas."""
    operation = await world.load("fp32", version_id="")
    version_id = metadata(operation).target.rpartition("/")[2]
    version = await world.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name=f"models/minilm/versions/{version_id}")
    )
    assert len(version_id) == 12
    assert version.dtype == types_pb2.DTYPE_FP32
    assert (version.context_length, version.max_concurrency, version.replicas) == (512, 8, 1)
    assert version.engine.kind == "torch"
    again = await world.load("fp32", version_id="")
    assert metadata(again).cache_hit


async def test_view_of_a_version(world: World) -> None:
    """A version shows its facts, memory, reservoir, instances, targets and signature."""
    await world.load("fp32", replicas=2, engine_options={"torch_threads": "2"}, pinned=True)
    version = await world.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name="models/minilm/versions/fp32")
    )
    assert version.source.uri == "file:fp32"
    assert version.source.digest == "blake3:fp32"
    assert dict(version.engine.options) == {"torch_threads": "2"}
    assert version.facts.architecture == "BertModel"
    assert version.memory.predicted_bytes == 22_713_216 * 4
    assert version.memory.components[0].formula == "parameters x bytes"
    assert not version.memory.HasField("measured")
    assert version.reservoir.units == 512
    assert [(i.ordinal, i.state, i.device, i.generation) for i in version.instances] == [
        (0, models_pb2.INSTANCE_STATE_READY, "host", 1),
        (1, models_pb2.INSTANCE_STATE_READY, "host", 1),
    ]
    assert version.xds_target == "xds:///models/minilm/versions/fp32"
    assert [t.name for t in version.signature.inputs] == ["text"]
    assert version.pinned
    assert [(i.address, i.pid) for i in version.instances] == [("127.0.0.1:9000", 9000), ("127.0.0.1:9001", 9001)]
    assert (version.tier, version.requested_tier) == (types_pb2.TIER_HOT, types_pb2.TIER_HOT)
    assert version.weights_format == ""
    assert version.weight_ppm == 1_000_000


async def test_failure_of_the_engine_is_in_the_operation(world: World) -> None:
    """An engine that gives up ends the operation with its reason, its words and when to try again."""
    lines = (("log_tail", "ValueError: bad header"),)
    world.script.start_failure = FailureDetail(Reason.ENGINE_START_FAILED, "bad header", metadata=lines)
    started = await world.load("fp32")
    name = started.name.removeprefix("operations/")
    operation = await world.stubs.operations.GetOperation(get(name))
    assert operation.done
    assert operation.error.code == CODE.FAILED_PRECONDITION.value[0]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert operation.error.details[0].Unpack(info)
    assert operation.error.details[1].Unpack(retry)
    assert (info.reason, info.metadata["log_tail"]) == ("ENGINE_START_FAILED", "ValueError: bad header")
    assert retry.retry_delay.seconds == 60
    version = await world.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name="models/minilm/versions/fp32")
    )
    assert version.state == models_pb2.VERSION_STATE_FAILED
    assert (version.tier, version.requested_tier) == (types_pb2.TIER_COLD, types_pb2.TIER_HOT)
    assert version.failure == operation.error


async def test_failed_probes(world: World) -> None:
    """A version whose probes fail never serves; the operation says so."""
    world.script.probe_failure = "the embedding is not finite"
    started = await world.load("fp32")
    operation = await world.stubs.operations.GetOperation(get(started.name))
    assert "not finite" in operation.error.message
    info = error_details_pb2.ErrorInfo()
    assert operation.error.details[0].Unpack(info)
    assert info.reason == "PROBE_FAILED"


async def test_does_not_fit(world: World) -> None:
    """A model that does not fit is refused with the plan: bytes needed and free, and what would fit."""
    found = await failed(world.load("huge"), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)
    plan = found.detail(plans_pb2.Plan)
    assert not plan.fits
    assert plan.devices[0].needed_bytes > plan.devices[0].free_bytes
    assert plan.alternatives[0].dtype == types_pb2.DTYPE_INT8
    quota = found.detail(error_details_pb2.QuotaFailure)
    assert quota.violations[0].subject == "host"
    assert not world.handle.state.models


async def test_two_that_fit_one_by_one(world: World) -> None:
    """Of two loads that fit one by one but not together the second is refused."""
    await world.load("half")
    found = await failed(world.load("other"), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)
    assert found.detail(plans_pb2.Plan).devices[0].free_bytes < 16 * 1024**3


async def test_validate_only_changes_nothing(world: World) -> None:
    """``validate_only`` answers an operation without a name, done, with the plan in it; nothing changed."""
    before = world.handle.state
    operation = await world.load("fp32", validate_only=True, request_id="r1")
    assert (operation.name, operation.done) == ("", True)
    assert metadata(operation).plan.fits
    plan = plans_pb2.Plan()
    assert operation.response.Unpack(plan)
    assert plan.device_ids == ["host"]
    assert world.handle.state is before
    assert world.handle.submitted == []
    await failed(world.load("huge", validate_only=True), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)


async def test_validate_only_refuses_what_the_call_would(world: World) -> None:
    """``validate_only`` raises what the real call would raise."""
    await world.load("fp32")
    call = world.load("fp32", source_uri="file:int8", validate_only=True)
    await failed(call, Reason.VERSION_EXISTS, CODE.ALREADY_EXISTS)


async def test_same_request_id_is_the_same_operation(world: World) -> None:
    """The same request is answered by its operation, though its source has gone meanwhile."""
    first = await world.load("fp32", request_id="r1")
    world.planning.checkpoints.clear()
    second = await world.load("fp32", request_id="r1")
    assert first.name == second.name
    assert len(world.planning.inspected) == 1


async def test_request_id_reused(world: World) -> None:
    """The same request id with another body, or for another method, is REQUEST_ID_REUSED."""
    await world.load("fp32", request_id="r1")
    found = await failed(world.load("int8", request_id="r1"), Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)
    assert found.fields == {"request_id"}
    await failed(world.update("int8", request_id="r1"), Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)
    delete = world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm", request_id="r1"))
    await failed(delete, Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)


async def test_sources(world: World) -> None:
    """A source that is outside, unsafe, corrupt or of an unknown architecture is refused with what would be accepted."""
    world.planning.errors["pickle"] = SourceUnsafeError("a pickle", subject="pytorch_model.bin", accepted="safetensors")
    world.planning.errors["mamba"] = ArchitectureUnsupportedError(
        "MambaModel", subject="architectures", accepted="BertModel"
    )
    cases = {
        "../etc": (Reason.SOURCE_NOT_ALLOWED, CODE.PERMISSION_DENIED),
        "pickle": (Reason.SOURCE_UNSAFE, CODE.INVALID_ARGUMENT),
        "nothing": (Reason.SOURCE_CORRUPT, CODE.FAILED_PRECONDITION),
        "mamba": (Reason.ARCHITECTURE_UNSUPPORTED, CODE.FAILED_PRECONDITION),
    }
    for source, (reason, code) in cases.items():
        found = await failed(world.load("v1", source_uri=f"file:{source}"), reason, code)
        held = found.detail(error_details_pb2.PreconditionFailure)
        assert held.violations[0].type == reason.value
        assert held.violations[0].description
    assert not world.handle.state.models


async def test_dtype_unsupported(world: World) -> None:
    """A dtype that cannot be had is refused with those that can."""
    world.planning.refused_dtypes = frozenset({Dtype.INT8})
    call = world.load("fp32", dtype=types_pb2.DTYPE_INT8)
    found = await failed(call, Reason.DTYPE_UNSUPPORTED, CODE.FAILED_PRECONDITION)
    assert "BF16" in found.detail(error_details_pb2.PreconditionFailure).violations[0].description


async def test_fields_that_only_the_checkpoint_can_judge(world: World) -> None:
    """Context, engine and options are checked against what the checkpoint and the engine allow."""
    options = ({"torch_threads": text} for text in ("0", "257", "1e3", "-1", ""))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"context_length": 513}, "context_length"),
        ({"engine": "vllm"}, "engine"),
        ({"weights_format": "NF4"}, "weights_format"),
        ({"engine_options": {"threads": "1"}}, 'engine_options["threads"]'),
        *(({"engine_options": given}, 'engine_options["torch_threads"]') for given in options),
    ]
    for wrong, field in cases:
        found = await failed(world.load("fp32", **wrong), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
        assert found.fields == {field}


async def test_an_engine_that_is_not_installed_is_said_with_its_command(world: World) -> None:
    """The first load says what to install, and which engines there are instead; nothing was begun."""
    world.engines["torch"] = find_missing(world.engines["torch"], lambda _module: False)
    found = await failed(world.load("fp32"), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"engine"}
    assert "pip install 'echoplaned[torch]'" in found.message
    assert not world.handle.state.models


async def test_tier_not_implemented(world: World) -> None:
    """A tier that the engine cannot keep is NOT_IMPLEMENTED, and says what to do instead."""
    found = await failed(world.load("fp32", tier=types_pb2.TIER_WARM), Reason.NOT_IMPLEMENTED, CODE.UNIMPLEMENTED)
    assert "HOT" in found.message


async def test_store_unavailable(world: World) -> None:
    """A store that cannot be written refuses the load, says when to try again, and changes nothing."""
    world.handle.fail_store("disk is full")
    found = await failed(world.load("fp32"), Reason.STORE_UNAVAILABLE, CODE.UNAVAILABLE)
    assert found.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 1
    assert not world.handle.state.models


@pytest.mark.parametrize(
    ("limits", "subject"),
    [
        (RpcLimits(max_open_operations=1), "operations"),
        (RpcLimits(max_models=1), "models"),
        (RpcLimits(max_versions_per_model=1), "models/minilm/versions"),
    ],
)
async def test_limits(make_world: MakeWorld, limits: RpcLimits, subject: str) -> None:
    """A limit that is reached answers LIMIT_EXCEEDED with the quota and when to try again."""
    world = await make_world(limits)
    world.script.start = subject != "operations"
    await world.load("fp32")
    other = "minilm" if subject.endswith("versions") else "bert"
    found = await failed(world.load("int8", other), Reason.LIMIT_EXCEEDED, CODE.RESOURCE_EXHAUSTED)
    assert found.detail(error_details_pb2.QuotaFailure).violations[0].subject == subject
    assert found.detail(error_details_pb2.RetryInfo).retry_delay.seconds >= 1
    again = await world.load("fp32")
    assert again.name
