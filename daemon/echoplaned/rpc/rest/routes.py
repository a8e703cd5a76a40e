"""The table of REST routes.

It says which method of the API each route calls, and which fields its path and query may set.

Verb and path are the annotations of ``RestService``, which the transcoder goes by; they stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from echoplane.googleapis import operations_pb2
from echoplane.v1 import diagnostics_pb2, models_pb2, rollouts_pb2
from echoplaned.ports.keys import Role
from echoplaned.rpc.rest.descriptors import REST_SERVICE
from echoplaned.rpc.services import Services

Call: TypeAlias = Callable[[Any, Any], Any]
"""A servicer's method: a request and a context in; an answer to await, or a stream of them."""

_NAME: Final = MappingProxyType({"name": "{name}"})
_ROLLOUT: Final = MappingProxyType({"name": "models/{model}/rollouts/{rollout}"})
_PARENT: Final = MappingProxyType({"parent": "models/{model}"})
_PAGES: Final = ("page_size", "page_token")


@dataclass(frozen=True)
class Route:
    """One REST route.

    Attributes:
        method: of RestService; the API's method has the same name.
        request: class of the API's request.
        find: takes the API's method out of the services.
        names: fields of the request that the path says, each as a template of path variables.
        parameters: fields of the request that the query may say; no other parameter is taken.
        role: least role of a caller.
    """

    method: str
    request: type[Message]
    find: Callable[[Services], Call]
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    parameters: tuple[str, ...] = ()
    role: Role = Role.VIEWER

    @property
    def descriptor(self) -> MethodDescriptor:
        """The route's own method."""
        return REST_SERVICE.methods_by_name[self.method]

    @cached_property
    def outer(self) -> type[Message]:
        """Class of what the transcoder sends."""
        return GetMessageClass(self.descriptor.input_type)

    @cached_property
    def http(self) -> http_pb2.HttpRule:
        """The route's annotation."""
        return self.descriptor.GetOptions().Extensions[annotations_pb2.http]

    @property
    def verb(self) -> str:
        """HTTP method, in lower case."""
        return str(self.http.WhichOneof("pattern"))

    @property
    def path(self) -> str:
        """Path with its variables in braces."""
        return str(getattr(self.http, self.verb))

    @property
    def has_body(self) -> bool:
        """Whether a body is read; what comes to any other route must have none."""
        return self.verb == "post"

    @property
    def is_stream(self) -> bool:
        """Whether it answers with server-sent events."""
        return self.descriptor.server_streaming


ROUTES: Final = (
    Route("GetHealth", diagnostics_pb2.GetHealthRequest, lambda s: s.status.GetHealth),
    Route("GetStatus", diagnostics_pb2.GetStatusRequest, lambda s: s.status.GetStatus),
    Route("GetMetrics", diagnostics_pb2.GetMetricsRequest, lambda s: s.status.GetMetrics, parameters=("model",)),
    Route(
        "WatchEvents",
        diagnostics_pb2.WatchEventsRequest,
        lambda s: s.status.WatchEvents,
        parameters=("resume_token", "model"),
    ),
    Route("LoadModel", models_pb2.LoadModelRequest, lambda s: s.models.LoadModel, role=Role.OPERATOR),
    Route("UpdateModel", models_pb2.UpdateModelRequest, lambda s: s.models.UpdateModel, role=Role.OPERATOR),
    Route("ListModels", models_pb2.ListModelsRequest, lambda s: s.models.ListModels, parameters=_PAGES),
    Route("GetModel", models_pb2.GetModelRequest, lambda s: s.models.GetModel, _NAME),
    Route(
        "DeleteModel",
        models_pb2.DeleteModelRequest,
        lambda s: s.models.DeleteModel,
        _NAME,
        ("force", "allow_missing", "etag", "request_id"),
        Role.OPERATOR,
    ),
    Route("GetModelHealth", models_pb2.GetModelHealthRequest, lambda s: s.models.GetModelHealth, _NAME),
    Route(
        "CheckModelHealth",
        models_pb2.CheckModelHealthRequest,
        lambda s: s.models.CheckModelHealth,
        _NAME,
        role=Role.OPERATOR,
    ),
    Route("ListRollouts", rollouts_pb2.ListRolloutsRequest, lambda s: s.rollouts.ListRollouts, _PARENT, _PAGES),
    Route("GetRollout", rollouts_pb2.GetRolloutRequest, lambda s: s.rollouts.GetRollout, _ROLLOUT),
    Route("WatchRollout", rollouts_pb2.WatchRolloutRequest, lambda s: s.rollouts.WatchRollout, _ROLLOUT),
    Route(
        "ListOperations",
        operations_pb2.ListOperationsRequest,
        lambda s: s.operations.ListOperations,
        parameters=("filter", *_PAGES),
    ),
    Route("GetOperation", operations_pb2.GetOperationRequest, lambda s: s.operations.GetOperation, _NAME),
    Route(
        "CancelOperation",
        operations_pb2.CancelOperationRequest,
        lambda s: s.operations.CancelOperation,
        _NAME,
        role=Role.OPERATOR,
    ),
    Route(
        "DeleteOperation",
        operations_pb2.DeleteOperationRequest,
        lambda s: s.operations.DeleteOperation,
        _NAME,
        role=Role.OPERATOR,
    ),
)
"""Every route that calls the API; ``GET /openapi.json`` describes them."""
