"""Mixed callers of a gateway: chats that stream, embeddings, the Open Inference Protocol over gRPC and over REST, at steady rates.

python -m benchmarks.peers.door_mixed ADDRESS CHAT EMBED OUTPUT --rate R. Official clients, unchanged. R is embeddings a second, and OIP
requests of either kind; there are a fifth as many chats. Where EMBED is empty there are chats alone, R a second of either kind. It ends
at a line on stdin; what is under way is waited for. A line of the output is one request, as ``Mixed`` writes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self, TextIO, cast

import grpc
import grpc.aio
import httpx2
import openai

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.testing.loadgen import make_text

OK: Final = "ok"
DEADLINE_S: Final = 20.0
LONG_SHARE: Final = 0.2
CHAT_TOKENS: Final = 8
CHATS_SHARE: Final = 0.2
VERSION: Final = "x-model-version"
CHATTING, EMBEDDING, GRPC, GRPC_CHAT, REST = "chat stream", "embeddings", "OIP gRPC", "OIP gRPC chat", "OIP REST"


@dataclass(frozen=True, slots=True)
class Mixed:
    """One request. Times in seconds since the epoch.

    ``version``: that answered; empty: nobody said. ``outcome``: ``ok``, or what failed.
    """

    kind: str
    model: str
    began_s: float
    ended_s: float
    version: str
    outcome: str

    @property
    def ok(self) -> bool:
        """Whether it was answered well and whole."""
        return self.outcome == OK

    def line(self) -> str:
        """Write it."""
        outcome = self.outcome.replace("\t", " ").replace("\n", " ")[:200]
        return f"{self.kind}\t{self.model}\t{self.began_s:.4f}\t{self.ended_s:.4f}\t{self.version}\t{outcome}\n"

    @classmethod
    def read(cls, line: str) -> Self:
        """Read what ``line`` wrote."""
        kind, model, began_s, ended_s, version, outcome = line.rstrip("\n").split("\t")
        return cls(kind, model, float(began_s), float(ended_s), version, outcome)


@dataclass(slots=True)
class Said:
    """What is known of one answer so far: its version comes before its end."""

    version: str = ""


class Callers:
    """Clients of every protocol, each of which asks once when told to. ``chat_long_share``: share of chats with a long prompt."""

    chat_long_share = 0.0

    def __init__(self, address: str, chat: str, embed: str, open_ai: openai.AsyncOpenAI) -> None:
        self._address = address
        self._open_ai = open_ai
        self._chat = chat
        self._embed = embed
        self._rng = random.Random(11)
        self._channel = grpc.aio.insecure_channel(address, DIRECT_OPTIONS)
        stub = oip_grpc.GRPCInferenceServiceStub(self._channel)
        self._stub = cast("oip_grpc.GRPCInferenceServiceAsyncStub", stub)

    async def chat(self, said: Said) -> None:
        """Read a chat's stream to its end."""
        messages: Any = [{"role": "user", "content": self._chat_text()}]
        raw = await self._open_ai.chat.completions.with_raw_response.create(
            model=self._chat, messages=messages, max_tokens=CHAT_TOKENS, temperature=0, stream=True
        )
        said.version = raw.headers.get(VERSION, "")
        reasons = [piece.choices[0].finish_reason async for piece in raw.parse() if piece.choices]
        if not any(reasons):
            raise EOFError("the stream was cut")

    async def embed(self, said: Said) -> None:
        """Ask for a vector."""
        raw = await self._open_ai.embeddings.with_raw_response.create(model=self._embed, input=self._text())
        said.version = raw.headers.get(VERSION, "")
        raw.parse()

    async def rest(self, said: Said) -> None:
        """Ask for a vector over OIP's REST form."""
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [self._text()]}
        path = f"/v2/models/{self._embed}/infer"
        status, said.version = await asyncio.to_thread(_post, self._address, path, {"inputs": [tensor]})
        if status != 200:
            raise HTTPException(f"status {status}")

    async def grpc(self, said: Said) -> None:
        """Ask for a vector over OIP's gRPC form."""
        await self._infer(said, self._embed, self._text())

    async def grpc_chat(self, said: Said) -> None:
        """Ask for two tokens over OIP's gRPC form."""
        await self._infer(said, self._chat, self._chat_text(), max_tokens=2)

    async def _infer(self, said: Said, model: str, text: str, max_tokens: int = 0) -> None:
        request = oip.ModelInferRequest(model_name=model)
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(text.encode())
        if max_tokens:
            request.parameters["max_tokens"].int64_param = max_tokens
        call = self._stub.ModelInfer(request, timeout=DEADLINE_S)
        try:
            await call
        finally:
            told = [*(await call.initial_metadata() or ()), *(await call.trailing_metadata() or ())]
            said.version = next((str(value) for key, value in told if key == VERSION), "")

    def _text(self) -> str:
        return make_text(self._rng, long=self._rng.random() < LONG_SHARE)

    def _chat_text(self) -> str:
        return make_text(self._rng, long=self._rng.random() < self.chat_long_share)

    async def close(self) -> None:
        """Close the channel; whoever gave the other clients closes them."""
        await self._channel.close()


def _post(address: str, path: str, body: object) -> tuple[int, str]:
    """Return the status, and the version that answered."""
    with contextlib.closing(HTTPConnection(address, timeout=DEADLINE_S)) as connection:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader(VERSION, "")


Ask = Callable[[Said], Awaitable[None]]


async def once(kind: str, model: str, ask: Ask, output: TextIO) -> None:
    """Ask once and write it down."""
    said, began_s = Said(), time.time()
    try:
        await ask(said)
        outcome = OK
    except openai.APIStatusError as error:
        outcome, said.version = f"{error.status_code} {error}", error.response.headers.get(VERSION, "")
    except grpc.aio.AioRpcError as error:
        outcome = f"{error.code().name} {error.details()}"
    except (openai.OpenAIError, httpx2.HTTPError, HTTPException, OSError, EOFError) as error:
        outcome = f"{type(error).__name__} {error}"
    output.write(Mixed(kind, model, began_s, time.time(), said.version, outcome).line())
    output.flush()


async def keep_asking(rate: float, begin: Callable[[], Awaitable[None]], stop: asyncio.Event, seed: int) -> None:
    """Begin requests at a steady rate, however long each takes; then wait for what is under way."""
    rng = random.Random(seed)
    async with asyncio.TaskGroup() as calls:
        while not stop.is_set():
            calls.create_task(_awaited(begin))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rng.expovariate(rate))


async def _awaited(begin: Callable[[], Awaitable[None]]) -> None:
    await begin()


@contextlib.asynccontextmanager
async def calling(options: argparse.Namespace) -> AsyncIterator[Callers]:
    """Open every client; none of them repeats a request by itself."""
    base = f"http://{options.address}"
    client = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=DEADLINE_S)
    async with client:
        callers = Callers(options.address, options.chat, options.embed, client)
        callers.chat_long_share = options.chat_long_share
        try:
            yield callers
        finally:
            await callers.close()


async def main(options: argparse.Namespace, output: TextIO) -> None:
    """Call until a line comes."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    chats = options.rate * CHATS_SHARE if options.embed else options.rate
    async with calling(options) as callers, asyncio.TaskGroup() as kinds:
        every = (
            (CHATTING, options.chat, chats, callers.chat),
            (GRPC_CHAT, options.chat, chats, callers.grpc_chat),
            (EMBEDDING, options.embed, options.rate, callers.embed),
            (GRPC, options.embed, options.rate, callers.grpc),
            (REST, options.embed, options.rate, callers.rest),
        )
        for seed, (kind, model, rate, ask) in enumerate(one for one in every if one[1]):
            begin = _beginning(kind, model, ask, output)
            kinds.create_task(keep_asking(rate, begin, stop, seed))
        print("calling", flush=True)
    print("done", flush=True)


def _beginning(kind: str, model: str, ask: Ask, output: TextIO) -> Callable[[], Awaitable[None]]:
    return lambda: once(kind, model, ask, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("chat")
    parser.add_argument("embed")
    parser.add_argument("output", type=Path)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--chat-long-share", type=float, default=0.0)
    arguments = parser.parse_args()
    with arguments.output.open("a", encoding="utf-8") as file:
        asyncio.run(main(arguments, file))
