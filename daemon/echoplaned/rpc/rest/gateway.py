"""Adds the services that the gateway's transcoder calls to a server.

This is the gateway's own server, on its private socket.
"""

from __future__ import annotations

from typing import Any, Final, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from echoplane.gateway.v1 import openai_pb2
from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.ports.transcoding import DAEMON_METHODS
from echoplaned.rpc.interceptor import ApiInterceptor, Context, Handler
from echoplaned.rpc.rest.authorising import Authorising
from echoplaned.rpc.rest.context import GatewayContext
from echoplaned.rpc.rest.descriptors import OIP_SERVICE, OPENAI_SERVICE, REST_SERVICE
from echoplaned.rpc.rest.guarded_repository import GuardedRepository
from echoplaned.rpc.rest.oip_rest import oip_handlers
from echoplaned.rpc.rest.openai_models import OpenAiService
from echoplaned.rpc.rest.rest_service import rest_handlers
from echoplaned.rpc.rest.sse import HEARTBEAT_S
from echoplaned.rpc.services import Services

_List: Final = openai_pb2.ListOpenAiModelsRequest
_Get: Final = openai_pb2.GetOpenAiModelRequest
_OIP_GRPC: Final = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"]


def add_gateway_services(server: grpc.aio.Server, services: Services, heartbeat_s: float = HEARTBEAT_S) -> None:
    """Add RestService, OpenAiService, OipService and the repository to a server.

    Each method is behind the interceptor of the API.

    Args:
        server: reachable by the gateway alone; what it says of callers and their paths is believed.
        services: the same objects that the gRPC server calls, so that both share limits and remembered requests.
        heartbeat_s: longest silence of an event stream, in seconds.
    """
    deps = services.deps
    interceptor = ApiInterceptor(deps.observer, deps.monotonic, services.request_streams)
    repository = GuardedRepository(
        services.repository, Authorising(deps.find_caller, lambda: deps.handle.state, deps.scoped_models)
    )
    for service, handlers in (
        (REST_SERVICE.full_name, rest_handlers(services, heartbeat_s)),
        (OPENAI_SERVICE.full_name, _openai_handlers(services)),
        (OIP_SERVICE.full_name, oip_handlers(repository)),
        (_OIP_GRPC.full_name, _repository_handlers(repository)),
    ):
        wrapped = {name: interceptor.wrap(f"/{service}/{name}", each) for name, each in handlers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))


def _openai_handlers(services: Services) -> dict[str, Handler]:
    deps = services.deps
    openai = OpenAiService(deps.handle, Authorising(deps.find_caller, lambda: deps.handle.state, deps.scoped_models))
    return {
        "ListOpenAiModels": grpc.unary_unary_rpc_method_handler(
            cast(Any, openai.ListOpenAiModels),
            request_deserializer=_List.FromString,
            response_serializer=openai_pb2.ListOpenAiModelsResponse.SerializeToString,
        ),
        "GetOpenAiModel": grpc.unary_unary_rpc_method_handler(
            cast(Any, openai.GetOpenAiModel),
            request_deserializer=_Get.FromString,
            response_serializer=openai_pb2.OpenAiModel.SerializeToString,
        ),
    }


def _repository_handlers(repository: GuardedRepository) -> dict[str, Handler]:
    """Return a handler for each of OIP's gRPC methods that no engine answers."""
    return {name: _repository_handler(repository, name) for name in DAEMON_METHODS}


def _repository_handler(repository: GuardedRepository, name: str) -> Handler:
    described = _OIP_GRPC.methods_by_name[name]

    async def call(request: Message, context: Context) -> Message:
        return cast(Message, await repository.call(name, request, GatewayContext(context)))

    return grpc.unary_unary_rpc_method_handler(
        cast(Any, call),
        request_deserializer=GetMessageClass(described.input_type).FromString,
        response_serializer=GetMessageClass(described.output_type).SerializeToString,
    )
