"""The command that puts a version under live traffic: it begins a rollout."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.commands.checks import (
    check_etag,
    refuse_deleting,
    refuse_other_content,
    rollout_active_error,
    with_labels,
)
from echoplaned.core.commands.order import VersionOrder, count_cache, pin_as_ordered, request_version
from echoplaned.core.commands.request import Request, begin_operation, is_repeat
from echoplaned.core.errors import ModelNotFoundError, SignatureChangedError, StateInvalidError
from echoplaned.core.facts import Signature
from echoplaned.core.names import model_name, version_name
from echoplaned.core.queries import is_lost_for_good, is_ready
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import EntryKind, Rollout
from echoplaned.core.spec import BehaviourChange, RolloutPolicy
from echoplaned.core.state import Model, OperationKind
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class UpdateModel:
    """Put a version under live traffic in stages.

    Attributes:
        request: who asks, when, and by which ids.
        order: the version to roll out.
        rollout_id: id of the new rollout.
        policy: how it is paced and judged.
        behaviour_change: what the caller says of the new version's behaviour.
        etag: the etag that the caller saw, which must still hold; empty: not checked.
        labels: pairs of name and value that replace the model's; None: as they are.
    """

    request: Request
    order: VersionOrder
    rollout_id: str
    policy: RolloutPolicy
    behaviour_change: BehaviourChange = BehaviourChange.UNSPECIFIED
    etag: str = ""
    labels: tuple[tuple[str, str], ...] | None = None


def on_update(transaction: Transaction, command: UpdateModel) -> None:
    """Start a rollout, or refuse the update."""
    if is_repeat(transaction, command.request):
        return
    order = command.order
    model = transaction.state.models.get(order.model)
    if model is None:
        raise ModelNotFoundError(
            model_name(order.model), f"{model_name(order.model)} does not exist: load a first version"
        )
    refuse_deleting(model)
    check_etag(model, command.etag)
    if model.rollout is not None:
        raise rollout_active_error(model.rollout)
    refuse_other_content(model, order)
    operation = begin_operation(transaction, command.request, OperationKind.UPDATE, order.model, order.version)
    operation = replace(operation, plan=order.plan)
    if order.version == model.serving_version and not is_lost_for_good(model, order.version):
        # It serves already; what else the request says of the model and the version still holds.
        transaction.put_model(with_labels(model, command.labels))
        count_cache(transaction, pin_as_ordered(transaction, order), hit=is_ready(model, order.version))
        transaction.put_operation(replace(operation, done=True, end_time_s=transaction.now_s))
        return
    _check_serving(model, command)
    transaction.put_model(with_labels(model, command.labels))
    request_version(transaction, order)
    rollout = Rollout(
        rollout_id=command.rollout_id,
        model=order.model,
        from_version=model.serving_version,
        to_version=order.version,
        policy=command.policy,
        operation_id=operation.operation_id,
        behaviour_change=command.behaviour_change,
        create_time_s=transaction.now_s,
        phase_since_s=transaction.now_s,
    )
    transaction.put_operation(replace(operation, rollout_id=command.rollout_id))
    text = f"update from {rollout.from_version} to {rollout.to_version} by policy {command.policy.name}"
    transaction.note(rollout, text, kind=EntryKind.CREATED)


def _check_serving(model: Model, command: UpdateModel) -> None:
    if not is_ready(model, model.serving_version):
        raise StateInvalidError(
            f"{model_name(model.model_id)} has no version that serves, so there is nothing to update under traffic",
            subject=model_name(model.model_id),
            accepted="LoadModel the version that shall serve, or wait until the serving version is READY",
        )
    serving = model.versions[model.serving_version]
    changed = serving.facts.signature != command.order.facts.signature
    if changed and command.behaviour_change is not BehaviourChange.INTENDED:
        raise SignatureChangedError(
            f"version {command.order.version} takes or gives other tensors than the serving version {model.serving_version}: "
            f"{_difference(serving.facts.signature, command.order.facts.signature)}",
            subject=version_name(model.model_id, command.order.version),
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
