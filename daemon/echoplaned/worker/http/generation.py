"""Runs a generation that was asked for over HTTP, whole or streamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from echoplaned.core.facts import Task
from echoplaned.worker.chat_template import Message
from echoplaned.worker.completing import AnswerPiece, CompletionOrder, Finish, TextToken, seed_of
from echoplaned.worker.http.exchange import Exchange
from echoplaned.worker.http.json_pieces import write_in_turns
from echoplaned.worker.tracing import TraceOrigin
from echoplaned.worker.worker import Serving
from echoplaned.worker_contract.inference.errors import FieldError, InvalidInputError
from echoplaned.worker_contract.inference.requests import InferOrder
from echoplaned.worker_contract.inference.sampling import Sampling

MIN_TEMPERATURE: Final = 1e-6  # as over gRPC: below it a draw is the likeliest token


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What is to be generated.

    Attributes:
        model: the name that the caller wrote.
        sampling: how; ``max_tokens`` 0: as many as ``default_tokens`` and the context allow.
        default_tokens: of an answer whose length nobody gave; None: whatever the context has room for.
        messages: a conversation; empty: there are prompts.
        texts: prompts as texts.
        rows: prompts as token ids.
        count: answers to each prompt.
        stops: texts that end an answer.
        is_streamed: whether the answers come in pieces.
        has_usage: whether a stream ends with the tokens that it took.
        has_logprobs: whether tokens are told with their log-probabilities.
        conversation: who asks, as far as the caller says; empty: it does not.
    """

    model: str
    sampling: Sampling
    default_tokens: int | None = None
    messages: tuple[Message, ...] = ()
    texts: tuple[str, ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    count: int = 1
    stops: tuple[str, ...] = ()
    is_streamed: bool = False
    has_usage: bool = False
    has_logprobs: bool = False
    conversation: str = ""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that a request took.

    Attributes:
        prompt: of all prompts, each counted once.
        completion: of all answers, the model's sign for the end included.
    """

    prompt: int
    completion: int = 0


@dataclass(slots=True)
class WholeAnswer:
    """One answer, gathered from its pieces.

    Attributes:
        text: what may be shown.
        tokens: whose text it is.
        token_count: tokens generated.
        finish: why it ended.
        stop: the stop text that ended it; None: none did.
    """

    text: str = ""
    tokens: list[TextToken] = field(default_factory=list)
    token_count: int = 0
    finish: Finish = Finish.LENGTH
    stop: str | None = None

    def grow(self, piece: AnswerPiece) -> None:
        """Take a piece."""
        self.text += piece.text
        self.tokens += piece.tokens
        self.token_count = piece.token_count
        if piece.finish is not None:
            self.finish, self.stop = piece.finish, piece.stop


class AnswerWriter(Protocol):
    """Puts answers into an API's words."""

    def is_large(self, answers: list[WholeAnswer]) -> bool:
        """Say whether the answers are so large that they are written in pieces."""
        ...

    def whole(self, answers: list[WholeAnswer], usage: TokenUsage) -> dict[str, Any]:
        """Return the answers at once.

        Large ones have ``Chunks`` in the place of their long lists.
        """
        ...

    def opening(self, usage: TokenUsage) -> bytes:
        """Return how a stream begins."""
        ...

    def piece(self, piece: AnswerPiece) -> bytes:
        """Return what an answer has grown by."""
        ...

    def closing(self, usage: TokenUsage) -> bytes:
        """Return how a stream ends."""
        ...


async def generate(
    exchange: Exchange, serving: Serving, request: GenerationRequest, writer: AnswerWriter, origin: TraceOrigin
) -> None:
    """Generate, and answer.

    Raises:
        CallError: the request is not accepted, or the model failed.
        CallerGoneError: nobody reads the answer.
    """
    order, usage = await make_completion_order(serving, request, exchange.peer)
    answers = [WholeAnswer() for _ in order.rows]
    async with aclosing(serving.completer.run(order, origin)) as batches:
        async for batch in batches:
            for piece in batch:
                answers[piece.index].grow(piece)
            if request.is_streamed:
                await _write(exchange, writer, batch, usage)
    usage = replace(usage, completion=sum(answer.token_count for answer in answers))
    if request.is_streamed:
        await exchange.end_stream(writer.closing(usage))
    elif writer.is_large(answers):
        pieces = await write_in_turns(writer.whole(answers, usage), serving.writing, exchange.peer)
        await exchange.answer_pieces(pieces, "application/json")
    else:
        await exchange.answer_json(200, writer.whole(answers, usage))


async def _write(exchange: Exchange, writer: AnswerWriter, batch: list[AnswerPiece], usage: TokenUsage) -> None:
    """Send pieces, and before the first of them the stream's beginning.

    What fails before the first piece has a status of its own.
    """
    data = b"".join(map(writer.piece, batch))
    if not exchange.has_begun:
        await exchange.begin_stream()
        data = writer.opening(usage) + data
    if data:
        await exchange.write(data)


async def make_completion_order(
    serving: Serving, request: GenerationRequest, peer: str
) -> tuple[CompletionOrder, TokenUsage]:
    """Return a request's rows, each with its sampling, and the tokens of its prompts.

    Raises:
        CallError: a prompt is too long, or there are more answers than a request may have.
    """
    options = serving.model.options
    prompts = await _prompt_rows(serving, request, peer)
    if len(prompts) * request.count > options.max_concurrency:
        raise FieldError(
            "n",
            f"{len(prompts)} prompts with {request.count} answers each are more sequences than this version's "
            f"max_concurrency, {options.max_concurrency}",
        )
    default = options.context_length if request.default_tokens is None else request.default_tokens
    samplings: list[Sampling] = []
    for row in prompts:
        settled = serving.answerer.settle(request.sampling, row, default)
        samplings += [replace(settled, seed=seed_of(settled.seed, index)) for index in range(request.count)]
    rows = tuple(tuple(row) for row in prompts for _ in range(request.count))
    usage = TokenUsage(prompt=sum(map(len, prompts)))
    return CompletionOrder(rows, tuple(samplings), request.stops, peer, goes_on=not request.messages), usage


async def _prompt_rows(serving: Serving, request: GenerationRequest, peer: str) -> list[list[int]]:
    if serving.model.options.task is not Task.GENERATION:
        raise FieldError("model", f"{request.model[:64]!r} does not generate text: it is served for {_task(serving)}")
    if request.messages:
        return [await serving.answerer.chat_row(request.messages, peer)]
    order = InferOrder(request.texts, request.rows, request.sampling, (), raw=False, peer=peer)
    if order.size > serving.model.options.max_concurrency:
        raise InvalidInputError(
            f"{order.size} prompts are more than this version's max_concurrency, {serving.model.options.max_concurrency}"
        )
    return await serving.answerer.token_rows(order)


def _task(serving: Serving) -> str:
    return serving.model.options.task.value.lower()


def sse(value: bytes, event: str = "") -> bytes:
    """Return one server-sent event.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    named = f"event: {event}\n".encode() if event else b""
    return named + b"data: " + value + b"\n\n"


def valid_sampling(sampling: Sampling) -> Sampling:
    """Return a sampling whose temperature is one that can be computed with.

    Raises:
        FieldError: it is above 0, and so small that a draw is the likeliest token.
    """
    if 0 < sampling.temperature < MIN_TEMPERATURE:
        raise FieldError("temperature", f"must be 0, for the likeliest token, or at least {MIN_TEMPERATURE:g}")
    return sampling


def token_texts(serving: Serving, ids: Iterator[int]) -> Iterator[tuple[str, bytes]]:
    """Yield each token's text and bytes.

    A token that holds half a character has its bytes written out as its text.
    """
    for token_id in ids:
        raw = serving.model.token_bytes(token_id)
        try:
            yield raw.decode(), raw
        except UnicodeDecodeError:
            yield "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), raw
