"""Bodies are counted before they are read, and read beside the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from echoplaned.core.text import escape
from echoplaned.worker.http import inference, oip
from echoplaned.worker.http.anthropic import read_messages
from echoplaned.worker.http.generation import GenerationRequest
from echoplaned.worker.http.inference import ROUTES, infer
from echoplaned.worker.http.openai_requests import (
    MAX_INPUTS,
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_PROMPTS,
    EmbeddingRequest,
    read_chat,
    read_completion,
    read_embeddings,
)
from echoplaned.worker.tracing import short_name
from echoplaned.worker_contract.inference.errors import FieldError
from echoplaned.worker_contract.inference.preparing import INLINE_ELEMENTS

INFER = "/v2/models/m/infer"
LONG = "a" * INLINE_ELEMENTS


class EndedError(Exception):
    """The request was read, and goes no further."""


def tensor(data: Any, *shape: int, datatype: str = "INT64") -> dict[str, Any]:
    """Return a request with one tensor."""
    return {"inputs": [{"name": "x", "shape": list(shape), "datatype": datatype, "data": data}]}


def conversation(*contents: Any) -> dict[str, Any]:
    """Return a request that OpenAI and Anthropic both know."""
    return {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": one} for one in contents]}


def read(data: dict[str, Any]) -> list[int]:
    """Return the elements of a request's one tensor."""
    return list(oip.read_request(data, b"", "m", "").message.inputs[0].contents.int64_contents)


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        ("/v1/chat/completions", conversation(LONG), GenerationRequest),
        ("/v1/completions", {"model": "m", "prompt": LONG}, GenerationRequest),
        ("/v1/embeddings", {"model": "m", "input": LONG}, EmbeddingRequest),
        ("/v1/messages", conversation(LONG), GenerationRequest),
        (INFER, tensor([LONG], 1, datatype="BYTES"), oip.RestRequest),
    ],
)
def test_what_is_large_is_read_where_it_is_parsed(path: str, data: dict[str, Any], kind: type) -> None:
    """In one piece of work beside the loop, which has nothing left to do for each value."""
    found: list[object] = []

    async def parse(work: Callable[[], object], size_bytes: int, peer: str) -> None:
        assert (size_bytes, peer) == (len(body), "p")
        found.append(work())
        raise EndedError

    body = json.dumps(data).encode()
    options = SimpleNamespace(max_concurrency=4, context_length=64)
    serving: Any = SimpleNamespace(model=SimpleNamespace(options=options), answerer=SimpleNamespace(parse=parse))
    exchange: Any = SimpleNamespace(path=path, headers={}, peer="p")
    deps: Any = None
    with pytest.raises(EndedError):
        asyncio.run(ROUTES.get(path, infer)(deps, exchange, serving, body))
    assert [type(one) for one in found] == [kind]


@pytest.mark.parametrize(
    ("reads", "data", "says"),
    [
        (read_chat, {"model": "m", "messages": [7] * (MAX_MESSAGES + 1)}, "messages: has 4097 entries"),
        (read_messages, {"model": "m", "max_tokens": 1, "messages": [7] * (MAX_MESSAGES + 1)}, "messages: has 4097"),
        (read_chat, conversation([7] * MAX_PARTS, [7]), "messages: have 4097 parts"),
        (read_messages, conversation([7] * MAX_PARTS, [7]), "messages: have 4097 parts"),
        (read_messages, {**conversation("x"), "system": [7] * (MAX_PARTS + 1)}, "system: has 4097 entries"),
        (read_completion, {"model": "m", "prompt": [None] * (MAX_PROMPTS + 1)}, "prompt: has 4097 texts"),
        (read_embeddings, {"model": "m", "input": [None] * (MAX_INPUTS + 1)}, "input: has 2049 texts"),
        (read, {"inputs": [7] * 17}, "inputs: has 17 entries"),
        (read, {**tensor([1], 1), "outputs": [7] * 17}, "outputs: has 17 entries"),
        (read, {**tensor([1], 1), "parameters": {str(index): [] for index in range(65)}}, "parameters: has 65 entries"),
        (read, tensor([None] * 3, 1, 2), "has 3 elements; its shape says 2"),
    ],
)
def test_what_is_too_much_is_counted_first(reads: Callable[[Any], Any], data: dict[str, Any], says: str) -> None:
    """None of it is what it should be, and none of it was looked at."""
    with pytest.raises(FieldError, match=says):
        reads(data)


def test_as_much_as_allowed_is_read() -> None:
    """Messages, and parts of several messages together."""
    assert len(read_chat(conversation(*["x"] * MAX_MESSAGES)).messages) == MAX_MESSAGES
    part = {"type": "text", "text": "x"}
    (first, last) = read_messages(conversation([part] * (MAX_PARTS - 1), [part])).messages
    assert (len(first["content"]), last["content"]) == (2 * MAX_PARTS - 3, "x")


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([1, 2, 3, 4, 5, 6], (1, 2, 3)),
        ([[[1, 2, 3], [4, 5, 6]]], (1, 2, 3)),
        ([[1, 2], [3, 4], [5, 6]], (3, 2)),
    ],
)
def test_data_is_flat_or_nested_as_its_shape(data: list[Any], shape: tuple[int, ...]) -> None:
    """Row by row either way."""
    assert read(tensor(data, *shape)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([[1, 2], [3, 4]], (4,)),
        ([[1, 2], [3, 4]], (1, 4)),
        ([[1, 2, 3], [4]], (2, 2)),
        ([[1, 2], 3, 4], (2, 2)),
        ([[1, 2], "34"], (2, 2)),
        ([[1]], ()),
    ],
)
def test_data_that_is_nested_otherwise(data: list[Any], shape: tuple[int, ...]) -> None:
    """The error names the field and the shape."""
    with pytest.raises(FieldError, match=r"inputs\[0\].data: must be flat, or nested as its shape says"):
        read(tensor(data, *shape))


@pytest.mark.parametrize("mark", ["\u0301", "\u3164", "\x1b", "a"])
def test_long_names_are_not_escaped(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user longer than the gateway reads is told as its digest without a look at its characters; a shorter one as ever."""
    looked_at: list[int] = []

    def counted(text: str) -> str:
        looked_at.append(len(text))
        return escape(text)

    monkeypatch.setattr(inference, "escape", counted)
    exchange: Any = SimpleNamespace(headers={})
    long = mark * 1_000_000
    assert inference._origin(exchange, long).conversation == hashlib.blake2b(long.encode(), digest_size=16).hexdigest()
    assert max(looked_at, default=0) <= 8192
    assert inference._origin(exchange, mark * 8192).conversation == short_name(escape(mark * 8192))
    assert inference._origin(exchange, f"anna{mark}").conversation == escape(f"anna{mark}")


def test_errors_do_not_quote_the_whole_body() -> None:
    """Names and values that a caller wrote stand in an error as far as a line goes."""
    huge = "\u0301" * 100_000
    kinds = [{"type": huge}, {"type": [huge]}, {"type": {"a": huge}}]
    for part in kinds:
        with pytest.raises(FieldError, match="must be text") as refused:
            read_chat(conversation([part]))
        assert len(str(refused.value)) < 1000
    body = {"inputs": [{"name": huge, "shape": [1], "datatype": "BYTES", "data": ["\ud800"]}]}
    with pytest.raises(FieldError, match="half a character") as refused:
        oip.read_request(body, b"", "m", "")
    assert len(str(refused.value)) < 1000
