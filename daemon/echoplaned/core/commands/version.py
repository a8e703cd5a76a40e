"""Commands on a version: load it, delete it."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.aliases import refuse_aliased_id, with_aliases
from echoplaned.core.commands.checks import (
    refuse_deleting,
    refuse_other_content,
    refuse_unloading,
    require_model,
    require_version,
    rollout_active_error,
    with_labels,
)
from echoplaned.core.commands.order import VersionOrder, pin_as_ordered, request_version
from echoplaned.core.commands.request import Request, begin_operation, is_repeat, join_operation
from echoplaned.core.errors import StateInvalidError
from echoplaned.core.names import model_name, version_name
from echoplaned.core.queries import is_lost_for_good, version_state
from echoplaned.core.replacing import replace
from echoplaned.core.spec import Tier
from echoplaned.core.state import Model, OperationKind, State, VersionState
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class LoadVersion:
    """Load a version.

    Attributes:
        request: who asks, when, and by which ids.
        order: the version to load.
        labels: pairs of name and value that replace the model's; None: as they are.
        aliases: names that replace the model's aliases; None: as they are.
    """

    request: Request
    order: VersionOrder
    labels: tuple[tuple[str, str], ...] | None = None
    aliases: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DeleteVersion:
    """Drain and unload one version and forget it.

    Attributes:
        request: who asks, when, and by which ids.
        model: id of the model.
        version: id of the version.
        force: without effect; nothing reads it.
    """

    request: Request
    model: str
    version: str
    force: bool = False


def on_load(transaction: Transaction, command: LoadVersion) -> None:
    """Load a version, find it loaded, or refuse it."""
    if is_repeat(transaction, command.request):
        return
    order = command.order
    model = transaction.state.models.get(order.model)
    refuse_deleting(model)
    on_the_way: str | None = None
    if model is not None:
        refuse_other_content(model, order)
        refuse_unloading(model, order.version)
        on_the_way = _running_load(transaction, model, order.version)
    else:
        refuse_aliased_id(transaction.state, order.model)
        model = Model(order.model, create_time_s=transaction.now_s, update_time_s=transaction.now_s)
        transaction.announce(model_name(order.model), "model.created", f"model {order.model} was created")
    if not model.serving_version or (model.rollout is None and is_lost_for_good(model, model.serving_version)):
        model = replace(model, serving_version=order.version)
    model = with_aliases(transaction.state, model, command.aliases)
    transaction.put_model(with_labels(model, command.labels))
    if on_the_way is not None:
        pin_as_ordered(transaction, order)
        join_operation(transaction, command.request, on_the_way)
        return
    request_version(transaction, order)
    operation = begin_operation(transaction, command.request, OperationKind.LOAD, order.model, order.version)
    transaction.put_operation(replace(operation, plan=order.plan))


def _running_load(transaction: Transaction, model: Model, version_id: str) -> str | None:
    """Return the operation that loads a version at this moment."""
    version = model.versions.get(version_id)
    if version is None or version_state(version) is not VersionState.LOADING:
        return None
    for operation in transaction.state.operations.values():
        same = (operation.model, operation.version) == (model.model_id, version_id)
        if same and not operation.done and operation.kind is OperationKind.LOAD:
            return operation.operation_id
    return None


def on_delete_version(transaction: Transaction, command: DeleteVersion) -> None:
    """Drain and unload one version that serves nothing, then forget it."""
    if is_repeat(transaction, command.request):
        return
    model = require_model(transaction, command.model)
    version = require_version(model, command.version)
    name = version_name(command.model, command.version)
    if deleting := _open_deletion(transaction.state, command):
        join_operation(transaction, command.request, deleting)
        return
    if model.rollout is not None and command.version in {model.rollout.from_version, model.rollout.to_version}:
        raise rollout_active_error(model.rollout)
    if command.version == model.serving_version and not is_lost_for_good(model, command.version):
        raise StateInvalidError(
            f"{name} serves the model's traffic",
            subject=name,
            accepted="a version without traffic: update the model to another version first, or delete the model",
        )
    operation = begin_operation(
        transaction, command.request, OperationKind.DELETE_VERSION, command.model, command.version
    )
    transaction.put_operation(operation)
    transaction.put_version(replace(version, desired_tier=Tier.COLD, delete_when_stopped=True))


def _open_deletion(state: State, command: DeleteVersion) -> str:
    """Return the open operation that deletes the version already; empty: none does."""
    asked = (OperationKind.DELETE_VERSION, command.model, command.version)
    open_ones = (each for each in state.operations.values() if not each.done)
    return next((each.operation_id for each in open_ones if (each.kind, each.model, each.version) == asked), "")
