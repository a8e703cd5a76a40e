"""Measured orders of convergence, and the table of them that is checked in."""

from __future__ import annotations

import json

import pytest

from benchmarks.dtesn import convergence
from benchmarks.reporting import RESULTS
from echoplaned.dtesn import METHODS
from tests.dtesn.orders import ORDERS


@pytest.fixture(scope="module")
def found() -> tuple[convergence.Convergence, ...]:
    """Every method on every problem."""
    return convergence.measure()


def test_measured_orders_agree(found: tuple[convergence.Convergence, ...]) -> None:
    """Halving the step divides the error by two to the order that the B-series proves, on both problems."""
    assert {(one.method, one.problem) for one in found} == {(m, p.name) for m in METHODS for p in convergence.PROBLEMS}
    for one in found:
        assert one.exact_order == ORDERS[one.method]
        assert one.measured_order == pytest.approx(one.exact_order, abs=0.1), one


def test_the_recorded_table_is_what_is_measured(found: tuple[convergence.Convergence, ...]) -> None:
    """The file has these figures, up to the rounding of another machine's library of mathematics."""
    recorded = json.loads((RESULTS / "dtesn-convergence.json").read_text(encoding="utf-8"))
    measured = convergence.record(found)
    assert recorded["steps"] == measured["steps"]
    for one, row in zip(found, recorded["rows"], strict=True):
        assert (row["method"], row["problem"], row["exact_order"]) == (one.method, one.problem, one.exact_order)
        assert row["measured_order"] == pytest.approx(one.measured_order, abs=0.02)
        assert row["errors"] == pytest.approx(one.errors, rel=0.02)
