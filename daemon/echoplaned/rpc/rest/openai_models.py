"""OpenAiService: the names that a request's `model` may have, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.api import annotations_pb2

from echoplane.gateway.v1 import openai_pb2, openai_pb2_grpc
from echoplaned.core.errors import CallerNotAllowedError, FieldInvalidError, ModelNotFoundError
from echoplaned.core.failure import InvalidField
from echoplaned.core.names import model_name
from echoplaned.core.state import Model, State
from echoplaned.ports.handle import Handle
from echoplaned.ports.keys import GatewayCaller, Role
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.rest.authorising import Authorising
from echoplaned.rpc.rest.context import GatewayContext
from echoplaned.rpc.rest.descriptors import OPENAI_SERVICE
from echoplaned.rpc.rest.original_path import ORIGINAL_PATH, read_original

OWNER: Final = "echoplane"
MAX_NAME_CHARS: Final = 128
_GET: Final = OPENAI_SERVICE.methods_by_name["GetOpenAiModel"].GetOptions().Extensions[annotations_pb2.http].get


class OpenAiService(openai_pb2_grpc.OpenAiServiceServicer):
    """Lists the models that serve; reads snapshots and changes nothing.

    Clients add query parameters of their own to these paths, so parameters are not looked at.
    """

    def __init__(self, handle: Handle, rules: Authorising) -> None:
        self._handle = handle
        self._rules = rules

    async def ListOpenAiModels(  # noqa: N802 - the service's name
        self, request: openai_pb2.ListOpenAiModelsRequest, context: Context
    ) -> openai_pb2.ListOpenAiModelsResponse:
        """List every model that has a serving version, under each of its names."""
        caller = self._caller(context, "ListOpenAiModels")
        served = _served_names(self._handle.state)
        data = [_to_pb(name, model) for name, model in served if caller.may_see(model.model_id)]
        return openai_pb2.ListOpenAiModelsResponse(object="list", data=data)

    async def GetOpenAiModel(  # noqa: N802 - the service's name
        self, request: openai_pb2.GetOpenAiModelRequest, context: Context
    ) -> openai_pb2.OpenAiModel:
        """Return one model by any of its names."""
        caller = self._caller(context, "GetOpenAiModel")
        path = GatewayContext(context).metadata(ORIGINAL_PATH)
        if not path:
            raise FieldInvalidError(InvalidField(ORIGINAL_PATH, "is missing: this method is for the gateway alone"))
        # Of the path alone: the transcoder leaves slashes escaped, and takes a parameter `id` for the variable.
        name = read_original(path, _GET).variables["id"]
        found = dict(_served_names(self._handle.state)).get(name)
        if not caller.may_see(name if found is None else found.model_id):
            # The same whether there is such a model or not.
            raise CallerNotAllowedError(f"{caller.principal} is not for the model {name[:MAX_NAME_CHARS]!r}")
        if found is None:
            shown = name[:MAX_NAME_CHARS]
            raise ModelNotFoundError(model_name(shown), f"the model {shown!r} does not exist or serves no version yet")
        return _to_pb(name, found)

    def _caller(self, context: Context, method: str) -> GatewayCaller:
        caller = self._rules.caller(GatewayContext(context), Role.VIEWER, method)
        if caller is None:
            raise CallerNotAllowedError(f"{method} needs to know who calls")
        return caller


def _served_names(state: State) -> Iterator[tuple[str, Model]]:
    """Yield each name of every model that serves, with its model.

    Models are in the order of their ids; aliases come behind the id that they stand for.
    """
    for model_id, model in sorted(state.models.items()):
        if model.serving_version and not model.deleting:
            yield model_id, model
            yield from ((alias, model) for alias in model.aliases)


def _to_pb(name: str, model: Model) -> openai_pb2.OpenAiModel:
    return openai_pb2.OpenAiModel(id=name, object="model", created=max(0, int(model.create_time_s)), owned_by=OWNER)
