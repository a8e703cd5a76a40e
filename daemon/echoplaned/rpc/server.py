"""The daemon's gRPC server: every service behind one interceptor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_channelz.v1 import _async as channelz_async
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from echoplane.googleapis import operations_pb2, operations_pb2_grpc
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import (
    diagnostics_pb2,
    diagnostics_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    planning_pb2,
    planning_pb2_grpc,
    rollouts_pb2,
    rollouts_pb2_grpc,
)
from echoplaned.rpc.admission import Admission
from echoplaned.rpc.deduplication import RequestDeduplicator
from echoplaned.rpc.deps import MIB, RpcDeps
from echoplaned.rpc.following import Watchers
from echoplaned.rpc.health import HealthService
from echoplaned.rpc.interceptor import ApiInterceptor
from echoplaned.rpc.load_outcomes import LoadOutcomeCounter
from echoplaned.rpc.models import ModelService
from echoplaned.rpc.operations import OperationsService
from echoplaned.rpc.planning import PlanningService
from echoplaned.rpc.probing import HealthChecker
from echoplaned.rpc.reflection import add_reflection
from echoplaned.rpc.repository import RepositoryService
from echoplaned.rpc.rollouts import RolloutService
from echoplaned.rpc.status_service import StatusService

GenericHandler: TypeAlias = "grpc.GenericRpcHandler[Any, Any]"
_MESSAGES = (models_pb2, rollouts_pb2, planning_pb2, diagnostics_pb2, operations_pb2, oip, health_pb2)
OUR_SERVICES: tuple[str, ...] = tuple(
    service.full_name for module in _MESSAGES for service in module.DESCRIPTOR.services_by_name.values()
)
CHANNELZ = "grpc.channelz.v1.Channelz"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """``handlers``: services of others (ADS, LRS), with their full names in ``handler_services``, for health and reflection.

    ``max_message_bytes``: larger requests are refused by gRPC itself with RESOURCE_EXHAUSTED. ``channel``: gRPC's own options.
    ``channelz``: tell every caller of all connections, with their addresses.
    """

    handlers: tuple[GenericHandler, ...] = ()
    handler_services: tuple[str, ...] = ()
    max_message_bytes: int = 4 * MIB
    channel: Sequence[tuple[str, int]] = ()
    channelz: bool = False


def build_server(deps: RpcDeps, *, options: ServerOptions | None = None) -> grpc.aio.Server:
    """Return the server with all services added; ports are the caller's.

    Must be called on the event loop that will run it.
    """
    options = options or ServerOptions()
    channel = [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.so_reuseport", 0),  # with it, a second daemon on the same port would start and take half of the clients
        *options.channel,
    ]
    server = grpc.aio.server(interceptors=(ApiInterceptor(deps.observer, deps.monotonic),), options=channel)
    services = (*OUR_SERVICES, *((CHANNELZ,) if options.channelz else ()), *options.handler_services)
    _add_ours(server, deps, services)
    if options.handlers:
        server.add_generic_rpc_handlers(options.handlers)
    if options.channelz:
        channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz_async.ChannelzServicer(), server)
    add_reflection(server, services)
    return server


def _add_ours(server: grpc.aio.Server, deps: RpcDeps, services: tuple[str, ...]) -> None:
    handle, lifecycle = deps.handle, deps.lifecycle
    memory = RequestDeduplicator()
    tally = LoadOutcomeCounter(deps.start_time_s)
    watchers = Watchers(deps.limits.max_watchers)
    admission = Admission(deps, memory, tally)
    models = ModelService(
        handle, admission, memory, HealthChecker(handle, deps.prober, deps.emit, deps.last_probe), deps.pid_of
    )
    models_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    rollouts_pb2_grpc.add_RolloutServiceServicer_to_server(RolloutService(handle, lifecycle, watchers, memory), server)
    planning_pb2_grpc.add_PlanningServiceServicer_to_server(PlanningService(handle, admission, deps.planning), server)
    diagnostics_pb2_grpc.add_StatusServiceServicer_to_server(StatusService(deps, watchers, tally), server)
    operations = OperationsService(handle, lifecycle, watchers, deps.pid_of)
    operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)
    # Apart from the rest: a load balancer with a stream a model must not take away what people watch a rollout with.
    health_watchers = Watchers(deps.limits.max_health_watchers, "health watchers")
    health_pb2_grpc.add_HealthServicer_to_server(HealthService(handle, lifecycle, health_watchers, services), server)
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(
        RepositoryService(handle, admission, deps.daemon_version), server
    )
