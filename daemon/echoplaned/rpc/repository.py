"""The Open Inference Protocol on the daemon's own address.

Triton's repository extension, and what can be said without a model.
A thin face of the same commands as ModelService. Inference itself is on each instance's address.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2
from echoplaned.core.commands import DeleteModel, DeleteVersion, Request
from echoplaned.core.errors import (
    CallerNotAllowedError,
    DaemonError,
    FieldInvalidError,
    NotImplementedHereError,
    VersionNotFoundError,
)
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import InvalidField
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import model_name, version_name
from echoplaned.core.queries import version_state
from echoplaned.core.state import Model, Operation, State, Version, VersionState
from echoplaned.ports.handle import Handle
from echoplaned.rpc.admission import Admission, require_operation
from echoplaned.rpc.convert.common import DTYPE_TO_PB
from echoplaned.rpc.following import Watchers
from echoplaned.rpc.health_view import ready_count
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lookup import find_model, find_version
from echoplaned.rpc.names import parse_model
from echoplaned.rpc.principal import current_principal, may_see
from echoplaned.rpc.repository_catalogue import RepositoryCatalogue, load_again
from echoplaned.rpc.validate import MAX_VIOLATIONS, check

_ABSENT = "UNAVAILABLE"
_ROUTES_S = 5.0
"""Longest wait for every subscriber to have the routes of what was loaded."""

_MAX_SHOWN = 80

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
    """Lists, loads and unloads models for Triton's clients.

    A call waits until it is done, as they expect.
    """

    def __init__(
        self,
        handle: Handle,
        admission: Admission,
        catalogue: RepositoryCatalogue,
        daemon_version: str,
        watchers: Watchers,
    ) -> None:
        self._handle = handle
        self._admission = admission
        self._catalogue = catalogue
        self._version = daemon_version
        self._watchers = watchers

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
        """List every version of every model, and what could be loaded.

        A load takes each by its name.
        """
        _check_repository(request.repository_name)
        loadable = {} if request.ready else await self._catalogue.loadable()
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
        entries += [
            oip.RepositoryIndexResponse.ModelIndex(
                name=model_id, version=each.request.version_id, state=_ABSENT, reason=each.reason
            )
            for model_id, each in sorted(loadable.items())
            if model_id not in self._handle.state.models
        ]
        return oip.RepositoryIndexResponse(models=entries)

    async def RepositoryModelLoad(  # noqa: N802 - the protocol's name
        self, request: oip.RepositoryModelLoadRequest, context: Context
    ) -> oip.RepositoryModelLoadResponse:
        """Load a version, or the serving one again; answer when it is ready.

        Parameters are as in LoadModel. Without a source it is a model that is there, one that was unloaded, as it was loaded, or a
        checkpoint beneath a root, by the id that it would have or by its name.
        """
        _check_repository(request.repository_name)
        load = await self._read_load(request)
        if not may_see(load.model_id):
            # What was unloaded is found by its alias too, which says nothing of whose it is.
            raise CallerNotAllowedError(
                f"{current_principal()} is not for the model {request.model_name[:_MAX_SHOWN]!r}"
            )
        check(load)
        with self._watchers.reserve(context.peer()):
            accepted = await self._admission.load(load, context.peer())
            await self._finished(accepted.operation)
        # Whoever loads asks next, and a gateway that has not heard of the model yet would say that there is none.
        with contextlib.suppress(TimeoutError):
            await self._handle.wait_until(_followed(load.model_id), _ROUTES_S)
        return oip.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(  # noqa: N802 - the protocol's name
        self, request: oip.RepositoryModelUnloadRequest, context: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """Delete a model, or one version of it; answer when it has gone.

        What is not there has gone already. The version is the one that the parameter ``version_id`` names. How a model was loaded is
        kept, so that its name loads it again.
        """
        _check_repository(request.repository_name)
        unknown = request.parameters.keys() - {"version_id", "unload_dependents"}
        _refuse_parameters(unknown, "is not known; known: version_id")
        model = self._find(request.model_name)
        version_id = _text(request.parameters, "version_id")
        if "version_id" in request.parameters and not version_id:
            _refuse_parameters({"version_id"}, "must not be empty: without it all versions go")
        if model is None or (version_id and version_id not in model.versions):
            return oip.RepositoryModelUnloadResponse()
        model_id = model.model_id
        stamp = Request(self._handle.now_s(), self._handle.new_id(), principal=current_principal())
        event = DeleteVersion(stamp, model_id, version_id) if version_id else DeleteModel(stamp, model_id)
        # Before the command: a call that may not wait deletes nothing.
        with self._watchers.reserve(context.peer()):
            if not version_id:
                await self._catalogue.keep(model)
            await self._finished(require_operation(await self._handle.submit(event)))
        return oip.RepositoryModelUnloadResponse()

    def model_id_of(self, name: str) -> str:
        """Return the id of the model that has a name; the name itself where none has."""
        model = self._find(name)
        return name if model is None else model.model_id

    def _serving(self, name: str, version_id: str) -> tuple[Model, Version]:
        model = find_model(self._handle.state, parse_model(name))
        if not version_id and not model.serving_version:
            raise VersionNotFoundError(
                model_name(model.model_id), f"{model_name(model.model_id)} serves no version yet"
            )
        return find_version(self._handle.state, VersionKey(model.model_id, version_id or model.serving_version))

    async def _read_load(self, request: oip.RepositoryModelLoadRequest) -> models_pb2.LoadModelRequest:
        parameters = request.parameters
        known = "source_uri, version_id, engine, dtype, context_length, max_concurrency, replicas"
        _refuse_parameters(parameters.keys() - _TEXT - _NUMBERS - {"dtype"}, f"is not known; known: {known}")
        if "source_uri" in parameters:
            load = models_pb2.LoadModelRequest(model_id=request.model_name)
        else:
            load = await self._by_name(request)
        for name in _TEXT & parameters.keys():
            setattr(load, name, _text(parameters, name))
        for name in _NUMBERS & parameters.keys():
            number = _number(parameters, name)
            if not 0 <= number < 2**31:
                _refuse_parameters({name}, "is out of range")
            setattr(load, name, number)
        if "dtype" in parameters:
            named = next((d for d in Dtype if d.value == _text(parameters, "dtype")), None)
            if named is None:
                _refuse_parameters({"dtype"}, f"must be one of {', '.join(Dtype)}")
            else:
                load.dtype = DTYPE_TO_PB[named]
        return load

    async def _by_name(self, request: oip.RepositoryModelLoadRequest) -> models_pb2.LoadModelRequest:
        """Return the request that loads what goes by a name.

        Raises:
            FieldInvalidError: nothing does, so its source is needed.
        """
        parameters = request.parameters
        model = self._find(request.model_name)
        wanted = _text(parameters, "version_id")
        version = None if model is None else model.versions.get(wanted or model.serving_version)
        if model is not None and version is not None:
            return load_again(model, version)
        found = await self._catalogue.find(request.model_name) if model is None else None
        if found is None or (wanted and found.version_id not in {"", wanted}):
            name = request.model_name[:_MAX_SHOWN]
            asked = version_name(name, wanted) if wanted else model_name(name)
            text = f"is needed to load {asked} for the first time: nothing beneath the roots goes by this name"
            raise FieldInvalidError(InvalidField('parameters["source_uri"]', text))
        return found

    def _find(self, name: str) -> Model | None:
        """Return the model that has a name, an id or an alias; None where none has."""
        models = self._handle.state.models
        model_id = name.removeprefix("models/")
        return models.get(model_id) or next((each for each in models.values() if name in each.aliases), None)

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


def _followed(model_id: str) -> Callable[[State], bool]:
    """Return whether subscribers have a model's newest routes.

    True also where it has gone.
    """

    def followed(state: State) -> bool:
        model = state.models.get(model_id)
        if model is None:
            return True
        routed = model.routes is not None and any(each.routed for each in model.routes.clusters)
        return routed and model.progress.acknowledged

    return followed


def _done(operation_id: str) -> Callable[[State], bool]:
    def done(state: State) -> bool:
        operation = state.operations.get(operation_id)
        return operation is None or operation.done

    return done


def _check_repository(name: str) -> None:
    if name:
        raise FieldInvalidError(InvalidField("repository_name", "must be empty: there is one repository"))


def _text(parameters: Mapping[str, oip.ModelRepositoryParameter], name: str) -> str:
    """Return a parameter's text; empty: it was not given.

    Raises:
        FieldInvalidError: it has a value of another kind, which would read as no text.
    """
    if name in parameters and parameters[name].WhichOneof("parameter_choice") != "string_param":
        _refuse_parameters({name}, "must be a text")
    return parameters[name].string_param if name in parameters else ""


def _number(parameters: Mapping[str, oip.ModelRepositoryParameter], name: str) -> int:
    """Return the number of a parameter that was given.

    Raises:
        FieldInvalidError: it has a value of another kind, which would read as 0.
    """
    if parameters[name].WhichOneof("parameter_choice") != "int64_param":
        _refuse_parameters({name}, "must be a whole number")
    return parameters[name].int64_param


def _refuse_parameters(names: set[str] | frozenset[str], text: str) -> None:
    if names:
        named = sorted(names)[:MAX_VIOLATIONS]
        raise FieldInvalidError(*(InvalidField(f'parameters["{name[:64]}"]', text) for name in named))
