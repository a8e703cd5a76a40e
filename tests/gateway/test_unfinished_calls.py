"""Calls of the daemon's own gRPC methods that their caller never ends: the real Envoy keeps them to itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from tests.gateway.gateway_stage import gateway_stage
from tests.gateway.test_chain import listing

pytestmark = pytest.mark.system

UNFINISHED = 30
_SETTLES_S = 0.5
_CALL = (
    b"POST /inference.GRPCInferenceService/RepositoryIndex HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n"
    b"te: trailers\r\ncontent-length: 100\r\n\r\n\0"
)


def index(begun: list[str]) -> Any:
    """Return the repository's index, which notes a call as soon as it begins: before its request is there."""

    async def answer(requests: AsyncIterator[oip.RepositoryIndexRequest], _context: Any) -> AsyncIterator[Any]:
        begun.append("begun")
        async for request in requests:
            yield oip.RepositoryIndexResponse(
                models=[oip.RepositoryIndexResponse.ModelIndex(name=request.repository_name)]
            )

    method = grpc.stream_stream_rpc_method_handler(
        answer,
        request_deserializer=oip.RepositoryIndexRequest.FromString,
        response_serializer=oip.RepositoryIndexResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"RepositoryIndex": method})


async def test_they_take_no_place_at_the_daemon() -> None:
    """The daemon is asked once a call has ended, and answers calls that do meanwhile."""
    begun: list[str] = []
    services, handler = listing()
    async with gateway_stage(services, (handler, index(begun))) as stage:
        host, port = stage.options.listening.rsplit(":", 1)
        with contextlib.ExitStack() as opened:
            for _ in range(UNFINISHED):
                connection = opened.enter_context(socket.create_connection((host, int(port))))
                connection.sendall(_CALL)
            await asyncio.sleep(_SETTLES_S)
            assert not begun
            async with grpc.aio.insecure_channel(stage.options.listening, DIRECT_OPTIONS) as channel:
                request = oip.RepositoryIndexRequest(repository_name="mine")
                stub: Any = oip_grpc.GRPCInferenceServiceStub(channel)
                found = await stub.RepositoryIndex(request, timeout=10)
            assert [each.name for each in found.models] == ["mine"]
            assert len(begun) == 1
            assert (await stage.ask("GET", "/api/v1/model_serving/models")).status == 200
