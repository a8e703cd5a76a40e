"""Histograms of latencies: added up, and read."""

from __future__ import annotations

import pytest

from echoplaned.core.measure import Histogram, Measure, add_histograms

FIRST = Histogram(Measure.FIRST_TOKEN, (0.1, 0.5, 1.0), (5, 4, 0, 1), 3.5)


@pytest.mark.parametrize(("share", "bound_s"), [(0.5, 0.1), (0.51, 0.5), (0.9, 0.5), (0.99, None)])
def test_a_share_lies_beneath_a_bound(share: float, bound_s: float | None) -> None:
    """What is above every bound has none."""
    assert FIRST.bound_s(share) == bound_s


def test_nothing_has_no_bound() -> None:
    """An engine that answered nothing yet is not said to be fast."""
    assert Histogram(Measure.END_TO_END, (1.0,), (0, 0), 0.0).bound_s(0.5) is None


def test_engines_are_added_up_by_measure() -> None:
    """Bucket by bucket; of a build with other bounds the newer numbers stay."""
    end = Histogram(Measure.END_TO_END, (1.0,), (2, 1), 4.0)
    other = Histogram(Measure.END_TO_END, (1.0, 2.0), (1, 0, 0), 0.5)
    assert add_histograms((FIRST, end, FIRST)) == (
        end,
        Histogram(Measure.FIRST_TOKEN, FIRST.bounds_s, (10, 8, 0, 2), 7.0),
    )
    assert add_histograms((end, other)) == (other,)


def test_a_histogram_has_one_bucket_more_than_bounds() -> None:
    """Anything else is no histogram."""
    with pytest.raises(ValueError, match="2 bounds make 3 buckets, not 2"):
        Histogram(Measure.FIRST_TOKEN, (0.1, 0.2), (1, 2), 0.1)
