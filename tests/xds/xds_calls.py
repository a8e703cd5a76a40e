"""Raw calls of the xDS services, for tests."""

from __future__ import annotations

from typing import Any, cast

import grpc
import grpc.aio
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from echoplaned.xds import ads, lrs

METHODS = [
    f"/{ads.SERVICE}/StreamAggregatedResources",
    f"/{ads.SERVICE}/DeltaAggregatedResources",
    f"/{lrs.SERVICE}/StreamLoadStats",
]
"""Streams of requests, one of each kind."""


def node(**fields: Any) -> base_pb2.Node:
    """Make a node."""
    return json_format.ParseDict(fields, base_pb2.Node())


def sotw_call(channel: grpc.aio.Channel) -> Any:
    """Open a raw state-of-the-world stream."""
    return cast(Any, channel).stream_stream(
        f"/{ads.SERVICE}/StreamAggregatedResources",
        request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
    )()


def delta_call(channel: grpc.aio.Channel) -> Any:
    """Open a raw delta stream."""
    return cast(Any, channel).stream_stream(
        f"/{ads.SERVICE}/DeltaAggregatedResources",
        request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
    )()


def raw_call(channel: grpc.aio.Channel, method: str) -> Any:
    """Open a stream of bytes."""
    return cast(Any, channel).stream_stream(method)()


async def refused(call: Any) -> grpc.StatusCode:
    """Return how a stream that is refused ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_on(call)
    return caught.value.code()


async def _read_on(call: Any) -> None:
    while await call.read() is not cast(Any, grpc.aio).EOF:
        pass
