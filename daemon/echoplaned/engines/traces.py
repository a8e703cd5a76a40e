"""Reads a worker's traces for the daemon.

Every number is checked; what is wrong is left out and flagged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from echoplane.worker.v1 import worker_pb2
from echoplaned.core.ids import VersionKey
from echoplaned.ports.emit import Clock
from echoplaned.ports.traces import RequestTrace, TraceFlag, TraceKind

MAX_STEP: Final = 1_000_000
"""Tokens between two samples of one answer at most; more is a mistake, not a pause."""

_MAX_MAGNITUDE: Final = 1e6  # nats, or a feature's magnitude; beyond it float32 statistics mean nothing
_ROUNDING: Final = 1e-3  # a log-probability of a certain token may come out a little above 0
_CLOCK_SLACK_S: Final = 5.0
_MAX_NAME: Final = 64
_KNOWN_FLAGS: Final = TraceFlag.STOPPED | TraceFlag.SAMPLED | TraceFlag.CANCELLED | TraceFlag.FAILED | TraceFlag.CUT
_NONE: Final = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class _Samples:
    log_probabilities: npt.NDArray[np.float32]
    entropies: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]
    flags: TraceFlag


class TraceReader:
    """Reads one worker's traces.

    Args:
        version: what it serves.
        clock: seconds since the epoch.
    """

    def __init__(self, version: VersionKey, clock: Clock) -> None:
        self._version = version
        self._clock = clock
        self._last_ended_s = -math.inf
        self._behind_s = 0.0
        self._maybe_behind_s = math.nan

    def read(self, trace: worker_pb2.Trace) -> RequestTrace:
        """Return a trace in which every number is finite and in order.

        What was wrong is in its flags.
        """
        flags = TraceFlag(trace.flags) & _KNOWN_FLAGS
        ended_s, timed = self._time(trace.ended_s)
        samples = _samples(trace)
        features, checked = _features(trace)
        return RequestTrace(
            version=self._version,
            ended_s=ended_s,
            kind=TraceKind.VECTOR if trace.kind == worker_pb2.TRACE_KIND_VECTOR else TraceKind.TOKENS,
            prompt_tokens=trace.prompt_tokens,
            log_probabilities=samples.log_probabilities,
            entropies=samples.entropies,
            positions=samples.positions,
            features=features,
            flags=flags | timed | samples.flags | checked,
            conversation=trace.conversation[:_MAX_NAME],
            probe=trace.probe,
            digest=trace.digest,
            max_tokens=trace.max_tokens,
            prompt_class=trace.prompt_class[:_MAX_NAME],
        )

    def _time(self, ended_s: float) -> tuple[float, TraceFlag]:
        """Return when a request ended, by the daemon's clock.

        The time of reading where the worker's makes no sense.

        The two clocks need not agree: one of them was set, or read its wall at another time. Two traces in a row that are off by as
        much say by how much, so that a worker whose clock was put right goes on being believed.
        """
        now_s = self._clock()
        here_s = ended_s + self._behind_s
        if not self._last_ended_s <= here_s <= now_s + _CLOCK_SLACK_S:
            behind_s, before_s = now_s - ended_s, self._maybe_behind_s
            self._maybe_behind_s = behind_s
            if not abs(behind_s - before_s) <= _CLOCK_SLACK_S:  # nor where one of them is no number
                return now_s, TraceFlag.TIME_REVERSED
            self._behind_s, here_s = behind_s, now_s
        self._maybe_behind_s = math.nan
        self._last_ended_s = here_s
        return here_s, TraceFlag.NONE


def _samples(trace: worker_pb2.Trace) -> _Samples:
    """Return a trace's tokens that can be used, in order."""
    logprobs = np.array(trace.log_probabilities, np.float32)
    entropies = np.array(trace.entropies, np.float32)
    positions = np.array(trace.positions, np.int64) if trace.positions else np.arange(len(logprobs), dtype=np.int64)
    if not len(logprobs) == len(entropies) == len(positions):
        return _Samples(_NONE, _NONE, np.zeros(0, np.int32), TraceFlag.MALFORMED)
    flags = TraceFlag.NONE
    steps = np.diff(positions, prepend=-1)
    broken = np.flatnonzero((steps < 1) | (steps > MAX_STEP) | (positions > np.iinfo(np.int32).max))
    if broken.size:
        first = int(broken[0])
        logprobs, entropies, positions = logprobs[:first], entropies[:first], positions[:first]
        flags |= TraceFlag.BAD_STEP
    # NaN compares false with everything.
    good = (
        (logprobs <= _ROUNDING)
        & (logprobs > -_MAX_MAGNITUDE)
        & (entropies >= -_ROUNDING)
        & (entropies < _MAX_MAGNITUDE)
    )
    if not good.all():
        logprobs, entropies, positions = logprobs[good], entropies[good], positions[good]
        flags |= TraceFlag.NOT_FINITE
    return _Samples(
        np.minimum(logprobs, np.float32(0)), np.maximum(entropies, np.float32(0)), positions.astype(np.int32), flags
    )


def _features(trace: worker_pb2.Trace) -> tuple[npt.NDArray[np.float32], TraceFlag]:
    """Return a vector's features, none if one of them cannot be used."""
    features = np.array(trace.features, np.float32)
    if not (np.abs(features) < _MAX_MAGNITUDE).all():
        return _NONE, TraceFlag.NOT_FINITE
    return features, TraceFlag.NONE
