"""ModelService: models, their versions, and everything that changes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from google.protobuf.empty_pb2 import Empty

from echoplane.googleapis import operations_pb2 as longrunning_pb2
from echoplane.v1 import models_pb2, models_pb2_grpc, operations_pb2
from echoplaned.core import commands
from echoplaned.core.commands import Request
from echoplaned.core.commands.request import find_repeated
from echoplaned.core.errors import FieldInvalidError, ModelNotFoundError, NotImplementedHereError, VersionNotFoundError
from echoplaned.core.failure import InvalidField
from echoplaned.core.names import key_name, model_name, version_name
from echoplaned.core.state import Operation
from echoplaned.ports.handle import Handle
from echoplaned.ports.leaders import PidOf
from echoplaned.rpc.admission import Accepted, Admission, require_operation
from echoplaned.rpc.convert.models import model_to_pb
from echoplaned.rpc.convert.operations import operation_to_pb, planned_to_pb
from echoplaned.rpc.convert.versions import version_to_pb
from echoplaned.rpc.deduplication import RequestDeduplicator, digest_of
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lookup import find_model, find_version
from echoplaned.rpc.names import parse_model, parse_version
from echoplaned.rpc.paging import PageQuery, write_page
from echoplaned.rpc.principal import current_principal, may_see
from echoplaned.rpc.probing import HealthChecker

_NOT_YET = frozenset({"tier", "max_concurrency"})
DeleteRequest = models_pb2.DeleteModelRequest | models_pb2.DeleteModelVersionRequest
DeleteCommand = commands.DeleteModel | commands.DeleteVersion


class ModelService(models_pb2_grpc.ModelServiceServicer):
    """Turns requests into commands and snapshots into answers."""

    def __init__(
        self, handle: Handle, admission: Admission, memory: RequestDeduplicator, health: HealthChecker, pid_of: PidOf
    ) -> None:
        self._handle = handle
        self._admission = admission
        self._memory = memory
        self._health = health
        self._pid_of = pid_of

    async def LoadModel(  # noqa: N802 - the API's name
        self, request: models_pb2.LoadModelRequest, context: Context
    ) -> longrunning_pb2.Operation:
        """Load a version."""
        return self._answer(await self._admission.load(request, context.peer()))

    async def UpdateModel(  # noqa: N802 - the API's name
        self, request: models_pb2.UpdateModelRequest, context: Context
    ) -> longrunning_pb2.Operation:
        """Roll a version out."""
        return self._answer(await self._admission.update(request, context.peer()))

    async def DeleteModel(  # noqa: N802 - the API's name
        self, request: models_pb2.DeleteModelRequest, context: Context
    ) -> longrunning_pb2.Operation:
        """Drain a model, stop its engines and delete it."""
        model_id = parse_model(request.name)
        command = commands.DeleteModel(self._stamp(request), model_id, request.force, request.etag)
        known = model_id in self._handle.state.models
        return await self._delete(request, command, None if known else ModelNotFoundError(model_name(model_id)))

    async def GetModel(  # noqa: N802 - the API's name
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.Model:
        """Return one model."""
        return model_to_pb(find_model(self._handle.state, parse_model(request.name)))

    async def ListModels(  # noqa: N802 - the API's name
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        """List models by name."""
        models = tuple(model for model in self._handle.state.models.values() if may_see(model.model_id))
        listed, token = await write_page(models, lambda m: (m.model_id,), request, PageQuery("ListModels"), model_to_pb)
        return models_pb2.ListModelsResponse(models=listed, next_page_token=token)

    async def ConfigureModel(  # noqa: N802 - the API's name
        self, request: models_pb2.ConfigureModelRequest, context: Context
    ) -> models_pb2.Model:
        """Change labels, aliases and pins."""
        model_id = parse_model(request.name)

        async def give() -> asyncio.Future[Operation | None]:
            return await self._handle.give(self._configuration(request, model_id))

        await self._memory.once(self._handle.state, request.request_id, digest_of(request), give)
        return model_to_pb(find_model(self._handle.state, model_id))

    async def GetModelVersion(  # noqa: N802 - the API's name
        self, request: models_pb2.GetModelVersionRequest, context: Context
    ) -> models_pb2.ModelVersion:
        """Return one version."""
        return version_to_pb(*find_version(self._handle.state, parse_version(request.name)), self._pid_of)

    async def ListModelVersions(  # noqa: N802 - the API's name
        self, request: models_pb2.ListModelVersionsRequest, context: Context
    ) -> models_pb2.ListModelVersionsResponse:
        """List a model's versions, the latest first."""
        model = find_model(self._handle.state, parse_model(request.parent, "parent"))
        versions, token = await write_page(
            tuple(model.versions.values()),
            lambda v: (-v.create_time_s, v.key.version),
            request,
            PageQuery("ListModelVersions", model.model_id),
            lambda v: version_to_pb(model, v, self._pid_of),
        )
        return models_pb2.ListModelVersionsResponse(versions=versions, next_page_token=token)

    async def DeleteModelVersion(  # noqa: N802 - the API's name
        self, request: models_pb2.DeleteModelVersionRequest, context: Context
    ) -> longrunning_pb2.Operation:
        """Drain a version, stop its engines and delete it."""
        key = parse_version(request.name)
        command = commands.DeleteVersion(self._stamp(request), key.model, key.version)
        model = self._handle.state.models.get(key.model)
        known = model is not None and key.version in model.versions
        return await self._delete(request, command, None if known else VersionNotFoundError(key_name(key)))

    async def SetModelVersionTier(  # noqa: N802 - the API's name
        self, request: models_pb2.SetModelVersionTierRequest, context: Context
    ) -> longrunning_pb2.Operation:
        """Refuse: no engine can park yet."""
        find_version(self._handle.state, parse_version(request.name))
        raise NotImplementedHereError(
            "no engine of this daemon can park a version yet: DeleteModelVersion frees its memory, LoadModel brings it back"
        )

    async def CheckModelHealth(  # noqa: N802 - the API's name
        self, request: models_pb2.CheckModelHealthRequest, context: Context
    ) -> models_pb2.ModelHealth:
        """Probe every ready instance now."""
        model_id = parse_model(request.name)
        await self._health.probe(find_model(self._handle.state, model_id))
        return self._health.health(find_model(self._handle.state, model_id))

    async def GetModelHealth(  # noqa: N802 - the API's name
        self, request: models_pb2.GetModelHealthRequest, context: Context
    ) -> models_pb2.ModelHealth:
        """Return the last known health."""
        return self._health.health(find_model(self._handle.state, parse_model(request.name)))

    def _answer(self, accepted: Accepted) -> longrunning_pb2.Operation:
        state = self._handle.state
        if accepted.planned is not None:
            return planned_to_pb(accepted.operation, accepted.planned, state)
        operation = state.operations.get(accepted.operation.operation_id, accepted.operation)
        return operation_to_pb(operation, state, self._pid_of)

    def _stamp(self, request: DeleteRequest) -> Request:
        return Request(
            self._handle.now_s(), self._handle.new_id(), request.request_id, digest_of(request), current_principal()
        )

    async def _delete(
        self, request: DeleteRequest, command: DeleteCommand, missing: ModelNotFoundError | VersionNotFoundError | None
    ) -> longrunning_pb2.Operation:
        state = self._handle.state
        digest = digest_of(request)
        self._memory.refuse_reuse(request.request_id, digest)
        came_before = find_repeated(state, request.request_id, digest)
        if came_before is not None:
            return operation_to_pb(came_before, state, self._pid_of)
        if missing is not None and request.allow_missing:
            return _nothing_to_delete(command)
        if missing is not None:
            raise missing
        operation = await self._handle.submit(command)
        return operation_to_pb(require_operation(operation), self._handle.state, self._pid_of)

    def _configuration(self, request: models_pb2.ConfigureModelRequest, model_id: str) -> commands.ConfigureModel:
        _require_whole_fields(request.update_mask.paths)
        model = find_model(self._handle.state, model_id)
        paths = frozenset(request.update_mask.paths)
        if paths & _NOT_YET:
            names = ", ".join(sorted(paths & _NOT_YET))
            raise NotImplementedHereError(
                f"{names} cannot be changed on a loaded version yet: UpdateModel to a version with other options"
            )
        pins: tuple[tuple[str, bool], ...] = ()
        if "pinned" in paths:
            target = parse_version(request.version, "version").version if request.version else model.serving_version
            if request.version and parse_version(request.version, "version").model != model_id:
                raise FieldInvalidError(InvalidField("version", f"must be a version of {model_name(model_id)}"))
            if target not in model.versions:
                raise VersionNotFoundError(request.version or version_name(model_id, target or "-"))
            pins = ((target, request.pinned),)
        labels = tuple(sorted(request.labels.items())) if "labels" in paths else None
        stamp = Request(self._handle.now_s(), request_id=request.request_id, request_digest=digest_of(request))
        aliases = tuple(request.aliases) if "aliases" in paths else None
        return commands.ConfigureModel(stamp, model_id, labels, pins, request.etag, aliases)


def _require_whole_fields(paths: Iterable[str]) -> None:
    """Refuse a path into a field.

    The rule of a mask lets it through, and a label is not changed by itself.

    Raises:
        FieldInvalidError: there is one.
    """
    for index, path in enumerate(paths):
        if "." in path:
            text = f"a field is changed as a whole: say {json.dumps(path.partition('.')[0])}, and send all of it"
            raise FieldInvalidError(InvalidField(f"update_mask.paths[{index}]", text))


def _nothing_to_delete(command: DeleteCommand) -> longrunning_pb2.Operation:
    """Return the answer to a deletion of what is not there: done, without a name.

    It answers requests with ``allow_missing``.
    """
    message = longrunning_pb2.Operation(done=True)
    if isinstance(command, commands.DeleteVersion):
        target, kind = version_name(command.model, command.version), operations_pb2.OPERATION_KIND_DELETE_VERSION
    else:
        target, kind = model_name(command.model), operations_pb2.OPERATION_KIND_DELETE_MODEL
    message.metadata.Pack(
        operations_pb2.OperationMetadata(target=target, phase=operations_pb2.OPERATION_PHASE_DONE, kind=kind)
    )
    message.response.Pack(Empty())
    return message
