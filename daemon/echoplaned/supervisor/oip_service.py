"""The Open Inference Protocol in front of an engine that does not speak it.

It has the embedded engine's signature, requests and answers.

``xds:///models/m`` reaches this service, and so do the daemon's prober and scorer; OpenAI's traffic goes to the engine itself.
"""

# ruff: noqa: N802 - the methods have the names of the service
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version as distribution_version
from typing import Any, Final

import grpc
import numpy as np

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.facts import Signature, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.request_reader import EOF, RequestReader
from echoplaned.supervisor.latencies import Latencies
from echoplaned.supervisor.translating import NO_TOKEN, Generated, Prompt, TextScore, Translator
from echoplaned.worker_contract.inference.connection_turns import ConnectionTurns
from echoplaned.worker_contract.inference.counters import RequestCounters
from echoplaned.worker_contract.inference.engine_caller import EngineCaller, read_caller
from echoplaned.worker_contract.inference.errors import Blame, CallError, InvalidInputError, NotServingError
from echoplaned.worker_contract.inference.idle_streams import IdleStreams
from echoplaned.worker_contract.inference.preparing import ELEMENT_BYTES, INLINE_ELEMENTS, Preparer
from echoplaned.worker_contract.inference.refusals import end_refused
from echoplaned.worker_contract.inference.requests import (
    CheckedRequest,
    InferOrder,
    check_allowed,
    check_model,
    check_request,
)
from echoplaned.worker_contract.inference.screened import add_screened, require_parsed
from echoplaned.worker_contract.inference.screening import BatchLimits, Unread
from echoplaned.worker_contract.inference.tensors import Tensor, write_output

VERSION_TRAILER: Final = "echoplane-version"

_ASK_THE_DAEMON: Final = "an instance serves one version; ask the daemon for its models"
_FINAL: Final = "triton_final_response"

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """What the engine serves.

    Attributes:
        instance: instance that is served.
        task: task that the model is served for.
        context_length: tokens of one sequence, prompt and generated together.
        max_concurrency: most sequences in one request.
        signature: inputs and outputs of the model.
        translator: translator of inference for the engine.
        platform: name of the engine's kind.
    """

    instance: InstanceKey
    task: Task
    context_length: int
    max_concurrency: int
    signature: Signature
    translator: Translator
    platform: str


class TranslatingService(oip_grpc.GRPCInferenceServiceServicer):
    """Answers inference by translating requests for the engine.

    Every answer, errors included, names its version in the trailer ``echoplane-version``.

    Args:
        control_key: what a call must carry to count as the daemon's.
        counters: of the calls that come this way.
        latencies: theirs.
    """

    def __init__(self, control_key: str, counters: RequestCounters, latencies: Latencies) -> None:
        self._control_key = control_key
        self._counters = counters
        self._latencies = latencies
        self._turns = ConnectionTurns()
        self._idle = IdleStreams()
        # One thread: what is read is Python's alone, and several would only wait for each other.
        self._preparer = Preparer(threads=1, what="reading the values")
        self.served: Served | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add inference to a server: its requests are looked at before they are parsed."""
        add_screened(self, self._limits, server)

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        """The process answers, so it lives."""
        del request, context
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        """Ready once the engine serves."""
        del request, context
        return oip.ServerReadyResponse(ready=self.served is not None)

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        """Ready if this very model (and version, where one is named) is served."""
        del context
        if self.served is None:
            return oip.ModelReadyResponse(ready=False)
        here = self.served.instance.version
        return oip.ModelReadyResponse(ready=request.name == here.model and request.version in {"", here.version})

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        """Name, version and extensions."""
        del request, context
        return oip.ServerMetadataResponse(name="echoplane", version=distribution_version("echoplaned"))

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        """The model's tensors; ``text`` and ``input_ids`` are alternatives."""
        try:
            served = self._serving()
            check_model(request.name, request.version, served)
        except CallError as error:
            await context.abort(error.code, str(error))
        here = served.instance.version
        response = oip.ModelMetadataResponse(
            name=here.model, versions=[here.version], platform=f"echoplane_{served.platform}"
        )
        for spec in served.signature.inputs:
            response.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in served.signature.outputs:
            response.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        return response

    async def ModelInfer(self, request: oip.ModelInferRequest | Unread, context: Context) -> oip.ModelInferResponse:
        """Answer one request; a failed one ends with a status other than OK."""
        caller = read_caller(context, self._control_key)
        with self._counters.begin(probe=caller.is_probe) as call:
            began_s = self._latencies.now_s()
            try:
                response = await self._infer(request, context, caller)
            except CallError as error:
                call.fail(error.blame)
                del request
                await end_refused(context, error)
            except asyncio.CancelledError:
                call.fail(_blame_of_cancel(context))
                raise
            call.succeed()
            self._latencies.ended(began_s)
            return response

    async def _infer(
        self, request: oip.ModelInferRequest | Unread, context: Context, caller: EngineCaller
    ) -> oip.ModelInferResponse:
        served = self._serving()
        context.set_trailing_metadata(((VERSION_TRAILER, served.instance.version.version),))
        parsed = require_parsed(request)
        async with self._turns.acquire(caller.peer, parsed.ByteSize):
            order = await self._read(parsed, served, caller)
            return _response(parsed, served, order, await _answer(served, order))

    async def ModelStreamInfer(
        self, _requests: object, context: Context
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Answer a stream of requests one after the other.

        A generation is sent token by token. An error is sent in the stream, which goes on.
        """
        caller, reader = read_caller(context, self._control_key), RequestReader(context)
        while (request := await self._idle.read(reader, context, caller.peer)) is not EOF:
            with self._counters.begin() as call:
                began_s = self._latencies.now_s()
                try:
                    # Closed here, not by the garbage collector: a caller that has gone must not leave its work behind.
                    async with aclosing(self._stream_one(request, context, began_s, caller)) as responses:
                        async for response in responses:
                            yield oip.ModelStreamInferResponse(infer_response=response)
                            del response
                except CallError as error:
                    call.fail(error.blame)
                    yield oip.ModelStreamInferResponse(
                        error_message=f"{error.code.name}: {error}", infer_response=oip.ModelInferResponse()
                    )
                except (asyncio.CancelledError, GeneratorExit):
                    call.fail(_blame_of_cancel(context))
                    raise
                call.succeed()
                self._latencies.ended(began_s)
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
        self, request: oip.ModelInferRequest | Unread, context: Context, began_s: float, caller: EngineCaller
    ) -> AsyncGenerator[oip.ModelInferResponse, None]:
        served = self._serving()
        context.set_trailing_metadata(((VERSION_TRAILER, served.instance.version.version),))
        parsed = require_parsed(request)
        turn = self._turns.acquire(caller.peer, parsed.ByteSize)
        async with turn, aclosing(self._stream_in_turn(parsed, served, began_s, caller)) as responses:
            async for response in responses:
                yield response

    async def _stream_in_turn(
        self, parsed: oip.ModelInferRequest, served: Served, began_s: float, caller: EngineCaller
    ) -> AsyncGenerator[oip.ModelInferResponse, None]:
        order = await self._read(parsed, served, caller)
        if order.scoring is not None:
            response = _response(parsed, served, order, await _answer(served, order))
            response.parameters[_FINAL].bool_param = True
            yield response
            return
        prompts = _prompts(order)
        if len(prompts) != 1:
            raise InvalidInputError(f"a streamed generation takes one sequence a request, not {len(prompts)}")
        token_s = 0.0
        async with aclosing(served.translator.stream(prompts[0], order.sampling)) as pieces:
            async for piece in pieces:
                token_s = self._latencies.token(began_s, token_s)
                generated = Generated(piece.text, [piece.token_id], [piece.logprob])
                response = _response(parsed, served, order, _generation([generated]))
                response.parameters[_FINAL].bool_param = piece.last
                yield response

    async def _read(self, request: oip.ModelInferRequest, served: Served, caller: EngineCaller) -> InferOrder:
        """Check a request and read it, by the rules of the embedded engine.

        Many values are read beside the event loop, which goes on reporting meanwhile.

        Raises:
            CallError: it is not accepted, or too much is being read already.
        """
        if not caller.is_daemon:
            check_allowed(request.parameters)
        checked = check_request(request, served, served.signature)
        if checked.order.as_int8:
            raise InvalidInputError(
                "this engine cannot answer as in INT8: only the embedded engine has the weights for it"
            )
        if checked.elements <= INLINE_ELEMENTS:
            return _read_values(checked, served)
        read = partial(_read_values, checked, served)
        return await self._preparer.run(read, ELEMENT_BYTES * checked.elements, caller.peer)

    def _serving(self) -> Served:
        if self.served is None:
            raise NotServingError("this engine does not serve yet")
        return self.served

    def _limits(self) -> BatchLimits | None:
        return None if self.served is None else BatchLimits(self.served.max_concurrency, self.served.context_length)


def _read_values(checked: CheckedRequest, served: Served) -> InferOrder:
    """Read the values; of sequences that may be cut, what is used.

    The rest would be held for as long as the answer takes.
    """
    order = checked.read()
    if not order.truncate:
        return order
    return replace(order, rows=tuple(row[: served.context_length] for row in order.rows))


def _prompts(order: InferOrder) -> list[Prompt]:
    return [*order.texts, *(list(row) for row in order.rows)]


async def _answer(served: Served, order: InferOrder) -> dict[str, Tensor]:
    """Run all sequences of a request to their end, and return the answer.

    They run at once, as the engine batches them; the first failure ends all of them.
    """
    try:
        async with asyncio.TaskGroup() as group:
            if order.scoring is not None:
                score = served.translator.score
                scored = [group.create_task(score(one, truncate=order.truncate)) for one in _prompts(order)]
            else:
                generate = served.translator.generate
                made = [group.create_task(generate(one, order.sampling)) for one in _prompts(order)]
    except BaseExceptionGroup as errors:
        # What is raised within `except*` is put into a group again (PEP 654), by some releases of Python and not by others.
        refused = errors.subgroup(CallError)
        if refused is None:
            raise
        raise _first(refused) from None
    if order.scoring is not None:
        return _scores([one.result() for one in scored])
    return _generation([one.result() for one in made])


def _first(errors: BaseExceptionGroup[CallError]) -> CallError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _generation(rows: list[Generated]) -> dict[str, Tensor]:
    tensors = _token_tensors([row.token_ids for row in rows], [row.logprobs for row in rows])
    return {"text": [row.text.encode() for row in rows], **tensors}


def _scores(rows: list[TextScore]) -> dict[str, Tensor]:
    """Return scores as tensors, without whole distributions.

    No foreign engine gives those at a bearable cost.
    """
    return _token_tensors([row.token_ids for row in rows], [row.logprobs for row in rows])


def _token_tensors(ids: list[list[int]], logprobs: list[list[float]]) -> dict[str, Tensor]:
    """Return rows of token ids and of log-probabilities as two rectangular tensors.

    Short rows are filled up: ids with -1, log-probabilities with 0.
    """
    shape = (len(ids), max(map(len, ids)))
    all_ids, all_logprobs = np.full(shape, NO_TOKEN, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    for index, (row, values) in enumerate(zip(ids, logprobs, strict=True)):
        all_ids[index, : len(row)] = row
        all_logprobs[index, : len(values)] = values
    return {"token_ids": all_ids, "logprobs": all_logprobs}


def _response(
    request: oip.ModelInferRequest, served: Served, order: InferOrder, tensors: dict[str, Tensor]
) -> oip.ModelInferResponse:
    """Write the wanted outputs in the form in which the inputs came."""
    here = served.instance.version
    response = oip.ModelInferResponse(model_name=here.model, model_version=here.version, id=request.id)
    for name in order.outputs:
        if name in tensors:  # whole distributions never are
            write_output(response, name, tensors[name], raw=order.raw)
    return response


def _blame_of_cancel(context: Context) -> Blame:
    """Return whose fault the cancelling of a call is.

    A deadline that passed was too short for the engine or its load; otherwise the caller went away.
    """
    left_s = context.time_remaining()
    return Blame.CLIENT if left_s is None or left_s > 0 else Blame.LOAD
