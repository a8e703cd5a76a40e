"""Reports to messages and back; total in both directions, and what a foreign end sends is checked where it enters."""

from __future__ import annotations

import itertools
import math
import os
from typing import Final

from echoplane.worker.v1 import worker_pb2
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.report import (
    FLAGS_OF_CONTRACT_1,
    CounterFlags,
    Counters,
    Histogram,
    Measure,
    Memory,
    Report,
    StartProgress,
)
from echoplaned.worker_contract.version import FIRST_CONTRACT

_State, _Latency = worker_pb2.WorkerState, worker_pb2.LatencyMeasure
_STATES: Final = {phase: f"WORKER_STATE_{phase.value}" for phase in WorkerPhase}
_PHASES: Final = {_State.Value(name): phase for phase, name in _STATES.items()}
_MEASURES: Final = {one: f"LATENCY_MEASURE_{one.value}" for one in Measure}
_MEASURED: Final = {_Latency.Value(name): one for one, name in _MEASURES.items()}


def write_report(report: Report) -> worker_pb2.WorkerReport:
    """Write a report of this process."""
    message = worker_pb2.WorkerReport(
        instance=report.instance,
        generation=report.generation,
        state=_STATES[report.phase],
        ok_count=report.counters.ok,
        client_error_count=report.counters.client_errors,
        server_error_count=report.counters.server_errors,
        arrival_count=report.counters.arrivals,
        in_flight_count=report.counters.in_flight,
        queued_count=report.counters.queued,
        overload_count=report.counters.overloaded,
        call_count=report.counters.calls,
        seconds_since_last_arrival=report.idle_s,
        progress_count=report.progress,
        memory=_write_memory(report.memory),
        failure=report.failure,
        draining=report.draining,
        pid=os.getpid(),
        engine_version=report.engine_version,
        contract_version=report.contract,
        engine_kind=report.kind,
        counts_arrivals=report.flags.counts_arrivals,
        counts_errors=report.flags.counts_errors,
        has_histograms=report.flags.has_histograms,
        has_traces=report.flags.has_traces,
        cpu_isa=report.cpu_isa,
    )
    for one in report.histograms:
        message.histograms.add(
            measure=_MEASURES[one.measure], bounds_s=one.bounds_s, counts=one.counts, sum_s=one.sum_s
        )
    if report.start is not None:
        message.start.step, message.start.count = report.start.step, report.start.count
    return message


def read_report(message: worker_pb2.WorkerReport) -> Report:
    """Read a report; one of contract 1 sets no flags and counts all but latencies."""
    contract = message.contract_version or FIRST_CONTRACT
    flags = CounterFlags(message.counts_arrivals, message.counts_errors, message.has_histograms, message.has_traces)
    return Report(
        phase=_PHASES.get(message.state, WorkerPhase.WARMING),
        counters=Counters(
            ok=message.ok_count,
            client_errors=message.client_error_count,
            server_errors=message.server_error_count,
            arrivals=message.arrival_count,
            in_flight=message.in_flight_count,
            queued=message.queued_count,
            overloaded=message.overload_count,
            calls=message.call_count,
        ),
        flags=FLAGS_OF_CONTRACT_1 if contract == FIRST_CONTRACT else flags,
        idle_s=message.seconds_since_last_arrival if message.HasField("seconds_since_last_arrival") else None,
        progress=message.progress_count,
        memory=_read_memory(message.memory),
        failure=message.failure,
        draining=message.draining,
        instance=message.instance,
        generation=message.generation,
        engine_version=message.engine_version,
        kind=message.engine_kind,
        contract=contract,
        histograms=tuple(found for one in message.histograms if (found := _read_histogram(one)) is not None),
        start=StartProgress(message.start.step, message.start.count) if message.HasField("start") else None,
        cpu_isa=message.cpu_isa,
    )


def _write_memory(memory: Memory) -> worker_pb2.WorkerMemory:
    return worker_pb2.WorkerMemory(
        rss_bytes=memory.rss_bytes,
        rss_anon_bytes=memory.rss_anon_bytes,
        rss_file_bytes=memory.rss_file_bytes,
        peak_rss_bytes=memory.peak_rss_bytes,
        spare_rss_anon_bytes=memory.standby_anon_bytes,
        spare_rss_file_bytes=memory.standby_file_bytes,
        load_peak_rss_bytes=memory.load_peak_rss_bytes,
        exercised_sequences=memory.exercised_sequences,
        exercised_tokens=memory.exercised_tokens,
    )


def _read_memory(message: worker_pb2.WorkerMemory) -> Memory:
    return Memory(
        rss_bytes=message.rss_bytes,
        rss_anon_bytes=message.rss_anon_bytes,
        rss_file_bytes=message.rss_file_bytes,
        peak_rss_bytes=message.peak_rss_bytes,
        standby_anon_bytes=message.spare_rss_anon_bytes,
        standby_file_bytes=message.spare_rss_file_bytes,
        load_peak_rss_bytes=message.load_peak_rss_bytes,
        exercised_sequences=message.exercised_sequences,
        exercised_tokens=message.exercised_tokens,
    )


def _read_histogram(message: worker_pb2.LatencyHistogram) -> Histogram | None:
    """Return a histogram; None where it is of a later release, or its numbers make none."""
    measure = _MEASURED.get(message.measure)
    bounds = tuple(message.bounds_s)
    increasing = all(low < high for low, high in itertools.pairwise(bounds))
    if measure is None or not increasing or len(message.counts) != len(bounds) + 1:
        return None
    if not all(map(math.isfinite, (*bounds, message.sum_s))):
        return None
    return Histogram(measure, bounds, tuple(message.counts), message.sum_s)
