"""Watches one instance's leader: its reports, its end, whether it is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from echoplaned.core.ids import InstanceKey
from echoplaned.engine_kinds import KindLimits
from echoplaned.engines.leader_process import LeaderProcess
from echoplaned.engines.progress import HangLimits, RecentMaximum, StepProgress
from echoplaned.engines.sinks import CounterSink, Tracing
from echoplaned.engines.traces import TraceReader
from echoplaned.ports.probing import LastProbe
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.report import CounterFlags, Report

REPORT_INTERVAL_S: Final = 0.5
_RECONNECT_S: Final = 0.2
_RECONNECT_MAX_S: Final = 2.0
_GROWN_SHARE: Final = 0.05
_GROWN_BYTES: Final = 4 * 1024 * 1024
_GROWN_BATCH: Final = 1.5
_SILENT_LOOKS: Final = 2
_START_GROWN_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StuckLimits:
    """When a live leader counts as stuck; a start has its kind's limits besides.

    Attributes:
        first_report_s: time without any report since it is watched, seconds.
        silence_s: time without a report while it serves, seconds.
        silent_s: no report while it serves, so that no more calls go to it where another engine can take them, seconds;
            more where its reports are usually late.
        silent_factor: multiple of the longest gap between two reports in ten minutes that makes it silent.
        hang: limits for calls in flight without a step of the model.
        loop_gap_s: time in which the daemon itself did not run, so that silence says nothing, seconds.
    """

    first_report_s: float = 30.0
    silence_s: float = 5.0
    silent_s: float = 1.0
    silent_factor: float = 2.0
    hang: HangLimits = field(default_factory=HangLimits)
    loop_gap_s: float = 2.0


@dataclass(frozen=True, slots=True)
class InstanceLimits:
    """How long an instance may take.

    Attributes:
        kind: limits for its start and its first probes, by its kind.
        stuck: limits while it serves.
    """

    kind: KindLimits = field(default_factory=KindLimits)
    stuck: StuckLimits = field(default_factory=StuckLimits)


@dataclass(slots=True)
class _Start:
    """A start under way: when it began and last progressed, and its state then."""

    began_s: float
    progressed_s: float
    phase: WorkerPhase | None = None
    count: int = 0
    rss_bytes: int = 0

    def take(self, report: Report, now_s: float) -> None:
        """Look for progress: another phase, a step, or more memory."""
        count = report.start.count if report.start is not None else 0
        grown = report.memory.rss_bytes >= self.rss_bytes + _START_GROWN_BYTES
        if report.phase is self.phase and count == self.count and not grown:
            return
        self.phase, self.count, self.progressed_s = report.phase, count, now_s
        self.rss_bytes = max(self.rss_bytes, report.memory.rss_bytes)


class NoReportError(Exception):
    """No report comes: the leader has gone."""


class WatchedInstance:
    """An instance that has a leader.

    Args:
        key: the instance and its generation.
        leader: its leader's process.
        sink: where its counters go.
        clock: monotonic seconds.
        limits: how long it may take.
    """

    def __init__(
        self,
        key: tuple[InstanceKey, int],
        leader: LeaderProcess,
        sink: CounterSink,
        clock: Callable[[], float],
        limits: InstanceLimits,
    ) -> None:
        self.key = key
        self.leader = leader
        self.stopping = False
        # Its steps are listened to: a probe would be one.
        self.is_quieting = False
        self.stuck = False
        self.measured_bytes: int | None = None
        self.reported_tokens = 0
        self.is_accepted = False
        self.was_silent = False
        self.last_probe: LastProbe | None = None
        self.progress = StepProgress(limits.stuck.hang, clock())
        self._sink = sink
        self._clock = clock
        self._start_limits = limits.kind
        self._limits = limits.stuck
        self._last: Report | None = None
        self._start: _Start | None = None
        self._origin: RequestCounts | None = RequestCounts()
        self._is_adopted = False
        self._probes_sent = 0
        self._probes_failed = 0
        self._last_report_s = clock()
        self._silent_looks = 0
        self._gaps = RecentMaximum(limits.stuck.hang.window_s, limits.stuck.silent_s / limits.stuck.silent_factor)
        self._checked_s = clock()
        self._fresh = asyncio.Event()
        self._has_ended = False

    @property
    def last_report(self) -> Report | None:
        """The newest report; None: none came yet."""
        return self._last

    @property
    def is_serving(self) -> bool:
        """Whether it has loaded its version, as far as it has reported."""
        return self._last is not None and self._last.phase is WorkerPhase.READY

    async def follow(self) -> None:
        """Take reports until cancelled or the process ends; reconnect if it breaks."""
        pause_s = _RECONNECT_S
        while self.leader.process.alive:
            async for report in self.leader.client.reports(REPORT_INTERVAL_S):
                self._take(report)
                pause_s = _RECONNECT_S
            await asyncio.sleep(pause_s)
            pause_s = min(_RECONNECT_MAX_S, 2 * pause_s)

    async def follow_traces(self, tracing: Tracing) -> None:
        """Take traces until cancelled or the process ends; fraction 0 ends tracing."""
        version = self.key[0].version
        reader = TraceReader(version, tracing.clock)
        # A leader that tells nothing is not asked again and again.
        report = self._last or await self.next_report()
        while self.leader.process.alive and report.flags.has_traces:
            async for batch in self.leader.client.traces(tracing.fraction):
                traces = tuple(map(reader.read, batch.traces))
                tracing.sink.take(version, self.leader.worker_id, traces, batch.dropped_count)
            if tracing.fraction == 0:
                break
            await asyncio.sleep(_RECONNECT_S)

    async def next_report(self) -> Report:
        """Return a report that comes after this call.

        Raises:
            NoReportError: the leader has gone, or goes before it reports.
        """
        fresh = self._fresh
        if not self._has_ended:
            await fresh.wait()
        if self._has_ended:
            raise NoReportError("its leader has gone")
        if self._last is None:
            raise RuntimeError("woken without a report")
        return self._last

    def start_began(self) -> None:
        """A start is under way: until it has ended it is judged by the limits of its kind."""
        now_s = self._clock()
        self._start = _Start(now_s, now_s)

    def start_ended(self) -> None:
        """The start is over, well or not."""
        self._start = None

    def why_stuck(self) -> str:
        """Return why the leader is stuck, else an empty text; call it each second."""
        now_s = self._clock()
        gap_s, self._checked_s = now_s - self._checked_s, now_s
        if gap_s > self._limits.loop_gap_s:
            self._forgive(gap_s)
        silent_s = now_s - self._last_report_s
        if self._start is not None:
            return self._why_start_stuck(self._start, now_s)
        if self._last is None:
            return f"no report for {silent_s:.0f} s" if silent_s > self._limits.first_report_s else ""
        # One that passed its probes serves, though it may fall silent before its first report that says so.
        if not self.is_serving and not self.is_accepted:
            return ""
        if silent_s > self._limits.silence_s:
            return f"no report for {silent_s:.0f} s"
        # The probes that an instance is accepted by have a limit of their own: how long a step takes is not known before them.
        return self.progress.why_hung(now_s) if self.is_accepted else ""

    def look_for_silence(self) -> bool:
        """Say whether the engine serves and has not reported for unusually long.

        To be called a few times a second. Two looks in a row have to find it so: after a delay of the daemon's own, what was reported
        meanwhile is read between them.
        """
        if self._start is not None or not self.is_accepted or self.stopping or self.stuck:
            self._silent_looks = 0
            return False
        now_s, limits = self._clock(), self._limits
        usual_s = limits.silent_factor * self._gaps.value_s(now_s)
        silent = now_s - self._last_report_s > min(limits.silence_s, max(limits.silent_s, usual_s))
        self._silent_looks = self._silent_looks + 1 if silent else 0
        return self._silent_looks >= _SILENT_LOOKS

    def _why_start_stuck(self, start: _Start, now_s: float) -> str:
        limits = self._start_limits
        if now_s - self._last_report_s > limits.start_silence_s:
            return f"no report for {now_s - self._last_report_s:.0f} s in its start"
        if now_s - start.progressed_s > limits.start_quiet_s:
            step = self._last.start.step if self._last is not None and self._last.start is not None else ""
            where = f" at {step!r}" if step else ""
            return f"its start made no progress for {now_s - start.progressed_s:.0f} s{where}"
        if now_s - start.began_s > limits.start_s:
            return f"its start did not end within {limits.start_s:g} s"
        return ""

    def _forgive(self, gap_s: float) -> None:
        """Take the time that the daemon itself was not running off every account."""
        self._last_report_s += gap_s
        self.progress.forgive(gap_s)
        if self._start is not None:
            self._start.progressed_s += gap_s
            self._start.began_s += gap_s

    def count_from_now(self) -> None:
        """Leave out what it counted for an earlier daemon, up to its next report."""
        self._origin = None
        self._is_adopted = True

    def probe_sent(self) -> None:
        """Note a probe of ours: the totals leave out its arrival and its answer."""
        self._probes_sent += 1

    def wants_probe(self, *, now: bool = False) -> bool:
        """Whether it serves, and a probe is due. ``now``: one is due anyway."""
        serves = self.is_serving and self.is_accepted and not self.stopping and not self.stuck
        if self.is_quieting:
            return False
        return serves and (now or self.progress.wants_probe(self._clock()))

    def probe_began(self) -> None:
        """Take note that a probe goes to the engine while it serves."""
        self.probe_sent()
        self.progress.probe_began(self._clock())

    def probe_ended(self, *, answered: bool, arrived: bool = True) -> None:
        """Note that a probe of ours has ended.

        One that failed was counted by the engine as its own fault, and is left out of the totals as well.
        ``arrived``: whether the engine counted it at all; what it did not must not be taken off what it counted of clients.
        """
        self._probes_sent -= not arrived
        self._probes_failed += arrived and not answered
        self.progress.probe_ended(self._clock(), answered=answered)

    def grown_memory(self) -> int | None:
        """Return the model's bytes if they have grown well above what was last told.

        Or if the batch that they were measured with has; else None.
        """
        if self.measured_bytes is None or self._last is None:
            return None
        now = self._last.memory.model_bytes
        grown = now > self.measured_bytes * (1 + _GROWN_SHARE) and now - self.measured_bytes >= _GROWN_BYTES
        usage = self._last.usage
        if not grown and (
            usage is None or usage.sequences * usage.tokens < _GROWN_BATCH * max(1, self.reported_tokens)
        ):
            return None
        self.reported_tokens = usage.sequences * usage.tokens if usage else 0
        self.measured_bytes = now
        return now

    def on_ended(self) -> None:
        """The process has gone: its counters are final, and no report comes."""
        self._has_ended = True
        self._fresh.set()
        self._sink.on_ended(self.key[0].version, self.leader.worker_id)

    def _take(self, report: Report) -> None:
        now_s = self._clock()
        before = self._last
        # Reports are late while weights are read; that says nothing of how often they come once it serves.
        if before is not None and self.is_accepted:
            self._gaps.note(now_s - self._last_report_s, now_s)
        self._last_report_s = now_s
        self.progress.take(report, now_s)
        if self._start is not None:
            self._start.take(report, now_s)
        if before is None or before.flags != report.flags:
            self._sink.declare(self.key[0].version, self.leader.worker_id, _declared(report.flags))
        self._last = report
        self._fresh.set()
        self._fresh = asyncio.Event()
        counts = _counts(report)
        if self._origin is None:
            self._origin = replace(counts, in_flight=0)
        told = _minus(counts, self._origin, self._probes_sent, self._probes_failed)
        self._sink.update(self.key[0].version, self.leader.worker_id, told)
        if report.histograms:
            self._sink.timed(self.key[0].version, self.leader.worker_id, report.histograms)
        # One that starts may count none yet; one that serves and tells none counts none.
        if report.tokens is not None or self.is_serving:
            version, leader_id = self.key[0].version, self.leader.worker_id
            self._sink.count_tokens(version, leader_id, report.tokens, is_adopted=self._is_adopted)


def _declared(flags: CounterFlags) -> EngineCounters:
    """Return what the gates need to know of an engine's counters."""
    return EngineCounters(flags.counts_arrivals, flags.counts_errors, flags.has_histograms, flags.has_traces)


def _counts(report: Report) -> RequestCounts:
    """Return what an engine counted; a missing counter is 0 and means nothing."""
    counters = report.counters
    return RequestCounts(
        ok=counters.ok,
        client_errors=counters.client_errors,
        server_errors=counters.server_errors,
        arrivals=counters.arrivals,
        in_flight=counters.in_flight,
        steps=report.progress,
        overloads=counters.overloaded,
        calls=counters.calls,
    )


def _minus(counts: RequestCounts, origin: RequestCounts, probes: int, failed: int) -> RequestCounts:
    """Return what was counted since the origin, less the daemon's own probes.

    ``probes``: sent since the origin; ``failed``: of them, not answered.
    """
    return replace(
        counts,
        ok=max(0, counts.ok - origin.ok - (probes - failed)),
        client_errors=max(0, counts.client_errors - origin.client_errors),
        server_errors=max(0, counts.server_errors - origin.server_errors - failed),
        arrivals=max(0, counts.arrivals - origin.arrivals - probes),
        steps=max(0, counts.steps - origin.steps),
        overloads=max(0, counts.overloads - origin.overloads),
        calls=max(0, counts.calls - origin.calls - probes),
    )
