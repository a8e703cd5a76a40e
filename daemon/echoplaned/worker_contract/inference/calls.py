"""Counts every call that a client makes of this worker, whatever its method.

Clients report them all alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from echoplane.worker.v1 import worker_pb2
from echoplaned.worker_contract.inference.counters import RequestCounters

if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor

_CONTROL: Final = f"/{worker_pb2.DESCRIPTOR.services_by_name['WorkerService'].full_name}/"


class CallCounter(_Interceptor):
    """Counts calls of all services but control.

    Calls of unknown methods and with messages that are too large are included.

    Args:
        counters: where they are counted.
    """

    def __init__(self, counters: RequestCounters) -> None:
        self._counters = counters

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Count the call, and hand it on."""
        if not handler_call_details.method.startswith(_CONTROL):
            self._counters.calls += 1
        return await continuation(handler_call_details)
