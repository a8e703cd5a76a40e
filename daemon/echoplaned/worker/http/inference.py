"""Answers each path of inference: parse, check, run, write."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np

from echoplaned.core.facts import Task
from echoplaned.core.text import escape
from echoplaned.worker.http import oip
from echoplaned.worker.http.anthropic import MessageWriter, read_messages
from echoplaned.worker.http.exchange import MAX_BODY_BYTES, Exchange, to_json
from echoplaned.worker.http.generation import AnswerWriter, GenerationRequest, generate
from echoplaned.worker.http.json_body import parse_object
from echoplaned.worker.http.json_pieces import Chunks, write_in_turns
from echoplaned.worker.http.openai_answers import ChatWriter, CompletionWriter, write_embeddings
from echoplaned.worker.http.openai_requests import (
    MAX_INPUTS,
    EmbeddingRequest,
    read_chat,
    read_completion,
    read_embeddings,
)
from echoplaned.worker.oip_service import CONVERSATION, PROMPT_CLASS, answer_tensors
from echoplaned.worker.tracing import TraceOrigin, short_name
from echoplaned.worker.worker import Serving
from echoplaned.worker_contract.inference.errors import FieldError, WrongModelError
from echoplaned.worker_contract.inference.lengths import text_limit
from echoplaned.worker_contract.inference.preparing import INLINE_ELEMENTS
from echoplaned.worker_contract.inference.requests import InferOrder, check_request
from echoplaned.worker_contract.inference.sampling import Sampling

_EMBEDDINGS: Final = "/v1/embeddings"
_ROUTED_AS: Final = "echoplane-model"
"""Header by which a gateway says under which name it found this model: an alias, or the name itself."""

_SHARED_CONVERSATION: Final = "x-conversation-id"
_SPARE_BYTES: Final = 256 * 1024  # of a body beside its texts and token ids
_BYTES_PER_CHARACTER: Final = 16  # of JSON at most: two escapes of six, and what stands around them
_MAX_NAME: Final = 8192  # characters of a user that the gateway takes for the name of a conversation
_SPARE_VALUES: Final = 16 * 1024
_MAX_VALUES: Final = 256 * 1024
"""Of a body at most: token ids beyond so many go as binary data, where each takes 8 bytes and no object."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deps:
    """What answers need beside the model.

    Attributes:
        wall: seconds since the epoch.
    """

    wall: Callable[[], float]


def body_limit(serving: Serving, path: str) -> int:
    """Return how many bytes of a body are read at most.

    That is what a version's longest texts take, and 16 MiB at most.
    """
    options = serving.model.options
    texts = MAX_INPUTS if path == _EMBEDDINGS else options.max_concurrency
    return min(MAX_BODY_BYTES, _SPARE_BYTES + _BYTES_PER_CHARACTER * texts * text_limit(options.context_length, 1))


async def chat(deps: Deps, exchange: Exchange, serving: Serving, body: bytes) -> None:
    """Answer ``POST /v1/chat/completions``."""
    request = await _read(exchange, serving, body, read_chat)
    await _generate(exchange, serving, request, ChatWriter(serving, request, int(deps.wall())))


async def complete(deps: Deps, exchange: Exchange, serving: Serving, body: bytes) -> None:
    """Answer ``POST /v1/completions``."""
    request = await _read(exchange, serving, body, read_completion)
    await _generate(exchange, serving, request, CompletionWriter(serving, request, int(deps.wall())))


async def message(deps: Deps, exchange: Exchange, serving: Serving, body: bytes) -> None:
    """Answer ``POST /v1/messages``."""
    del deps
    request = await _read(exchange, serving, body, read_messages)
    await _generate(exchange, serving, request, MessageWriter(request))


async def embed(deps: Deps, exchange: Exchange, serving: Serving, body: bytes) -> None:
    """Answer ``POST /v1/embeddings``."""
    del deps
    request = await _read(exchange, serving, body, read_embeddings)
    _check_name(exchange, serving, request.model)
    if serving.model.options.task is not Task.EMBEDDING:
        task = serving.model.options.task.value.lower()
        raise FieldError("model", f"{request.model[:64]!r} makes no embeddings: it is served for {task}")
    rows = await _embedding_rows(exchange, serving, request)
    vectors = await _vectors(serving, rows, exchange.peer, _origin(exchange, request.conversation))
    told = write_embeddings(vectors, request.model, sum(map(len, rows)), as_base64=request.as_base64)
    await _tell(exchange, serving, told, is_large=isinstance(told["data"], Chunks))


async def infer(deps: Deps, exchange: Exchange, serving: Serving, body: bytes) -> None:
    """Answer ``POST /v2/models/MODEL[/versions/VERSION]/infer``."""
    del deps
    asked = oip.split_path(exchange.path)
    model, version = ("", "") if asked is None else asked[:2]
    head, binary = oip.split_body(body, exchange.headers.get(oip.BINARY_HEADER))
    read = partial(oip.read_request, binary=binary, model=model, version=version)
    request = await _read(exchange, serving, head, read)
    checked = check_request(request.message, serving.model.options, serving.model.signature)
    order = await serving.answerer.read(checked, exchange.peer)
    tensors = await answer_tensors(serving, order, _origin(exchange, ""))
    told, behind = oip.write_response(serving, request, order.outputs, tensors)
    is_large = any(isinstance(one.get("data"), Chunks) for one in told["outputs"])
    if not behind:
        await _tell(exchange, serving, told, is_large=is_large)
        return
    pieces = await write_in_turns(told, serving.writing, exchange.peer) if is_large else [to_json(told)]
    length = [(oip.BINARY_HEADER.encode(), str(sum(map(len, pieces))).encode())]
    await exchange.answer_pieces([*pieces, behind], "application/octet-stream", length)


ROUTES: Final[Mapping[str, Callable[[Deps, Exchange, Serving, bytes], Coroutine[Any, Any, None]]]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": complete,
    _EMBEDDINGS: embed,
    "/v1/messages": message,
}


async def _read(exchange: Exchange, serving: Serving, body: bytes, read: Callable[[dict[str, Any]], T]) -> T:
    """Parse a body and read what it asks for; a large one beside the loop.

    Raises:
        CallError: a field is missing, not taken, or out of range, or too much is being read already.
        RefusedError: it is no JSON object, or has too many values.
    """
    options = serving.model.options
    texts = MAX_INPUTS if exchange.path == _EMBEDDINGS else options.max_concurrency
    max_values = min(_MAX_VALUES, _SPARE_VALUES + 2 * texts * options.context_length)

    def work() -> T:
        return read(parse_object(body, max_values))

    if len(body) <= INLINE_ELEMENTS:
        return work()
    return await serving.answerer.parse(work, len(body), exchange.peer)


async def _tell(exchange: Exchange, serving: Serving, told: dict[str, Any], *, is_large: bool) -> None:
    """Answer with JSON; ``is_large``: there are ``Chunks`` in it."""
    if is_large:
        pieces = await write_in_turns(told, serving.writing, exchange.peer)
        await exchange.answer_pieces(pieces, "application/json")
    else:
        await exchange.answer_json(200, told)


async def _generate(exchange: Exchange, serving: Serving, request: GenerationRequest, writer: AnswerWriter) -> None:
    _check_name(exchange, serving, request.model)
    await generate(exchange, serving, request, writer, _origin(exchange, request.conversation))


def _check_name(exchange: Exchange, serving: Serving, name: str) -> None:
    """Refuse another model's name.

    A gateway that knows the model by an alias says so in a header.

    Raises:
        WrongModelError: it is another's.
    """
    here = serving.model.options.instance.version.model
    if name not in {here, exchange.headers.get(_ROUTED_AS)}:
        raise WrongModelError(f"the model {name[:64]!r} is not served here; this is {here!r}")


def _origin(exchange: Exchange, conversation: str) -> TraceOrigin:
    """Return who asks, for telemetry.

    A header says which requests belong together, else the request's own word for its user.
    """
    headers = exchange.headers
    named = headers.get(CONVERSATION) or headers.get(_SHARED_CONVERSATION) or conversation
    names = [short_name(_shown(name)) for name in (named, headers.get(PROMPT_CLASS, ""))]
    return TraceOrigin(names[0], probe=False, prompt_class=names[1])


def _shown(name: str) -> str:
    """Return a caller's name with what cannot be seen written out.

    A long one is returned as it is, since only its digest is told: escaping eight million marks would hold the loop for nine seconds.
    """
    return escape(name) if len(name) <= _MAX_NAME else name


async def _embedding_rows(exchange: Exchange, serving: Serving, request: EmbeddingRequest) -> list[list[int]]:
    order = InferOrder(request.texts, request.rows, Sampling(), (), raw=False, peer=exchange.peer)
    return await serving.answerer.token_rows(order)


async def _vectors(
    serving: Serving, rows: list[list[int]], peer: str, origin: TraceOrigin
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the rows' vectors, [rows, width].

    More rows than a batch has go in several, each waiting for its turn.
    """
    most = serving.model.options.max_concurrency
    name = serving.model.signature.outputs[0].name
    found: list[Any] = []
    for start in range(0, len(rows), most):
        part = tuple(tuple(row) for row in rows[start : start + most])
        order = InferOrder((), part, Sampling(), (), raw=False)
        tensors = await serving.answerer.vectors(replace(order, peer=peer), name, origin)
        found.append(np.asarray(tensors[name], dtype=np.float32))
    return np.concatenate(found)
