"""A gRPC server that answers every call with the same bytes, no message."""

from __future__ import annotations

from typing import Any, Self

import grpc.aio

_NO_MESSAGE = b"\xff\xff\xff\xff"
_STREAMS = ("Watch", "WatchTraces", "ModelStreamInfer")


class _GarbageHandler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs only
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        if str(handler_call_details.method).rpartition("/")[2] in _STREAMS:
            return grpc.unary_stream_rpc_method_handler(_stream)
        return grpc.unary_unary_rpc_method_handler(_answer)


async def _answer(_request: bytes, _context: object) -> bytes:
    return _NO_MESSAGE


async def _stream(_request: bytes, _context: object) -> Any:  # noqa: ANN401 - a generator of bytes
    yield _NO_MESSAGE


class GarbageServer:
    """Listens on a loopback port while its block runs."""

    def __init__(self) -> None:
        self._server = grpc.aio.server()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server.add_generic_rpc_handlers((_GarbageHandler(),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)
