"""Large answers are written in pieces: the same bytes, and the loop turns between them."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from echoplane.inference import grpc_service_pb2
from echoplaned.worker.completing import TextToken
from echoplaned.worker.http import json_pieces, oip
from echoplaned.worker.http.anthropic import MessageWriter
from echoplaned.worker.http.exchange import Exchange, to_json
from echoplaned.worker.http.generation import GenerationRequest, TokenUsage, WholeAnswer
from echoplaned.worker.http.json_pieces import PIECE_FLOATS, PIECE_VALUES, Chunks, listed, write_in_turns
from echoplaned.worker.http.openai_answers import ChatWriter, CompletionWriter, OpenAiWriter, write_embeddings
from echoplaned.worker.loop_turns import LoopTurns
from echoplaned.worker.sequences import Sampling, Token
from tests.turning import counted_turns

USAGE = TokenUsage(3, 5)
TEXTS = [b"a", b'"', b"\n", "\u00e9".encode(), b"\xc3", b" the", b""]


def serving() -> Any:
    """Return what serves a model of seven tokens, one of them half a character."""
    version = SimpleNamespace(model="m", version="v1")
    model = SimpleNamespace(
        options=SimpleNamespace(instance=SimpleNamespace(version=version)),
        token_bytes=lambda token_id: TEXTS[token_id % len(TEXTS)],
    )
    return SimpleNamespace(model=model)


def answers(tokens: int, top: int, count: int = 3) -> list[WholeAnswer]:
    """Return answers of so many tokens, each with its alternatives."""
    found = []
    for index in range(count):
        told = [
            TextToken(
                Token(at + index, -at / 7, last=False, alternatives=tuple((at + n, -n / 3) for n in range(top))), at
            )
            for at in range(tokens)
        ]
        found.append(WholeAnswer(text='x"\n\u00e9' * tokens, tokens=told, token_count=tokens))
    return found


def request(top: int, *, has_logprobs: bool = True) -> GenerationRequest:
    """Return a request for log-probabilities."""
    return GenerationRequest("m", Sampling(top_logprobs=top), has_logprobs=has_logprobs)


async def written(value: object) -> bytes:
    """Return what is written of a value in turns."""
    return b"".join(await write_in_turns(value, LoopTurns(), "p"))


def directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have answers written whole from now on, whatever their size."""
    monkeypatch.setattr(json_pieces, "SMALL_PIECES", 10**9)


@pytest.mark.parametrize("top", [0, 5, 20])
@pytest.mark.parametrize("kind", [ChatWriter, CompletionWriter])
async def test_completions_are_the_same_bytes(
    kind: type[OpenAiWriter], top: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many log-probabilities in pieces are byte for byte what they are in one go; an answer without a token among them as well."""
    found = [*answers(PIECE_VALUES * 3 + 1, top), WholeAnswer()]
    writer = kind(serving(), request(top), 7)
    assert writer.is_large(found)
    in_pieces = await written(writer.whole(found, USAGE))
    directly(monkeypatch)
    assert not writer.is_large(found)
    assert in_pieces == to_json(writer.whole(found, USAGE))


@pytest.mark.parametrize("as_base64", [False, True])
async def test_embeddings_are_the_same_bytes(as_base64: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many vectors in pieces are byte for byte what they are in one go, as digits and as base64."""
    vectors = np.random.default_rng(0).standard_normal((800, 384)).astype(np.float32)
    told = write_embeddings(vectors, 'm"\u00e9', 9, as_base64=as_base64)
    assert isinstance(told["data"], Chunks)
    in_pieces = await written(told)
    directly(monkeypatch)
    assert in_pieces == to_json(write_embeddings(vectors, 'm"\u00e9', 9, as_base64=as_base64))


async def test_tensors_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the Open Inference Protocol as well, of whole numbers and of others."""
    asked = oip.RestRequest(grpc_service_pb2.ModelInferRequest(id="7"), {}, is_binary=False)
    drawn = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        "text": [b"a", b"\xff"],
        "logprobs": drawn.standard_normal((50, 1000)).astype(np.float32),
        "token_ids": drawn.integers(-1, 10**6, (50, 1000)),
    }
    told, _ = oip.write_response(serving(), asked, tuple(tensors), tensors)
    assert [isinstance(one["data"], Chunks) for one in told["outputs"]] == [False, True, True]
    in_pieces = await written(told)
    directly(monkeypatch)
    assert in_pieces == to_json(oip.write_response(serving(), asked, tuple(tensors), tensors)[0])


@pytest.mark.parametrize("value", [{}, [], {"a": [], "b": {}}, [1, {"c": None}], "x", {"\u00e9": [[1.5], "\ud800"]}])
async def test_any_value_is_the_same_bytes(value: object) -> None:
    """Whatever stands around the long lists is written as ever; lists without an element too."""
    assert await written(value) == to_json(value)
    assert await written({"a": value, "b": Chunks(iter(()))}) == to_json({"a": value, "b": []})


async def turns_beside(work: Any) -> int:
    """Return how often the loop turns while some work is done."""
    async with counted_turns() as turns:
        await work
    return turns.count


async def test_the_loop_turns_between_log_probabilities() -> None:
    """While 60,000 of them are written the loop has a turn for every few hundred."""
    found = answers(1000, 20)
    told = ChatWriter(serving(), request(20), 7).whole(found, USAGE)
    assert await turns_beside(written(told)) >= 3 * 1000 * 21 // (2 * PIECE_VALUES)


async def test_the_loop_turns_between_vectors() -> None:
    """While a million numbers are written the loop has a turn for every few thousand."""
    told = write_embeddings(np.ones((256, 4096), dtype=np.float32), "m", 9, as_base64=False)
    assert await turns_beside(written(told)) >= 256 * 4096 // (2 * PIECE_FLOATS)


async def test_connections_take_turns_at_writing() -> None:
    """A small answer among large ones of one connection waits for a few pieces, not for the whole of them."""
    turns, pieces = LoopTurns(), 0

    def count(one: int) -> int:
        nonlocal pieces
        pieces += 1
        return one

    large = [
        asyncio.create_task(write_in_turns(listed(range(200), lambda _: "x" * 20_000, 1), turns, "greedy"))
        for _ in range(20)
    ]
    counted = asyncio.create_task(write_in_turns(listed(range(2000), count, 1), turns, "counted"))
    await asyncio.sleep(0)
    await write_in_turns(listed([1], str, 1), turns, "small")
    assert not any(one.done() for one in large)
    await asyncio.gather(counted, *large)
    assert pieces == 2000


def test_small_answers_are_written_whole() -> None:
    """The usual ones: two dozen tokens with alternatives, a few vectors, any without log-probabilities, all of Anthropic's."""
    assert not ChatWriter(serving(), request(20), 7).is_large(answers(PIECE_VALUES // 63, 20))
    assert not ChatWriter(serving(), request(0, has_logprobs=False), 7).is_large(answers(5000, 0))
    assert not MessageWriter(request(0)).is_large(answers(5000, 0, count=1))
    told = write_embeddings(np.zeros((10, 384), dtype=np.float32), "m", 9, as_base64=False)
    assert json.loads(to_json(told))["data"][9]["index"] == 9


async def test_a_body_in_pieces_has_its_length() -> None:
    """Its head says how long the body is; each piece goes as it is, and the last one ends it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    exchange = Exchange({"method": "POST", "path": "/", "headers": []}, receive, send, list)
    await exchange.answer_pieces([b"ab", b"c", b"def"], "application/json")
    assert (b"content-length", b"6") in sent[0]["headers"]
    assert [(one["body"], one["more_body"]) for one in sent[1:]] == [(b"ab", True), (b"c", True), (b"def", False)]
    assert exchange.has_ended
