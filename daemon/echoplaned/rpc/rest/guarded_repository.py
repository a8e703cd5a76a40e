"""OIP's repository for callers through the gateway: each asks by a key.

Reading needs the role of a viewer, loading and unloading that of an operator, as over REST.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final, cast

from google.protobuf.message import Message

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.errors import CallerNotAllowedError
from echoplaned.ports.keys import Role
from echoplaned.rpc.repository import RepositoryService
from echoplaned.rpc.rest.authorising import Authorising
from echoplaned.rpc.rest.context import GatewayContext

_MAX_SHOWN: Final = 80
_ROLES: Final = MappingProxyType(
    {
        "ServerLive": Role.VIEWER,
        "ServerReady": Role.VIEWER,
        "ServerMetadata": Role.VIEWER,
        "RepositoryIndex": Role.VIEWER,
        "RepositoryModelLoad": Role.OPERATOR,
        "RepositoryModelUnload": Role.OPERATOR,
    }
)


class GuardedRepository:
    """Calls the repository for callers who may.

    Args:
        repository: what answers.
        authorising: says what callers may do.
    """

    def __init__(self, repository: RepositoryService, authorising: Authorising) -> None:
        self._repository = repository
        self._authorising = authorising

    async def call(self, method: str, request: Message, context: GatewayContext) -> Any:  # noqa: ANN401 - a class a method
        """Call a method by its name.

        A key for some models loads and unloads those, and lists no other.

        Raises:
            CallerNotAllowedError: the caller has not the role, or is not for the model.
        """
        caller = self._authorising.caller(context, _ROLES[method], method)
        if caller is not None and caller.models:
            named = str(getattr(request, "model_name", ""))
            if named and not caller.may_see(self._repository.model_id_of(named)):
                raise CallerNotAllowedError(f"{caller.principal} is not for the model {named[:_MAX_SHOWN]!r}")
        with self._authorising.hiding_owners(caller):
            answer = await getattr(self._repository, method)(request, cast(Any, context))
        if caller is not None and caller.models and isinstance(answer, oip.RepositoryIndexResponse):
            return oip.RepositoryIndexResponse(models=[each for each in answer.models if caller.may_see(each.name)])
        return answer
