"""UpdateModel and DeleteModel: every row of the table of outcomes."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2

from echoplane.googleapis import operations_pb2 as longrunning_pb2
from echoplane.v1 import models_pb2, operations_pb2, plans_pb2, rollouts_pb2, types_pb2
from echoplaned.core.failure import Reason
from echoplaned.core.rollout_state import GateVerdict

from .reading import get, metadata, model_in, reason_of, unpacked
from .world import World, failed

CODE = grpc.StatusCode
QUICK = rollouts_pb2.RolloutPolicy(stages_percent=[50, 100], stage_min_s=0, soak_s=1)


async def finish(world: World) -> None:
    """Let a rollout pass all its stages and soak."""
    model = world.handle.state.models["minilm"]
    while model.rollout is not None and model.rollout.phase.value in {"OBSERVING", "SHIFTING"}:
        world.handle.give_verdict("minilm", GateVerdict.PASS)
        model = world.handle.state.models["minilm"]
    world.handle.advance(5.0)


async def test_update_goes_through_its_stages(world: World) -> None:
    """An update loads the version, shifts by stages, and ends with the model in its response."""
    await world.load("fp32")
    started = await world.update("int8", policy=QUICK)
    assert not started.done
    assert metadata(started).phase == operations_pb2.OPERATION_PHASE_ROLLING_OUT
    assert metadata(started).rollout.startswith("models/minilm/rollouts/")
    rollout = await world.stubs.rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=metadata(started).rollout))
    assert [(w.version.rpartition("/")[2], w.weight_ppm) for w in rollout.desired] == [
        ("fp32", 500_000),
        ("int8", 500_000),
    ]
    await finish(world)
    operation = await world.stubs.operations.GetOperation(get(started.name))
    assert operation.done
    assert model_in(operation).serving_version == "models/minilm/versions/int8"


async def test_update_to_a_ready_version_loads_nothing(world: World) -> None:
    """A version that is READY already goes straight to the stages, without a second plan."""
    await world.load("fp32")
    await world.load("int8")
    planned = len(world.planning.planned)
    started = await world.update("int8", policy=QUICK)
    assert metadata(started).cache_hit
    assert len(world.planning.planned) == planned
    assert world.handle.state.models["minilm"].rollout is not None


async def test_update_by_version_id_alone(world: World) -> None:
    """Without a source the version is taken as it was loaded before; one that was not is VERSION_NOT_FOUND."""
    await world.load("fp32")
    await world.load("int8", max_concurrency=4)
    await world.update("int8", source_uri="")
    assert world.handle.state.models["minilm"].rollout is not None
    found = await failed(world.update("v9", source_uri=""), Reason.VERSION_NOT_FOUND, CODE.NOT_FOUND)
    assert found.detail(error_details_pb2.ResourceInfo).resource_name == "models/minilm/versions/v9"


async def test_update_to_the_serving_version(world: World) -> None:
    """The version that serves already is done at once, without a rollout."""
    await world.load("fp32")
    operation = await world.update("fp32")
    assert operation.done
    assert metadata(operation).cache_hit
    assert metadata(operation).rollout == ""
    assert world.handle.state.models["minilm"].rollout is None


async def test_update_of_an_unknown_model(world: World) -> None:
    """There must be a model to update; its source is not even read."""
    found = await failed(world.update("int8"), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)
    assert found.detail(error_details_pb2.ResourceInfo).resource_name == "models/minilm"
    assert world.planning.inspected == []


async def test_signature_changed(world: World) -> None:
    """Another embedding width is refused, unless the caller says that it is intended."""
    await world.load("fp32")
    found = await failed(world.update("wide"), Reason.SIGNATURE_CHANGED, CODE.FAILED_PRECONDITION)
    assert "INTENDED" in found.detail(error_details_pb2.PreconditionFailure).violations[0].description
    await world.update("wide", behaviour_change=types_pb2.BEHAVIOUR_CHANGE_INTENDED)
    assert world.handle.state.models["minilm"].rollout is not None


async def test_shorter_context_is_a_warning(world: World) -> None:
    """A new version that answers shorter requests only is said in the plan, and goes on."""
    await world.load("fp32")
    operation = await world.update("int8", context_length=64, validate_only=True)
    assert any("64 tokens" in warning for warning in metadata(operation).plan.warnings)


async def test_surge_infeasible(world: World) -> None:
    """A version that does not fit beside the serving one is refused with the plan of the surge."""
    await world.load("half")
    found = await failed(world.update("other"), Reason.SURGE_INFEASIBLE, CODE.FAILED_PRECONDITION)
    plan = found.detail(plans_pb2.Plan)
    assert plan.surge
    assert plan.alternatives
    assert world.handle.state.models["minilm"].rollout is None


async def test_signature_is_looked_at_before_memory(world: World) -> None:
    """What the core refuses is refused before anything is planned."""
    await world.load("fp32")
    planned = len(world.planning.planned)
    await failed(world.update("wide"), Reason.SIGNATURE_CHANGED, CODE.FAILED_PRECONDITION)
    assert len(world.planning.planned) == planned


async def test_second_update_meanwhile(world: World) -> None:
    """A second update of a model is refused while the first is under way."""
    await world.load("fp32")
    await world.update("int8")
    found = await failed(world.update("wide"), Reason.ROLLOUT_ACTIVE, CODE.ABORTED)
    rollout = world.handle.state.models["minilm"].rollout
    assert rollout is not None
    name = f"models/minilm/rollouts/{rollout.rollout_id}"
    assert found.detail(error_details_pb2.ResourceInfo).resource_name == name


async def test_etag(world: World) -> None:
    """An old etag is refused with the present one; the present one is taken."""
    await world.load("fp32")
    found = await failed(world.update("int8", etag="old"), Reason.ETAG_MISMATCH, CODE.ABORTED)
    current = found.detail(error_details_pb2.ErrorInfo).metadata["etag"]
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert model.etag == current
    assert (await world.update("int8", etag=current)).name


async def test_rolled_back(world: World) -> None:
    """A failing verdict ends the operation ABORTED, with the rollout and the verdict's reason."""
    await world.load("fp32")
    started = await world.update("int8", policy=QUICK)
    world.handle.give_verdict("minilm", GateVerdict.FAIL, "7 of 60 requests failed")
    operation = await world.stubs.operations.GetOperation(get(started.name))
    assert operation.error.code == CODE.ABORTED.value[0]
    assert reason_of(operation) == "ROLLED_BACK"
    assert "7 of 60 requests failed" in operation.error.message
    resource = unpacked(operation.error.details[1], error_details_pb2.ResourceInfo)
    assert resource.resource_name == metadata(started).rollout
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert model.serving_version == "models/minilm/versions/fp32"
    assert [t.weight_ppm for t in model.traffic] == [1_000_000]


async def test_cancel_of_an_update_aborts_it(world: World) -> None:
    """CancelOperation takes the update back; its operation ends CANCELLED."""
    await world.load("fp32")
    started = await world.update("int8", policy=QUICK)
    await world.stubs.operations.CancelOperation(longrunning_pb2.CancelOperationRequest(name=started.name))
    operation = await world.stubs.operations.GetOperation(get(started.name))
    assert operation.error.code == CODE.CANCELLED.value[0]
    assert reason_of(operation) == "CANCELLED"
    assert world.handle.state.models["minilm"].serving_version == "fp32"


async def test_update_that_is_not_carried_out(world: World) -> None:
    """``validate_only`` of an update plans and checks it, and starts no rollout."""
    await world.load("fp32")
    before = world.handle.state
    operation = await world.update("int8", validate_only=True)
    assert (operation.name, operation.done) == ("", True)
    assert metadata(operation).plan.surge
    assert metadata(operation).rollout == ""
    assert world.handle.state is before


async def test_delete_during_a_rollout(world: World) -> None:
    """Without ``force`` a rollout keeps the model; with it everything is drained and goes, and the update ends ABORTED."""
    await world.load("fp32")
    update = await world.update("int8")
    call = world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="models/minilm"))
    await failed(call, Reason.ROLLOUT_ACTIVE, CODE.ABORTED)
    operation = await world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm", force=True))
    ended = await world.stubs.operations.GetOperation(get(operation.name))
    assert ended.done
    assert not ended.HasField("error")
    updated = await world.stubs.operations.GetOperation(get(update.name))
    assert updated.error.code == CODE.ABORTED.value[0]
    assert not world.handle.state.models


async def test_delete_what_is_not_there(world: World) -> None:
    """A missing model or version is NOT_FOUND, or done at once with ``allow_missing``."""
    models = world.stubs.models
    await failed(
        models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm")), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND
    )
    operation = await models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm", allow_missing=True))
    assert (operation.done, operation.name) == (True, "")
    name = "models/minilm/versions/v1"
    request = models_pb2.DeleteModelVersionRequest(name=name)
    await failed(models.DeleteModelVersion(request), Reason.VERSION_NOT_FOUND, CODE.NOT_FOUND)
    request.allow_missing = True
    operation = await models.DeleteModelVersion(request)
    assert metadata(operation).target == name


async def test_delete_again_with_the_same_request_id(world: World) -> None:
    """A repeated deletion is answered by the first one's operation, though the model has gone."""
    await world.load("fp32")
    request = models_pb2.DeleteModelRequest(name="minilm", request_id="d1")
    first = await world.stubs.models.DeleteModel(request)
    second = await world.stubs.models.DeleteModel(request)
    assert first.name == second.name
    assert second.done


async def test_delete_version(world: World) -> None:
    """A version without traffic is drained and forgotten; the serving one is STATE_INVALID."""
    await world.load("fp32")
    await world.load("int8")
    models = world.stubs.models
    serving = models_pb2.DeleteModelVersionRequest(name="models/minilm/versions/fp32")
    await failed(models.DeleteModelVersion(serving), Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    await models.DeleteModelVersion(models_pb2.DeleteModelVersionRequest(name="models/minilm/versions/int8"))
    assert set(world.handle.state.models["minilm"].versions) == {"fp32"}


async def test_update_without_a_serving_version(world: World) -> None:
    """Where nothing serves there is nothing to shift: STATE_INVALID says to load instead."""
    world.script.start = False
    await world.load("fp32")
    found = await failed(world.update("int8"), Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    assert "LoadModel" in found.detail(error_details_pb2.PreconditionFailure).violations[0].description


async def test_labels(world: World) -> None:
    """Labels are replaced where any is given, and kept where none is."""
    await world.load("fp32", labels={"team": "search"})
    await world.load("int8")
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert dict(model.labels) == {"team": "search"}
    await world.load("fp32", labels={"team": "ads"})
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert dict(model.labels) == {"team": "ads"}


async def test_what_is_said_of_a_model_holds_whoever_began(world: World) -> None:
    """Labels, aliases and a pin hold where the call joins a load that is under way, and where the version serves already."""
    world.script.start = False
    first = await world.load("fp32")
    joined = await world.load("fp32", labels={"team": "search"}, aliases=["Org/Mini"], pinned=True)
    assert joined.name == first.name
    model = world.handle.state.models["minilm"]
    assert (model.labels, model.aliases) == ((("team", "search"),), ("Org/Mini",))
    assert model.versions["fp32"].pinned


async def test_an_update_to_what_serves_sets_labels_and_a_pin(world: World) -> None:
    """There is no rollout, and the rest of the request holds all the same; a request that says no pin takes none away."""
    await world.load("fp32", labels={"team": "search"})
    assert metadata(await world.update("fp32", labels={"team": "ads"}, pinned=True)).cache_hit
    model = world.handle.state.models["minilm"]
    assert (model.rollout, model.labels) == (None, (("team", "ads"),))
    assert model.versions["fp32"].pinned
    await world.load("fp32")
    assert world.handle.state.models["minilm"].versions["fp32"].pinned


async def test_configure(world: World) -> None:
    """ConfigureModel changes labels and pins named in the mask, and nothing else."""
    await world.load("fp32", labels={"team": "search"})
    configure = world.stubs.models.ConfigureModel
    request = models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": ["pinned"]}, pinned=True)
    model = await configure(request)
    assert dict(model.labels) == {"team": "search"}
    assert world.handle.state.models["minilm"].versions["fp32"].pinned
    model = await configure(models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": ["labels"]}))
    assert not model.labels
    for path in ("tier", "max_concurrency"):
        request = models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": [path]})
        await failed(configure(request), Reason.NOT_IMPLEMENTED, CODE.UNIMPLEMENTED)
    request = models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": ["pinned", "labels.team"]})
    found = await failed(configure(request), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"update_mask.paths[1]"}
    request = models_pb2.ConfigureModelRequest(
        name="minilm", update_mask={"paths": ["pinned"]}, version="models/minilm/versions/v9"
    )
    await failed(configure(request), Reason.VERSION_NOT_FOUND, CODE.NOT_FOUND)
    request.version = "models/other/versions/fp32"
    found = await failed(configure(request), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"version"}


async def test_configure_once(world: World) -> None:
    """The same configuration under one request id is made once, though its etag is old by then."""
    await world.load("fp32")
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    request = models_pb2.ConfigureModelRequest(
        name="minilm", update_mask={"paths": ["labels"]}, labels={"a": "b"}, etag=model.etag, request_id="c1"
    )
    first = await world.stubs.models.ConfigureModel(request)
    assert await world.stubs.models.ConfigureModel(request) == first
    request.labels["a"] = "c"
    await failed(world.stubs.models.ConfigureModel(request), Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)


async def test_tiers_are_not_there_yet(world: World) -> None:
    """SetModelVersionTier says what to use instead, once the version is known to exist."""
    call = world.stubs.models.SetModelVersionTier
    request = models_pb2.SetModelVersionTierRequest(name="models/minilm/versions/fp32", tier=types_pb2.TIER_WARM)
    await failed(call(request), Reason.VERSION_NOT_FOUND, CODE.NOT_FOUND)
    await world.load("fp32")
    found = await failed(call(request), Reason.NOT_IMPLEMENTED, CODE.UNIMPLEMENTED)
    assert "DeleteModelVersion" in found.message
