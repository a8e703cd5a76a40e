"""How much telemetry is kept, of whom, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from echoplaned.core.ids import VersionKey
from echoplaned.engines.trace_store import MAX_BYTES, MAX_TRACES, MAX_VERSIONS, TraceStore
from echoplaned.ports.traces import RequestTrace, TraceCounts, TraceKind

V1, V2 = VersionKey("m", "v1"), VersionKey("m", "v2")


def traces(version: VersionKey, count: int, tokens: int = 1) -> tuple[RequestTrace, ...]:
    """Return traces that can be told apart by their prompts."""
    floats, places = np.zeros(tokens, np.float32), np.arange(tokens, dtype=np.int32)
    none = np.zeros(0, np.float32)
    return tuple(
        RequestTrace(version, 0.0, TraceKind.TOKENS, number, floats, floats, places, none) for number in range(count)
    )


def test_a_reader_drains_one_version() -> None:
    """What was read is forgotten, and nobody else's is touched."""
    store = TraceStore()
    store.take(V1, "w1", traces(V1, 3), 0)
    store.take(V2, "w2", traces(V2, 1), 0)
    assert [trace.prompt_tokens for trace in store.traces(V1)] == [0, 1, 2]
    assert store.traces(V1) == ()
    assert len(store.traces(V2)) == 1
    assert store.traces(VersionKey("m", "v3")) == ()


def test_the_oldest_is_dropped_and_counted_the_same_for_all() -> None:
    """Each version keeps as many, whoever is busier."""
    store = TraceStore()
    store.take(V1, "w1", traces(V1, MAX_TRACES + 5), 0)
    store.take(V2, "w2", traces(V2, MAX_TRACES + 7), 0)
    assert (store.dropped_count(V1), store.dropped_count(V2)) == (5, 7)
    assert store.traces(V1)[0].prompt_tokens == 5
    assert len(store.traces(V2)) == MAX_TRACES


def test_long_traces_are_bounded_by_their_bytes() -> None:
    """The arrays of a version never take more than its share."""
    store = TraceStore()
    store.take(V1, "w1", traces(V1, 1000, tokens=1024), 0)
    kept = store.traces(V1)
    assert sum(trace.nbytes for trace in kept) <= MAX_BYTES
    assert len(kept) + store.dropped_count(V1) == 1000


def test_what_workers_dropped_is_counted() -> None:
    """A worker's own count only grows, and outlives it."""
    store = TraceStore()
    store.take(V1, "w1", (), 4)
    store.take(V1, "w1", traces(V1, 1), 6)
    store.take(V1, "w2", (), 1)
    assert store.dropped_count(V1) == 7
    store.on_ended(V1, "w1")
    store.on_ended(V2, "w9")
    assert store.counts() == {V1: TraceCounts(received=1, dropped=7)}


def test_probes_are_counted_and_not_kept() -> None:
    """The daemon's own requests say nothing of a version's callers, and take no room from theirs."""
    store = TraceStore()
    (one,) = traces(V1, 1)
    store.take(V1, "w1", (one, *(replace(one, probe=True) for _ in range(MAX_TRACES))), 0)
    assert store.traces(V1) == (one,)
    assert store.counts() == {V1: TraceCounts(received=MAX_TRACES + 1, dropped=0)}


def test_traces_go_with_the_last_worker() -> None:
    """A version that nobody serves any more keeps its counts and no trace; another worker's life keeps them."""
    store = TraceStore()
    store.take(V1, "w1", traces(V1, 3), 1)
    store.take(V1, "w2", traces(V1, 2), 0)
    store.on_ended(V1, "w1")
    assert len(store.traces(V1)) == 5
    store.take(V1, "w2", traces(V1, 2), 0)
    store.on_ended(V1, "w2")
    assert store.traces(V1) == ()
    assert store.counts() == {V1: TraceCounts(received=7, dropped=1)}


def test_versions_are_bounded() -> None:
    """The one that was silent longest is forgotten first."""
    store = TraceStore()
    keys = [VersionKey("m", f"v{number}") for number in range(MAX_VERSIONS + 1)]
    for key in keys[:-1]:
        store.take(key, "w", traces(key, 1), 0)
    store.take(keys[0], "w", traces(keys[0], 1), 0)
    store.take(keys[-1], "w", traces(keys[-1], 1), 0)
    assert len(store.traces(keys[0])) == 2
    assert store.traces(keys[1]) == ()
