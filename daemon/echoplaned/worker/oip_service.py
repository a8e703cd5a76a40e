"""The Open Inference Protocol's gRPC service, as far as inference goes."""

# ruff: noqa: N802 - the methods have the names of the service
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from importlib.metadata import version as distribution_version
from typing import Any, Final

import grpc
import numpy as np

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.facts import Task
from echoplaned.request_reader import EOF, RequestReader
from echoplaned.worker.answering import Piece
from echoplaned.worker.tracing import TraceOrigin, short_name
from echoplaned.worker.worker import Serving, Worker
from echoplaned.worker_contract.inference.connection_turns import ConnectionTurns
from echoplaned.worker_contract.inference.engine_caller import EngineCaller, read_caller
from echoplaned.worker_contract.inference.errors import Blame, CallError, NotServingError
from echoplaned.worker_contract.inference.idle_streams import IdleStreams
from echoplaned.worker_contract.inference.refusals import end_refused
from echoplaned.worker_contract.inference.requests import MAX_ID, InferOrder, check_allowed, check_model, check_request
from echoplaned.worker_contract.inference.screened import add_screened, require_parsed
from echoplaned.worker_contract.inference.screening import BatchLimits, Unread
from echoplaned.worker_contract.inference.tensors import Tensor, output_steps, write_output

VERSION_TRAILER: Final = "echoplane-version"
CONVERSATION: Final = "echoplane-conversation"
"""Metadata by which a caller may say which of its requests belong together."""

PROMPT_CLASS: Final = "echoplane-class"
"""Metadata by which a caller may say what kind of request one is."""

_ASK_THE_DAEMON: Final = "an instance serves one version; ask the daemon for its models"
_DONE: Final = object()
_FINAL: Final = "triton_final_response"

Context = grpc.aio.ServicerContext[Any, Any]


class InferenceService(oip_grpc.GRPCInferenceServiceServicer):
    """Answers inference over the Open Inference Protocol.

    Every answer, errors included, names its version in the trailer ``echoplane-version``.

    Args:
        worker: the worker's state.
        control_key: what a call must carry to count as the daemon's.
    """

    def __init__(self, worker: Worker, control_key: str) -> None:
        self._worker = worker
        self._control_key = control_key
        self._turns = ConnectionTurns()
        self._idle = IdleStreams()

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        """The process answers, so it lives."""
        del request, context
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        """Ready once the model is loaded."""
        del request, context
        return oip.ServerReadyResponse(ready=self._worker.serving is not None)

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        """Ready if this very model (and version, where one is named) is loaded."""
        del context
        serving = self._worker.serving
        if serving is None:
            return oip.ModelReadyResponse(ready=False)
        here = serving.model.options.instance.version
        return oip.ModelReadyResponse(ready=request.name == here.model and request.version in {"", here.version})

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        """Name, version and extensions."""
        del request, context
        return oip.ServerMetadataResponse(name="echoplane", version=distribution_version("echoplaned"))

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        """The model's tensors; ``text`` and ``input_ids`` are alternatives."""
        try:
            serving = self._serving()
            check_model(request.name, request.version, serving.model.options)
        except CallError as error:
            await context.abort(error.code, str(error))
        here = serving.model.options.instance.version
        response = oip.ModelMetadataResponse(name=here.model, versions=[here.version], platform="echoplane_torch")
        for spec in serving.model.signature.inputs:
            response.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in serving.model.signature.outputs:
            response.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        return response

    async def ModelInfer(self, request: oip.ModelInferRequest | Unread, context: Context) -> oip.ModelInferResponse:
        """Answer one request; a failed one ends with a status other than OK."""
        caller = read_caller(context, self._control_key)
        with self._worker.counters.begin(probe=caller.is_probe) as call:
            try:
                response = await self._infer(request, context, caller)
            except CallError as error:
                call.fail(error.blame)
                del request
                await end_refused(context, error)
            except asyncio.CancelledError:
                call.fail(_blame_of_cancel(context, self._worker.serving))
                raise
            call.succeed()
            return response

    async def _infer(
        self, request: oip.ModelInferRequest | Unread, context: Context, caller: EngineCaller
    ) -> oip.ModelInferResponse:
        serving = self._serving()
        self._name_version(serving, context)
        parsed = require_parsed(request)
        async with self._turns.acquire(caller.peer, parsed.ByteSize):
            order = await _order(parsed, serving, caller)
            return await _answer(parsed, serving, order, _origin(caller))

    async def ModelStreamInfer(
        self, _requests: object, context: Context
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Answer a stream of requests one after the other.

        A generation is sent token by token. An error is sent in the stream, which goes on.
        """
        reader, peer = RequestReader(context), read_caller(context, self._control_key).peer
        while (request := await self._idle.read(reader, context, peer)) is not EOF:
            with self._worker.counters.begin() as call:
                try:
                    # Closed here, not by the garbage collector: a caller that has gone must not leave its work behind.
                    async with aclosing(self._stream_one(require_parsed(request), context)) as responses:
                        async for response in responses:
                            yield oip.ModelStreamInferResponse(infer_response=response)
                            del response
                except CallError as error:
                    call.fail(error.blame)
                    yield oip.ModelStreamInferResponse(
                        error_message=f"{error.code.name}: {error}",
                        infer_response=oip.ModelInferResponse(id=_short_id(request)),
                    )
                except (asyncio.CancelledError, GeneratorExit):
                    call.fail(_blame_of_cancel(context, self._worker.serving))
                    raise
                call.succeed()
            del request  # while the stream waits for the next one, which may be long

    async def RepositoryIndex(
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        """Refused: the repository is the daemon's."""
        del request
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _ASK_THE_DAEMON)

    async def RepositoryModelLoad(
        self, request: oip.RepositoryModelLoadRequest, context: Context
    ) -> oip.RepositoryModelLoadResponse:
        """Refused: the repository is the daemon's."""
        del request
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _ASK_THE_DAEMON)

    async def RepositoryModelUnload(
        self, request: oip.RepositoryModelUnloadRequest, context: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """Refused: the repository is the daemon's."""
        del request
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _ASK_THE_DAEMON)

    async def _stream_one(
        self, request: oip.ModelInferRequest, context: Context
    ) -> AsyncGenerator[oip.ModelInferResponse, None]:
        serving = self._serving()
        self._name_version(serving, context)
        caller = read_caller(context, self._control_key)
        turn = self._turns.acquire(caller.peer, request.ByteSize)
        async with turn, aclosing(self._stream_in_turn(request, serving, caller)) as responses:
            async for response in responses:
                yield response

    async def _stream_in_turn(
        self, request: oip.ModelInferRequest, serving: Serving, caller: EngineCaller
    ) -> AsyncGenerator[oip.ModelInferResponse, None]:
        order = await _order(request, serving, caller)
        if serving.model.options.task is not Task.GENERATION or order.scoring is not None:
            response = await _answer(request, serving, order, _origin(caller))
            response.parameters[_FINAL].bool_param = True
            yield response
            return
        async with aclosing(serving.answerer.stream(order, _origin(caller))) as pieces:
            async for piece in pieces:
                response = write_response(request, serving, order, _piece_tensors(piece))
                response.parameters[_FINAL].bool_param = piece.token.last
                yield response

    def _serving(self) -> Serving:
        """Return what is served.

        Raises:
            NotServingError: nothing is.
        """
        if self._worker.serving is None:
            raise NotServingError("this worker has no model")
        return self._worker.serving

    def _name_version(self, serving: Serving, context: Context) -> None:
        context.set_trailing_metadata(((VERSION_TRAILER, serving.model.options.instance.version.version),))


def add_inference(service: InferenceService, worker: Worker, server: grpc.aio.Server) -> None:
    """Add inference to a server: its requests are looked at before they are parsed."""
    add_screened(service, lambda: _batch_limits(worker), server)


def _batch_limits(worker: Worker) -> BatchLimits | None:
    if worker.serving is None:
        return None
    options = worker.serving.model.options
    return BatchLimits(options.max_concurrency, options.context_length)


def _short_id(request: oip.ModelInferRequest | Unread) -> str:
    """Return what names a request that failed to its caller."""
    return "" if isinstance(request, Unread) else request.id[:MAX_ID]


async def _order(request: oip.ModelInferRequest, serving: Serving, caller: EngineCaller) -> InferOrder:
    """Check a request, then read it.

    Raises:
        CallError: it is not accepted.
    """
    if not caller.is_daemon:
        check_allowed(request.parameters)
    checked = check_request(request, serving.model.options, serving.model.signature)
    return await serving.answerer.read(checked, caller.peer)


async def _answer(
    request: oip.ModelInferRequest, serving: Serving, order: InferOrder, origin: TraceOrigin
) -> oip.ModelInferResponse:
    """Run one request to its end."""
    tensors = await answer_tensors(serving, order, origin)
    response = _begin_response(request, serving)
    for name in order.outputs:
        if name not in tensors:
            continue  # distributions that are too large for an answer
        steps = output_steps(response, name, tensors[name], raw=order.raw)
        # The first step is all that there is of most answers; for each further one the loop turns, and connections take turns at it.
        is_left = next(steps, _DONE) is not _DONE
        while is_left:
            is_left = await serving.writing.run(partial(next, steps, _DONE), order.peer) is not _DONE
    return response


async def answer_tensors(serving: Serving, order: InferOrder, origin: TraceOrigin) -> dict[str, Tensor]:
    """Run one request to its end and return its outputs by name.

    Raises:
        CallError: it is too long, the queue is full, or the model failed.
    """
    if order.scoring is not None:
        return await serving.answerer.scores(order)
    if serving.model.options.task is Task.GENERATION:
        return await serving.answerer.generation(order, origin)
    return await serving.answerer.vectors(order, serving.model.signature.outputs[0].name, origin)


def write_response(
    request: oip.ModelInferRequest, serving: Serving, order: InferOrder, tensors: dict[str, Tensor]
) -> oip.ModelInferResponse:
    """Write the wanted outputs of a piece in the form in which the inputs came."""
    response = _begin_response(request, serving)
    for name in order.outputs:
        if name in tensors:
            write_output(response, name, tensors[name], raw=order.raw)
    return response


def _begin_response(request: oip.ModelInferRequest, serving: Serving) -> oip.ModelInferResponse:
    here = serving.model.options.instance.version
    return oip.ModelInferResponse(model_name=here.model, model_version=here.version, id=request.id)


def _piece_tensors(piece: Piece) -> dict[str, Tensor]:
    return {
        "text": [piece.text.encode()],
        "token_ids": np.array([[piece.token.token_id]], dtype=np.int64),
        "logprobs": np.array([[piece.token.logprob]], dtype=np.float32),
    }


def _origin(caller: EngineCaller) -> TraceOrigin:
    """Return what a caller says of where its request comes from."""
    headers = caller.headers
    return TraceOrigin(
        short_name(headers.get(CONVERSATION, "")), caller.is_probe, short_name(headers.get(PROMPT_CLASS, ""))
    )


def _blame_of_cancel(context: Context, serving: Serving | None) -> Blame:
    """Say whose fault it is that a call was cut.

    A deadline that passed while the model stands still is the version's. One that passed while it computes at its usual pace was shorter
    than the load, or the model itself, allows: with that deadline the best of versions would have failed.
    """
    left_s = context.time_remaining()
    if left_s is None or left_s > 0:
        return Blame.CLIENT
    return Blame.SERVER if serving is not None and serving.batcher.is_stalled else Blame.LOAD
