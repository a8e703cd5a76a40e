"""The REST services over the real core, called as a transcoder calls them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio
from google.api import httpbody_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplane.gateway.v1 import openai_pb2_grpc
from echoplaned.rpc.rest import SERVICES, add_gateway_services
from echoplaned.rpc.rest.original_path import ORIGINAL_PATH, read_original
from echoplaned.rpc.rest.routes import ROUTES
from echoplaned.rpc.services import build_services
from tests.rpc.world import World

API = "/api/v1/model_serving"
HEARTBEAT_S = 0.05
BY_METHOD = {route.method: route for route in ROUTES}


class RestWorld:
    """A daemon under test, and the channel that a transcoder would have."""

    def __init__(self, world: World, channel: grpc.aio.Channel) -> None:
        self.world = world
        self.channel = channel
        self.openai: Any = openai_pb2_grpc.OpenAiServiceStub(channel)

    async def ask(self, method: str, path: str, body: object = None, **sent: Any) -> Any:
        """Call a route; return its answer, read. ``sent``: what the transcoder binds otherwise than the path says."""
        answer = await self.call(method, path, body, **sent)
        assert answer.content_type == "application/json"
        return json.loads(answer.data)

    def call(self, method: str, path: str, body: object = None, **sent: Any) -> Any:
        """Begin to call a route; body: bytes as they are, anything else as JSON."""
        route = BY_METHOD[method]
        content = httpbody_pb2.HttpBody()
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            content = httpbody_pb2.HttpBody(content_type=sent.pop("content_type", "application/json"), data=data)
        headers = tuple(sent.pop("headers", ()))
        variables = {**read_original(path, route.path).variables, **sent}
        if "content" in route.outer.DESCRIPTOR.fields_by_name:
            variables["content"] = content
        kind = self.channel.unary_stream if route.is_stream else self.channel.unary_unary
        call = cast(Any, kind)(
            f"/{SERVICES[0]}/{method}",
            request_serializer=route.outer.SerializeToString,
            response_deserializer=httpbody_pb2.HttpBody.FromString,
        )
        return call(route.outer(**variables), metadata=((ORIGINAL_PATH, path), *headers))

    async def events(self, method: str, path: str, last: str = "") -> AsyncIterator[str]:
        """Open a stream; yield its chunks."""
        headers = (("last-event-id", last),) if last else ()
        async for chunk in self.call(method, path, headers=headers):
            assert chunk.content_type == "text/event-stream"
            yield chunk.data.decode()


@asynccontextmanager
async def rest_world() -> AsyncIterator[RestWorld]:
    """Run a daemon that was never used, over gRPC and as the gateway calls it."""
    world = World()
    services = build_services(world.deps())
    api = await world.start(services=services)
    server = grpc.aio.server()
    add_gateway_services(server, services, HEARTBEAT_S)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS) as channel:
        yield RestWorld(world, channel)
        await world.stubs.channel.close(None)
        world.lifecycle.begin_stop()
        await api.stop(None)
        await server.stop(None)
