"""Every call of a client's is counted, whatever becomes of it."""

from __future__ import annotations

from typing import Any, cast

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from echoplane.channels import DIRECT_OPTIONS
from echoplane.worker.v1 import worker_pb2
from echoplaned.worker_contract.inference.calls import CallCounter
from echoplaned.worker_contract.inference.counters import RequestCounters
from echoplaned.worker_contract.server import SERVER_OPTIONS

CONTROL = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name


async def test_calls_of_any_kind_are_counted_but_for_control() -> None:
    """An answer, an unknown method and a message over the limit are three calls; the daemon's own control is none."""
    counters = RequestCounters(lambda: 0.0)
    server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=(CallCounter(counters),))
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    codes = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS) as channel:
        check = "/grpc.health.v1.Health/Check"
        request = health_pb2.HealthCheckRequest().SerializeToString()
        assert await cast("Any", channel).unary_unary(check)(request)
        for method, message in (
            (check, bytes(5 * 1024 * 1024)),
            ("/no.Service/Method", b""),
            (f"/{CONTROL}/Drain", b""),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await cast("Any", channel).unary_unary(method)(message)
            codes.append(refused.value.code())
    assert codes == [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNIMPLEMENTED,
    ]
    assert counters.calls == 3
    await server.stop(0)
