"""Reports and orders on the wire: nothing is lost on the way, and unset is not zero."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echoplane.worker.v1 import worker_pb2
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.facts import Dtype, SourceContent, SourceFile, Task
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.numbers import MAX_COUNT
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.traces import TraceFlag
from echoplaned.worker_contract.order import LoadOrder, read_order, write_order
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.report import CounterFlags, Counters, Memory, Report, StartProgress
from echoplaned.worker_contract.report_wire import MAX_BUCKETS, MAX_SECONDS, MAX_TEXT, read_report, write_report
from echoplaned.worker_contract.trace_flags import WireTraceFlag

FULL = Report(
    phase=WorkerPhase.LOADING,
    counters=Counters(1, 2, 3, 4, 5, 6),
    flags=CounterFlags(counts_arrivals=True, counts_errors=False, has_histograms=True, has_traces=False),
    idle_s=0.0,
    progress=7,
    step_expected_s=1.5,
    memory=Memory(8, 9, 10, 11, 12, 13, 14, 15, 16),
    failure="none yet",
    draining=True,
    instance="m/v1#0",
    generation=17,
    engine_version="e 1.0",
    kind="kind",
    contract=2,
    histograms=(Histogram(Measure.FIRST_TOKEN, (0.1, 1.0), (1, 2, 3), 4.5),),
    start=StartProgress("Loading weights", 18),
    figures=EngineFigures(19, 20, 21, 22),
    tokens=TokenCounts(23, 24),
)


@pytest.mark.parametrize("report", [FULL, *(Report(phase) for phase in WorkerPhase)])
def test_a_report_comes_back(report: Report) -> None:
    """Writing and reading are inverse."""
    assert read_report(write_report(report)) == report


def test_a_report_of_the_first_contract_counts_everything_but_latencies() -> None:
    """A worker of the first releases sets no flag, and means all of its counters."""
    message = worker_pb2.WorkerReport(state=worker_pb2.WORKER_STATE_READY, ok_count=3)
    report = read_report(worker_pb2.WorkerReport.FromString(message.SerializeToString()))
    assert report.contract == 1
    assert report.flags == CounterFlags(counts_arrivals=True, counts_errors=True, has_histograms=False, has_traces=True)


def test_a_report_of_this_contract_counts_what_it_says() -> None:
    """A leader that sets no flag counts nothing, whatever its zeroes look like."""
    assert read_report(worker_pb2.WorkerReport(contract_version=2)).flags == CounterFlags()


def test_no_tokens_are_not_uncounted_ones() -> None:
    """An engine that counted none yet says so; one that does not count says nothing, and neither does a leader of an older release."""
    none_yet = write_report(Report(WorkerPhase.READY, tokens=TokenCounts()))
    assert read_report(worker_pb2.WorkerReport.FromString(none_yet.SerializeToString())).tokens == TokenCounts()
    assert read_report(write_report(Report(WorkerPhase.READY))).tokens is None
    told = worker_pb2.WorkerReport(tokens=worker_pb2.TokenCounts(prompt_count=2**64 - 1, generated_count=1))
    assert read_report(told).tokens == TokenCounts(MAX_COUNT, 1)


@pytest.mark.parametrize(("value", "count", "small"), [(10**30, MAX_COUNT, 2**32 - 1), (-5, 0, 0)])
def test_any_report_can_be_written(value: int, count: int, small: int) -> None:
    """An engine's own words fill no field beyond what it holds: a number of 30 digits does not end the watch that reports it."""
    report = Report(
        phase=WorkerPhase.READY,
        counters=Counters(*[value] * 8),
        generation=value,
        progress=value,
        memory=Memory(*[value] * 9),
        failure="half a character: \ud800",
        histograms=(Histogram(Measure.FIRST_TOKEN, (0.1,), (value, value), 1e308),),
        start=StartProgress("x", value),
        figures=EngineFigures(*[value] * 4),
        tokens=TokenCounts(value, value),
    )
    read = read_report(write_report(report))
    assert read.counters == Counters(count, count, count, count, small, small, count, count)
    assert (read.generation, read.progress, read.start) == (count, count, StartProgress("x", count))
    assert read.memory == replace(Memory(*[count] * 9), exercised_sequences=small, exercised_tokens=small)
    assert (read.figures, read.tokens) == (EngineFigures(*[count] * 4), TokenCounts(count, count))
    assert [one.counts for one in read.histograms] == [(count, count)]
    assert read.failure == r"half a character: \ud800"


@pytest.mark.parametrize(
    "histogram",
    [
        {"measure": 99, "bounds_s": [1.0], "counts": [1, 2]},
        {"measure": 1, "bounds_s": [1.0], "counts": [1]},
        {"measure": 1, "bounds_s": [2.0, 1.0], "counts": [1, 2, 3]},
        {"measure": 1, "bounds_s": [float("nan")], "counts": [1, 2]},
        {"measure": 1, "bounds_s": [1.0], "counts": [1, 2], "sum_s": float("inf")},
    ],
)
def test_a_histogram_that_is_none_is_left_out(histogram: dict[str, object]) -> None:
    """Numbers from outside are checked where they enter."""
    message = worker_pb2.WorkerReport(histograms=[worker_pb2.LatencyHistogram(**histogram)])  # type: ignore[arg-type]
    assert read_report(message).histograms == ()


def test_an_order_comes_back() -> None:
    """Writing and reading are inverse."""
    order = LoadOrder(
        instance=InstanceKey(VersionKey("m", "v1"), 3),
        generation=2,
        source_path=Path("/models/m"),
        task=Task.GENERATION,
        dtype=Dtype.BF16,
        context_length=64,
        max_concurrency=4,
        engine_options={"threads": "2"},
        device_ids=("cuda:1", "cuda:0", "cuda:3"),
        weights_format="safetensors",
        digest="blake3:12",
        content=SourceContent(
            "/models", (SourceFile("1_Pooling/config.json", "m/1_Pooling/config.json", 5, 2**63, -1),)
        ),
        kv_cache_bytes=2**33,
        reserved_bytes=2**34,
    )
    assert read_order(write_order(order)) == order
    assert write_order(order).device_id == "cuda:1", "a leader of the last release reads this alone"
    unnamed = replace(order, content=None, digest="")
    assert read_order(write_order(unnamed)) == unnamed


@pytest.mark.parametrize("name", ["/etc/passwd", "../config.json", "a/../../b", ""])
def test_a_name_that_leads_out_of_the_checkpoint_is_refused(name: str) -> None:
    """A leader makes links by these names, and none of them lies elsewhere."""
    order = LoadOrder(InstanceKey(VersionKey("m", "v1"), 0), 1, Path("/models/m"), Task.EMBEDDING, Dtype.FP32, 64, 4)
    message = write_order(replace(order, content=SourceContent("/models", (SourceFile(name, "m/x", 5, 1, 1),))))
    with pytest.raises(ValueError, match="no name of a file"):
        read_order(message)


def test_an_order_of_another_version_is_refused() -> None:
    """Instance and version must be of one mind."""
    with pytest.raises(ValueError, match="model_id and version_id"):
        read_order(worker_pb2.LoadRequest(instance="m/v1#0", model_id="m", version_id="v2"))


def test_memory_is_what_is_above_standby() -> None:
    """What a leader had before it loaded is not the model's."""
    memory = Memory(rss_anon_bytes=100, rss_file_bytes=50, standby_anon_bytes=60, standby_file_bytes=20)
    assert memory.model_bytes == 70
    assert memory.usage("e", "AVX2") is None
    usage = Memory(200, 100, 50, 190, 60, 20, load_peak_rss_bytes=230, exercised_sequences=2, exercised_tokens=8).usage(
        "e", "AVX2"
    )
    assert usage is not None
    assert usage.cpu_isa is CpuIsa.AVX2
    assert (usage.load_peak_bytes, usage.serving_peak_bytes, usage.file_bytes) == (150, 110, 30)


def test_the_bits_of_a_trace_are_those_that_the_gates_read() -> None:
    """What leaders set and what the daemon reads are the same bits."""
    assert {flag.name: flag.value for flag in WireTraceFlag}.items() <= {
        flag.name: flag.value for flag in TraceFlag
    }.items()


INT64, UINT64, UINT32 = st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
HISTOGRAMS = st.builds(
    worker_pb2.LatencyHistogram,
    measure=st.integers(0, 9),
    bounds_s=st.lists(st.floats(), max_size=4),
    counts=st.lists(UINT64, max_size=5),
    sum_s=st.floats(),
)
REPORTS = st.builds(
    worker_pb2.WorkerReport,
    state=st.integers(0, 99),
    generation=INT64,
    ok_count=UINT64,
    client_error_count=UINT64,
    server_error_count=UINT64,
    arrival_count=UINT64,
    in_flight_count=UINT32,
    queued_count=UINT32,
    progress_count=UINT64,
    seconds_since_last_arrival=st.none() | st.floats(),
    memory=st.builds(
        worker_pb2.WorkerMemory,
        rss_bytes=INT64,
        rss_anon_bytes=INT64,
        rss_file_bytes=INT64,
        peak_rss_bytes=INT64,
        spare_rss_anon_bytes=INT64,
        load_peak_rss_bytes=INT64,
    ),
    contract_version=st.sampled_from([0, 1, 2, 2**32 - 1]),
    histograms=st.lists(HISTOGRAMS, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(REPORTS)
def test_any_report_is_read_into_range(message: worker_pb2.WorkerReport) -> None:
    """Whatever 64 bits, NaN or infinity a leader sends, what is read is within bounds and can be written again."""
    report = read_report(message)
    counters, memory = report.counters, report.memory
    numbers = [counters.ok, counters.client_errors, counters.server_errors, counters.arrivals, report.progress]
    numbers += [memory.rss_bytes, memory.rss_anon_bytes, memory.model_bytes, report.generation]
    numbers += [count for one in report.histograms for count in one.counts]
    assert all(0 <= number <= 2 * MAX_COUNT for number in numbers)
    assert report.idle_s is None or 0.0 <= report.idle_s <= MAX_SECONDS
    assert read_report(write_report(report)) == report


def test_long_texts_and_many_buckets_are_cut() -> None:
    """A leader cannot fill the daemon's memory with one report."""
    message = worker_pb2.WorkerReport(failure="x" * 100_000, engine_version="v" * 100_000, cpu_isa="c" * 100_000)
    message.start.step = "s" * 100_000
    message.histograms.add(bounds_s=range(MAX_BUCKETS + 1), counts=range(MAX_BUCKETS + 2))
    for _ in range(100):
        message.histograms.add(measure=worker_pb2.LATENCY_MEASURE_END_TO_END, bounds_s=[1], counts=[1, 2])
    report = read_report(message)
    assert len(report.failure) == MAX_TEXT
    assert report.start is not None
    assert max(map(len, (report.engine_version, report.cpu_isa, report.start.step))) < MAX_TEXT
    assert len(report.histograms) < 20
