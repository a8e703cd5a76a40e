"""Latencies to protobuf."""

from __future__ import annotations

from echoplane.v1 import diagnostics_pb2
from echoplaned.core.measure import Histogram


def histogram_to_pb(histogram: Histogram) -> diagnostics_pb2.LatencyHistogram:
    """Write a histogram."""
    return diagnostics_pb2.LatencyHistogram(
        measure=f"LATENCY_MEASURE_{histogram.measure.value}",
        upper_bounds_s=histogram.bounds_s,
        counts=histogram.counts,
        sum_s=histogram.sum_s,
    )
