"""Callers' events. Each is checked whole before anything changes; what is refused raises its own error and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from echoplaned.core.draft import Draft
from echoplaned.core.effects import Reply
from echoplaned.core.errors import (
    EtagMismatchError,
    ModelNotFoundError,
    RequestIdReusedError,
    RolloutActiveError,
    SignatureChangedError,
    StateInvalidError,
    VersionExistsError,
    VersionNotFoundError,
)
from echoplaned.core.events import (
    ConfigureRequested,
    DeleteModelRequested,
    DeleteVersionRequested,
    LoadRequested,
    Request,
    UpdateRequested,
    VersionOrder,
)
from echoplaned.core.facts import Signature
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fold import etag, is_lost_for_good, is_ready, version_state
from echoplaned.core.ids import VersionKey
from echoplaned.core.rollouts import accepts, fire
from echoplaned.core.spec import BehaviourChange, Tier
from echoplaned.core.state import (
    CacheCounts,
    EntryKind,
    Model,
    Operation,
    OperationKind,
    Phase,
    Rollout,
    Version,
    VersionState,
)
from echoplaned.core.tables import RolloutSignal


def repeated(draft: Draft, request: Request) -> bool:
    """Answer a request that came before with its operation; say whether it did.

    Raises:
        RequestIdReusedError: it came with another body.
    """
    if not request.request_id:
        return False
    for operation in draft.state.operations.values():
        if operation.request_id == request.request_id:
            if operation.request_digest != request.request_digest:
                raise RequestIdReusedError(request.request_id)
            draft.extra_effects.append(Reply(operation.operation_id))
            return True
    return False


def on_load(draft: Draft, event: LoadRequested) -> None:
    """Load a version; see ``api.md``'s table of outcomes."""
    if repeated(draft, event.request):
        return
    order = event.order
    model = draft.state.models.get(order.model)
    _refuse_deleting(model)
    if model is not None:
        _refuse_other_content(model, order)
        on_the_way = _running_load(draft, model, order.version)
        if on_the_way is not None:
            draft.extra_effects.append(Reply(on_the_way))
            return
    else:
        model = Model(order.model, create_time_s=draft.now_s, update_time_s=draft.now_s)
        draft.announce(f"models/{order.model}", "model.created", f"model {order.model} was created")
    if not model.serving_version or (model.rollout is None and _never_came_up(model)):
        model = replace(model, serving_version=order.version)
    draft.put_model(_labelled(model, event.labels))
    _want_version(draft, order)
    operation = _operation(draft, event.request, OperationKind.LOAD, order.model, order.version)
    draft.put_operation(replace(operation, plan=order.plan))


def on_update(draft: Draft, event: UpdateRequested) -> None:
    """Start a rollout; see ``api.md``'s table of outcomes."""
    if repeated(draft, event.request):
        return
    order = event.order
    model = draft.state.models.get(order.model)
    if model is None:
        raise ModelNotFoundError(f"models/{order.model}", f"models/{order.model} does not exist: load a first version")
    _refuse_deleting(model)
    _check_etag(model, event.etag)
    if model.rollout is not None:
        raise _rollout_active(model.rollout)
    _refuse_other_content(model, order)
    operation = _operation(draft, event.request, OperationKind.UPDATE, order.model, order.version)
    operation = replace(operation, plan=order.plan)
    if order.version == model.serving_version:
        _count_cache(draft, model.versions[order.version], hit=True)
        draft.put_operation(replace(operation, done=True, end_time_s=draft.now_s))
        return
    _check_serving(model, event)
    draft.put_model(_labelled(model, event.labels))
    _want_version(draft, order)
    rollout = Rollout(
        rollout_id=event.rollout_id,
        model=order.model,
        from_version=model.serving_version,
        to_version=order.version,
        policy=event.policy,
        operation_id=operation.operation_id,
        behaviour_change=event.behaviour_change,
        create_time_s=draft.now_s,
        phase_since_s=draft.now_s,
    )
    draft.put_operation(replace(operation, rollout_id=event.rollout_id))
    text = f"update from {rollout.from_version} to {rollout.to_version} by policy {event.policy.name}"
    draft.note(rollout, text, kind=EntryKind.CREATED)


def _check_serving(model: Model, event: UpdateRequested) -> None:
    if not is_ready(model, model.serving_version):
        raise StateInvalidError(
            f"models/{model.model_id} has no version that serves, so there is nothing to update under traffic",
            subject=f"models/{model.model_id}",
            accepted="LoadModel the version that shall serve, or wait until the serving version is READY",
        )
    serving = model.versions[model.serving_version]
    changed = serving.facts.signature != event.order.facts.signature
    if changed and event.behaviour_change is not BehaviourChange.INTENDED:
        raise SignatureChangedError(
            f"version {event.order.version} takes or gives other tensors than the serving version {model.serving_version}: "
            f"{_difference(serving.facts.signature, event.order.facts.signature)}",
            subject=f"models/{model.model_id}/versions/{event.order.version}",
            accepted="the same tensor names, dtypes and dimensions, or behaviour_change INTENDED",
        )


def _difference(serving: Signature, new: Signature) -> str:
    """Name the tensors that differ, each with what it is on either side."""
    before, after = _tensors(serving), _tensors(new)
    names = [name for name in (*before, *after) if before.get(name) != after.get(name)]
    return "; ".join(
        f"{name} is {after.get(name, 'missing')} instead of {before.get(name, 'missing')}"
        for name in dict.fromkeys(names)
    )


def _tensors(signature: Signature) -> dict[str, str]:
    inputs = {f"input {t.name}": f"{t.datatype}{list(t.shape)}" for t in signature.inputs}
    return inputs | {f"output {t.name}": f"{t.datatype}{list(t.shape)}" for t in signature.outputs}


def on_delete_model(draft: Draft, event: DeleteModelRequested) -> None:
    """Drain everything of a model, then forget it."""
    if repeated(draft, event.request):
        return
    model = _existing(draft, event.model)
    _check_etag(model, event.etag)
    if model.deleting:
        draft.extra_effects.append(Reply(model.deleting))
        return
    if model.rollout is not None and not event.force:
        raise _rollout_active(model.rollout)
    operation = _operation(draft, event.request, OperationKind.DELETE_MODEL, event.model, "")
    draft.put_operation(operation)
    if model.rollout is not None:
        fire(draft, model.rollout, RolloutSignal.DELETE, Failure(Reason.ROLLED_BACK, "the model was deleted"))
        model = draft.model(event.model)
    versions = {
        name: replace(version, desired_tier=Tier.COLD, delete_when_stopped=True)
        for name, version in model.versions.items()
    }
    draft.put_model(replace(model, deleting=operation.operation_id, versions=MappingProxyType(versions)))
    draft.announce(f"models/{event.model}", "model.deleting", f"model {event.model} is drained and deleted")


def on_delete_version(draft: Draft, event: DeleteVersionRequested) -> None:
    """Drain and unload one version that serves nothing, then forget it."""
    if repeated(draft, event.request):
        return
    model = _existing(draft, event.model)
    version = _existing_version(model, event.version)
    name = f"models/{event.model}/versions/{event.version}"
    if model.rollout is not None and event.version in {model.rollout.from_version, model.rollout.to_version}:
        raise _rollout_active(model.rollout)
    if event.version == model.serving_version and version_state(version) is not VersionState.FAILED:
        raise StateInvalidError(
            f"{name} serves the model's traffic",
            subject=name,
            accepted="a version without traffic: update the model to another version first, or delete the model",
        )
    operation = _operation(draft, event.request, OperationKind.DELETE_VERSION, event.model, event.version)
    draft.put_operation(operation)
    draft.put_version(replace(version, desired_tier=Tier.COLD, delete_when_stopped=True))


def on_configure(draft: Draft, event: ConfigureRequested) -> None:
    """Change labels and pins; no rollout."""
    model = _existing(draft, event.model)
    _check_etag(model, event.etag)
    _refuse_deleting(model)
    versions = dict(model.versions)
    for name, pinned in event.pins:
        versions[name] = replace(_existing_version(model, name), pinned=pinned)
    model = replace(_labelled(model, event.labels), versions=MappingProxyType(versions), update_time_s=draft.now_s)
    draft.put_model(model)


def _existing(draft: Draft, model_id: str) -> Model:
    model = draft.state.models.get(model_id)
    if model is None:
        raise ModelNotFoundError(f"models/{model_id}")
    return model


def _existing_version(model: Model, version_id: str) -> Version:
    version = model.versions.get(version_id)
    if version is None:
        raise VersionNotFoundError(f"models/{model.model_id}/versions/{version_id}")
    return version


def _refuse_deleting(model: Model | None) -> None:
    if model is not None and model.deleting:
        raise StateInvalidError(
            f"models/{model.model_id} is being deleted",
            subject=f"models/{model.model_id}",
            accepted=f"wait for operations/{model.deleting}, then load it anew",
        )


def _refuse_other_content(model: Model, order: VersionOrder) -> None:
    known = model.versions.get(order.version)
    if known is None:
        return
    name = f"models/{model.model_id}/versions/{order.version}"
    if known.delete_when_stopped:
        raise StateInvalidError(f"{name} is being deleted", subject=name, accepted="wait until it has gone")
    if known.spec != order.spec:
        raise VersionExistsError(name, f"{name} exists with other content or options: take another version_id")


def _check_etag(model: Model, given: str) -> None:
    current = etag(model)
    if given and given != current:
        raise EtagMismatchError(f"models/{model.model_id}", current)


def _rollout_active(rollout: Rollout) -> RolloutActiveError:
    name = f"models/{rollout.model}/rollouts/{rollout.rollout_id}"
    return RolloutActiveError(name, f"{name} is under way ({rollout.phase.value}): wait for it, or abort it")


def _running_load(draft: Draft, model: Model, version_id: str) -> str | None:
    """Return the operation that loads a version at this moment."""
    version = model.versions.get(version_id)
    if version is None or version_state(version) is not VersionState.LOADING:
        return None
    for operation in draft.state.operations.values():
        same = (operation.model, operation.version) == (model.model_id, version_id)
        if same and not operation.done and operation.kind is OperationKind.LOAD:
            return operation.operation_id
    return None


def _never_came_up(model: Model) -> bool:
    return is_lost_for_good(model, model.serving_version)


def _labelled(model: Model, labels: tuple[tuple[str, str], ...] | None) -> Model:
    return model if labels is None else replace(model, labels=labels)


def _want_version(draft: Draft, order: VersionOrder) -> None:
    """Add a version, or want a known one again; a READY one is a cache hit."""
    key = VersionKey(order.model, order.version)
    known = draft.model(order.model).versions.get(order.version)
    if known is None:
        draft.put_version(
            Version(
                key,
                order.spec,
                order.facts,
                order.plan,
                requested_tier=order.tier,
                desired_tier=order.tier,
                pinned=order.pinned,
                cache=CacheCounts(misses=1),
                create_time_s=draft.now_s,
                load_started_s=draft.now_s,
            )
        )
        return
    hit = version_state(known) in {VersionState.READY, VersionState.DRAINING}
    counted = _count_cache(draft, known, hit=hit)
    known = replace(counted, requested_tier=order.tier, desired_tier=order.tier, failure=None)
    if not known.instances:
        known = replace(known, plan=order.plan, load_started_s=draft.now_s, load_duration_s=None)
    draft.put_version(known)


def _count_cache(draft: Draft, version: Version, *, hit: bool) -> Version:
    cache = version.cache
    counted = replace(cache, misses=cache.misses + 1)
    if hit:
        counted = replace(cache, hits=cache.hits + 1, last_hit_tier=Tier.HOT)
    changed = replace(version, cache=counted)
    draft.put_version(changed)
    return changed


def _operation(draft: Draft, request: Request, kind: OperationKind, model: str, version: str) -> Operation:
    draft.extra_effects.append(Reply(request.operation_id))
    return Operation(
        request.operation_id,
        kind,
        model,
        version,
        request_id=request.request_id,
        request_digest=request.request_digest,
        create_time_s=draft.now_s,
    )


def can_abort(rollout: Rollout) -> bool:
    """Whether a rollout can still be turned back by a caller."""
    return accepts(rollout, RolloutSignal.ABORT) or rollout.phase in {Phase.REVERTING, Phase.CLEANING}
