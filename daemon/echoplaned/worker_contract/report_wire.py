"""Converts reports to messages and back.

Total in both directions: what a foreign end sends is checked where it enters, and what its engine says is put into range where it is
written.
"""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import asdict
from typing import Final

from echoplane.worker.v1 import worker_pb2
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.numbers import clamp_count, clamp_real
from echoplaned.core.text import escape, escape_lines
from echoplaned.core.token_counts import TokenCounts
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.report import FLAGS_OF_CONTRACT_1, CounterFlags, Counters, Memory, Report, StartProgress
from echoplaned.worker_contract.version import FIRST_CONTRACT

MAX_TEXT: Final = 4000
"""Characters of why a start failed; of the shorter texts ``MAX_NAME``."""

MAX_NAME: Final = 256
MAX_HISTOGRAMS: Final = 16
MAX_BUCKETS: Final = 512
MAX_SECONDS: Final = 1e9

_State, _Latency = worker_pb2.WorkerState, worker_pb2.LatencyMeasure
_STATES: Final = {phase: f"WORKER_STATE_{phase.value}" for phase in WorkerPhase}
_PHASES: Final = {_State.Value(name): phase for phase, name in _STATES.items()}
_MEASURES: Final = {one: f"LATENCY_MEASURE_{one.value}" for one in Measure}
_MEASURED: Final = {_Latency.Value(name): one for one, name in _MEASURES.items()}

_MAX_STEP_S: Final = 3600.0
_MAX_UINT32: Final = 2**32 - 1


def write_report(report: Report) -> worker_pb2.WorkerReport:
    """Write a report of this process.

    Its numbers are an engine's own words, and a field refuses what it cannot hold: that would end the watch that reports.
    """
    counters = report.counters
    message = worker_pb2.WorkerReport(
        instance=report.instance,
        generation=clamp_count(report.generation),
        state=_STATES[report.phase],
        ok_count=clamp_count(counters.ok),
        client_error_count=clamp_count(counters.client_errors),
        server_error_count=clamp_count(counters.server_errors),
        arrival_count=clamp_count(counters.arrivals),
        in_flight_count=clamp_small(counters.in_flight),
        queued_count=clamp_small(counters.queued),
        overload_count=clamp_count(counters.overloaded),
        call_count=clamp_count(counters.calls),
        seconds_since_last_arrival=report.idle_s,
        progress_count=clamp_count(report.progress),
        step_expected_s=report.step_expected_s,
        memory=_write_memory(report.memory),
        failure=escape_lines(report.failure[:MAX_TEXT]),
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
        engine_figures=None if report.figures is None else _write_figures(report.figures),
    )
    for one in report.histograms:
        counts = map(clamp_count, one.counts)
        message.histograms.add(measure=_MEASURES[one.measure], bounds_s=one.bounds_s, counts=counts, sum_s=one.sum_s)
    if report.tokens is not None:
        # Also where both are 0: that it is there says that they are counted.
        message.tokens.CopyFrom(_write_tokens(report.tokens))
    if report.start is not None:
        message.start.step, message.start.count = report.start.step, clamp_count(report.start.count)
    return message


def read_report(message: worker_pb2.WorkerReport) -> Report:
    """Read a report; one of contract 1 sets no flags and counts all but latencies.

    A foreign engine's numbers pass through its leader, so they are clamped and its texts are cut here, where they enter.
    """
    contract = message.contract_version or FIRST_CONTRACT
    flags = CounterFlags(message.counts_arrivals, message.counts_errors, message.has_histograms, message.has_traces)
    return Report(
        phase=_PHASES.get(message.state, WorkerPhase.WARMING),
        counters=Counters(
            ok=clamp_count(message.ok_count),
            client_errors=clamp_count(message.client_error_count),
            server_errors=clamp_count(message.server_error_count),
            arrivals=clamp_count(message.arrival_count),
            in_flight=clamp_count(message.in_flight_count),
            queued=clamp_count(message.queued_count),
            overloaded=clamp_count(message.overload_count),
            calls=clamp_count(message.call_count),
        ),
        flags=FLAGS_OF_CONTRACT_1 if contract == FIRST_CONTRACT else flags,
        idle_s=_read_idle(message),
        progress=clamp_count(message.progress_count),
        step_expected_s=_read_expected(message.step_expected_s),
        memory=_read_memory(message.memory),
        failure=escape_lines(message.failure[:MAX_TEXT]),
        draining=message.draining,
        instance=message.instance[:MAX_NAME],
        generation=clamp_count(message.generation),
        engine_version=escape(message.engine_version[:MAX_NAME]),
        kind=escape(message.engine_kind[:MAX_NAME]),
        contract=contract,
        histograms=_read_histograms(message),
        start=_read_start(message.start) if message.HasField("start") else None,
        cpu_isa=message.cpu_isa[:MAX_NAME],
        figures=_read_figures(message.engine_figures) if message.HasField("engine_figures") else None,
        tokens=_read_tokens(message.tokens) if message.HasField("tokens") else None,
    )


def clamp_small(count: int) -> int:
    """Return a count within the 32 bits that some fields have."""
    return clamp_count(count, _MAX_UINT32)


def _write_tokens(tokens: TokenCounts) -> worker_pb2.TokenCounts:
    return worker_pb2.TokenCounts(
        prompt_count=clamp_count(tokens.prompt), generated_count=clamp_count(tokens.generated)
    )


def _read_tokens(message: worker_pb2.TokenCounts) -> TokenCounts:
    return TokenCounts(clamp_count(message.prompt_count), clamp_count(message.generated_count))


def _write_figures(figures: EngineFigures) -> worker_pb2.EngineFigures:
    return worker_pb2.EngineFigures(**{name: clamp_count(value) for name, value in asdict(figures).items()})


def _read_figures(message: worker_pb2.EngineFigures) -> EngineFigures:
    return EngineFigures(
        clamp_count(message.context_length),
        clamp_count(message.cache_tokens),
        clamp_count(message.cache_blocks),
        clamp_count(message.cache_bytes),
    )


def _write_memory(memory: Memory) -> worker_pb2.WorkerMemory:
    return worker_pb2.WorkerMemory(
        rss_bytes=clamp_count(memory.rss_bytes),
        rss_anon_bytes=clamp_count(memory.rss_anon_bytes),
        rss_file_bytes=clamp_count(memory.rss_file_bytes),
        peak_rss_bytes=clamp_count(memory.peak_rss_bytes),
        spare_rss_anon_bytes=clamp_count(memory.standby_anon_bytes),
        spare_rss_file_bytes=clamp_count(memory.standby_file_bytes),
        load_peak_rss_bytes=clamp_count(memory.load_peak_rss_bytes),
        exercised_sequences=clamp_small(memory.exercised_sequences),
        exercised_tokens=clamp_small(memory.exercised_tokens),
    )


def _read_expected(seconds: float) -> float:
    """Return the seconds that a step is expected to take; 0: not known.

    What is no time, or no sensible one, is not known.
    """
    return seconds if 0.0 <= seconds <= _MAX_STEP_S else 0.0


def _read_memory(message: worker_pb2.WorkerMemory) -> Memory:
    return Memory(
        rss_bytes=clamp_count(message.rss_bytes),
        rss_anon_bytes=clamp_count(message.rss_anon_bytes),
        rss_file_bytes=clamp_count(message.rss_file_bytes),
        peak_rss_bytes=clamp_count(message.peak_rss_bytes),
        standby_anon_bytes=clamp_count(message.spare_rss_anon_bytes),
        standby_file_bytes=clamp_count(message.spare_rss_file_bytes),
        load_peak_rss_bytes=clamp_count(message.load_peak_rss_bytes),
        exercised_sequences=clamp_count(message.exercised_sequences),
        exercised_tokens=clamp_count(message.exercised_tokens),
    )


def _read_idle(message: worker_pb2.WorkerReport) -> float | None:
    if not message.HasField("seconds_since_last_arrival"):
        return None
    # What is no number reads as 0, "one has just arrived": a drain then waits rather than cuts.
    return clamp_real(message.seconds_since_last_arrival, 0.0, MAX_SECONDS)


def _read_start(message: worker_pb2.StartProgress) -> StartProgress:
    return StartProgress(escape(message.step[:MAX_NAME]), clamp_count(message.count))


def _read_histograms(message: worker_pb2.WorkerReport) -> tuple[Histogram, ...]:
    read = map(_read_histogram, message.histograms[:MAX_HISTOGRAMS])
    return tuple(found for found in read if found is not None)


def _read_histogram(message: worker_pb2.LatencyHistogram) -> Histogram | None:
    """Return a histogram of a report.

    None where it is of a later release, or its numbers make none.
    """
    if len(message.counts) > MAX_BUCKETS or len(message.bounds_s) > MAX_BUCKETS:
        return None
    measure = _MEASURED.get(message.measure)
    bounds = tuple(message.bounds_s)
    increasing = all(low < high for low, high in itertools.pairwise(bounds))
    if measure is None or not increasing or len(message.counts) != len(bounds) + 1:
        return None
    if not all(map(math.isfinite, (*bounds, message.sum_s))):
        return None
    return Histogram(measure, bounds, tuple(map(clamp_count, message.counts)), message.sum_s)
