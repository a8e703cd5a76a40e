"""The end of every step: compare what is desired with what is.

It changes at most what is missing.
"""

from __future__ import annotations

from echoplaned.core import instances
from echoplaned.core.effects import FinishOperation
from echoplaned.core.failure import FailureDetail, Reason, ResourceRef
from echoplaned.core.ids import InstanceKey
from echoplaned.core.names import ResourceKind, model_name, rollout_name, version_name
from echoplaned.core.queries import is_complete, needs_instances
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import Phase
from echoplaned.core.rollouts import advance, sync_hold
from echoplaned.core.routes import desired_clusters, has_version
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.core.signals import publish_fault
from echoplaned.core.spec import DEFAULT_DRAIN_TIMEOUT_S
from echoplaned.core.state import (
    Instance,
    InstanceState,
    Model,
    Operation,
    OperationKind,
    RoutesProgress,
    StopOutcome,
    Version,
)
from echoplaned.core.transaction import Transaction

# A rollout's chain of moves within one step is bounded by its phases; more means that two rules undo each other.
MAX_MOVES = 40
ACK_DEADLINE_S = 30.0
FINISHED_OPERATIONS_RETAINED = 1000


class ReconcileLoopError(AssertionError):
    """Two rules undo each other: a bug of the core, never of its input."""


def reconcile(transaction: Transaction, model_id: str) -> None:
    """Bring one model's versions, routes, rollout and operations up to the state.

    Raises:
        ReconcileLoopError: two rules undo each other.
    """
    for _ in range(MAX_MOVES):
        if model_id not in transaction.state.models:
            break
        for version in tuple(transaction.model(model_id).versions.values()):
            _reconcile_version(transaction, version)
        _sync_routes(transaction, model_id)
        sync_hold(transaction, model_id)
        if not advance(transaction, model_id):
            break
    else:
        raise ReconcileLoopError(f"model {model_id} does not come to rest")
    _remove_model(transaction, model_id)
    _finish_operations(transaction, model_id)


def _reconcile_version(transaction: Transaction, version: Version) -> None:
    if needs_instances(version):
        _revive(transaction, version)
        _add_missing(transaction, version)
        return
    model = transaction.model(version.key.model)
    quiet = _is_quiet(transaction, model, version.key.version)
    for instance in version.instances:
        if instance.state is InstanceState.READY and not quiet:
            continue
        if instance.state in {
            InstanceState.PENDING,
            InstanceState.STARTING,
            InstanceState.PROBING,
            InstanceState.READY,
        }:
            instances.drain(transaction, instance, _drain_timeout_s(model))
        elif instance.state is InstanceState.STOPPING and instance.outcome is StopOutcome.RESTART:
            transaction.put_instance(replace(instance, outcome=StopOutcome.GONE))
    _remove_version(transaction, version)


def _is_quiet(transaction: Transaction, model: Model, version_id: str) -> bool:
    """Whether no route leads to a version any more.

    It is left out, and that is acknowledged or long enough ago. The worker has the last word: a drained instance has no call in flight and
    saw none arrive lately. Routes that cannot be published are with nobody, however long ago; a caller who deletes the model need not wait
    for them.
    """
    if model.routes is None:
        return True
    late = transaction.now_s - model.progress.since_s >= ACK_DEADLINE_S and (
        publish_fault(model) is None or bool(model.deleting)
    )
    return not has_version(model, version_id) and (model.progress.acknowledged or late)


def _drain_timeout_s(model: Model) -> float:
    return model.rollout.policy.drain_timeout_s if model.rollout is not None else DEFAULT_DRAIN_TIMEOUT_S


def _revive(transaction: Transaction, version: Version) -> None:
    for instance in version.instances:
        if instance.state is InstanceState.DRAINING:
            instances.undrain(transaction, instance)
        elif instance.state is InstanceState.STOPPING and instance.outcome is StopOutcome.GONE:
            transaction.put_instance(replace(instance, outcome=StopOutcome.RESTART))


def _add_missing(transaction: Transaction, version: Version) -> None:
    if version.failure is not None:
        return
    version = transaction.version(version.key)
    missing = version.spec.shape.replicas - sum(_counts(i) for i in version.instances)
    for _ in range(missing):
        current = transaction.version(version.key)
        key = InstanceKey(version.key, current.next_ordinal)
        transaction.put_version(
            replace(current, next_ordinal=key.ordinal + 1, instances=(*current.instances, Instance(key)))
        )


def _counts(instance: Instance) -> bool:
    return instance.state is not InstanceState.STOPPING or instance.outcome is StopOutcome.RESTART


def _remove_version(transaction: Transaction, version: Version) -> None:
    current = transaction.version(version.key)
    if not current.delete_when_stopped or current.instances:
        return
    transaction.drop_version(version.key)
    model = transaction.model(version.key.model)
    if model.serving_version == version.key.version:
        transaction.put_model(replace(model, serving_version=""))
    name = version_name(version.key.model, version.key.version)
    transaction.announce(name, "version.deleted", f"{version.key} was deleted")


def _sync_routes(transaction: Transaction, model_id: str) -> None:
    """Desire new routes when clusters or aliases differ from the newest routes.

    Aliases are the names that lead to the clusters, beside the model's id.
    """
    model = transaction.model(model_id)
    clusters = desired_clusters(model)
    current = (model.routes.clusters, model.routes.aliases) if model.routes is not None else ((), model.aliases)
    if (clusters, model.aliases) == current:
        return
    epoch = transaction.state.route_epoch + 1
    transaction.state = replace(transaction.state, route_epoch=epoch)
    routes = ModelRoutes(model_id, epoch, clusters, model.aliases)
    # Nobody has the new epoch yet, but who follows the model does not change by publishing.
    progress = RoutesProgress(epoch, transaction.now_s, subscriber_count=model.progress.subscriber_count)
    transaction.put_model(replace(model, routes=routes, progress=progress))


def _remove_model(transaction: Transaction, model_id: str) -> None:
    model = transaction.state.models.get(model_id)
    if model is not None and model.deleting and not model.versions and model.rollout is None:
        transaction.drop_model(model_id)
        transaction.announce(model_name(model_id), "model.deleted", f"model {model_id} was deleted")


def _finish_operations(transaction: Transaction, model_id: str) -> None:
    for operation in tuple(transaction.state.operations.values()):
        if operation.model != model_id or operation.done:
            continue
        finished = _outcome(transaction, operation)
        if finished is not None:
            finished = replace(finished, done=True, end_time_s=transaction.now_s)
            transaction.put_operation(finished)
            transaction.extra_effects.append(FinishOperation(finished))


def _outcome(transaction: Transaction, operation: Operation) -> Operation | None:
    """Return the operation as it ended; None while it runs."""
    model = transaction.state.models.get(operation.model)
    match operation.kind:
        case OperationKind.DELETE_MODEL:
            return operation if model is None else None
        case OperationKind.DELETE_VERSION:
            return operation if model is None or operation.version not in model.versions else None
        case OperationKind.LOAD:
            return _load_outcome(model, operation)
        case OperationKind.UPDATE:
            return _update_outcome(model, operation)


def _load_outcome(model: Model | None, operation: Operation) -> Operation | None:
    version = model.versions.get(operation.version) if model is not None else None
    if operation.cancelled:
        return replace(operation, failure=FailureDetail(Reason.CANCELLED, "the load was cancelled"))
    if version is None or not needs_instances(version):
        return replace(
            operation, failure=FailureDetail(Reason.CANCELLED, "the version was unloaded while it was loading")
        )
    if version.failure is not None:
        return replace(operation, failure=version.failure)
    return operation if is_complete(version) else None


def _update_outcome(model: Model | None, operation: Operation) -> Operation | None:
    if model is None:
        return replace(operation, failure=FailureDetail(Reason.ROLLED_BACK, "the model was deleted"))
    if model.rollout is not None and model.rollout.rollout_id == operation.rollout_id:
        return None
    rollout = next((r for r in model.past_rollouts if r.rollout_id == operation.rollout_id), None)
    if rollout is None or rollout.phase is Phase.SUCCEEDED:
        return operation
    name = rollout_name(rollout.model, rollout.rollout_id)
    ending = rollout.ending or FailureDetail(Reason.ROLLED_BACK, "rolled back")
    # Where the old version is down for good there is no way back: the new one serves, whatever spoke against it.
    is_kept = rollout.phase is Phase.FAILED and model.serving_version == rollout.to_version
    outcome = f"failed, and {rollout.to_version} serves" if is_kept else "was rolled back"
    message = f"{name} {outcome}: {ending.message}"
    # One that was on its way back already ends for what turned it back, whoever cancelled it then.
    if operation.cancelled and ending.reason is Reason.CANCELLED:
        return replace(operation, failure=FailureDetail(Reason.CANCELLED, message))
    if rollout.phase is Phase.FAILED and ending.reason is not Reason.ROLLED_BACK:
        return replace(operation, failure=ending)
    failure = FailureDetail(Reason.ROLLED_BACK, message, resource=ResourceRef(ResourceKind.ROLLOUT.value, name))
    return replace(operation, failure=failure)


def trim_operations(transaction: Transaction) -> None:
    """Forget the oldest finished operations beyond the newest 1,000.

    One that ended after now ended before the clock was put back, so before all others.
    """
    done = [o for o in transaction.state.operations.values() if o.done]
    if len(done) <= FINISHED_OPERATIONS_RETAINED:
        return
    done.sort(key=lambda o: ((o.end_time_s or 0.0) <= transaction.now_s, o.end_time_s or 0.0))
    surplus = {o.operation_id for o in done[: len(done) - FINISHED_OPERATIONS_RETAINED]}
    kept = {name: o for name, o in transaction.state.operations.items() if name not in surplus}
    transaction.state = replace(transaction.state, operations=kept)
