"""Traces of requests: what each said, in numbers, kept for the daemon.

They wait in a channel that never makes anybody wait.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from echoplane.worker.v1 import worker_pb2
from echoplaned.worker.sequences import Listener, Outcome, RowFailure, Sampling, Token, Vector
from echoplaned.worker_contract.trace_flags import WireTraceFlag

CHANNEL_TRACES: Final = 1024
"""Traces that wait for the daemon at most."""

TRACE_TOKENS: Final = 1024
"""Tokens of a trace at most; with the channel's own limit that bounds the memory to 9 MiB."""

PROJECTIONS: Final = 16
"""Values that a vector is projected to."""

_BATCH_TOKENS: Final = 128 * 1024  # 1 MiB of floats, below gRPC's default limit of 4 MiB with all that goes with it
_BATCH_COST: Final = 64  # what a trace costs beside its tokens, in tokens
_NAME_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class TraceOrigin:
    """Who asked, as a trace records it.

    Attributes:
        conversation: name of the conversation, as the caller gives it; empty: none given.
        probe: whether the daemon itself asked.
        prompt_class: kind of the request, as the caller names it; empty: none given.
    """

    conversation: str = ""
    probe: bool = False
    prompt_class: str = ""


class TraceChannel:
    """Bounded queue of traces on their way to the daemon.

    The newest are kept, the oldest are dropped and counted. Event loop only.
    """

    def __init__(self, capacity: int = CHANNEL_TRACES) -> None:
        self._waiting: deque[worker_pb2.Trace] = deque()
        self._capacity = capacity
        self.recorded_count = 0
        self.dropped_count = 0

    def put(self, trace: worker_pb2.Trace) -> None:
        """Keep a trace, in the place of the oldest if there are too many."""
        if len(self._waiting) == self._capacity:
            self._waiting.popleft()
            self.dropped_count += 1
        self._waiting.append(trace)
        self.recorded_count += 1

    def take(self) -> list[worker_pb2.Trace]:
        """Return the oldest traces, as many as one message may hold, and forget them."""
        taken: list[worker_pb2.Trace] = []
        room = _BATCH_TOKENS
        while self._waiting and room > 0:
            trace = self._waiting.popleft()
            room -= len(trace.log_probabilities) + _BATCH_COST
            taken.append(trace)
        return taken

    def clear(self) -> None:
        """Forget what waits; nobody wants it any more."""
        self._waiting.clear()


class Tracer:
    """Decides which requests are traced, and takes their traces. Event loop only.

    Args:
        wall: seconds since the epoch.
        chance: draws a number from [0, 1).
    """

    def __init__(self, wall: Callable[[], float], chance: Callable[[], float] = random.random) -> None:
        self._wall = wall
        self._chance = chance
        self._fraction = 0.0
        self.channel = TraceChannel()

    def sample(self, fraction: float) -> None:
        """Set the share of requests that are traced from now on, 0 to 1.

        It is 0 until the daemon first asks.
        """
        self._fraction = fraction
        if fraction == 0:
            self.channel.clear()

    @property
    def recorded_count(self) -> int:
        """Traces that were kept since the process began, those that were dropped included."""
        return self.channel.recorded_count

    @property
    def dropped_count(self) -> int:
        """Of them, dropped before they were sent."""
        return self.channel.dropped_count

    def take(self) -> list[worker_pb2.Trace]:
        """Return the oldest traces, as many as one message may hold, and forget them."""
        return self.channel.take()

    def wants(self) -> bool:
        """Say whether the request that arrives now is to be traced.

        That is decided by chance, whatever the request is and whoever sent it.
        """
        return self._fraction > 0 and self._chance() < self._fraction

    def tap(self, origin: TraceOrigin, token_ids: list[int], sampling: Sampling | None, listener: Listener) -> Tap:
        """Return what traces a sequence on its way to its listener.

        Args:
            origin: who asked.
            token_ids: the sequence's prompt.
            sampling: how tokens are generated; None: none are.
            listener: takes the sequence's outcomes, each before it is traced.
        """
        trace = worker_pb2.Trace(
            prompt_tokens=len(token_ids),
            conversation=origin.conversation,
            prompt_class=origin.prompt_class,
            probe=origin.probe,
        )
        if sampling is not None:
            trace.flags = WireTraceFlag.SAMPLED if sampling.temperature > 0 else WireTraceFlag.NONE
            trace.max_tokens = sampling.max_tokens
        return Tap(trace, token_ids, listener, self._ended)

    def _ended(self, trace: worker_pb2.Trace) -> None:
        trace.ended_s = self._wall()
        self.channel.put(trace)


class Tap:
    """Traces one sequence by listening to its outcomes.

    The trace is complete with the last token, the vector, the failure, or when the caller leaves.
    """

    __slots__ = ("_answer", "_ended", "_entropies", "_listener", "_logprobs", "_prompt", "_trace")

    def __init__(
        self,
        trace: worker_pb2.Trace,
        prompt: list[int],
        listener: Listener,
        ended: Callable[[worker_pb2.Trace], None],
    ) -> None:
        self._trace: worker_pb2.Trace | None = trace
        self._prompt = prompt
        self._answer: list[int] = []
        self._listener = listener
        self._ended = ended
        self._logprobs: list[float] = []
        self._entropies: list[float] = []

    def __call__(self, outcome: Outcome) -> None:
        """Take an outcome and pass it on."""
        self._listener(outcome)
        if isinstance(outcome, Token):
            if len(self._logprobs) < TRACE_TOKENS:
                self._logprobs.append(outcome.logprob)
                self._entropies.append(outcome.entropy)
                self._answer.append(outcome.token_id)
            elif self._trace is not None:
                self._trace.flags |= WireTraceFlag.CUT
            if outcome.last:
                self._end(WireTraceFlag.STOPPED if outcome.stopped else WireTraceFlag.NONE)
        elif isinstance(outcome, Vector) and self._trace is not None:
            self._trace.features.extend(features(outcome.values).tolist())
            self._end(WireTraceFlag.NONE)
        elif isinstance(outcome, RowFailure):
            self._end(WireTraceFlag.FAILED)

    def leave(self) -> None:
        """The caller waits no longer; of no effect once the trace is complete."""
        self._end(WireTraceFlag.CANCELLED)

    def _end(self, flag: WireTraceFlag) -> None:
        """Hand the trace over, once, unless the model has not said anything."""
        trace, self._trace = self._trace, None
        if trace is None or not (self._logprobs or trace.features):
            return
        trace.kind = worker_pb2.TRACE_KIND_TOKENS if self._logprobs else worker_pb2.TRACE_KIND_VECTOR
        trace.flags |= flag
        trace.log_probabilities.extend(self._logprobs)
        trace.entropies.extend(self._entropies)
        # Whoever draws nothing says the same however far it is let: cut answers to a text are no others.
        trace.digest = digest(self._prompt, self._answer if trace.flags & WireTraceFlag.SAMPLED else [])
        self._ended(trace)


def digest(prompt: list[int], answer: list[int]) -> int:
    """Return 64 bits that name an answer to a text, never 0.

    What was said cannot be read off them.
    """
    hasher = hashlib.blake2b(np.array(prompt, np.int64).tobytes(), digest_size=8)
    hasher.update(b"answer")  # so that a token cannot move from one to the other unnoticed
    hasher.update(np.array(answer, np.int64).tobytes())
    return int.from_bytes(hasher.digest(), "little") or 1


def features(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a vector's moments, then the vector itself or its projections.

    The moments are mean, standard deviation, skewness and largest magnitude. Projections take the place of a vector that is wider than
    ``PROJECTIONS``.
    """
    values = vector.astype(np.float64)
    mean = values.mean()
    centred = values - mean
    variance = float(centred @ centred) / values.size
    skewness = float((centred * centred) @ centred) / values.size / variance**1.5 if variance > 0 else 0.0
    moments = (float(mean), variance**0.5, skewness, float(np.abs(values).max()))
    projected = values if values.size <= PROJECTIONS else _directions(values.size) @ values
    return np.concatenate([moments, projected]).astype(np.float32)


@functools.cache
def _directions(width: int) -> npt.NDArray[np.float64]:
    """Return random directions to project vectors of a width on, [16, width].

    They depend on the width alone, so that versions can be compared.
    """
    scale = 1.0 / width**0.5
    drawn = np.random.Generator(np.random.PCG64(width)).standard_normal((PROJECTIONS, width))
    return np.asarray(drawn * scale, dtype=np.float64)


def short_name(name: str) -> str:
    """Return a caller's name for its conversation or for a kind of request.

    As it is, or a digest of it if it is long.
    """
    data = name.encode()
    return name if len(data) <= _NAME_BYTES else hashlib.blake2b(data, digest_size=16).hexdigest()
