"""A cheap closed loop over HTTP/1.1: so many connections, each with one request in flight at all times.

python -m benchmarks.peers.door_load. A line on stdin is JSON: ``address``, ``model``, ``in_flight``, ``seconds``. It says when the warm-up
is over, and answers in JSON: answers, failures by what they were, the latencies' median and 99th percentile in ms, seconds that it took,
and this process's own CPU seconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.peers.door_backend import content_length
from benchmarks.peers.load_orders import sum_up, take_orders

_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_WARM_UP_S = 0.3


def request(address: str, model: str) -> bytes:
    """Return the bytes of one chat."""
    body = {
        "model": model,
        "max_tokens": 2,
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
    }
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer none\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def whole(received: bytes | bytearray) -> bool:
    """Whether an answer has come to its end."""
    end = received.find(_END)
    if end < 0:
        return False
    head = bytes(received[:end])
    if b"transfer-encoding: chunked" in head.lower():
        return received.endswith(_LAST_CHUNK)
    return len(received) >= end + len(_END) + content_length(head)


@dataclass(slots=True)
class Tally:
    """What the connections saw. ``until``: no request is begun after it; those begun before ``since`` are not counted."""

    since: float
    until: float
    latencies_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    open: int = 0


class Caller(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, sent: bytes, tally: Tally, done: asyncio.Event) -> None:
        self._sent = sent
        self._tally = tally
        self._done = done
        self._received = bytearray()
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._tally.open += 1
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take an answer, and ask again."""
        self._received += data
        if not whole(self._received):
            return
        assert self._transport is not None
        now = time.perf_counter()
        if self._began >= self._tally.since:
            if self._received.startswith(b"HTTP/1.1 200"):
                self._tally.latencies_s.append(now - self._began)
            else:
                self._tally.failed[self._received[9:12].decode("latin-1")] += 1
        self._received.clear()
        if now < self._tally.until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end; one that came too early is a failure."""
        if time.perf_counter() < self._tally.until:
            self._tally.failed[type(error).__name__ if error else "closed"] += 1
        self._tally.open -= 1
        if self._tally.open == 0:
            self._done.set()

    def _ask(self) -> None:
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(self._sent)


async def load(order: dict[str, object]) -> dict[str, object]:
    """Keep so many requests in flight for so long."""
    address, in_flight, seconds = str(order["address"]), int(str(order["in_flight"])), float(str(order["seconds"]))
    host, _, port = address.rpartition(":")
    sent = request(address, str(order["model"]))
    done = asyncio.Event()
    since = time.perf_counter() + _WARM_UP_S
    tally = Tally(since, since + seconds)
    loop = asyncio.get_running_loop()
    await asyncio.gather(
        *(loop.create_connection(lambda: Caller(sent, tally, done), host, int(port)) for _ in range(in_flight))
    )
    await asyncio.sleep(max(0.0, since - time.perf_counter()))
    cpu_s = time.process_time()
    print(json.dumps("measuring"), flush=True)
    await done.wait()
    cpu_s, taken_s = time.process_time() - cpu_s, time.perf_counter() - since
    return sum_up(tally.latencies_s, tally.failed, taken_s, cpu_s)


def main() -> None:
    """Load whenever told to."""
    take_orders(load)


if __name__ == "__main__":
    main()
