"""A grpc.aio server that answers GetModel with one fixed message: what the transport and Python take by themselves.

python -m benchmarks.peers.echo_server; prints its port.
"""

from __future__ import annotations

import asyncio

import grpc.aio

from echoplane.v1 import models_pb2, models_pb2_grpc


class Echo(models_pb2_grpc.ModelServiceServicer):
    """Answers at once."""

    async def GetModel(self, request: models_pb2.GetModelRequest, _context: object) -> models_pb2.Model:  # noqa: N802 - gRPC's name
        """Return the request's name as a model."""
        return models_pb2.Model(name=request.name)


async def main() -> None:
    """Serve until terminated."""
    server = grpc.aio.server()
    models_pb2_grpc.add_ModelServiceServicer_to_server(Echo(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
