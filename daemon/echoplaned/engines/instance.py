"""One instance's worker under watch: its reports, its end, and whether it is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.engines.record import WorkerPhase
from echoplaned.engines.traces import TraceReader
from echoplaned.engines.worker_client import Report
from echoplaned.engines.worker_process import WorkerProcess
from echoplaned.ports.emit import Clock
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traces import RequestTrace

REPORT_INTERVAL_S: Final = 0.5
_RECONNECT_S: Final = 0.2
_GROWN_SHARE: Final = 0.05
_GROWN_BYTES: Final = 4 * 1024 * 1024
_GROWN_BATCH: Final = 1.5


class CounterSink(Protocol):
    """Takes the workers' own counters; ``process`` names one life of one worker."""

    def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
        """The newest counters of a worker; they begin at zero with its process and only grow."""
        ...

    def ended(self, version: VersionKey, process: str) -> None:
        """The worker has gone."""
        ...


class TraceSink(Protocol):
    """Takes what requests said; ``process`` names one life of one worker."""

    def take(self, version: VersionKey, process: str, traces: tuple[RequestTrace, ...], dropped: int) -> None:
        """Traces in the order in which their requests ended. ``dropped``: how many the worker dropped since it began."""
        ...

    def ended(self, version: VersionKey, process: str) -> None:
        """The worker has gone."""
        ...


@dataclass(frozen=True, slots=True)
class Tracing:
    """``sink``: where traces go. ``fraction``: share of requests that are traced, 0 to 1. ``clock``: seconds since the epoch."""

    sink: TraceSink
    fraction: float
    clock: Clock


@dataclass(frozen=True, slots=True)
class StuckLimits:
    """When a live worker counts as stuck. Seconds.

    ``silence_s``: no report. ``no_progress_s``: calls in flight and no step of the model. ``loop_gap_s``: the daemon itself was
    not running for so long, so that silence says nothing.
    """

    silence_s: float = 5.0
    no_progress_s: float = 60.0
    loop_gap_s: float = 2.0


class WatchedInstance:
    """An instance that has a worker.

    Args:
        key: the instance and its generation.
        worker: its process.
        sink: where its counters go.
        clock: monotonic seconds.
    """

    def __init__(
        self, key: tuple[InstanceKey, int], worker: WorkerProcess, sink: CounterSink, clock: Callable[[], float]
    ) -> None:
        self.key = key
        self.worker = worker
        self.stopping = False
        self.stuck = False
        self.measured_bytes: int | None = None
        self.told_tokens = 0
        self._sink = sink
        self._clock = clock
        self._limits = StuckLimits()
        self._last: Report | None = None
        self._origin: RequestCounts | None = RequestCounts()
        self._probes_sent = 0
        self._heard_s = clock()
        self._progressed_s = clock()
        self._checked_s = clock()
        self._fresh = asyncio.Event()

    @property
    def last_report(self) -> Report | None:
        """The newest report; None: none came yet."""
        return self._last

    async def follow(self) -> None:
        """Take reports until cancelled or the process has gone; connect again where the stream breaks."""
        while self.worker.process.alive:
            async for report in self.worker.client.reports(REPORT_INTERVAL_S):
                self._take(report)
            await asyncio.sleep(_RECONNECT_S)

    async def follow_traces(self, tracing: Tracing) -> None:
        """Take traces until cancelled or the process has gone; at a fraction of 0 tell the worker to keep none."""
        version = self.key[0].version
        reader = TraceReader(version, tracing.clock)
        while self.worker.process.alive:
            async for batch in self.worker.client.traces(tracing.fraction):
                traces = tuple(map(reader.read, batch.traces))
                tracing.sink.take(version, self.worker.worker_id, traces, batch.dropped_count)
            if tracing.fraction == 0:
                break
            await asyncio.sleep(_RECONNECT_S)

    async def next_report(self) -> Report:
        """Return a report that comes after this call."""
        fresh = self._fresh
        await fresh.wait()
        if self._last is None:
            raise RuntimeError("woken without a report")
        return self._last

    def why_stuck(self) -> str:
        """Say why the worker counts as stuck; empty if it does not. To be called about once a second."""
        now_s = self._clock()
        gap_s, self._checked_s = now_s - self._checked_s, now_s
        if gap_s > self._limits.loop_gap_s:
            self._heard_s += gap_s
            self._progressed_s += gap_s
        if self._last is None or self._last.phase is not WorkerPhase.READY:
            return ""
        if now_s - self._heard_s > self._limits.silence_s:
            return f"no report for {now_s - self._heard_s:.0f} s"
        if now_s - self._progressed_s > self._limits.no_progress_s:
            return (
                f"{self._last.counts.in_flight} calls in flight and no progress for {now_s - self._progressed_s:.0f} s"
            )
        return ""

    def count_from_now(self) -> None:
        """The worker has served an earlier daemon: what it counted before its next report is not told."""
        self._origin = None

    def probe_sent(self) -> None:
        """A probe of the daemon's own goes to the worker: it is no traffic, so its arrival and its answer are not told."""
        self._probes_sent += 1

    def grown_memory(self) -> int | None:
        """Return the model's bytes where they, or the batch that they speak of, are well above what was last told; else None."""
        if self.measured_bytes is None or self._last is None:
            return None
        now = self._last.model_bytes
        grown = now > self.measured_bytes * (1 + _GROWN_SHARE) and now - self.measured_bytes >= _GROWN_BYTES
        usage = self._last.usage
        if not grown and (usage is None or usage.sequences * usage.tokens < _GROWN_BATCH * max(1, self.told_tokens)):
            return None
        self.told_tokens = usage.sequences * usage.tokens if usage else 0
        self.measured_bytes = now
        return now

    def ended(self) -> None:
        """The process has gone: its counters are final."""
        self._sink.ended(self.key[0].version, self.worker.worker_id)

    def _take(self, report: Report) -> None:
        now_s = self._clock()
        before = self._last
        self._heard_s = now_s
        if report.counts.in_flight == 0 or before is None or before.progress != report.progress:
            self._progressed_s = now_s
        self._last = report
        self._fresh.set()
        self._fresh = asyncio.Event()
        if self._origin is None:
            self._origin = replace(report.counts, in_flight=0)
        told = _minus(report.counts, self._origin, self._probes_sent)
        self._sink.update(self.key[0].version, self.worker.worker_id, told)


def _minus(counts: RequestCounts, origin: RequestCounts, probes: int) -> RequestCounts:
    """Return what was counted since the origin, less probes that were sent since; one that failed ends the instance anyway."""
    return RequestCounts(
        ok=max(0, counts.ok - origin.ok - probes),
        client_errors=counts.client_errors - origin.client_errors,
        server_errors=counts.server_errors - origin.server_errors,
        arrivals=max(0, counts.arrivals - origin.arrivals - probes),
        in_flight=counts.in_flight,
    )
