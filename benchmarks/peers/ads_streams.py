"""Raw ADS streams, ten to a connection, each asking for a model's listener; prints ``open`` when each has sent its request.

python -m benchmarks.peers.ads_streams HOST:PORT MODEL COUNT
"""

from __future__ import annotations

import asyncio
import sys

import grpc.aio
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

STREAMS_PER_CONNECTION = 10
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
_AT_ONCE = 50


async def main(address: str, model: str, count: int) -> None:
    """Open the streams and hold them until terminated."""
    own = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
    channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(-(-count // STREAMS_PER_CONNECTION))]
    calls = []
    for number in range(count):
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channels[number % len(channels)])
        call = stub.StreamAggregatedResources()
        node = base_pb2.Node(id=f"bench-{number}", user_agent_name="bench")
        name = f"models/{model}"
        await call.write(discovery_pb2.DiscoveryRequest(type_url=LISTENER, resource_names=[name], node=node))
        calls.append(call)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0.02)
    print("open", flush=True)
    await asyncio.gather(*(read(call) for call in calls))


async def read(call: grpc.aio.StreamStreamCall) -> None:
    """Acknowledge whatever comes."""
    while (response := await call.read()) is not grpc.aio.EOF:
        names = [f"models/{sys.argv[2]}"]
        await call.write(
            discovery_pb2.DiscoveryRequest(
                type_url=response.type_url,
                resource_names=names,
                version_info=response.version_info,
                response_nonce=response.nonce,
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
