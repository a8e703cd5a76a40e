"""RestService: each route calls the API's own servicer.

So a call has the same checks, limits, log and counts as one over gRPC.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

import grpc
from google.api import httpbody_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from echoplane.v1 import diagnostics_pb2, types_pb2
from echoplaned.ports.keys import Role
from echoplaned.rpc.following import closing
from echoplaned.rpc.interceptor import Context, Handler, status_of
from echoplaned.rpc.lifecycle import DaemonStoppingError
from echoplaned.rpc.rest.answers import JSON, to_body
from echoplaned.rpc.rest.authorising import Authorising
from echoplaned.rpc.rest.context import GatewayContext
from echoplaned.rpc.rest.descriptors import REST_SERVICE
from echoplaned.rpc.rest.openapi import openapi_json
from echoplaned.rpc.rest.requests import read_request
from echoplaned.rpc.rest.routes import ROUTES, Call, Route
from echoplaned.rpc.rest.sse import HEARTBEAT_S, failure_event, to_events
from echoplaned.rpc.services import Services

OPENAPI_METHOD: Final = "GetOpenApi"
LAST_EVENT_ID: Final = "last-event-id"
_RESUME_TOKEN: Final = "resume_token"  # noqa: S105 - a field's name
_ID_BYTES: Final = 8


def rest_handlers(services: Services, heartbeat_s: float = HEARTBEAT_S) -> dict[str, Handler]:
    """Return a handler a method of RestService, by its name."""
    deps = services.deps
    rules = Authorising(deps.find_caller, lambda: deps.handle.state, deps.scoped_models)
    found: dict[str, Handler] = {OPENAPI_METHOD: _openapi(deps.daemon_version, rules)}
    for route in ROUTES:
        method = route.find(services)
        found[route.method] = (
            _stream(route, method, rules, heartbeat_s) if route.is_stream else _unary(route, method, rules)
        )
    return found


def _unary(route: Route, method: Call, rules: Authorising) -> Handler:

    async def call(sent: Message, context: Context) -> httpbody_pb2.HttpBody:
        gateway = GatewayContext(context)
        caller = rules.caller(gateway, route.role, route.method)
        request = read_request(route, sent, gateway)
        rules.check(route, request, caller)
        with rules.hiding_owners(caller):
            answer: Message = await method(request, gateway)
        if isinstance(answer, diagnostics_pb2.GetHealthResponse) and _is_down(answer):
            # Whoever asks over HTTP looks at the status alone.
            raise DaemonStoppingError
        return to_body(rules.narrow(answer, caller))

    return grpc.unary_unary_rpc_method_handler(
        cast(Any, call),
        request_deserializer=route.outer.FromString,
        response_serializer=httpbody_pb2.HttpBody.SerializeToString,
    )


def _stream(route: Route, method: Call, rules: Authorising, heartbeat_s: float) -> Handler:

    async def call(sent: Message, context: Context) -> AsyncIterator[httpbody_pb2.HttpBody]:
        gateway = GatewayContext(context)
        caller = rules.caller(gateway, route.role, route.method)
        request = read_request(route, sent, gateway)
        rules.check(route, request, caller)
        last = gateway.metadata(LAST_EVENT_ID)
        if last and _RESUME_TOKEN in request.DESCRIPTOR.fields_by_name:
            # A browser that comes back repeats the URL that it began with; what it says here is newer.
            setattr(request, _RESUME_TOKEN, last)
        told = False

        def may_send(message: Message | None) -> bool:
            # A stream outlives what held when it began: its key may be revoked meanwhile.
            now = rules.caller(gateway, route.role, route.method)
            rules.check(route, request, now)
            return message is None or rules.may_see_event(message, now)

        source = _seen_by(method(request, gateway), may_send)
        messages = _unless_seen(source, last, gateway.begun)
        try:
            async with closing(to_events(messages, event_id, gateway.begun, heartbeat_s, may_send)) as events:
                async for event in events:
                    told = True
                    yield event
        except Exception as error:
            if told:
                yield failure_event(status_of(error))
            raise

    return grpc.unary_stream_rpc_method_handler(
        cast(Any, call),
        request_deserializer=route.outer.FromString,
        response_serializer=httpbody_pb2.HttpBody.SerializeToString,
    )


def _openapi(daemon_version: str, rules: Authorising) -> Handler:
    page = httpbody_pb2.HttpBody(content_type=JSON, data=openapi_json(daemon_version))
    sent = GetMessageClass(REST_SERVICE.methods_by_name[OPENAPI_METHOD].input_type)

    async def call(_sent: Message, context: Context) -> httpbody_pb2.HttpBody:
        rules.caller(GatewayContext(context), Role.VIEWER, OPENAPI_METHOD)
        return page

    return grpc.unary_unary_rpc_method_handler(
        cast(Any, call),
        request_deserializer=sent.FromString,
        response_serializer=httpbody_pb2.HttpBody.SerializeToString,
    )


def event_id(message: Message) -> str:
    """Return the event id of a message in a stream.

    It is the message's resume token, or a digest of the message where it has none.
    """
    token: str = getattr(message, _RESUME_TOKEN, "")
    return token or hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=_ID_BYTES).hexdigest()


async def _seen_by(source: AsyncIterator[Message], may_see: Callable[[Message], bool]) -> AsyncIterator[Message]:
    async with closing(source) as messages:
        async for message in messages:
            if may_see(message):
                yield message


async def _unless_seen(source: AsyncIterator[Message], last: str, begun: asyncio.Event) -> AsyncIterator[Message]:
    """Leave out the first message where it is the last one that the caller saw.

    ``last`` is the event id that the caller names; empty: none. The stream has begun with the first message, even if it is left out.
    """
    async with closing(source) as messages:
        first = True
        async for message in messages:
            begun.set()
            if not (first and last and event_id(message) == last):
                yield message
            first = False


def _is_down(answer: diagnostics_pb2.GetHealthResponse) -> bool:
    return answer.state == types_pb2.HEALTH_STATE_NOT_SERVING
