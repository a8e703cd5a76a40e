"""The error gate's e-process.

It says how strongly the errors speak against the new version.

*Comparison.* Requests are gathered into blocks. A block is closed by its numbers of requests alone, never by their outcomes. Given
these numbers and the E errors among the n requests of the block, the null hypothesis "a request's outcome does not depend on the version
that answers it" makes every set of E requests equally likely to be the failed ones, because clients draw the version at random for
each request. The new version's errors are then hypergeometric with mean E w, where w is its *observed* share of the block; so
``r^(errors of the new) / (1 - w + w r)^E`` has an expectation of at most 1 for each r >= 1 (``bets.log_factors``), also when the
new version fails less often than the old one. Neither the nominal weight nor the error rate enters, and both may change from block
to block. The assumption is the random draw: a router that sends all difficult requests to one version breaks it.

*Service level.* Given that each request of the new version fails on the server's side with a probability of at most q (the policy's
``slo_error_rate``), whatever happened before, the likelihood ratio with q in place of w and all requests in place of E
has an expectation of at most 1 too. Client errors are left out, and so is a source that cannot tell them.

Both are averaged: an average of e-processes is one. By Ville's inequality (P(sup e >= 1/alpha) <= alpha) the gate fails
a version that is no worse than the old one and keeps the service level with a probability of at most alpha over the whole rollout,
however often it is looked at. No change of weight needs a reset.

*Two sources* count the same requests with different delays; each has its own e-process, and the average of them decides. Since the
average reaches 1/alpha only if one of them does, the chance is at most 2 alpha even if one source's delay tells what the other will say.

*Blame.* An outage of both versions breaks the service level and would fire the average. So the gate also asks for comparative
evidence: the comparison on its own, or paired probes (``probes``), at ``BLAME_E_VALUE``. If both versions break the service level alike,
the chance of blaming the new one is at most 1 / BLAME_E_VALUE (a source), not alpha.

*High shares.* The comparison goes blind as w goes to 1: there the new version's errors are nearly all errors under either hypothesis.
From w = 0.75 on, and while soaking, a block's factor is the one-sample ratio against the upper bound (confidence 1 - alpha) of the
old version's error rate, recorded at w <= 0.5. This is history, not a concurrent comparison, so such evidence never blames on its own.

*Restarts.* The evidence lives in memory. A daemon that starts again begins with an e-value of 1: it has forgotten what spoke against
the new version, and it has a fresh chance alpha of a false alarm. With k restarts within a rollout the bound is (k + 1) alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.gates.statistics.bets import Bets, log_factors, log_sum
from echoplaned.gates.statistics.noninferiority import Rate, upper_bound
from echoplaned.ports.request_counts import NOTHING, Interval, RequestCounts

BLOCK_REQUESTS = 10
"""Least number of requests in a block. Any number is fair; with few, one request of the new version is a large share and its error says
little, with many, a block takes long to fill. Of 10, 15 and 20, 10 found a dead version soonest at all rates (``benchmarks/gates``)."""

HIGH_SHARE = 0.75
REFERENCE_SHARE = 0.5
RESTAKE_REQUESTS = 1000
"""After so many requests of the new version another stake is bet, for a failure that begins late in a long stage."""

BLAME_E_VALUE = 100.0
LOG_BLAME = math.log(BLAME_E_VALUE)
_NO_LOG_FACTOR = log_factors(0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class ErrorTest:
    """The parameters of the error test.

    Attributes:
        alpha: chance of a false alarm over the whole rollout.
        slo_error_rate: server errors that the service level allows, as a fraction of requests.
    """

    alpha: float
    slo_error_rate: float


@dataclass(frozen=True, slots=True)
class SourceEvidence:
    """The e-processes of one source over a whole rollout.

    Attributes:
        tells_client_errors: whether the source tells callers' mistakes from server errors.
        concurrent: capital of the comparison at all shares; what may blame.
        comparison: capital of the same up to a share of 0.75, and of the comparison with the recorded bound from there on.
        slo: capital of the test against the service level.
        block: requests that are not judged yet.
        reference: the old version's requests in blocks with a share of at most 0.5.
        since_stake: requests of the new version since the last stake.
    """

    tells_client_errors: bool
    concurrent: Bets = field(default_factory=Bets)
    comparison: Bets = field(default_factory=Bets)
    slo: Bets = field(default_factory=Bets)
    block: Interval = field(default_factory=Interval)
    reference: RequestCounts = NOTHING
    since_stake: int = 0

    @property
    def log_e(self) -> float:
        """The logarithm of the source's e-value."""
        if not self.tells_client_errors:
            return self.comparison.log_e
        return log_mean((self.comparison.log_e, self.slo.log_e))


def log_mean(logs: tuple[float, ...]) -> float:
    """Return the logarithm of the mean of e-values given as logarithms.

    It is 0 (an e-value of 1) for none.
    """
    return log_sum(logs) - math.log(len(logs)) if logs else 0.0


def stake(evidence: SourceEvidence) -> SourceEvidence:
    """Bet the next stake on all tests of a source.

    It is bet at the begin of a window, and every ``RESTAKE_REQUESTS`` requests within it.
    """
    return replace(
        evidence,
        concurrent=evidence.concurrent.stake_next(),
        comparison=evidence.comparison.stake_next(),
        slo=evidence.slo.stake_next(),
        since_stake=0,
    )


def update(evidence: SourceEvidence, interval: Interval, test: ErrorTest, *, soaking: bool = False) -> SourceEvidence:
    """Add an interval's counts; a block that is full is judged and closed."""
    block = evidence.block + interval
    evidence = replace(evidence, block=block)
    if block.requests < BLOCK_REQUESTS:
        return evidence
    both = block.new.requests > 0 and block.old.requests > 0
    high = soaking or block.share >= HIGH_SHARE
    return close(evidence, test, soaking=soaking) if both or high else evidence


def close(evidence: SourceEvidence, test: ErrorTest, *, soaking: bool = False) -> SourceEvidence:
    """Judge the open block whatever its size, and open an empty one.

    Besides full blocks that is the one which is open when the weights change.
    """
    block = evidence.block
    if block.requests == 0:
        return evidence
    share = block.share
    concurrent = log_factors(block.new.errors, block.new.errors + block.old.errors, share)
    high = soaking or share >= HIGH_SHARE
    comparison = _against_reference(evidence.reference, block.new, test) if high else concurrent
    slo = log_factors(block.new.server_errors, block.new.requests, test.slo_error_rate)
    closed = replace(
        evidence,
        concurrent=evidence.concurrent.grow(concurrent),
        comparison=evidence.comparison.grow(comparison),
        slo=evidence.slo.grow(slo),
        block=Interval(),
        reference=evidence.reference + block.old if share <= REFERENCE_SHARE else evidence.reference,
        since_stake=evidence.since_stake + block.new.requests,
    )
    return stake(closed) if closed.since_stake >= RESTAKE_REQUESTS else closed


def _against_reference(reference: RequestCounts, new: RequestCounts, test: ErrorTest) -> tuple[float, ...]:
    if reference.requests == 0:
        return _NO_LOG_FACTOR
    bound = upper_bound(Rate(reference.errors, reference.requests), test.alpha)
    return log_factors(new.errors, new.requests, bound)


def comparison_log_e(sources: tuple[SourceEvidence, ...]) -> float:
    """Return the logarithm of the average e-value of the comparisons.

    The service level is left out.
    """
    return log_mean(tuple(source.comparison.log_e for source in sources))


def combined_log_e(sources: tuple[SourceEvidence, ...]) -> float:
    """Return the logarithm of the average e-value of the sources."""
    return log_mean(tuple(source.log_e for source in sources))


def concurrent_log_e(sources: tuple[SourceEvidence, ...]) -> float:
    """Return the logarithm of the concurrent comparisons' average e-value.

    It is what blames the new version.
    """
    return log_mean(tuple(source.concurrent.log_e for source in sources))
