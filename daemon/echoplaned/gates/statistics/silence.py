"""A test of silence: a version that no request reaches is failing.

That is so for a version with weight, while the model has traffic.

Load reports say nothing of a request that found no connection (C-core does not report failed picks), so a version that refuses
connections shows no error at all, only silence.

If each request picks the new version with a probability of at least v, whatever happened before, the chance that none of the next m
requests, all seen at the old version, picked it is at most (1 - v)^m. A run of silence begins when the evidence begins and after each
interval with an arrival; run number k has ``alpha * / (k (k + 1))`` of the budget, which adds up to alpha over all runs, so the
chance of ever failing a version that is reachable is at most alpha. v is not the nominal weight w but ``trust * w``: clients that
are still on older routes, few clients, or traffic that is not routed by weights (a client that dials an engine itself) make the real
share smaller. What clients report that dial a version by its own target is known, and taken off in proportion (``part``).

A request drew its version when it began. One that only ends in a silence drew under other weights, as a stream of minutes did; one that
only begins in it may turn out to be a repeated one of a conversation, which drew nothing and is told of at its end. So of the old
version's requests as many count as both began and ended: no more than began, and no more than are known to have drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from echoplaned.ports.request_counts import Interval

TRUST_ROUTED = 0.5
"""Least part of its weight that a version gets, of traffic that is reported by clients of the routes (LRS)."""

TRUST_ANY = 0.25
"""The same for what the workers saw, where requests may have come around the routes."""

GRACE_S = 3.0
"""Reports come late: what arrives in the first seconds of a window may have been sent under the weights before."""

SILENCE_S = 3.0
"""Shortest silence that fails, so that one late report after a burst does not."""

HOLD_CHANCE = 0.01
"""A silence that is less likely than this (at full weight) is worth a HOLD."""


@dataclass(frozen=True, slots=True)
class SilenceEvidence:
    """The running silence of the new version.

    Attributes:
        runs: number of the run, from 1.
        log_chance: natural logarithm of the chance of the silence, at the least share that is trusted.
        log_nominal: natural logarithm of the chance of the silence, at full weight.
        expected: requests that should have come in it at full weight.
        silent_since_s: when it began, seconds since the epoch; None while the old version has had no request in it either.
        old_requests: requests of the old version that began and ended in it.
        began: further ones that began, and for which none ended yet.
        ended: further ones that ended, and for which none began.
        failed: whether a silence was too long to be chance; stays so.
    """

    runs: int = 1
    log_chance: float = 0.0
    log_nominal: float = 0.0
    expected: float = 0.0
    silent_since_s: float | None = None
    old_requests: int = 0
    began: int = 0
    ended: int = 0
    failed: bool = False


def update(evidence: SilenceEvidence, interval: Interval, weight: float, trust: float, now_s: float) -> SilenceEvidence:
    """Add an interval under an acknowledged weight in [0, 1]."""
    if interval.new.seen:
        return SilenceEvidence(runs=evidence.runs + 1, failed=evidence.failed)
    if weight <= 0.0:
        return evidence
    began = evidence.began + interval.old.arrivals
    ended = evidence.ended + interval.old.requests + interval.old.overloads
    old = min(began, ended)
    evidence = replace(evidence, began=began - old, ended=ended - old)
    if old == 0:
        return evidence
    least = min(trust * weight, 1.0 - 1e-9)
    share = min(weight, 1.0 - 1e-9)
    return replace(
        evidence,
        log_chance=evidence.log_chance + old * math.log1p(-least),
        log_nominal=evidence.log_nominal + old * math.log1p(-share),
        expected=evidence.expected + old * share / (1.0 - share),
        silent_since_s=now_s if evidence.silent_since_s is None else evidence.silent_since_s,
        old_requests=evidence.old_requests + old,
    )


def restart(evidence: SilenceEvidence) -> SilenceEvidence:
    """Begin another run, as the window or the weights are others.

    The budget spent stays spent.
    """
    return SilenceEvidence(runs=evidence.runs + 1, failed=evidence.failed)


def test(evidence: SilenceEvidence, alpha: float, now_s: float, part: float) -> SilenceEvidence:
    """Mark the evidence as failed if the silence is too long to be chance.

    ``part``: of the old version's requests those that drew a version at all, in [0, 1].
    """
    since = evidence.silent_since_s
    long_enough = since is not None and now_s - since >= SILENCE_S
    budget = math.log(alpha) - math.log(evidence.runs * (evidence.runs + 1.0))
    return replace(evidence, failed=evidence.failed or (long_enough and evidence.log_chance * part <= budget))


def is_awaited(evidence: SilenceEvidence, part: float = 1.0) -> bool:
    """Whether the silence is long enough to hold a stage back.

    ``part``: as in ``test``.
    """
    return evidence.log_nominal * part <= math.log(HOLD_CHANCE)
