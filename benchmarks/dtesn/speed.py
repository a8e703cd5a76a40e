"""Time of a step, of a P system's step, and of a B-series."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable

import numpy as np

from benchmarks.dtesn.others import reservoirpy_node, scipy_weights
from benchmarks.reporting import Row
from echoplaned.dtesn import SIZE_CLASSES, Configuration, Series, SeriesCache, Streams, System, Tableau, TreeReservoir

STREAMS = 256
JUDGED_UNITS = 2048
"""What the aims are for; smaller ones are told beside it."""

DEFAULT_PEER = "reservoirpy 0.4, 10 % of connections, float64"


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Return the least of some times, in microseconds: what others do on the machine only adds."""
    work()
    gc.collect()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times) * 1e6


def measure() -> list[Row]:
    """Return all rows."""
    rows = [row for size_class in SIZE_CLASSES for row in _class(size_class)]
    return [*rows, _p_system(), *_b_series()]


def _class(size_class: str) -> list[Row]:
    reservoir = TreeReservoir.of_class(size_class, 4)
    units, steps = reservoir.units, 200
    inputs = np.random.default_rng(0).standard_normal((steps, 4)).astype(np.float32)
    out, state = np.empty((steps, units), np.float32), reservoir.initial_state()
    own = fastest(lambda: reservoir.run(inputs, state=state, out=out), 30) / steps
    name, is_judged = f"{units} units, one stream, a step", units == JUDGED_UNITS
    rows = []
    equal = reservoir.non_zeros - 4 * units
    peers = {
        DEFAULT_PEER: reservoirpy_node(units),
        "reservoirpy 0.4, equal non-zeros, float32": reservoirpy_node(units, non_zeros=equal, dtype=np.float32),
    }
    for peer, node in peers.items():
        node.run(inputs[:2])
        reference = fastest(lambda node=node: node.run(inputs), 5) / steps
        limit = min(60.0, reference / 5) if is_judged and peer == DEFAULT_PEER else None
        aim = "a fifth of the reference, 60 us" if limit else ""
        rows.append(Row(name, own, "us", peer, reference, limit, aim))
    rows.append(Row(name, own, "us", "scipy CSR, equal non-zeros, float32", _scipy_step(units, equal, inputs)))
    streams = Streams(reservoir, STREAMS)
    ids = np.array([streams.open() for _ in range(STREAMS)], dtype=np.uint64)
    batch = np.random.default_rng(1).standard_normal((STREAMS, 4)).astype(np.float32)
    many = fastest(lambda: streams.step(ids, batch), 20)
    for peer, node in peers.items():
        series = np.repeat(batch[:, None, :], 4, axis=1)
        reference = fastest(lambda node=node, series=series: node.run(series), 1) / 4
        limit = reference / 20 if is_judged and peer == DEFAULT_PEER else None
        aim = "a twentieth of the reference" if limit else ""
        rows.append(Row(f"{units} units, {STREAMS} streams, a step of all", many, "us", peer, reference, limit, aim))
    return rows


def _scipy_step(units: int, non_zeros: int, inputs: np.ndarray) -> float:
    weights = scipy_weights(units, non_zeros)
    entries = np.random.default_rng(2).standard_normal((units, 4)).astype(np.float32)
    state = np.zeros(units, np.float32)

    def run() -> None:
        nonlocal state
        for row in inputs:
            state = np.float32(0.7) * state + np.float32(0.3) * np.tanh(weights @ state + entries @ row)

    return fastest(run, 5) / len(inputs)


def _p_system() -> Row:
    inner = "".join(f"[]'{label}" for label in range(2, 33))
    text = f"def main() {{ @mu = [{inner}]'1;"
    for label in range(1, 33):
        text += f" @ms({label}) = a{{0}}*9, a{{3}}*7;"
        for number in range(8):
            following = f"a{{{(number + 1) % 8}}}"
            right = f"({following}, out)" if number == 7 and label > 1 else following
            text += f" [a{{{number}}} --> {right}]'{label};"
    system = System.parse(text + " }")
    assert len(system.rules) == 256
    configuration = Configuration(system)
    return Row(
        "P system of 32 membranes x 8 rules, a step", fastest(configuration.step, 2000), "us", limit=10.0, aim="10 us"
    )


def _b_series() -> list[Row]:
    method, cache = Tableau.named("rk4"), SeriesCache()
    computed = fastest(lambda: Series(method, 10), 30)
    found = fastest(lambda: cache.get(method, 10), 300)
    with tempfile.TemporaryDirectory() as directory:
        SeriesCache(directory).get(method, 10)
        # A cache that is new has nothing in memory.
        stored = fastest(lambda: SeriesCache(directory).get(method, 10), 300)
    return [
        Row(
            "B-series of RK4, the 1,205 trees up to order 10, computed",
            computed,
            "us",
            limit=1205.0,
            aim="1,000 trees a ms",
        ),
        Row("the same from the cache", found, "us", limit=100.0, aim="100 us"),
        Row("the same from the cache on disk", stored, "us", limit=100.0, aim="100 us"),
    ]
