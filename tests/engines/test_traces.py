"""Reading telemetry: what is sound comes through, what is not is left out and flagged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from echoplane.worker.v1 import worker_pb2
from echoplaned.core.ids import VersionKey
from echoplaned.engines.traces import TraceReader
from echoplaned.ports.traces import RequestTrace, TraceFlag, TraceKind

VERSION = VersionKey("m", "v1")
NOW_S = 1000.0


def trace(**changes: object) -> worker_pb2.Trace:
    """Return a sound trace of three tokens, changed."""
    fields: dict[str, Any] = {
        "ended_s": NOW_S,
        "kind": worker_pb2.TRACE_KIND_TOKENS,
        "prompt_tokens": 5,
        "log_probabilities": [-1.0, -2.0, -3.0],
        "entropies": [0.5, 0.25, 0.0],
        "flags": TraceFlag.STOPPED,
        "conversation": "c",
    }
    return worker_pb2.Trace(**{**fields, **changes})


def read(**changes: object) -> RequestTrace:
    """Return a trace as the daemon has it."""
    return TraceReader(VERSION, lambda: NOW_S).read(trace(**changes))


def test_a_sound_trace() -> None:
    """Everything comes through as it was sent; positions that are not sent count up."""
    found = read()
    assert found.log_probabilities.tolist() == [-1.0, -2.0, -3.0]
    assert found.entropies.tolist() == [0.5, 0.25, 0.0]
    assert found.positions.tolist() == [0, 1, 2]
    assert (found.version, found.ended_s, found.kind, found.prompt_tokens) == (VERSION, NOW_S, TraceKind.TOKENS, 5)
    assert (found.flags, found.conversation, found.probe, found.sound) == (TraceFlag.STOPPED, "c", False, True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.5, -1e9])
def test_a_token_without_a_number_is_left_out(bad: float) -> None:
    """NaN, an infinity or a probability above 1 takes its token with it; the others keep their places."""
    found = read(log_probabilities=[-1.0, bad, -3.0])
    assert found.log_probabilities.tolist() == [-1.0, -3.0]
    assert found.positions.tolist() == [0, 2]
    assert found.flags == TraceFlag.STOPPED | TraceFlag.NOT_FINITE
    assert not found.sound


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_an_entropy_that_is_none(bad: float) -> None:
    """It takes its token with it as well."""
    found = read(entropies=[0.5, bad, 0.0])
    assert found.log_probabilities.tolist() == [-1.0, -3.0]
    assert found.flags & TraceFlag.NOT_FINITE


@pytest.mark.parametrize("positions", [[0, 0, 1], [5, 4, 6], [0, 1_000_000_000, 1_000_000_001]])
def test_steps_that_cannot_be(positions: list[int]) -> None:
    """A step of nothing, back, or of 10^9 tokens ends what is used of a trace."""
    found = read(positions=positions)
    assert found.positions.tolist() == positions[:1]
    assert len(found.log_probabilities) == len(found.entropies) == 1
    assert found.flags & TraceFlag.BAD_STEP


def test_gaps_are_steps() -> None:
    """Positions with gaps are in order, and sound."""
    assert read(positions=[0, 3, 9]).positions.tolist() == [0, 3, 9]
    assert read(positions=[0, 3, 9]).sound


def test_lists_that_do_not_fit_together() -> None:
    """Nothing of them is used."""
    found = read(entropies=[1.0])
    assert found.flags & TraceFlag.MALFORMED
    assert not found.log_probabilities.size


@pytest.mark.parametrize("ended_s", [math.nan, math.inf, -math.inf, NOW_S - 10, NOW_S + 1e9])
def test_a_clock_that_makes_no_sense(ended_s: float) -> None:
    """A time before the last one's, in the far future, or none at all is replaced by the daemon's own."""
    reader = TraceReader(VERSION, lambda: NOW_S)
    assert reader.read(trace()).sound
    found = reader.read(trace(ended_s=ended_s))
    assert (found.ended_s, found.flags & TraceFlag.TIME_REVERSED) == (NOW_S, TraceFlag.TIME_REVERSED)
    assert reader.read(trace()).sound


@pytest.mark.parametrize("behind_s", [-3600.0, 3600.0])
def test_a_worker_whose_clock_was_set_is_believed_again(behind_s: float) -> None:
    """One trace is not believed, for its time could be anything; two that are off by as much say by how much."""
    now = iter(NOW_S + second for second in range(100))
    reader = TraceReader(VERSION, lambda: next(now))
    assert reader.read(trace(ended_s=NOW_S)).sound
    found = [reader.read(trace(ended_s=NOW_S + second - behind_s)) for second in range(1, 6)]
    assert [one.sound for one in found] == [False, True, True, True, True]
    assert [one.ended_s for one in found] == [NOW_S + second for second in range(1, 6)]


def test_features() -> None:
    """A vector's features come whole or, with one that is no number, not at all."""
    vector: dict[str, object] = {"kind": worker_pb2.TRACE_KIND_VECTOR, "log_probabilities": [], "entropies": []}
    found = read(**vector, features=[1.0, 2.0])
    assert (found.kind, found.features.tolist(), found.sound) == (TraceKind.VECTOR, [1.0, 2.0], True)
    broken = read(**vector, features=[1.0, math.nan])
    assert (broken.features.size, broken.sound) == (0, False)
    assert broken.features.dtype == np.float32


def test_a_worker_cannot_claim_what_the_daemon_finds() -> None:
    """Flags of the daemon's own are not taken from the wire."""
    assert read(flags=0xFFFF).sound
