"""An inference service whose requests are screened before they are parsed.

Every leader adds it to its server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import grpc

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.worker_contract.inference.errors import InvalidInputError
from echoplaned.worker_contract.inference.screening import BatchLimits, Unread, reader


class _Handlers:
    """Stands for a server while the generated code adds a service.

    It keeps what is added.
    """

    def __init__(self) -> None:
        self.by_method: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Leave out what comes by name as well."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Keep a service's handlers."""
        del service
        self.by_method.update(handlers)


def add_screened(
    service: oip_grpc.GRPCInferenceServiceServicer, limits: Callable[[], BatchLimits | None], server: grpc.aio.Server
) -> None:
    """Add inference to a server: its requests are looked at before they are parsed."""
    handlers = _Handlers()
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(service, cast("grpc.aio.Server", handlers))
    read = reader(limits)
    for method in ("ModelInfer", "ModelStreamInfer"):
        handlers.by_method[method] = handlers.by_method[method]._replace(request_deserializer=read)
    name = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers.by_method),))


def require_parsed(request: oip.ModelInferRequest | Unread) -> oip.ModelInferRequest:
    """Return a request that was parsed.

    Raises:
        InvalidInputError: it was not worth it.
    """
    if isinstance(request, Unread):
        raise InvalidInputError(request.why)
    return request
