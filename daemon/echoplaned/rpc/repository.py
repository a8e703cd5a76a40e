"""The Open Inference Protocol on the daemon's own address: Triton's repository extension, and what can be said without a model.

A thin face of the same events as ModelService. Inference itself is on each instance's address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2
from echoplaned.core.commands import DeleteModel, DeleteVersion, Request
from echoplaned.core.errors import DaemonError, FieldInvalidError, NotImplementedHereError, VersionNotFoundError
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import InvalidField
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import model_name, version_name
from echoplaned.core.queries import version_state
from echoplaned.core.state import Model, Operation, State, Version, VersionState
from echoplaned.ports.handle import Handle
from echoplaned.rpc.admission import Admission, require_operation
from echoplaned.rpc.convert.common import DTYPE_TO_PB
from echoplaned.rpc.convert.plans import overrides_to_pb
from echoplaned.rpc.health_view import ready_count
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lookup import find_model, find_version
from echoplaned.rpc.names import parse_model
from echoplaned.rpc.validate import check

EXTENSIONS = ("model_repository", "model_repository(unload_dependents)")

# Triton's words for a version's state.
_STATES: Mapping[VersionState, str] = MappingProxyType(
    {
        VersionState.LOADING: "LOADING",
        VersionState.READY: "READY",
        VersionState.DRAINING: "UNLOADING",
        VersionState.COLD: "UNAVAILABLE",
        VersionState.FAILED: "UNAVAILABLE",
    }
)
_TEXT = frozenset({"source_uri", "version_id", "engine"})
_NUMBERS = frozenset({"context_length", "max_concurrency", "replicas"})


class RepositoryService(oip_grpc.GRPCInferenceServiceServicer):
    """Lists, loads and unloads models for Triton's clients; waits until it is done, as they expect."""

    def __init__(self, handle: Handle, admission: Admission, daemon_version: str) -> None:
        self._handle = handle
        self._admission = admission
        self._version = daemon_version

    async def ServerLive(  # noqa: N802 - the protocol's name
        self, request: oip.ServerLiveRequest, context: Context
    ) -> oip.ServerLiveResponse:
        """Say that the daemon runs."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802 - the protocol's name
        self, request: oip.ServerReadyRequest, context: Context
    ) -> oip.ServerReadyResponse:
        """Say that the daemon takes calls."""
        return oip.ServerReadyResponse(ready=True)

    async def ServerMetadata(  # noqa: N802 - the protocol's name
        self, request: oip.ServerMetadataRequest, context: Context
    ) -> oip.ServerMetadataResponse:
        """Return name, version and extensions."""
        return oip.ServerMetadataResponse(name="echoplaned", version=self._version, extensions=EXTENSIONS)

    async def ModelReady(  # noqa: N802 - the protocol's name
        self, request: oip.ModelReadyRequest, context: Context
    ) -> oip.ModelReadyResponse:
        """Say whether a model, or one version of it, answers."""
        _, version = self._serving(request.name, request.version)
        return oip.ModelReadyResponse(ready=ready_count(version) > 0)

    async def ModelMetadata(  # noqa: N802 - the protocol's name
        self, request: oip.ModelMetadataRequest, context: Context
    ) -> oip.ModelMetadataResponse:
        """Return a model's inputs and outputs."""
        model, version = self._serving(request.name, request.version)
        tensor = oip.ModelMetadataResponse.TensorMetadata
        signature = version.facts.signature
        return oip.ModelMetadataResponse(
            name=model.model_id,
            versions=sorted(model.versions),
            platform=f"echoplane_{version.spec.shape.engine}",
            inputs=[tensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in signature.inputs],
            outputs=[tensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in signature.outputs],
        )

    async def ModelInfer(  # noqa: N802 - the protocol's name
        self, request: oip.ModelInferRequest, context: Context
    ) -> oip.ModelInferResponse:
        """Refuse: requests go to the instances."""
        target = f"xds:///{model_name(parse_model(request.model_name, 'model_name'))}"
        raise NotImplementedHereError(f"the daemon is not on the request path: dial {target}, or an instance's address")

    async def ModelStreamInfer(  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[oip.ModelInferRequest], context: Context
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Refuse: requests go to the instances."""
        async for request in request_iterator:
            target = f"xds:///{model_name(request.model_name[:80])}"
            yield oip.ModelStreamInferResponse(error_message=f"the daemon is not on the request path: dial {target}")

    async def RepositoryIndex(  # noqa: N802 - the protocol's name
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        """List every version of every model."""
        _check_repository(request.repository_name)
        entries = [
            oip.RepositoryIndexResponse.ModelIndex(
                name=model.model_id,
                version=version.key.version,
                state=_STATES[version_state(version)],
                reason="" if version.failure is None else version.failure.message,
            )
            for _, model in sorted(self._handle.state.models.items())
            for _, version in sorted(model.versions.items())
            if not request.ready or ready_count(version)
        ]
        return oip.RepositoryIndexResponse(models=entries)

    async def RepositoryModelLoad(  # noqa: N802 - the protocol's name
        self, request: oip.RepositoryModelLoadRequest, context: Context
    ) -> oip.RepositoryModelLoadResponse:
        """Load a version (parameters as in LoadModel), or the serving one again; answers when it is ready."""
        _check_repository(request.repository_name)
        load = self._read_load(request)
        check(load)
        accepted = await self._admission.load(load, context.peer())
        await self._finished(accepted.operation)
        return oip.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(  # noqa: N802 - the protocol's name
        self, request: oip.RepositoryModelUnloadRequest, context: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """Delete a model, or with parameter ``version_id`` one version of it; answers when it has gone."""
        _check_repository(request.repository_name)
        unknown = request.parameters.keys() - {"version_id", "unload_dependents"}
        _refuse_parameters(unknown, "is not known; known: version_id")
        model_id = parse_model(request.model_name, "model_name")
        stamp = Request(self._handle.now_s(), self._handle.new_id())
        version_id = request.parameters["version_id"].string_param if "version_id" in request.parameters else ""
        event = DeleteVersion(stamp, model_id, version_id) if version_id else DeleteModel(stamp, model_id)
        await self._finished(require_operation(await self._handle.submit(event)))
        return oip.RepositoryModelUnloadResponse()

    def _serving(self, name: str, version_id: str) -> tuple[Model, Version]:
        model = find_model(self._handle.state, parse_model(name))
        if not version_id and not model.serving_version:
            raise VersionNotFoundError(
                model_name(model.model_id), f"{model_name(model.model_id)} serves no version yet"
            )
        return find_version(self._handle.state, VersionKey(model.model_id, version_id or model.serving_version))

    def _read_load(self, request: oip.RepositoryModelLoadRequest) -> models_pb2.LoadModelRequest:
        parameters = request.parameters
        known = "source_uri, version_id, engine, dtype, context_length, max_concurrency, replicas"
        _refuse_parameters(parameters.keys() - _TEXT - _NUMBERS - {"dtype"}, f"is not known; known: {known}")
        if "source_uri" not in parameters:
            return self._again(request)
        load = models_pb2.LoadModelRequest(model_id=request.model_name)
        for name in _TEXT & parameters.keys():
            setattr(load, name, parameters[name].string_param)
        for name in _NUMBERS & parameters.keys():
            number = parameters[name].int64_param
            if not 0 <= number < 2**31:
                _refuse_parameters({name}, "is out of range")
            setattr(load, name, number)
        if "dtype" in parameters:
            named = next((d for d in Dtype if d.value == parameters["dtype"].string_param), None)
            if named is None:
                _refuse_parameters({"dtype"}, f"must be one of {', '.join(Dtype)}")
            else:
                load.dtype = DTYPE_TO_PB[named]
        return load

    def _again(self, request: oip.RepositoryModelLoadRequest) -> models_pb2.LoadModelRequest:
        """Return the request that loads a known version as it was loaded before."""
        parameters = request.parameters
        model_id = parse_model(request.model_name, "model_name")
        model = self._handle.state.models.get(model_id)
        wanted = parameters["version_id"].string_param if "version_id" in parameters else ""
        version_id = wanted or (model.serving_version if model is not None else "")
        version = model.versions.get(version_id) if model is not None else None
        if version is None:
            text = f"is needed to load {version_name(model_id, wanted) if wanted else model_name(model_id)} for the first time"
            raise FieldInvalidError(InvalidField('parameters["source_uri"]', text))
        spec, shape = version.spec, version.spec.shape
        return models_pb2.LoadModelRequest(
            model_id=model_id,
            version_id=version_id,
            source_uri=spec.source_uri,
            engine=shape.engine,
            engine_options=dict(shape.options),
            dtype=DTYPE_TO_PB[shape.dtype],
            context_length=shape.context_length,
            max_concurrency=shape.max_concurrency,
            replicas=shape.replicas,
            reservoir=overrides_to_pb(spec.reservoir),
        )

    async def _finished(self, operation: Operation) -> None:
        """Wait until an operation is done.

        Raises:
            DaemonError: it failed.
        """
        state = await self._handle.wait_until(_done(operation.operation_id))
        ended = state.operations.get(operation.operation_id, operation)
        if ended.failure is not None:
            raise OperationFailedError(ended.failure.message, ended.failure)


class OperationFailedError(DaemonError):
    """The operation behind a call that waits for it has failed; its failure says why."""


def _done(operation_id: str) -> Callable[[State], bool]:
    def done(state: State) -> bool:
        operation = state.operations.get(operation_id)
        return operation is None or operation.done

    return done


def _check_repository(name: str) -> None:
    if name:
        raise FieldInvalidError(InvalidField("repository_name", "must be empty: there is one repository"))


def _refuse_parameters(names: set[str] | frozenset[str], text: str) -> None:
    if names:
        raise FieldInvalidError(*(InvalidField(f'parameters["{name[:64]}"]', text) for name in sorted(names)))
