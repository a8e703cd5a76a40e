"""Commands on an operation: cancel it, forget it."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.commands.request import Request
from echoplaned.core.commands.rollout import abort
from echoplaned.core.errors import OperationNotFoundError, StateInvalidError
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.names import operation_name
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.spec import Tier
from echoplaned.core.state import Operation, OperationKind
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class CancelOperation:
    """Cancel an operation: an update is aborted, a load is given up.

    Attributes:
        request: who asks, and when.
        target_operation_id: id of the operation to cancel.
    """

    request: Request
    target_operation_id: str


@dataclass(frozen=True, slots=True)
class DeleteOperation:
    """Forget an operation that is done, and with it its request id.

    Attributes:
        request: who asks, and when.
        target_operation_id: id of the operation to forget.
    """

    request: Request
    target_operation_id: str


def on_cancel(transaction: Transaction, command: CancelOperation) -> None:
    """Cancel an operation: an update is aborted, a load is given up.

    One that is done stays as it is.
    """
    operation = transaction.state.operations.get(command.target_operation_id)
    if operation is None:
        raise OperationNotFoundError(operation_name(command.target_operation_id))
    if operation.done:
        return
    match operation.kind:
        case OperationKind.UPDATE:
            rollout = transaction.model(operation.model).rollout
            if rollout is None or rollout.rollout_id != operation.rollout_id:
                return
            transaction.put_operation(replace(operation, cancelled=True))
            abort(transaction, rollout, FailureDetail(Reason.CANCELLED, "the update was cancelled"))
        case OperationKind.LOAD:
            _cancel_load(transaction, operation)
        case _:
            raise StateInvalidError(
                f"{operation_name(operation.operation_id)} deletes; it cannot be cancelled",
                subject=operation_name(operation.operation_id),
                accepted="operations that load or update",
            )


def on_delete_operation(transaction: Transaction, command: DeleteOperation) -> None:
    """Forget an operation that is done.

    A request with its id is a new one from then on.
    """
    operation = transaction.state.operations.get(command.target_operation_id)
    if operation is None:
        raise OperationNotFoundError(operation_name(command.target_operation_id))
    if not operation.done:
        name = operation_name(operation.operation_id)
        raise StateInvalidError(
            f"{name} runs; cancel it, or wait until it is done", subject=name, accepted="operations that are done"
        )
    transaction.drop_operation(operation.operation_id)


def _cancel_load(transaction: Transaction, operation: Operation) -> None:
    transaction.put_operation(replace(operation, cancelled=True))
    model = transaction.state.models.get(operation.model)
    version = model.versions.get(operation.version) if model is not None else None
    if model is None or version is None:
        return
    # A version that has been READY, or that a rollout waits for, is others' too: the load is given up, the version stays.
    if version.load_duration_s is None and not _is_awaited(model.rollout, operation.version):
        transaction.put_version(replace(version, desired_tier=Tier.COLD))
    else:
        transaction.put_model(model)


def _is_awaited(rollout: Rollout | None, version_id: str) -> bool:
    return rollout is not None and version_id in {rollout.from_version, rollout.to_version}
