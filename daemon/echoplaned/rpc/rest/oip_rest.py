"""OipService: the server and its repository in OIP's REST form.

That is the Open Inference Protocol. A thin face of the same servicer that answers the protocol over gRPC.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import grpc
from google.api import httpbody_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.rpc.interceptor import Context, Handler
from echoplaned.rpc.rest.answers import JSON
from echoplaned.rpc.rest.context import GatewayContext
from echoplaned.rpc.rest.descriptors import OIP_SERVICE
from echoplaned.rpc.rest.guarded_repository import GuardedRepository
from echoplaned.rpc.rest.original_path import ORIGINAL_PATH
from echoplaned.rpc.rest.shown import shown
from echoplaned.rpc.rest.strict_json import read_object
from echoplaned.rpc.validate import MAX_SHORT_REQUEST_BYTES, MAX_VIOLATIONS, check

Call = Callable[[Any, GatewayContext], Awaitable[object]]

MAX_PARAMETERS_BYTES: Final = 16 * 1024
"""Of a body with parameters; the longest of them is a source, of 4,096 characters."""

_READY: Final = "ready"
_PARAMETERS: Final = "parameters"
_ORIGIN: Final = "origin"


def oip_handlers(repository: GuardedRepository) -> dict[str, Handler]:
    """Return a handler a method of OipService, by its name."""
    calls: dict[str, Call] = {
        "GetServer": lambda _, context: _server(repository, context),
        "GetServerLive": lambda _, context: _live(repository, context),
        "GetServerReady": lambda _, context: _ready(repository, context),
        "IndexRepository": lambda sent, context: _index(repository, sent, context),
        "LoadRepositoryModel": lambda sent, context: _load(repository, sent, context),
        "UnloadRepositoryModel": lambda sent, context: _unload(repository, sent, context),
    }
    return {name: _handler(name, call) for name, call in calls.items()}


def _handler(name: str, call: Call) -> Handler:
    async def answer(sent: Message, context: Context) -> httpbody_pb2.HttpBody:
        gateway = GatewayContext(context)
        path = gateway.metadata(ORIGINAL_PATH)
        if not path:
            raise FieldInvalidError(InvalidField(ORIGINAL_PATH, "is missing: these methods are for the gateway alone"))
        if gateway.metadata(_ORIGIN):
            # Triton's clients send no content type, by which a browser would have to ask first.
            raise FieldInvalidError(InvalidField(_ORIGIN, "is a web page's: the repository is for none"))
        if "?" in path:
            # To the transcoder a parameter that is named like a path's variable is that variable.
            raise FieldInvalidError(InvalidField("query", "this route takes no parameters"))
        told = await call(sent, gateway)
        return httpbody_pb2.HttpBody(content_type=JSON, data=b"" if told is None else json.dumps(told).encode())

    return grpc.unary_unary_rpc_method_handler(
        cast(Any, answer),
        request_deserializer=GetMessageClass(OIP_SERVICE.methods_by_name[name].input_type).FromString,
        response_serializer=httpbody_pb2.HttpBody.SerializeToString,
    )


async def _server(repository: GuardedRepository, context: GatewayContext) -> object:
    found = await repository.call("ServerMetadata", oip.ServerMetadataRequest(), context)
    return {"name": found.name, "version": found.version, "extensions": list(found.extensions)}


async def _live(repository: GuardedRepository, context: GatewayContext) -> object:
    return {"live": (await repository.call("ServerLive", oip.ServerLiveRequest(), context)).live}


async def _ready(repository: GuardedRepository, context: GatewayContext) -> object:
    return {"ready": (await repository.call("ServerReady", oip.ServerReadyRequest(), context)).ready}


async def _index(repository: GuardedRepository, sent: Any, context: GatewayContext) -> object:  # noqa: ANN401 - a class a route
    ready = _read(sent, _READY, MAX_SHORT_REQUEST_BYTES).get(_READY, False)
    if not isinstance(ready, bool):
        raise FieldInvalidError(InvalidField(_READY, "must be true or false"))
    found = await repository.call("RepositoryIndex", oip.RepositoryIndexRequest(ready=ready), context)
    names = ("name", "version", "state", "reason")
    return [{name: value for name in names if (value := getattr(each, name))} for each in found.models]


async def _load(repository: GuardedRepository, sent: Any, context: GatewayContext) -> object:  # noqa: ANN401 - as above
    request = oip.RepositoryModelLoadRequest(model_name=_name(sent))
    _set_parameters(request, _read(sent, _PARAMETERS, MAX_PARAMETERS_BYTES))
    check(request)
    await repository.call("RepositoryModelLoad", request, context)
    return None


async def _unload(repository: GuardedRepository, sent: Any, context: GatewayContext) -> object:  # noqa: ANN401 - as above
    request = oip.RepositoryModelUnloadRequest(model_name=_name(sent))
    _set_parameters(request, _read(sent, _PARAMETERS, MAX_PARAMETERS_BYTES))
    check(request)
    await repository.call("RepositoryModelUnload", request, context)
    return None


def _name(sent: Any) -> str:  # noqa: ANN401 - as above
    return f"{sent.owner}/{sent.name}" if sent.owner else str(sent.name)


def _read(sent: Any, known: str, most: int) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return a body's fields, of which one is known; an empty body has none.

    Triton's clients send no content type, so none is asked for: the route is for no web page, and a page cannot send what it must not.
    Whoever reads the list needs no key: what nobody has to send is not read for anybody (``most``, in bytes).
    """
    if not sent.content.data:
        return {}
    body = read_object(sent.content.data, most)
    unknown = list(itertools.islice((name for name in body if name != known), MAX_VIOLATIONS))
    if unknown:
        raise FieldInvalidError(*(InvalidField(shown(name), f"is not known; known: {known}") for name in unknown))
    return body


def _set_parameters(request: Any, body: dict[str, Any]) -> None:  # noqa: ANN401 - a load's or an unload's
    parameters = body.get(_PARAMETERS, {})
    if not isinstance(parameters, dict):
        raise FieldInvalidError(InvalidField(_PARAMETERS, "must be an object"))
    for name, value in parameters.items():
        target = request.parameters[name]
        match value:
            case bool():
                target.bool_param = value
            case int() if -(2**63) <= value < 2**63:
                target.int64_param = value
            case str():
                target.string_param = value
            case _:
                field = f"{_PARAMETERS}[{json.dumps(name[:64])}]"
                raise FieldInvalidError(InvalidField(field, "must be a text, a whole number, true or false"))
