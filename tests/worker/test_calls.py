"""Every call of a client's is counted, whatever becomes of it."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.worker.calls import CallCounter
from echoplaned.worker.counters import Counters
from echoplaned.worker_contract.server import SERVER_OPTIONS


class Ready(oip_grpc.GRPCInferenceServiceServicer):
    """A service of which only one method answers."""

    async def ServerReady(self, request: oip.ServerReadyRequest, context: object) -> oip.ServerReadyResponse:  # noqa: N802
        """Say yes."""
        del request, context
        return oip.ServerReadyResponse(ready=True)


async def test_calls_of_any_kind_are_counted_but_for_control() -> None:
    """An answer, an unknown method and a message over the limit are three calls; the daemon's own control is none."""
    counters = Counters(lambda: 0.0)
    server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=(CallCounter(counters),))
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(Ready(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        assert (await stub.ServerReady(oip.ServerReadyRequest())).ready
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await channel.unary_unary("/no.Service/Method")(b"")
        large = oip.ModelInferRequest(raw_input_contents=[bytes(5 * 1024 * 1024)])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ModelInfer(large)
        with pytest.raises(grpc.aio.AioRpcError):
            await worker_pb2_grpc.WorkerServiceStub(channel).Drain(worker_pb2.DrainRequest())
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (counters.calls, counters.arrivals) == (3, 0)
    await server.stop(0)
