"""Long-running operations: what their progress, their answer and their error are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError

from echoplane.errors import DeadlineError, EchoplaneError, Failure, UnavailableError, UnreadableError, from_status
from echoplane.googleapis import operations_pb2
from echoplane.options import ClientOptions, Outage
from echoplane.v1 import models_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2

Progress = Callable[[metadata_pb2.OperationMetadata], None]


@dataclass(frozen=True, slots=True)
class Completed:
    """An operation that ended well.

    Attributes:
        name: full name, ``operations/ID``; empty: it was ``validate_only``.
        metadata: its progress at the end.
        response: the version of a load, the model of an update; None: neither.
    """

    name: str
    metadata: metadata_pb2.OperationMetadata
    response: models_pb2.Model | models_pb2.ModelVersion | None


def read_metadata(operation: operations_pb2.Operation) -> metadata_pb2.OperationMetadata:
    """Return an operation's progress; empty where it has none.

    Raises:
        UnreadableError: it is no message.
    """
    metadata = metadata_pb2.OperationMetadata()
    try:
        operation.metadata.Unpack(metadata)
    except DecodeError as error:
        raise UnreadableError(f"the progress of {operation.name}: {error}") from error
    return metadata


def read_completed(operation: operations_pb2.Operation) -> Completed:
    """Return what a finished operation came to.

    Raises:
        UnreadableError: its answer, or its progress, is no message.
        EchoplaneError: the operation ended with an error.
    """
    if operation.HasField("error"):
        raise from_status(operation.error)
    response: models_pb2.Model | models_pb2.ModelVersion | None = None
    for kind in (models_pb2.Model, models_pb2.ModelVersion):
        if operation.response.Is(kind.DESCRIPTOR):
            try:
                response = kind.FromString(operation.response.value)
            except DecodeError as error:
                raise UnreadableError(f"the answer of {operation.name}: {error}") from error
    return Completed(operation.name, read_metadata(operation), response)


def not_in_time(name: str, timeout_s: float) -> EchoplaneError:
    """Return the error for an operation, or a rollout, that takes too long.

    It is still under way.
    """
    message = f"{name} is still under way after {timeout_s:g} s; it goes on without you"
    return DeadlineError(Failure(grpc.StatusCode.DEADLINE_EXCEEDED, message, resource=name))


class Patience:
    """How long a wait for an operation goes on.

    It ends with the caller's time, and with a daemon that is silent for longer than the options say.
    """

    __slots__ = ("_deadline_s", "_options", "_outage", "_poll_s", "_timeout_s")

    def __init__(self, options: ClientOptions, timeout_s: float | None) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._deadline_s = options.clock() + timeout_s if timeout_s is not None else math.inf
        self._outage = Outage(options)
        self._poll_s = options.poll_initial_s

    def pause_s(self, operation: operations_pb2.Operation) -> float:
        """Return the wait before the next look at an operation, in seconds.

        Raises:
            DeadlineError: the caller's time is over.
        """
        left_s = self._left_s(operation)
        pause_s = min(self._poll_s, left_s)
        self._poll_s = min(self._poll_s * 1.5, self._options.poll_max_s)
        return pause_s

    def look_s(self) -> float:
        """Return how long one look may take, in seconds."""
        return min(self._options.timeout_s, max(self._deadline_s - self._options.clock(), 0.0))

    def on_answer(self) -> None:
        """Note that a look was answered."""
        self._outage.on_answer()

    def silence_s(self, operation: operations_pb2.Operation, error: EchoplaneError) -> float:
        """Return the wait after a look that was not answered, in seconds.

        Raises:
            DeadlineError: the caller's time is over.
            UnavailableError: so is the time for which a daemon may be silent.
        """
        left_s = self._left_s(operation)
        if isinstance(error, DeadlineError):
            # The time of one look is not the caller's: to whoever waits the daemon is away.
            error = UnavailableError(Failure(grpc.StatusCode.UNAVAILABLE, "the daemon does not answer in time"))
        delay_s = self._outage.delay_s(error)
        if delay_s is None:
            raise error
        return min(delay_s, left_s)

    def _left_s(self, operation: operations_pb2.Operation) -> float:
        left_s = self._deadline_s - self._options.clock()
        if left_s <= 0.0:
            raise not_in_time(operation.name, self._timeout_s or 0.0)
        return left_s


class Watcher:
    """Tells a caller about an operation's progress, each change once."""

    __slots__ = ("_last", "_progress")

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._last: bytes | None = None

    def see(self, operation: operations_pb2.Operation) -> None:
        """Report the operation's metadata if it differs from what was reported last."""
        if self._progress is None or operation.metadata.value == self._last:
            return
        self._last = operation.metadata.value
        self._progress(read_metadata(operation))
