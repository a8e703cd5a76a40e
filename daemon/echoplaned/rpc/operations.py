"""google.longrunning.Operations (AIP-151)."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.empty_pb2 import Empty

from echoplane.googleapis import operations_pb2, operations_pb2_grpc
from echoplaned.core.commands import CancelOperation, DeleteOperation, Request
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.state import Operation, State
from echoplaned.ports.handle import Handle
from echoplaned.ports.leaders import PidOf
from echoplaned.rpc.convert.operations import operation_to_pb
from echoplaned.rpc.following import Watchers, until_stop
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.load_outcomes import LoadOutcomeCounter
from echoplaned.rpc.lookup import find_operation
from echoplaned.rpc.names import parse_operation
from echoplaned.rpc.paging import PageQuery, write_page
from echoplaned.rpc.principal import current_principal, may_see

MAX_WAIT_S = 600.0
_FILTERS = {"": None, "done=true": True, "done=false": False}


class OperationsService(operations_pb2_grpc.OperationsServicer):
    """The service google.longrunning.Operations: reads, awaits and cancels operations."""

    def __init__(
        self,
        handle: Handle,
        lifecycle: Lifecycle,
        watchers: Watchers,
        pid_of: PidOf,
        load_outcomes: LoadOutcomeCounter,
    ) -> None:
        self._handle = handle
        self._load_outcomes = load_outcomes
        self._lifecycle = lifecycle
        self._watchers = watchers
        self._pid_of = pid_of

    async def GetOperation(  # noqa: N802 - the API's name
        self, request: operations_pb2.GetOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        """Return one operation."""
        state = self._handle.state
        return operation_to_pb(find_operation(state, parse_operation(request.name)), state, self._pid_of)

    async def ListOperations(  # noqa: N802 - the API's name
        self, request: operations_pb2.ListOperationsRequest, context: Context
    ) -> operations_pb2.ListOperationsResponse:
        """List operations, the latest first.

        ``filter``: empty, ``done=true`` or ``done=false``.
        """
        done = self._read_list(request)
        state = self._handle.state
        found = [o for o in state.operations.values() if (done is None or o.done is done) and may_see(o.model)]
        operations, token = await write_page(
            found,
            lambda o: (-o.create_time_s, o.operation_id),
            request,
            PageQuery("ListOperations", request.filter),
            lambda o: operation_to_pb(o, state, self._pid_of),
        )
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=token)

    async def WaitOperation(  # noqa: N802 - the API's name
        self, request: operations_pb2.WaitOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        """Return the operation when it is done, or as it is when the time is up.

        The time is 10 minutes at most.
        """
        operation_id = parse_operation(request.name)
        last = find_operation(self._handle.state, operation_id)
        timeout_s = self._timeout_s(request)
        with self._watchers.reserve(context.peer()):
            try:
                waiting = self._handle.wait_until(_ended(operation_id), timeout_s)
                state = await until_stop(self._lifecycle, waiting)
            except TimeoutError:
                state = self._handle.state
        return operation_to_pb(state.operations.get(operation_id, last), state, self._pid_of)

    async def CancelOperation(  # noqa: N802 - the API's name
        self, request: operations_pb2.CancelOperationRequest, context: Context
    ) -> Empty:
        """Ask for an operation to be cancelled; one that is done stays as it is."""
        operation_id = parse_operation(request.name)
        await self._handle.submit(CancelOperation(_stamp(self._handle), operation_id))
        return Empty()

    async def DeleteOperation(  # noqa: N802 - the API's name
        self, request: operations_pb2.DeleteOperationRequest, context: Context
    ) -> Empty:
        """Delete an operation that is done; STATE_INVALID while it runs.

        Its ``request_id`` is forgotten with it: the same request again is a new one. Nobody has to call this: the oldest
        finished operations beyond 1,000 go by themselves.
        """
        operation_id = parse_operation(request.name)
        self._load_outcomes.observe(self._handle.state)  # a load is counted before it is forgotten
        await self._handle.submit(DeleteOperation(_stamp(self._handle), operation_id))
        return Empty()

    @staticmethod
    def _read_list(request: operations_pb2.ListOperationsRequest) -> bool | None:
        violations = []
        wanted = request.filter.replace(" ", "").lower()
        if request.name not in {"", "operations"}:
            violations.append(InvalidField("name", "must be empty or `operations`"))
        if wanted not in _FILTERS:
            violations.append(InvalidField("filter", "must be empty, `done=true` or `done=false`"))
        if request.page_size < 0:
            violations.append(InvalidField("page_size", "must be 0 or more"))
        if violations:
            raise FieldInvalidError(*violations)
        return _FILTERS[wanted]

    @staticmethod
    def _timeout_s(request: operations_pb2.WaitOperationRequest) -> float:
        if not request.HasField("timeout"):
            return MAX_WAIT_S
        seconds: float = request.timeout.seconds + request.timeout.nanos / 1e9
        if seconds < 0:
            raise FieldInvalidError(InvalidField("timeout", "must be 0 or more"))
        return min(seconds, MAX_WAIT_S)


def _stamp(handle: Handle) -> Request:
    return Request(handle.now_s(), principal=current_principal())


def _ended(operation_id: str) -> Callable[[State], bool]:
    def ended(state: State) -> bool:
        operation: Operation | None = state.operations.get(operation_id)
        return operation is None or operation.done

    return ended
