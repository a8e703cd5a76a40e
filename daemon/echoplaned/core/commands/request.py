"""Who asks, when, and by which ids; and what a repeat is answered with."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.effects import Reply
from echoplaned.core.errors import RequestIdReusedError
from echoplaned.core.ids import LOCAL_PRINCIPAL
from echoplaned.core.state import Operation, OperationKind
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Request:
    """What every command carries: who asks, when, and by which ids.

    Ids of new resources are drawn outside; those of a repeat stay unused.

    Attributes:
        now_s: when it came, seconds since the epoch.
        operation_id: of the operation that it begins, if it begins one.
        request_id: by which the caller repeats it; empty: it does not.
        request_digest: of its body without that id; tells a repeat from a reuse.
        principal: who gave it; ``local`` until callers have an identity.
    """

    now_s: float
    operation_id: str = ""
    request_id: str = ""
    request_digest: str = ""
    principal: str = LOCAL_PRINCIPAL


def is_repeat(transaction: Transaction, request: Request) -> bool:
    """Answer a request that came before with its operation; say whether it did.

    Raises:
        RequestIdReusedError: it came with another body.
    """
    if not request.request_id:
        return False
    for operation in transaction.state.operations.values():
        if operation.request_id == request.request_id:
            if operation.request_digest != request.request_digest:
                raise RequestIdReusedError(request.request_id)
            transaction.extra_effects.append(Reply(operation.operation_id))
            return True
    return False


def begin_operation(
    transaction: Transaction, request: Request, kind: OperationKind, model: str, version: str
) -> Operation:
    """Return the operation that a command begins, and answer the command with it."""
    transaction.extra_effects.append(Reply(request.operation_id))
    return Operation(
        request.operation_id,
        kind,
        model,
        version,
        request_id=request.request_id,
        request_digest=request.request_digest,
        create_time_s=transaction.now_s,
        principal=request.principal,
    )
