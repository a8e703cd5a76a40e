"""Who asks, when, and by which ids; and what a repeat is answered with."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.effects import Reply
from echoplaned.core.errors import RequestIdReusedError
from echoplaned.core.ids import LOCAL_PRINCIPAL
from echoplaned.core.replacing import replace
from echoplaned.core.state import JoinedRequest, Operation, OperationKind, State
from echoplaned.core.transaction import Transaction

# A repeat looks through all of them; who asks for the same oftener than this does not repeat one of the first.
MAX_JOINED_REQUESTS = 16


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


def find_repeated(state: State, request_id: str, request_digest: str) -> Operation | None:
    """Return the operation that a request began or joined when it came before.

    None: it did not come before, or it has no id.

    Raises:
        RequestIdReusedError: the id came with another body.
    """
    if not request_id:
        return None
    for operation in state.operations.values():
        known = _digest_of(operation, request_id)
        if known is None:
            continue
        if known != request_digest:
            raise RequestIdReusedError(request_id)
        return operation
    return None


def _digest_of(operation: Operation, request_id: str) -> str | None:
    """Return the digest of an operation's request with that id; None: no such one."""
    if operation.request_id == request_id:
        return operation.request_digest
    return next((each.request_digest for each in operation.joined if each.request_id == request_id), None)


def is_repeat(transaction: Transaction, request: Request) -> bool:
    """Answer a request that came before with its operation; say whether it did.

    Raises:
        RequestIdReusedError: it came with another body.
    """
    operation = find_repeated(transaction.state, request.request_id, request.request_digest)
    if operation is not None:
        transaction.extra_effects.append(Reply(operation.operation_id))
    return operation is not None


def join_operation(transaction: Transaction, request: Request, operation_id: str) -> None:
    """Answer a command with an operation that does the same already.

    The request's id is kept with it: a repeat gets this operation, also once it has ended.
    """
    if request.request_id:
        operation = transaction.state.operations[operation_id]
        joined = (*operation.joined, JoinedRequest(request.request_id, request.request_digest))
        transaction.put_operation(replace(operation, joined=joined[-MAX_JOINED_REQUESTS:]))
    transaction.extra_effects.append(Reply(operation_id))


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
