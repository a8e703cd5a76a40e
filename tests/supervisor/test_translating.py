"""What engines answer that lie: each of it is their error, in a word that the caller knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from echoplaned.engine_kinds import sglang, vllm
from echoplaned.engine_kinds.kind import EngineKind
from echoplaned.supervisor.http import EngineAddress, EngineHttp
from echoplaned.supervisor.launching import engine_of
from echoplaned.supervisor.llama_server import LlamaServer
from echoplaned.supervisor.openai import OpenAi
from echoplaned.supervisor.translating import Translator, read_event
from echoplaned.worker_contract.inference.errors import CallError, InvalidInputError, ModelFailedError
from echoplaned.worker_contract.inference.sampling import Sampling
from tests.supervisor.test_http import answer, engine, read_request

ONE = Sampling(max_tokens=1)
UNSAID = Sampling(max_tokens=0)
DEEP = "[" * 100_000 + "]" * 100_000
INFINITE = '{"tokens": [1e999]}'
CHOICE = {"text": "x", "logprobs": {"token_logprobs": [-1.0]}, "token_ids": [5]}
LLAMA = {
    "/v1/models": {"data": [{"meta": {"n_vocab": 10}}]},
    "/tokenize": {"tokens": [1, 2]},
    "/completion": {
        "content": "x", "tokens": [5], "completion_probabilities": [{"id": 5, "logprob": -1.0}], "stop": True,
    },
}  # fmt: skip


async def ask(make: Any, pages: Mapping[str, Any], *, status: int = 200) -> list[Any]:
    """Return a generation, its stream and a score by an engine with these answers, or what each of them raised."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            page = pages[request.split()[1].decode()]
            body = (page if isinstance(page, str) else json.dumps(page)).encode()
            writer.write(answer(b"data: " + body + b"\n\n" if b'"stream": true' in request else body, status=status))

    async with engine(serve) as http:
        translator: Translator = make(http)
        calls = (translator.generate("hi", ONE), stream(translator), translator.score("hi", truncate=True))
        try:
            await translator.open()
        except CallError as error:
            for one in calls:
                one.close()
            return [error]
        return [await caught(one) for one in calls]


async def stream(translator: Translator) -> list[Any]:
    """Return all pieces of a stream."""
    return [piece async for piece in translator.stream("hi", ONE)]


async def caught(call: Any) -> Any:
    """Return what a call returns or raises."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - of which kind it is, is what the tests ask
        return error


def openai(http: EngineHttp) -> OpenAi:
    """Return a translator for vLLM's API."""
    return OpenAi(http, engine_of(vllm.KIND), "m", 100)


def openai_of_sglang(http: EngineHttp) -> OpenAi:
    """Return a translator for SGLang's API."""
    return OpenAi(http, engine_of(sglang.KIND), "m", 100)


def llama(http: EngineHttp) -> LlamaServer:
    """Return a translator for llama-server's API."""
    return LlamaServer(http, 100)


async def test_good_answers_are_read() -> None:
    """The answers that the lies below are made from."""
    choice = {**CHOICE, "finish_reason": "length", "prompt_logprobs": [None, {"2": {"logprob": -2.0}}]}
    made, pieces, scored = await ask(
        openai, {"/v1/completions": {"choices": [choice]}, "/tokenize": {"tokens": [1, 2]}}
    )
    assert (made.text, made.token_ids, made.logprobs) == ("x", [5], [-1.0])
    assert [(one.text, one.token_id, one.last) for one in pieces] == [("x", 5, True)]
    assert (scored.token_ids, scored.logprobs) == ([2], [-2.0])
    made, pieces, _ = await ask(llama, LLAMA)
    assert (made.text, made.token_ids, made.logprobs) == ("x", [5], [-1.0])
    assert [(one.text, one.token_id, one.last) for one in pieces] == [("x", 5, True)]


@pytest.mark.parametrize("kind", [vllm.KIND, sglang.KIND])
async def test_a_generation_fits_the_context(kind: EngineKind) -> None:
    """Without max_tokens it is the default, or what the context has room for; of what does not fit no engine hears."""
    translator = OpenAi(EngineHttp(EngineAddress()), engine_of(kind), "m", 128)
    for length, most in ((1, 64), (64, 64), (120, 8), (127, 1)):
        assert (await translator._request([1] * length, UNSAID))["max_tokens"] == most
    assert (await translator._request("hi", UNSAID))["max_tokens"] == 64
    assert (await translator._request([1] * 123, Sampling(max_tokens=5)))["max_tokens"] == 5
    for length, wanted in ((128, 0), (124, 5)):
        with pytest.raises(InvalidInputError, match=f"a prompt of {length} tokens .* context_length of 128 tokens"):
            await translator._request([1] * length, Sampling(max_tokens=wanted))


@pytest.mark.parametrize(
    ("page", "most"),
    [({"tokens": [1] * 120}, 8), ({"tokens": [1] * 9}, 64), ({"tokens": 7}, 64), ("no such page", 64)],
)
async def test_so_does_one_of_a_text(page: Any, most: int) -> None:
    """The engine is asked how long a text is that may be too long; where it does not tell, it decides itself."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"/tokenize" in await read_request(reader)
        body = page if isinstance(page, str) else json.dumps(page)
        writer.write(answer(body.encode(), status=404 if isinstance(page, str) else 200))

    async with engine(serve) as http:
        translator = OpenAi(http, engine_of(vllm.KIND), "m", 128)
        assert (await translator._request("a b " * 30, UNSAID))["max_tokens"] == most


@pytest.mark.parametrize(
    "lie",
    [
        {"logprobs": {"content": [1]}},
        {"logprobs": {"content": [{"id": "5", "logprob": -1.0}]}},
        {"logprobs": {"token_logprobs": 5}},
        {"token_ids": 7},
        {"token_ids": ["a"]},
        {"token_ids": [10**30]},
        {"token_ids": [True]},
        {"text": 7},
        {"text": "half a character: \ud800"},
    ],
)
async def test_a_lying_completion_is_the_engines_error(lie: Mapping[str, Any]) -> None:
    """Whatever stands where an id, a text or a list should be."""
    choice = {**CHOICE, "finish_reason": "length", **lie}
    pages = {"/v1/completions": {"choices": [choice]}, "/tokenize": {"tokens": 7}}
    for make in (openai, openai_of_sglang):
        found = await ask(make, pages)
        assert [type(one) for one in found] == [ModelFailedError] * 3
        assert all("the engine's answer lacks" in str(one) for one in found)


@pytest.mark.parametrize("tokens", [5, "12", ["a", "b"], [1, None], INFINITE, DEEP])
async def test_lying_token_ids_are_the_engines_error(tokens: Any) -> None:
    """Of a prompt, before it is scored."""
    page = tokens if isinstance(tokens, str) and len(tokens) > 2 else json.dumps({"tokens": tokens})
    found = await ask(openai, {"/v1/completions": {"choices": [CHOICE]}, "/tokenize": page})
    assert isinstance(found[2], ModelFailedError)


@pytest.mark.parametrize(
    ("path", "lie"),
    [
        ("/v1/models", '{"data": [{"meta": {"n_vocab": 1e999}}]}'),
        ("/v1/models", {"data": 7}),
        ("/v1/models", DEEP),
        ("/tokenize", {"tokens": []}),
        ("/tokenize", {"tokens": ["a"]}),
        ("/tokenize", '{"tokens": [1e999]}'),
        ("/tokenize", {"tokens": 7}),
        ("/tokenize", {}),
    ],
)
async def test_a_lying_llama_server_is_not_opened(path: str, lie: Any) -> None:
    """What later calls need to know of it is looked at first."""
    found = await ask(llama, {**LLAMA, path: lie})
    assert [type(one) for one in found] == [ModelFailedError]


@pytest.mark.parametrize(
    "lie",
    [
        {"tokens": ["a"]},
        {"tokens": 7},
        {"content": "half a character: \ud800"},
        {"tokens": [10**30]},
    ],
)
async def test_a_lying_llama_server_fails_its_calls(lie: Mapping[str, Any]) -> None:
    """Generated at once and streamed."""
    page = {**LLAMA["/completion"], **lie}  # type: ignore[dict-item]
    generated, streamed, _ = await ask(llama, {**LLAMA, "/completion": page})
    assert isinstance(generated, ModelFailedError)
    assert isinstance(streamed, ModelFailedError)


async def test_a_forced_token_without_a_number_is_not_scored() -> None:
    """Where what is told of it is no object, it is looked up, and not found."""
    scored = (await ask(llama, {**LLAMA, "/completion": {"completion_probabilities": [1]}}))[2]
    assert isinstance(scored, ModelFailedError)


@pytest.mark.parametrize("logprob", ["1.2.3", "--", "1e999", '"1"'])
async def test_a_lying_distribution_scores_nothing(logprob: str) -> None:
    """It is megabytes of what is not parsed, and the one number in it that is looked for may be none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b'{"top_logprobs":[{"id":2,"logprob":%s}]}' % logprob.encode()))

    async with engine(serve) as http:
        with pytest.raises(ModelFailedError, match="lacks the log-probability of token 2"):
            await LlamaServer(http, 100)._look_up({}, 2)


@pytest.mark.parametrize("line", [b"{", b"\xff", DEEP.encode(), b"7", b'{"error": {"message": "no"}}'])
def test_an_event_that_is_none_fails_the_stream(line: bytes) -> None:
    """However deep it is."""
    with pytest.raises(ModelFailedError):
        read_event(line)


async def test_an_engines_message_can_be_shown() -> None:
    """Half a character in it is written out: no status and no report could hold it."""
    found = await ask(openai, {"/v1/completions": {"error": {"message": "no \ud800"}}, "/tokenize": {}}, status=400)
    assert isinstance(found[0], InvalidInputError)
    assert str(found[0]) == r"no \ud800"
