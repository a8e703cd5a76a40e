"""The daemon's gRPC server: every service behind one interceptor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass
from grpc_channelz.v1 import _async as channelz_async
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from echoplane.googleapis import operations_pb2, operations_pb2_grpc
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import (
    diagnostics_pb2,
    diagnostics_pb2_grpc,
    keys_pb2,
    keys_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    planning_pb2,
    planning_pb2_grpc,
    rollouts_pb2,
    rollouts_pb2_grpc,
)
from echoplaned.rpc.deps import MIB, RpcDeps
from echoplaned.rpc.health import HealthService
from echoplaned.rpc.interceptor import ApiInterceptor
from echoplaned.rpc.reflection import add_reflection
from echoplaned.rpc.services import Services, build_services
from echoplaned.rpc.validate import compile_rules

GenericHandler: TypeAlias = "grpc.GenericRpcHandler[Any, Any]"
_MESSAGES = (models_pb2, rollouts_pb2, planning_pb2, diagnostics_pb2, keys_pb2, operations_pb2, oip, health_pb2)
_SERVICES = tuple(service for module in _MESSAGES for service in module.DESCRIPTOR.services_by_name.values())
OUR_SERVICES: tuple[str, ...] = tuple(service.full_name for service in _SERVICES)
CHANNELZ = "grpc.channelz.v1.Channelz"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the server offers beside the daemon's own services, and its limits.

    Attributes:
        handlers: services of others (ADS, LRS).
        handler_services: full names of those services, for health and reflection.
        max_message_bytes: larger requests are refused by gRPC itself with RESOURCE_EXHAUSTED.
        channel: gRPC's own options, pairs of name and number.
        channelz: whether every caller may see all connections, with their addresses.
    """

    handlers: tuple[GenericHandler, ...] = ()
    handler_services: tuple[str, ...] = ()
    max_message_bytes: int = 4 * MIB
    channel: Sequence[tuple[str, int]] = ()
    channelz: bool = False


def build_server(
    deps: RpcDeps, *, options: ServerOptions | None = None, services: Services | None = None
) -> grpc.aio.Server:
    """Return the server with all services added; ports are the caller's.

    Must be called on the event loop that will run it. ``services``: those that others call too; None: its own.
    """
    options = options or ServerOptions()
    channel = [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.so_reuseport", 0),  # with it, a second daemon on the same port would start and take half of the clients
        *options.channel,
    ]
    services = services or build_services(deps)
    interceptor = ApiInterceptor(deps.observer, deps.monotonic, services.request_streams)
    server = grpc.aio.server(interceptors=(interceptor,), options=channel)
    names = (*OUR_SERVICES, *((CHANNELZ,) if options.channelz else ()), *options.handler_services)
    _add_ours(server, services, names)
    if options.handlers:
        server.add_generic_rpc_handlers(options.handlers)
    if options.channelz:
        channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz_async.ChannelzServicer(), server)
    add_reflection(server, names)
    return server


async def compile_all_rules() -> None:
    """Compile the rules of every request ahead of its first call, some 40 ms in all.

    Between any two of them the event loop goes on.
    """
    for request in dict.fromkeys(method.input_type for service in _SERVICES for method in service.methods):
        compile_rules(GetMessageClass(request))
        await asyncio.sleep(0)


def _add_ours(server: grpc.aio.Server, services: Services, names: tuple[str, ...]) -> None:
    deps = services.deps
    models_pb2_grpc.add_ModelServiceServicer_to_server(services.models, server)
    rollouts_pb2_grpc.add_RolloutServiceServicer_to_server(services.rollouts, server)
    planning_pb2_grpc.add_PlanningServiceServicer_to_server(services.planning, server)
    diagnostics_pb2_grpc.add_StatusServiceServicer_to_server(services.status, server)
    operations_pb2_grpc.add_OperationsServicer_to_server(services.operations, server)
    health = HealthService(deps.handle, deps.lifecycle, services.health_watchers, names)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if services.keys is not None:
        keys_pb2_grpc.add_KeyServiceServicer_to_server(services.keys, server)
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(services.repository, server)
