"""grpc.health.v1.Health: the daemon, its services, its models and versions.

The daemon as a whole (the empty name), each of its services, one name a model and one a version.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from echoplane.v1 import types_pb2
from echoplaned.core.state import State
from echoplaned.ports.handle import Handle
from echoplaned.rpc.following import Watchers, closing, follow
from echoplaned.rpc.health_view import model_health, version_health
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lifecycle import DaemonStoppingError, Lifecycle

_Status = health_pb2.HealthCheckResponse.ServingStatus
SERVING: int = _Status.Value("SERVING")
NOT_SERVING: int = _Status.Value("NOT_SERVING")
UNKNOWN: int = _Status.Value("SERVICE_UNKNOWN")
_ANSWERS = frozenset({types_pb2.HEALTH_STATE_SERVING, types_pb2.HEALTH_STATE_DEGRADED})
MODEL_PREFIX = "models/"
_VERSIONS = "/versions/"


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the package has no types
    """The service grpc.health.v1.Health, answered from the state.

    A model, or a version, is SERVING while anything of it answers.
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
        names = [*self._services, *_names(state)]
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(state, name)) for name in names}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Send a service's status now and after each change.

        A name that is not known yet is SERVICE_UNKNOWN.
        """
        name = request.service
        with self._watchers.reserve(context.peer()):
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
        health = _health(state, name)
        return UNKNOWN if health is None else self._said(serving=health in _ANSWERS)

    def _said(self, *, serving: bool) -> int:
        return SERVING if serving and not self._lifecycle.stopping else NOT_SERVING


def _names(state: State) -> Iterable[str]:
    """Yield the name of every model and of every version."""
    for name, model in state.models.items():
        yield f"{MODEL_PREFIX}{name}"
        yield from (f"{MODEL_PREFIX}{name}{_VERSIONS}{version}" for version in model.versions)


def _health(state: State, name: str) -> types_pb2.HealthState | None:
    """Return the health of ``models/M`` or ``models/M/versions/V``.

    None: there is no such thing.
    """
    if not name.startswith(MODEL_PREFIX):
        return None
    model_id, separator, version_id = name.removeprefix(MODEL_PREFIX).partition(_VERSIONS)
    model = state.models.get(model_id)
    if model is None or not separator:
        return None if model is None else model_health(model)
    version = model.versions.get(version_id)
    return None if version is None else version_health(version)
