"""Promotion by live requests: each source against the policy's margin.

It also says when paired probes decide in their place.
"""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.gates.errors.evidence import ErrorRecord, ErrorsEvidence
from echoplaned.gates.statistics import error_eprocess, noninferiority
from echoplaned.gates.statistics.noninferiority import Rate

LATE_PART = 0.8
"""Part of a stage's longest time after which live evidence that does not reach the policy's confidence may do with less."""

LATE_CONFIDENCE = 0.5
"""The confidence of the margin that live requests then still have to show, beside paired probes: it is likelier than not.

It weighs two mistakes at rates at which a stage's time brings just about enough requests (simulated: ``benchmarks/gates``). With the
bare rate as the measure, 7 of 120 versions that fail 5 % of their requests left the first stage at 10 requests/s; now 3 of 120 do, where
the policy's confidence allows 6. With 0.6, 2 of 190 equal versions ran out of time at 7 requests/s; now none of 168 does. 0.7, 0.6 and
0.5 were tried on these same runs, which are too few to tell them apart with certainty: none of 168 bounds the chance at 1.8 % (95 %).
"""


@dataclass(frozen=True, slots=True)
class Bound:
    """One source's error rates against the policy's margin.

    Attributes:
        new: the new version's error rate.
        old: the old version's error rate.
        upper: upper confidence limit of their difference, in [-1, 1].
        passes: whether it is below the margin.
        forecast: requests of the new version that pass without another error, from 1.
    """

    new: Rate
    old: Rate
    upper: float
    passes: bool
    forecast: int


def bound_sources(evidence: ErrorsEvidence) -> tuple[Bound, ...]:
    """Return how each source stands against the margin.

    Every source that sees most of the traffic has to pass.
    """
    most = max((record.total.requests for record in evidence.reporting), default=0)
    records = tuple(record for record in evidence.reporting if 2 * record.total.requests >= most)
    if not has_reference(evidence):
        # With nothing to compare with, callers' mistakes cannot be told from the version's: only a source that tells them counts.
        records = tuple(record for record in records if record.tells_client_errors) or records
    return tuple(_bound(evidence, record) for record in records)


def all_pass(bounds: tuple[Bound, ...]) -> bool:
    """Whether there are sources and every one shows the margin."""
    return bool(bounds) and all(bound.passes for bound in bounds)


def has_reference(evidence: ErrorsEvidence) -> bool:
    """Whether the old version's error rate is known.

    It may be from this window or from an earlier one.
    """
    return any(
        record.total.share < error_eprocess.HIGH_SHARE or record.test.reference.requests > 0
        for record in evidence.reporting
    )


def gives_way_to_probes(evidence: ErrorsEvidence, bounds: tuple[Bound, ...], elapsed_s: float) -> bool:
    """Whether paired probes decide in place of live requests.

    Either the traffic is too thin: even without an error it would not bring enough requests within the stage's longest time. Or that
    time is nearly over, and the requests show the margin at least with ``LATE_CONFIDENCE``.
    """
    policy = evidence.window.policy
    if not bounds:
        return True
    margin = policy.max_error_increase
    late = elapsed_s >= LATE_PART * evidence.window.longest_s
    alpha = 1.0 - min(LATE_CONFIDENCE, policy.confidence)
    if late and all(noninferiority.difference_upper_bound(b.new, b.old, alpha) < margin for b in bounds):
        return True
    enough = noninferiority.least_requests(margin, policy.confidence)
    reached = max(record.total.requests for record in evidence.reporting)
    rate = reached / max(elapsed_s, 1e-3) * evidence.window.nominal_share
    most = max(bound.new.requests for bound in bounds)
    return most < enough and most + rate * max(0.0, evidence.window.longest_s - elapsed_s) < enough


def _bound(evidence: ErrorsEvidence, record: ErrorRecord) -> Bound:
    policy = evidence.window.policy
    new, old = _rates(record)
    margin, confidence = policy.max_error_increase, policy.confidence
    least = noninferiority.requests_at_least(new, old, margin, confidence)
    if new.requests < 0.9 * least:
        return Bound(new, old, 1.0, passes=False, forecast=least)
    forecast = noninferiority.requests_forecast(new, old, margin, confidence)
    # The forecast is within a few percent of the exact limit, so the exact one is worth its time only near it.
    near = new.requests >= 0.9 * forecast
    alpha = noninferiority.level(confidence, new.errors)
    upper = noninferiority.difference_upper_bound(new, old, alpha) if near else 1.0
    return Bound(new, old, upper, passes=upper < margin, forecast=forecast)


def _rates(record: ErrorRecord) -> tuple[Rate, Rate]:
    """Return the new version's rate in the window and the old one's.

    The old one's is concurrent, or with the recorded counts where its share is small.
    """
    total, reference = record.total, record.test.reference
    if total.share >= error_eprocess.HIGH_SHARE:
        if reference.requests == 0 and record.tells_client_errors:
            return Rate(total.new.server_errors, total.new.requests), Rate(0, 0)
        old = reference + total.old
        return Rate(total.new.errors, total.new.requests), Rate(old.errors, old.requests)
    return Rate(total.new.errors, total.new.requests), Rate(total.old.errors, total.old.requests)
