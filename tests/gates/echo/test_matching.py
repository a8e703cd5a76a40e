"""Pairs of one stratum, near each other in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from echoplaned.gates.echo import matching
from echoplaned.gates.echo.matching import MAX_STRATA, MAX_WAITING, TracedRequest, Waiting
from echoplaned.gates.echo.sequences import AnswerSequence


def numbered(number: float) -> AnswerSequence:
    """Return a request that is told by its number."""
    return AnswerSequence(output=np.array([number], dtype=np.float32))


def asked(side: str, number: float, stratum: str = "a", conversation: str = "") -> TracedRequest:
    """Return a request of the new or the old version."""
    return TracedRequest(side == "new", stratum, numbered(number), conversation)


def told(pairs: tuple[matching.Pair, ...]) -> list[tuple[float, float]]:
    """Return the numbers of pairs, new first."""
    return [(float(pair.new.output[0]), float(pair.old.output[0])) for pair in pairs]


def test_the_newest_that_waits_is_paired_first() -> None:
    """A partner that waited long was asked when traffic was another."""
    requests = (asked("old", 1), asked("old", 2), asked("new", 3), asked("new", 4), asked("new", 5))
    waiting, pairs = matching.match(Waiting(), requests)
    assert told(pairs) == [(3.0, 2.0), (4.0, 1.0)]
    assert (waiting.pairs, waiting.count) == (2, 1)


def test_strata_do_not_mix() -> None:
    """A request waits for one of its own stratum."""
    _, pairs = matching.match(Waiting(), (asked("old", 1, "a"), asked("new", 2, "b"), asked("new", 3, "a")))
    assert told(pairs) == [(3.0, 1.0)]


def test_a_conversation_counts_once() -> None:
    """Later requests of a conversation are left out, on either side and also later."""
    waiting, pairs = matching.match(Waiting(), (asked("old", 1, conversation="c"), asked("old", 2, conversation="c")))
    assert (told(pairs), waiting.count) == ([], 1)
    waiting, pairs = matching.match(waiting, (asked("new", 3, conversation="c"), asked("new", 4, conversation="d")))
    assert told(pairs) == [(4.0, 1.0)]


def test_damaged_telemetry_takes_its_partner_along() -> None:
    """A pair with a damaged side is dropped and counted; the next ones are not moved by it."""
    damaged = TracedRequest(is_new=True, stratum="a", sequence=None)
    requests = (asked("old", 1), damaged, asked("old", 2), asked("new", 3))
    waiting, pairs = matching.match(Waiting(), requests)
    assert told(pairs) == [(3.0, 2.0)]
    assert waiting.void == 1


def test_waiting_is_bounded_and_can_be_emptied() -> None:
    """At most so many wait, the oldest gives way; emptied, nobody does."""
    waiting, _ = matching.match(Waiting(), tuple(asked("old", n) for n in range(MAX_WAITING + 5)))
    assert waiting.count == MAX_WAITING
    _, pairs = matching.match(waiting, (asked("new", 0),))
    assert told(pairs) == [(0.0, MAX_WAITING + 4.0)]
    _, none = matching.match(matching.empty(waiting), (asked("new", 0),))
    assert none == ()


def same(side: str, digest: int, stratum: str = "a") -> TracedRequest:
    """Return a request whose answer is known by its digest."""
    return TracedRequest(side == "new", stratum, replace(numbered(digest), digest=digest))


def test_an_answer_counts_once() -> None:
    """It is left out where it was in a pair, of whichever version, or waits for one; what is not known by a digest always counts."""
    first = (
        same("old", 1),
        same("new", 2),
        same("old", 1),
        same("new", 2),
        same("old", 3),
        same("new", 3),
        same("old", 3),
    )
    waiting, pairs = matching.match(Waiting(), first)
    assert told(pairs) == [(2.0, 1.0)]
    assert (waiting.repeats, waiting.count, waiting.digests) == (4, 1, {1, 2})
    waiting, pairs = matching.match(waiting, (asked("new", 4), asked("old", 4), asked("new", 4), same("old", 1)))
    assert told(pairs) == [(4.0, 3.0), (4.0, 4.0)]
    assert (waiting.repeats, waiting.digests) == (5, {1, 2, 3})


def test_who_gave_way_may_be_asked_again() -> None:
    """An answer that waited and found no partner was in no bet: it is no repeat."""
    crowd = tuple(same("old", number) for number in range(1, MAX_WAITING + 2))
    waiting, _ = matching.match(Waiting(), crowd)
    _, pairs = matching.match(waiting, (same("new", 1), same("new", 2)))
    assert told(pairs) == [(1.0, float(MAX_WAITING + 1))]


def test_one_hot_text_takes_no_more_than_one_partner() -> None:
    """A text that somebody asks for all the time leaves the pairs of all others alone."""
    rng, requests = np.random.default_rng(2), []
    for number in range(2, 2000):
        side = "new" if rng.random() < 0.3 else "old"
        requests += [same("new" if rng.random() < 0.3 else "old", 1) for _ in range(9)] + [same(side, number)]
    _, pairs = matching.match(Waiting(), tuple(requests))
    honest = sum(1 for request in requests if request.digest > 1 and request.is_new)
    assert len(pairs) >= honest - MAX_WAITING
    assert sum(1 for pair in told(pairs) if 1.0 in pair) == 1


def test_strata_that_wait_are_bounded() -> None:
    """Where requests wait in too many strata, the one that was begun first is given up; a stratum without anybody takes no room."""
    waiting, _ = matching.match(Waiting(), tuple(asked("old", n, str(n)) for n in range(MAX_STRATA + 1)))
    assert waiting.count == len(waiting.queues) == MAX_STRATA
    waiting, pairs = matching.match(waiting, (asked("new", 1000, "1"), asked("new", 1001, "0")))
    assert told(pairs) == [(1000.0, 1.0)]
    assert len(waiting.queues) == MAX_STRATA
