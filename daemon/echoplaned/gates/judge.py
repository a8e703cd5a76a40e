"""A window's evidence to verdicts: one a gate, each with its reason, counts and the kind of evidence.

A reason begins with a code: what a program may look at. The stage passes when every verdict is PASS; any FAIL takes the version back.
No data, too little data and stale data hold; they never pass and never fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from echoplaned.core.state import Evidence, GateVerdict, Verdict
from echoplaned.gates import arrivals, clients_verdict, error_eprocess, noninferiority
from echoplaned.gates.codes import LARGEST_E_VALUE, Code, alpha_side
from echoplaned.gates.echo import verdict as echo
from echoplaned.gates.evidence import RolloutEvidence, SourceRecord
from echoplaned.gates.noninferiority import Rate

SUSPICION_E_VALUE = 20.0
"""From here on errors are suspicious: paired probes are asked for, and probes alone do not promote."""

LATE_PART = 0.8
"""Part of a stage's longest time after which live evidence that does not reach the policy's confidence may do with less."""

LATE_CONFIDENCE = 0.5
"""The confidence of the margin that live requests then still have to show, beside paired probes: it is likelier than not.

It weighs two mistakes at rates at which a stage's time brings just about enough requests (simulated: ``benchmarks/gates``). With the
bare rate as the measure, 7 of 120 versions that fail 5 % of their requests left the first stage at 10 requests/s; now 3 of 120 do, where
the policy's confidence allows 6. With 0.6, 2 of 190 equal versions ran out of time at 7 requests/s; now none of 168 does. 0.7, 0.6 and
0.5 were tried on these same runs, which are too few to tell them apart with certainty: none of 168 bounds the chance at 1.8 % (95 %).
"""

_MOST_CONFIDENCE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class _Bound:
    """How one source stands against the margin. ``forecast``: requests that pass without another error."""

    new: Rate
    old: Rate
    upper: float
    passes: bool
    forecast: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a window at one time. ``probes_wanted``: paired probes are to be made; ``scores_wanted``: golden texts scored."""

    verdicts: tuple[Verdict, ...]
    probes_wanted: bool
    scores_wanted: bool = False


def judge(evidence: RolloutEvidence, now_s: float) -> Judgement:
    """Judge the window: gates ``errors`` and ``arrivals``, ``clients``, ``probes`` and ``echo`` where they have a say."""
    bounds = _bounds(evidence)
    asked = _probes_asked(evidence, bounds, now_s)
    verdicts = [_errors(evidence, bounds, now_s), _arrivals(evidence)]
    if evidence.clients.admitted:
        verdicts.append(clients_verdict.judge(evidence))
    if asked:
        verdicts.append(_probes(evidence))
    if evidence.echo is not None:
        verdicts.append(echo.judge(evidence.echo, evidence.health.lines))
    failed = any(verdict.verdict is GateVerdict.FAIL for verdict in verdicts)
    open_question = _suspicious(evidence) or (asked and not _probes_passed(evidence))
    unscored = evidence.echo is not None and bool(evidence.echo.missing)
    return Judgement(tuple(verdicts), open_question and not failed, unscored and not failed)


def _probes_asked(evidence: RolloutEvidence, bounds: tuple[_Bound, ...], now_s: float) -> bool:
    """Whether probes have a say: by the stage, for errors that need somebody to blame, or in place of live evidence.

    Once asked, they keep it for the window.
    """
    if evidence.probes_asked or evidence.pairs.window_pairs or _suspicious(evidence):
        return True
    window = evidence.window
    if window.soaking:
        return False
    elapsed_s = now_s - window.began_s
    if bounds and all(bound.passes for bound in bounds):
        return not _has_reference(evidence)
    return elapsed_s >= 0.5 * window.minimum_s and _live_gives_way(evidence, bounds, elapsed_s)


def _suspicious(evidence: RolloutEvidence) -> bool:
    return evidence.log_e >= math.log(SUSPICION_E_VALUE)


# --- errors --------------------------------------------------------------------------------------------------------


def _errors(evidence: RolloutEvidence, bounds: tuple[_Bound, ...], now_s: float) -> Verdict:
    window, policy = evidence.window, evidence.window.policy
    elapsed_s = now_s - window.began_s
    e_value = math.exp(min(evidence.log_e, math.log(LARGEST_E_VALUE)))
    if evidence.errors_failed:
        text = f"the new version's errors are no chance (e-value {e_value:.3g}, {1.0 / policy.alpha:.3g} was asked for)"
        return _live(evidence, GateVerdict.FAIL, Code.ERRORS_WORSE, text, 1.0 - policy.alpha)
    stale = next((record for record in evidence.records if record.is_stale(now_s)), None)
    if stale is not None:
        silent_s = now_s - stale.last_s
        text = f"{stale.source.name} has counted nothing for {silent_s:.0f} s while others count requests"
        return _live(evidence, GateVerdict.HOLD, Code.SOURCE_STALE, text)
    if elapsed_s < window.minimum_s:
        text = f"{max(0.0, elapsed_s):.1f} s of {window.minimum_s:g} s"
        return _live(evidence, GateVerdict.HOLD, Code.MINIMUM_TIME, text)
    return _weighed(evidence, bounds, elapsed_s)


def _weighed(evidence: RolloutEvidence, bounds: tuple[_Bound, ...], elapsed_s: float) -> Verdict:
    """Judge errors that neither fail nor are too young: by the margin, by probes, or not yet."""
    policy = evidence.window.policy
    if bounds and all(bound.passes for bound in bounds) and (_has_reference(evidence) or _probes_passed(evidence)):
        worst = max(bounds, key=lambda bound: bound.upper)
        text = f"at most {worst.upper:.2%} more errors than the old version, {policy.max_error_increase:.2%} allowed"
        return _live(evidence, GateVerdict.PASS, Code.ERRORS_WITHIN_MARGIN, text, policy.confidence)
    if _live_gives_way(evidence, bounds, elapsed_s):
        return _by_probes(evidence)
    if evidence.log_e >= -math.log(policy.alpha):
        text = "more errors than are allowed, but nothing blames the new version alone"
        return _live(evidence, GateVerdict.HOLD, Code.ERRORS_WITHOUT_BLAME, text)
    return _insufficient(evidence, bounds)


def _insufficient(evidence: RolloutEvidence, bounds: tuple[_Bound, ...]) -> Verdict:
    passing = bool(bounds) and all(bound.passes for bound in bounds)
    if passing:
        text = "the old version's error rate is not known; paired probes are needed beside the live requests"
    else:
        more = max([1, *(bound.forecast - bound.new.requests for bound in bounds)])
        text = f"needs about {more} more requests of the new version without an error"
    return _live(evidence, GateVerdict.HOLD, Code.EVIDENCE_INSUFFICIENT, text)


def _by_probes(evidence: RolloutEvidence) -> Verdict:
    """Judge the errors by paired probes: there is no live evidence, or it decides nothing."""
    pairs, needed = evidence.pairs, evidence.window.policy.probe_count
    done = f"{min(pairs.row, needed)} of {needed} paired probes"
    if evidence.comparison_log_e >= math.log(SUSPICION_E_VALUE):
        text = f"live errors speak against the new version; {done} do not outweigh them"
        return _live(evidence, GateVerdict.HOLD, Code.ERRORS_SUSPICIOUS, text)
    if not _probes_passed(evidence):
        text = f"too few live requests to decide in this stage's time; {done} have passed in a row"
        return _live(evidence, GateVerdict.HOLD, Code.LIVE_EVIDENCE_MISSING, text)
    text = f"too few live requests to decide in this stage's time; {done} passed"
    counts = (*_error_counts(evidence), *_probe_counts(evidence))
    confidence = 1.0 - noninferiority.upper_bound(Rate(0, pairs.row), 1.0 - evidence.window.policy.confidence)
    return Verdict("errors", GateVerdict.PASS, f"{Code.PROBES_DECIDED}: {text}", confidence, counts, Evidence.PROBES)


def _live(evidence: RolloutEvidence, verdict: GateVerdict, code: Code, text: str, confidence: float = 0.0) -> Verdict:
    return Verdict("errors", verdict, f"{code}: {text}", confidence, _error_counts(evidence))


def _bounds(evidence: RolloutEvidence) -> tuple[_Bound, ...]:
    """Return how each source stands; every source that sees most of the traffic has to pass."""
    most = max((record.total.requests for record in evidence.speaking), default=0)
    records = tuple(record for record in evidence.speaking if 2 * record.total.requests >= most)
    if not _has_reference(evidence):
        # With nothing to compare with, callers' mistakes cannot be told from the version's: only a source that tells them counts.
        records = tuple(record for record in records if record.source.tells_client_errors) or records
    return tuple(_bound(evidence, record) for record in records)


def _bound(evidence: RolloutEvidence, record: SourceRecord) -> _Bound:
    policy = evidence.window.policy
    new, old = _rates(record)
    margin, confidence = policy.max_error_increase, policy.confidence
    least = noninferiority.requests_at_least(new, old, margin, confidence)
    if new.requests < 0.9 * least:
        return _Bound(new, old, 1.0, passes=False, forecast=least)
    forecast = noninferiority.requests_forecast(new, old, margin, confidence)
    # The forecast is within a few percent of the exact limit, so the exact one is worth its time only near it.
    near = new.requests >= 0.9 * forecast
    alpha = noninferiority.level(confidence, new.errors)
    upper = noninferiority.difference_upper_bound(new, old, alpha) if near else 1.0
    return _Bound(new, old, upper, passes=upper < margin, forecast=forecast)


def _rates(record: SourceRecord) -> tuple[Rate, Rate]:
    """Return the new version's rate in the window and the old one's: concurrent, or with the recorded counts where its share is small."""
    total, reference = record.total, record.errors.reference
    if total.share >= error_eprocess.HIGH_SHARE:
        if reference.requests == 0 and record.source.tells_client_errors:
            return Rate(total.new.server_errors, total.new.requests), Rate(0, 0)
        old = reference + total.old
        return Rate(total.new.errors, total.new.requests), Rate(old.errors, old.requests)
    return Rate(total.new.errors, total.new.requests), Rate(total.old.errors, total.old.requests)


def _has_reference(evidence: RolloutEvidence) -> bool:
    """Whether the old version's error rate is known from this window or from an earlier one."""
    return any(
        record.total.share < error_eprocess.HIGH_SHARE or record.errors.reference.requests > 0
        for record in evidence.speaking
    )


def _live_gives_way(evidence: RolloutEvidence, bounds: tuple[_Bound, ...], elapsed_s: float) -> bool:
    """Whether paired probes decide in place of live requests.

    Either the traffic is too thin: even without an error it would not bring enough requests within the stage's longest time. Or that
    time is nearly over, and the requests show the margin at least with ``LATE_CONFIDENCE``.
    """
    policy = evidence.window.policy
    if not bounds:
        return True
    margin = policy.max_error_increase
    late = elapsed_s >= LATE_PART * policy.stage_max_s
    alpha = 1.0 - min(LATE_CONFIDENCE, policy.confidence)
    if late and all(noninferiority.difference_upper_bound(b.new, b.old, alpha) < margin for b in bounds):
        return True
    enough = noninferiority.least_requests(margin, policy.confidence)
    reached = max(record.total.requests for record in evidence.speaking)
    rate = reached / max(elapsed_s, 1e-3) * _weight(evidence)
    most = max(bound.new.requests for bound in bounds)
    return most < enough and most + rate * max(0.0, policy.stage_max_s - elapsed_s) < enough


def _weight(evidence: RolloutEvidence) -> float:
    """Return the stage's nominal share of the new version: steadier than the observed one while there are few requests."""
    window = evidence.window
    if window.soaking or not 1 <= window.stage <= len(window.policy.stages_percent):
        return 1.0
    return window.policy.stages_percent[window.stage - 1] / 100.0


# --- arrivals ------------------------------------------------------------------------------------------------------


def _arrivals(evidence: RolloutEvidence) -> Verdict:
    silence = evidence.arrivals
    new = max((record.total.new.seen for record in evidence.speaking), default=0)
    counts = (("new_request_count", new), ("old_silent_request_count", silence.old_requests))
    waited = f"none of about {silence.expected:.0f} expected requests reached the new version"
    if silence.failed:
        text = f"{Code.ARRIVALS_MISSING}: {waited} while the old one had {silence.old_requests}"
        return Verdict("arrivals", GateVerdict.FAIL, text, 1.0 - alpha_side(evidence), counts)
    if arrivals.is_awaited(silence):
        stale = f" ({evidence.stale_subscribers} subscribers are stale)" if evidence.stale_subscribers else ""
        chance = math.exp(silence.log_chance)
        text = f"{Code.ARRIVALS_AWAITED}: {waited}{stale}"
        return Verdict("arrivals", GateVerdict.HOLD, text, min(_MOST_CONFIDENCE, 1.0 - chance), counts)
    if new:
        text = f"{Code.ARRIVALS_SEEN}: {new} requests reached the new version"
        return Verdict("arrivals", GateVerdict.PASS, text, evidence.window.policy.confidence, counts)
    text = f"{Code.ARRIVALS_NOT_EXPECTED}: the model has too little traffic for one to be missed"
    return Verdict("arrivals", GateVerdict.PASS, text, 0.0, counts)


# --- probes --------------------------------------------------------------------------------------------------------


def _probes_passed(evidence: RolloutEvidence) -> bool:
    return evidence.pairs.row >= evidence.window.policy.probe_count


def _probes(evidence: RolloutEvidence) -> Verdict:
    pairs, policy = evidence.pairs, evidence.window.policy
    needed, counts = policy.probe_count, _probe_counts(evidence)

    def said(verdict: GateVerdict, code: Code, text: str, confidence: float) -> Verdict:
        return Verdict("probes", verdict, f"{code}: {text}", confidence, counts, Evidence.PROBES)

    if pairs.log_e >= -math.log(alpha_side(evidence)):
        text = f"the new version alone failed {pairs.new_alone} paired probes, the old one alone {pairs.old_alone}: {pairs.detail}"
        return said(GateVerdict.FAIL, Code.PROBES_NEW_FAILS, text, 1.0 - alpha_side(evidence))
    if pairs.both_failed_last:
        return said(GateVerdict.HOLD, Code.PROBES_BOTH_FAIL, f"both versions fail: {pairs.detail}", 0.0)
    if pairs.row >= needed:
        confidence = 1.0 - noninferiority.upper_bound(Rate(0, pairs.row), 1.0 - policy.confidence)
        return said(GateVerdict.PASS, Code.PROBES_PASSED, f"{pairs.row} pairs in a row", confidence)
    failed = f"; the new version alone failed {pairs.window_new_alone}" if pairs.window_new_alone else ""
    return said(GateVerdict.HOLD, Code.PROBES_RUNNING, f"{pairs.row} of {needed} pairs in a row{failed}", 0.0)


# --- counts --------------------------------------------------------------------------------------------------------


def _error_counts(evidence: RolloutEvidence) -> tuple[tuple[str, int], ...]:
    """Return the window's counts of the source that tells most: one that knows callers' mistakes, else the one with most requests."""
    records = sorted(evidence.speaking, key=lambda r: (r.source.tells_client_errors, r.total.requests))
    if not records:
        return (("new_request_count", 0), ("old_request_count", 0))
    telling = [record for record in records if record.total.requests] or records
    total = telling[-1].total
    counts = [
        ("new_request_count", total.new.requests),
        ("new_client_error_count", total.new.client_errors),
        ("new_server_error_count", total.new.server_errors),
        ("old_request_count", total.old.requests),
        ("old_client_error_count", total.old.client_errors),
        ("old_server_error_count", total.old.server_errors),
        ("e_value", int(math.exp(min(evidence.log_e, math.log(LARGEST_E_VALUE))))),
    ]
    if total.requests:
        counts.append(("observed_share_ppm", round(total.share * 1_000_000)))
    return tuple(counts)


def _probe_counts(evidence: RolloutEvidence) -> tuple[tuple[str, int], ...]:
    pairs = evidence.pairs
    return (
        ("probe_count", pairs.window_pairs),
        ("probe_failure_count", pairs.window_new_alone),
        ("probe_both_failure_count", pairs.window_both),
    )
