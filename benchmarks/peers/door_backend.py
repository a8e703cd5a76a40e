"""A small fast server of OpenAI's API, whose own cost is known: what stands behind every way that is compared.

python -I -S door_backend.py --port PORT [--model FILE] [--interval SECONDS]. Standard library only: an engine's environment has no path to
this repository. A chat with ``"stream": true`` is answered by ``max_tokens`` events, one an interval. What it completes depends on the text
alone: the daemon's probes tell servers apart that say the same to everybody.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import zlib

NAME = "m"
_USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
_HEAD = b"HTTP/1.1 %s\r\ncontent-type: %s\r\n%s\r\n\r\n"
_END = b"\r\n\r\n"


def answer(body: object, status: bytes = b"200 OK") -> bytes:
    """Return a whole answer."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return _HEAD % (status, b"application/json", b"content-length: %d" % len(content)) + content


def chat(index: int) -> dict[str, object]:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": {"content": f" {index}"}, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": NAME, "choices": [choice]}


CHAT = answer(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": NAME,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello there."}, "finish_reason": "stop"},
        ],
        "usage": _USAGE,
    }
)


def completion(prompt: object) -> dict[str, object]:
    """Complete a text, each by a word of its own."""
    number = zlib.crc32(json.dumps(prompt).encode())
    text = f" {number}"
    logprobs = {"tokens": [text], "token_logprobs": [-0.01 - number % 97 / 100], "top_logprobs": [], "text_offset": [0]}
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": logprobs}
    return {"id": "c", "object": "text_completion", "created": 1, "model": NAME, "choices": [choice], "usage": _USAGE}


MODELS = answer({"object": "list", "data": [{"id": NAME, "object": "model", "created": 1, "owned_by": "benchmark"}]})
HEALTHY = answer({"status": "ok"})
MISSING = answer({"error": {"message": "no such path"}}, b"404 Not Found")


class Connection(asyncio.Protocol):
    """Answers the requests of one connection, one after another."""

    interval_s = 0.1

    def __init__(self) -> None:
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        """End a stream whose reader has left."""
        if self._streaming is not None:
            self._streaming.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            head = bytes(self._received[:end])
            length = content_length(head)
            stop = end + len(_END) + length
            if len(self._received) < stop:
                return
            body = bytes(self._received[end + len(_END) : stop])
            del self._received[:stop]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        path = head.split(b" ", 2)[1]
        if path == b"/v1/chat/completions" and b'"stream"' in body and json.loads(body).get("stream"):
            self._streaming = asyncio.ensure_future(self._stream(int(json.loads(body).get("max_tokens", 2))))
        elif path == b"/v1/completions":
            self._transport.write(answer(completion(json.loads(body).get("prompt"))))
        else:
            self._transport.write(_ANSWERS.get(path, MISSING))

    async def _stream(self, count: int) -> None:
        assert self._transport is not None
        self._transport.write(_HEAD % (b"200 OK", b"text/event-stream", b"transfer-encoding: chunked"))
        for index in range(count):
            self._event(json.dumps(chat(index)))
            await asyncio.sleep(self.interval_s)
        self._event("[DONE]")
        self._transport.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        assert self._transport is not None
        event = f"data: {data}\n\n".encode()
        self._transport.write(b"%x\r\n%s\r\n" % (len(event), event))


_ANSWERS = {
    b"/v1/chat/completions": CHAT,
    b"/v1/models": MODELS,
    b"/health": HEALTHY,
}


def content_length(head: bytes) -> int:
    """Return the length that a request's or an answer's headers tell; 0: they tell none."""
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    return int(lower[at + 17 :].split(b"\r\n", 1)[0])


async def serve(port: int) -> None:
    """Serve until terminated."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def main() -> None:
    """Read the options and serve; what else a command line of an engine says counts for nothing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="")
    parser.add_argument("--interval", type=float, default=0.1)
    options = parser.parse_args()
    Connection.interval_s = options.interval
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
