"""Latency histograms of requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from echoplaned.core.numbers import clamp_count


class Measure(StrEnum):
    """What a latency measures."""

    FIRST_TOKEN = "FIRST_TOKEN"  # noqa: S105 - a measure, no password
    INTER_TOKEN = "INTER_TOKEN"  # noqa: S105 - as above
    END_TO_END = "END_TO_END"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Latencies of requests that ended.

    Attributes:
        measure: what is measured.
        bounds_s: upper bounds of the buckets in seconds, increasing.
        counts: one more than bounds: the last is above them all.
        sum_s: all latencies added up, in seconds.
    """

    measure: Measure
    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds_s) + 1:
            raise ValueError(
                f"{len(self.bounds_s)} bounds make {len(self.bounds_s) + 1} buckets, not {len(self.counts)}"
            )

    @property
    def count(self) -> int:
        """Latencies in all buckets."""
        return sum(self.counts)

    def bound_s(self, share: float) -> float | None:
        """Return the bucket bound, in seconds, that a share of all latencies lies beneath.

        None: there are no latencies, or the share lies above all bounds.
        """
        wanted, below = share * self.count, 0
        for bound_s, count in zip(self.bounds_s, self.counts, strict=False):
            below += count
            if count and below >= wanted:
                return bound_s
        return None

    def __add__(self, other: Histogram) -> Histogram:
        """Add two histograms bucket by bucket.

        Of other bounds, which a new build may have, nothing can be added: the newer one stays.
        """
        if self.bounds_s != other.bounds_s:
            return other
        counts = tuple(clamp_count(a + b) for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(self.measure, self.bounds_s, counts, self.sum_s + other.sum_s)


def add_histograms(histograms: Iterable[Histogram]) -> tuple[Histogram, ...]:
    """Return one histogram a measure: those of several engines added up.

    In the order of the measures' names.
    """
    found: dict[Measure, Histogram] = {}
    for one in histograms:
        found[one.measure] = found[one.measure] + one if one.measure in found else one
    return tuple(found[measure] for measure in sorted(found))
