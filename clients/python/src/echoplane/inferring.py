"""Clients that call models: one gRPC client a model.

By `xds:///` through the routes, or straight at an instance.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self, cast

import grpc
import grpc.aio

from echoplane.channels import DIRECT_OPTIONS, install_bootstrap
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc
from echoplane.names import is_version, model_id, model_name, version_name
from echoplane.options import DEFAULT_ADDRESS
from echoplane.rpc_errors import translated
from echoplane.tensors import Answer, Query, build_request, read_answer

VERSION_TRAILER: Final = "echoplane-version"


def target_of(model: str) -> str:
    """Return what gRPC dials for a model or for one version of it.

    Given as ``NAME``, ``NAME/VERSION`` or a full name.
    """
    return f"xds:///{version_name(model) if is_version(model) else model_name(model)}"


def _trailer_version(trailers: Iterable[tuple[str, str | bytes]] | None) -> str:
    for key, value in trailers or ():
        if key == VERSION_TRAILER:
            return value if isinstance(value, str) else value.decode()
    return ""


class InferenceClient:
    """Calls one model. Thread-safe; use it as a context manager, or close it.

    ``model``: ``NAME`` (through the routes) or ``NAME/VERSION`` (that version alone). ``control``: the daemon's address, for the xDS
    bootstrap of this process (see ``install_bootstrap``). ``target``: dial this instead, for example an instance's ``HOST:PORT``.
    """

    def __init__(
        self, model: str, *, control: str = DEFAULT_ADDRESS, target: str | None = None, timeout_s: float = 30.0
    ) -> None:
        if target is None:
            install_bootstrap(control)
        self._model = model_id(model)
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(target or target_of(model), DIRECT_OPTIONS)
        self._stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every call and let go of the connections."""
        self._channel.close()

    def infer(self, query: Query, timeout_s: float | None = None) -> Answer:
        """Make one inference; a failed one is not tried again.

        It may have been made.

        Raises:
            EchoplaneError: the call failed; ``timeout_s`` (seconds, default the client's) ran out.
            ValueError: the answer disagrees with itself.
        """
        request = build_request(self._model, query)
        with translated():
            response, call = self._stub.ModelInfer.with_call(request, timeout=_or_default(timeout_s, self._timeout_s))
        return read_answer(response, _trailer_version(call.trailing_metadata()))

    def infer_texts(self, texts: list[str], timeout_s: float | None = None) -> Answer:
        """Make one inference with texts."""
        return self.infer(Query(texts=texts), timeout_s)

    def infer_tokens(self, token_ids: list[list[int]], timeout_s: float | None = None) -> Answer:
        """Make one inference with token ids, one list a sequence."""
        return self.infer(Query(token_ids=token_ids), timeout_s)

    def ready(self, timeout_s: float | None = None) -> bool:
        """Say whether the model answers inferences now.

        Raises:
            EchoplaneError: nothing answered at all.
        """
        request = oip.ModelReadyRequest(name=self._model)
        with translated():
            return self._stub.ModelReady(request, timeout=_or_default(timeout_s, self._timeout_s)).ready


class AsyncInferenceClient:
    """Calls one model from asyncio; see ``InferenceClient``.

    Make it within the event loop.
    """

    def __init__(
        self, model: str, *, control: str = DEFAULT_ADDRESS, target: str | None = None, timeout_s: float = 30.0
    ) -> None:
        if target is None:
            install_bootstrap(control)
        self._model = model_id(model)
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(target or target_of(model), DIRECT_OPTIONS)
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._stub = cast("grpc_service_pb2_grpc.GRPCInferenceServiceAsyncStub", stub)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every call and let go of the connections."""
        await self._channel.close(None)

    async def infer(self, query: Query, timeout_s: float | None = None) -> Answer:
        """Make one inference; a failed one is not tried again.

        It may have been made.

        Raises:
            EchoplaneError: the call failed; ``timeout_s`` (seconds, default the client's) ran out.
            ValueError: the answer disagrees with itself.
        """
        request = build_request(self._model, query)
        with translated():
            call = self._stub.ModelInfer(request, timeout=_or_default(timeout_s, self._timeout_s))
            response = await call
            trailers = await call.trailing_metadata()
        return read_answer(response, _trailer_version(cast("Iterable[tuple[str, str | bytes]]", trailers)))

    async def ready(self, timeout_s: float | None = None) -> bool:
        """Say whether the model answers inferences now.

        Raises:
            EchoplaneError: nothing answered at all.
        """
        request = oip.ModelReadyRequest(name=self._model)
        with translated():
            return (await self._stub.ModelReady(request, timeout=_or_default(timeout_s, self._timeout_s))).ready


def _or_default(timeout_s: float | None, default_s: float) -> float:
    """Return a call's time; 0 is one, and leaves none."""
    return default_s if timeout_s is None else timeout_s
