"""How long waits and watches last: the caller's time, a daemon that is silent, a daemon that asks for more time than there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from echoplane import ClientOptions, errors
from echoplane.googleapis import error_details_pb2
from echoplane.operations import Patience
from echoplane.options import RetryPolicy
from echoplane.v1 import models_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2

LOOK_S = 1.0


@pytest.fixture
def options() -> ClientOptions:
    """Options of a client that gives each look at an operation little time."""
    quick = RetryPolicy(max_attempts=2, initial_s=0.001, max_s=0.002)
    return ClientOptions(timeout_s=LOOK_S, reconnect_s=20.0, retry=quick, poll_initial_s=0.001, poll_max_s=0.01)


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """Hold answers back until it is set, as it is at the end."""
    over = threading.Event()
    yield over
    over.set()


@pytest.fixture
def going(running: Callable[..., Any]) -> Any:
    """Give an operation that is under way."""
    return running(metadata_pb2.OperationMetadata())


def after(silence: threading.Event, answer: Any) -> Callable[[Any], Any]:
    """Answer once the silence is over."""

    def wait(_: Any) -> Any:
        silence.wait(10)
        return answer

    return wait


def test_a_wait_ends_in_the_callers_time(daemon: Any, caller: Any, going: Any, silence: threading.Event) -> None:
    """A look that is not answered takes no longer than the caller waits, and the operation is said to go on."""
    daemon.on("GetOperation", after(silence, going))
    began_s = time.monotonic()
    with pytest.raises(errors.DeadlineError, match=r"still under way after 0\.1 s"):
        caller.wait(going, 0.1)
    assert time.monotonic() - began_s < LOOK_S


def test_a_wait_outlives_a_silent_daemon(
    daemon: Any, caller: Any, going: Any, running: Any, silence: threading.Event
) -> None:
    """Looks that time out end no wait: the daemon is away, and comes back."""
    done = running(metadata_pb2.OperationMetadata(), models_pb2.Model(name="models/m"))
    daemon.on("GetOperation", after(silence, going), after(silence, going), done)
    assert caller.wait(going).response == models_pb2.Model(name="models/m")
    assert len(daemon.seen("GetOperation")) >= 3


def test_a_daemon_may_be_silent_for_so_long(going: Any) -> None:
    """After ``reconnect_s`` the wait ends, however long each look takes; an answer begins a new count."""
    now = [0.0]
    options = ClientOptions(reconnect_s=60, clock=lambda: now[0], draw=lambda: 1.0)
    patience = Patience(options, None)
    slow = errors.DeadlineError(errors.Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
    for now[0] in (30.0, 60.0, 90.0):
        assert patience.silence_s(going, slow) > 0
    now[0] = 91.0
    with pytest.raises(errors.UnavailableError, match="the daemon does not answer in time"):
        patience.silence_s(going, slow)
    patience.on_answer()
    assert patience.silence_s(going, slow) > 0


def test_no_wait_is_longer_than_what_is_left(going: Any) -> None:
    """Pauses, looks and waits after an outage end with the caller's time."""
    now = [0.0]
    options = ClientOptions(clock=lambda: now[0], poll_initial_s=5.0, draw=lambda: 1.0)
    patience = Patience(options, 1.0)
    asked = errors.UnavailableError(errors.Failure(grpc.StatusCode.UNAVAILABLE, "away", retry_delay_s=20.0))
    assert patience.pause_s(going) == 1.0
    now[0] = 0.25
    assert patience.look_s() == 0.75
    assert patience.silence_s(going, asked) == 0.75
    now[0] = 1.0
    with pytest.raises(errors.DeadlineError, match="goes on without you"):
        patience.silence_s(going, asked)


def test_a_watch_ends_in_the_callers_time(daemon: Any, caller: Any, refuse: Any) -> None:
    """A daemon that asks for more time than the caller has is not waited for any longer than that."""
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=20))
    daemon.on("WatchRollout", [refuse(grpc.StatusCode.UNAVAILABLE, "", "full", retry)])
    began_s = time.monotonic()
    with pytest.raises(errors.DeadlineError):
        caller.watch_rollout("models/m/rollouts/r", timeout_s=0.5)
    assert 0.4 < time.monotonic() - began_s < 5
