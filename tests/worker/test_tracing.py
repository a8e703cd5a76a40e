"""What is kept of a request, and what is dropped."""

from __future__ import annotations

import numpy as np
import pytest

from echoplane.worker.v1 import worker_pb2
from echoplaned.ports.traces import TraceFlag
from echoplaned.worker.sequences import Outcome, RowFailure, Sampling, Token, Vector
from echoplaned.worker.tracing import TRACE_TOKENS, Tap, TraceChannel, TraceOrigin, Tracer, digest, features, short_name
from echoplaned.worker_contract.inference.errors import ModelFailedError

PROMPT = [5, 6, 7, 8, 9, 10, 11]


def numbered(number: int, tokens: int = 1) -> worker_pb2.Trace:
    """Return a trace that can be told from others."""
    return worker_pb2.Trace(prompt_tokens=number, log_probabilities=[-1.0] * tokens)


def tapped(tracer: Tracer, *outcomes: Outcome, sampled: bool = False) -> Tap:
    """Return a tap that has heard some outcomes."""
    tap = tracer.tap(TraceOrigin("talk", probe=True), PROMPT, Sampling(9, float(sampled)), lambda _: None)
    for outcome in outcomes:
        tap(outcome)
    return tap


def test_the_oldest_is_dropped_and_counted() -> None:
    """A reader that is away finds the newest traces, and how many it missed."""
    channel = TraceChannel(capacity=3)
    for number in range(5):
        channel.put(numbered(number))
    assert [trace.prompt_tokens for trace in channel.take()] == [2, 3, 4]
    assert (channel.recorded_count, channel.dropped_count) == (5, 2)
    assert channel.take() == []


def test_a_message_stays_below_the_limit() -> None:
    """A full channel of the longest traces goes out in batches below gRPC's 4 MiB, all of it and in order."""
    channel = TraceChannel()
    for number in range(1024):
        trace = numbered(number, TRACE_TOKENS)
        trace.entropies.extend([1.0] * TRACE_TOKENS)
        channel.put(trace)
    seen: list[int] = []
    while batch := channel.take():
        assert worker_pb2.TraceBatch(traces=batch).ByteSize() < 4 * 1024 * 1024
        seen += [trace.prompt_tokens for trace in batch]
    assert seen == list(range(1024))


def test_a_trace_of_tokens() -> None:
    """Every token's log-probability and entropy, how it ended, and whose it is."""
    tracer = Tracer(lambda: 5.0)
    heard: list[Outcome] = []
    tap = tracer.tap(TraceOrigin("talk", prompt_class="tale"), PROMPT, Sampling(9, 1.0), heard.append)
    outcomes = [Token(4, -0.5, last=False, entropy=1.0), Token(0, -0.25, last=True, entropy=2.0, stopped=True)]
    for outcome in outcomes:
        tap(outcome)
    (trace,) = tracer.channel.take()
    assert heard == outcomes
    assert (list(trace.log_probabilities), list(trace.entropies)) == ([-0.5, -0.25], [1.0, 2.0])
    assert (trace.ended_s, trace.kind, trace.prompt_tokens) == (5.0, worker_pb2.TRACE_KIND_TOKENS, 7)
    assert (trace.flags, trace.conversation, trace.probe) == (TraceFlag.SAMPLED | TraceFlag.STOPPED, "talk", False)


@pytest.mark.parametrize("leaves", [True, False])
def test_an_answer_that_breaks_off_keeps_its_tokens(leaves: bool) -> None:
    """A caller that leaves and a model that fails have a flag each; the trace comes once."""
    tracer = Tracer(lambda: 0.0)
    tap = tapped(tracer, Token(1, -1.0, last=False, entropy=0.5))
    if not leaves:
        tap(RowFailure(ModelFailedError("made to fail")))
    tap.leave()
    (trace,) = tracer.channel.take()
    assert trace.flags == (TraceFlag.CANCELLED if leaves else TraceFlag.FAILED)
    assert list(trace.entropies) == [0.5]
    assert trace.probe


def test_a_request_that_got_nothing_has_no_trace() -> None:
    """Without a token there is nothing to say about the model's behaviour."""
    tracer = Tracer(lambda: 0.0)
    tapped(tracer, RowFailure(ModelFailedError("made to fail"))).leave()
    tapped(tracer).leave()
    assert tracer.channel.take() == []


def test_a_long_answer_is_cut() -> None:
    """The first tokens are kept, and the flag says that there were more."""
    tracer = Tracer(lambda: 0.0)
    tokens = [Token(1, -float(number), last=number == TRACE_TOKENS) for number in range(TRACE_TOKENS + 1)]
    tapped(tracer, *tokens)
    (trace,) = tracer.channel.take()
    assert trace.flags == TraceFlag.CUT
    assert list(trace.log_probabilities) == [-float(number) for number in range(TRACE_TOKENS)]


def test_requests_are_drawn_by_chance() -> None:
    """Nothing before the daemon asks; then the share that it asked for; at 0 what waits is forgotten as well."""
    draws = iter([0.1, 0.3, 0.5, 0.7, 0.9])
    tracer = Tracer(lambda: 0.0, lambda: next(draws))
    assert not tracer.wants()
    tracer.sample(0.5)
    assert [tracer.wants() for _ in range(5)] == [True, True, False, False, False]
    tapped(tracer, Token(1, -1.0, last=True))
    tracer.sample(0.0)
    assert not tracer.wants()
    assert tracer.channel.take() == []


def test_the_features_of_a_vector() -> None:
    """Moments, then a short vector itself, or the same sixteen projections of a long one each time."""
    short = features(np.array([1.0, 2.0, 6.0], np.float32))
    assert short == pytest.approx([3.0, np.sqrt(14 / 3), 0.5951700, 6.0, 1.0, 2.0, 6.0], rel=1e-5)
    long = np.arange(384, dtype=np.float32)
    assert features(long).shape == (20,)
    assert (features(long) == features(long)).all()
    doubled = features(2 * long)
    assert doubled[4:] == pytest.approx(2 * features(long)[4:], rel=1e-5)
    assert features(np.full(4, 0.5, np.float32))[2] == 0.0


def test_a_trace_of_a_vector() -> None:
    """It has features and no tokens."""
    tracer = Tracer(lambda: 0.0)
    tapped(tracer, Vector(np.array([0.5, -0.5], np.float32)))
    (trace,) = tracer.channel.take()
    assert trace.kind == worker_pb2.TRACE_KIND_VECTOR
    assert list(trace.features) == pytest.approx([0.0, 0.5, 0.0, 0.5, 0.5, -0.5])
    assert not trace.log_probabilities


def test_a_long_short_name_is_digested() -> None:
    """Short ids stay as they are; long ones stay apart, in bounded length."""
    assert short_name("a" * 64) == "a" * 64
    one, other = short_name("a" * 5000), short_name("a" * 5001)
    assert len(one) == len(other) == 32
    assert one != other


def test_a_digest_names_an_answer_to_a_text() -> None:
    """Equal tokens have it in common, on any machine; other tokens, or the same ones divided otherwise, do not."""
    assert digest([1, 2], [3]) == digest([1, 2], [3]) == 15121928642338582597
    others = {
        digest([1, 2], [3]),
        digest([1, 2], [4]),
        digest([1], [2, 3]),
        digest([1, 2, 3], []),
        digest([], [1, 2, 3]),
    }
    assert len(others) == 5
    assert 0 not in others


def test_a_trace_names_its_answer() -> None:
    """The prompt and every token that was drawn make it; where none was, it is the text's alone."""
    tracer = Tracer(lambda: 5.0)
    answer = (Token(4, -0.5, last=False), Token(8, -0.25, last=True))
    tapped(tracer, *answer, sampled=True)
    tapped(tracer, *answer)
    tapped(tracer, Vector(np.ones(3, np.float32)))
    drawn, greedy, vector = tracer.channel.take()
    assert drawn.digest == digest(PROMPT, [4, 8])
    assert greedy.digest == vector.digest == digest(PROMPT, [])
