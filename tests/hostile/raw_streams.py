"""Raw ADS and LRS streams, as an attacker writes them: any bytes, on a connection of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
from envoy.service.load_stats.v3 import lrs_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.xds import ads, lrs

SOTW = f"/{ads.SERVICE}/StreamAggregatedResources"
DELTA = f"/{ads.SERVICE}/DeltaAggregatedResources"
LRS = f"/{lrs.SERVICE}/StreamLoadStats"

# A connection of its own: channels with equal options share one otherwise.
OPTIONS = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


class RawStream:
    """A stream of bytes both ways; ``code`` is how it ended, None while it lives."""

    def __init__(self, channel: grpc.Channel, method: str) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.ended = threading.Event()
        # What this process's proxies and serializers would do is not wanted: bytes as they are.
        self._call = cast(Any, channel).stream_stream(method)(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, message: bytes) -> None:
        """Write one message."""
        self._requests.put(message)

    def end(self) -> None:
        """Say that nothing more comes; the server then ends the stream."""
        self._requests.put(None)

    def answer(self, timeout_s: float = 10.0) -> bytes:
        """Return the next answer."""
        return self.answers.get(timeout=timeout_s)

    def wait_ended(self, timeout_s: float = 10.0) -> grpc.StatusCode | None:
        """Return how the stream ended; None: it did not in time."""
        self.ended.wait(timeout_s)
        return self.code

    def close(self) -> None:
        """End it."""
        self._call.cancel()
        self._reader.join(5.0)

    def _read(self) -> None:
        try:
            for answer in self._call:
                self.answers.put(answer)
            self.code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.code, self.details = cast(Any, error).code(), str(cast(Any, error).details())
        self.ended.set()


@contextmanager
def connection(address: str) -> Iterator[Callable[[str], RawStream]]:
    """Give a function that opens raw streams on one connection of their own; they end with it."""
    streams: list[RawStream] = []
    with grpc.insecure_channel(address, OPTIONS) as channel:

        def start(method: str) -> RawStream:
            streams.append(RawStream(channel, method))
            return streams[-1]

        try:
            yield start
        finally:
            for stream in streams:
                stream.close()


def load_report(node: str, clusters: dict[str, dict[str, int]]) -> bytes:
    """Return a load report: by cluster, the fields of one locality."""
    request = lrs_pb2.LoadStatsRequest()
    request.node.id = node
    for name, numbers in clusters.items():
        stats = request.cluster_stats.add(cluster_name=name)
        stats.upstream_locality_stats.add(**numbers)
    return bytes(request.SerializeToString())
