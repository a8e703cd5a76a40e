"""grpc.health.v1.Health: the daemon as a whole, each of its services, and one name a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from echoplane.v1 import types_pb2
from echoplaned.core.state import State
from echoplaned.ports.handle import Handle
from echoplaned.rpc.following import Watchers, closing, follow
from echoplaned.rpc.health_view import model_health
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lifecycle import DaemonStoppingError, Lifecycle

_Status = health_pb2.HealthCheckResponse.ServingStatus
SERVING: int = _Status.Value("SERVING")
NOT_SERVING: int = _Status.Value("NOT_SERVING")
UNKNOWN: int = _Status.Value("SERVICE_UNKNOWN")
_ANSWERS = frozenset({types_pb2.HEALTH_STATE_SERVING, types_pb2.HEALTH_STATE_DEGRADED})
MODEL_PREFIX = "models/"


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the package has no types
    """Follows the state. A model is SERVING while anything of it answers.

    Protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
    """

    def __init__(self, handle: Handle, lifecycle: Lifecycle, watchers: Watchers, services: Iterable[str]) -> None:
        self._handle = handle
        self._lifecycle = lifecycle
        self._watchers = watchers
        self._services = frozenset({"", *services})

    async def Check(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Return a service's status; NOT_FOUND for a name that is not known."""
        status = self._status(self._handle.state, request.service)
        if status == UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service: use List")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """Return every service's status."""
        state = self._handle.state
        names = [*self._services, *(f"{MODEL_PREFIX}{name}" for name in state.models)]
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(state, name)) for name in names}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Send a service's status now and after each change; a name that is not known yet is SERVICE_UNKNOWN."""
        name = request.service
        with self._watchers.one_more(context.peer()):
            try:
                async with closing(
                    follow(self._handle, self._lifecycle, lambda state: self._status(state, name))
                ) as statuses:
                    async for status in statuses:
                        yield health_pb2.HealthCheckResponse(status=status)
            except DaemonStoppingError:
                yield health_pb2.HealthCheckResponse(status=NOT_SERVING)
                raise

    def _status(self, state: State, name: str) -> int:
        if name in self._services:
            return self._said(serving=True)
        model = state.models.get(name.removeprefix(MODEL_PREFIX)) if name.startswith(MODEL_PREFIX) else None
        if model is None:
            return UNKNOWN
        return self._said(serving=model_health(model) in _ANSWERS)

    def _said(self, *, serving: bool) -> int:
        return SERVING if serving and not self._lifecycle.stopping else NOT_SERVING
