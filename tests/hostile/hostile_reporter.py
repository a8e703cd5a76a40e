"""A raw stream of load reports that says what it is told to say."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import grpc
from envoy.service.load_stats.v3 import lrs_pb2, lrs_pb2_grpc

from echoplane.channels import DIRECT_OPTIONS


class LoadReporter:
    """One LRS stream under a node id; ``channel``: of its own, or that of a subscriber, which makes the two one client."""

    def __init__(self, address: str, node: str, channel: grpc.Channel | None = None) -> None:
        self._node = node
        self._own = grpc.insecure_channel(address, DIRECT_OPTIONS) if channel is None else None
        self._requests: queue.Queue[lrs_pb2.LoadStatsRequest | None] = queue.Queue()
        call = lrs_pb2_grpc.LoadReportingServiceStub(channel or self._own).StreamLoadStats(self._outgoing())
        self._reader = threading.Thread(target=self._read, args=(call,), daemon=True)
        self._reader.start()
        self._reported_s = time.monotonic()
        first = lrs_pb2.LoadStatsRequest()
        first.node.id = node
        self._requests.put(first)

    def say(self, version: str, ok: int = 0, errors: int = 0) -> None:
        """Report requests of ``models/M/versions/V`` since the last report."""
        now_s = time.monotonic()
        request = lrs_pb2.LoadStatsRequest()
        stats = request.cluster_stats.add(cluster_name=version)
        stats.load_report_interval.FromMilliseconds(max(1, round(1000 * min(4.0, now_s - self._reported_s))))
        stats.upstream_locality_stats.add(
            total_successful_requests=ok, total_error_requests=errors, total_issued_requests=ok + errors
        )
        self._reported_s = now_s
        self._requests.put(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._requests.put(None)
        if self._own is not None:
            self._own.close()
        self._reader.join(10.0)

    def _outgoing(self) -> Iterator[lrs_pb2.LoadStatsRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    @staticmethod
    def _read(call: Iterator[lrs_pb2.LoadStatsResponse]) -> None:
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            return
