"""The gate ``errors``: fails a significantly higher error rate.

It promotes a version whose error rate is shown to be no worse.

No data, too little data and stale data hold; they never pass and never fail.
"""

from __future__ import annotations

import math

from echoplaned.core.rollout_state import Evidence, GateVerdict, Verdict
from echoplaned.gates.codes import Code, e_value, short
from echoplaned.gates.errors import evidence as errors
from echoplaned.gates.errors.evidence import ErrorsEvidence
from echoplaned.gates.errors.margin import Bound, all_pass, bound_sources, gives_way_to_probes, has_reference
from echoplaned.gates.errors.overload import SPAN_S
from echoplaned.gates.gate import Ask, JudgeContext, Judgement, JudgeProbes, MakePairs, Need, Observation, Start
from echoplaned.gates.statistics import noninferiority
from echoplaned.gates.statistics.noninferiority import Rate
from echoplaned.gates.window import Window

NAME = "errors"

SUSPICION_E_VALUE = 20.0
"""From here on errors are suspicious: paired probes are asked for, and probes alone do not promote."""


class ErrorsGate:
    """Implements ``Gate`` on request counts and paired probes."""

    @property
    def name(self) -> str:
        """The gate's name."""
        return NAME

    def needs(self) -> frozenset[Need]:
        """Errors have to be counted by somebody."""
        return frozenset({Need.ERRORS})

    def begin(self, start: Start) -> ErrorsEvidence:
        """Begin with nothing counted."""
        return errors.begin(start)

    def enter(self, evidence: ErrorsEvidence, window: Window) -> ErrorsEvidence:
        """Go on with another window."""
        return errors.enter(evidence, window)

    def observe(self, evidence: ErrorsEvidence, seen: Observation) -> ErrorsEvidence:
        """Add what an interval brought."""
        return errors.observe(evidence, seen)

    def judge(self, evidence: ErrorsEvidence, moment: JudgeContext) -> Judgement:
        """Judge the window's errors.

        Paired probes are asked for where the errors are suspicious or too few to decide.
        """
        bounds = bound_sources(evidence)
        asks: list[Ask] = []
        if _asks_for_probes(evidence, bounds, moment.now_s):
            asks.append(JudgeProbes())
        if _is_suspicious(evidence):
            asks.append(MakePairs(evidence.pairs.row, evidence.window.policy.probe_count))
        return Judgement(_decide(evidence, bounds, moment.now_s), tuple(asks))


def _asks_for_probes(evidence: ErrorsEvidence, bounds: tuple[Bound, ...], now_s: float) -> bool:
    """Whether paired probes shall have a say.

    That is for errors that need somebody to blame, or in place of live evidence.
    """
    if _is_suspicious(evidence):
        return True
    window = evidence.window
    if window.soaking:
        return False
    elapsed_s = now_s - window.began_s
    if all_pass(bounds):
        return not has_reference(evidence)
    return elapsed_s >= 0.5 * window.minimum_s and gives_way_to_probes(evidence, bounds, elapsed_s)


def _is_suspicious(evidence: ErrorsEvidence) -> bool:
    return max(evidence.log_e, evidence.suspicion_log_e) >= math.log(SUSPICION_E_VALUE)


def _decide(evidence: ErrorsEvidence, bounds: tuple[Bound, ...], now_s: float) -> Verdict:
    window, policy = evidence.window, evidence.window.policy
    elapsed_s = now_s - window.began_s
    if evidence.failed:
        text = (
            "the new version's error rate is significantly higher than the old version's "
            f"(e-value {short(e_value(evidence.log_e))}, threshold {short(1.0 / policy.alpha)})"
        )
        return _by_requests(evidence, GateVerdict.FAIL, Code.ERRORS_WORSE, text, 1.0 - policy.alpha)
    stale = next((each.record for each in evidence.records if each.record.is_stale(now_s)), None)
    if stale is not None:
        silent_s = now_s - stale.last_s
        text = f"{stale.source.name} has counted nothing for {silent_s:.0f} s while others count requests"
        return _by_requests(evidence, GateVerdict.HOLD, Code.SOURCE_STALE, text)
    if elapsed_s < window.minimum_s:
        text = f"{max(0.0, elapsed_s):.1f} s of {window.minimum_s:g} s"
        return _by_requests(evidence, GateVerdict.HOLD, Code.MINIMUM_TIME, text)
    return _overloaded(evidence, now_s) or _weigh(evidence, bounds, elapsed_s)


def _overloaded(evidence: ErrorsEvidence, now_s: float) -> Verdict | None:
    """Hold while the new version is overloaded.

    It holds too where the new version cannot take what the old one takes; an overload never fails it.
    """
    overload = evidence.overload
    if overload.is_worse:
        text = (
            f"the new version was overloaded in {overload.worse_spans} spans of {SPAN_S:g} s in which the old one took at least "
            "as many requests"
        )
    elif overload.is_recent(now_s):
        text = "the new version has more requests than it can take; they count for no version"
    else:
        return None
    return _by_requests(evidence, GateVerdict.HOLD, Code.OVERLOADED, text)


def _weigh(evidence: ErrorsEvidence, bounds: tuple[Bound, ...], elapsed_s: float) -> Verdict:
    """Judge errors that neither fail nor are too young.

    They pass by the margin, or by probes, or are not judged yet.
    """
    policy = evidence.window.policy
    if all_pass(bounds) and (has_reference(evidence) or evidence.probes_passed):
        worst = max(bounds, key=lambda bound: bound.upper)
        text = f"at most {worst.upper:.2%} more errors than the old version, {policy.max_error_increase:.2%} allowed"
        return _by_requests(evidence, GateVerdict.PASS, Code.ERRORS_WITHIN_MARGIN, text, policy.confidence)
    if gives_way_to_probes(evidence, bounds, elapsed_s):
        return _by_probes(evidence)
    if evidence.log_e >= -math.log(policy.alpha):
        text = "more errors than are allowed, but nothing blames the new version alone"
        return _by_requests(evidence, GateVerdict.HOLD, Code.ERRORS_WITHOUT_BLAME, text)
    return _wait_for_evidence(evidence, bounds)


def _wait_for_evidence(evidence: ErrorsEvidence, bounds: tuple[Bound, ...]) -> Verdict:
    if all_pass(bounds):
        text = "the old version's error rate is not known; paired probes are needed beside the live requests"
    else:
        more = max([1, *(bound.forecast - bound.new.requests for bound in bounds)])
        counted = (
            "conversations that the new version answers"
            if evidence.has_conversations
            else "requests of the new version"
        )
        text = f"needs about {more} more {counted} without an error"
    return _by_requests(evidence, GateVerdict.HOLD, Code.EVIDENCE_INSUFFICIENT, text)


def _by_probes(evidence: ErrorsEvidence) -> Verdict:
    """Judge the errors by paired probes.

    There is no live evidence, or it decides nothing.
    """
    pairs, needed = evidence.pairs, evidence.window.policy.probe_count
    done = f"{min(pairs.row, needed)} of {needed} paired probes"
    if evidence.comparison_log_e >= math.log(SUSPICION_E_VALUE):
        text = f"live errors speak against the new version; {done} do not outweigh them"
        return _by_requests(evidence, GateVerdict.HOLD, Code.ERRORS_SUSPICIOUS, text)
    if not evidence.probes_passed:
        text = f"too few live requests to decide in this stage's time; {done} have passed in a row"
        return _by_requests(evidence, GateVerdict.HOLD, Code.LIVE_EVIDENCE_MISSING, text)
    text = f"too few live requests to decide in this stage's time; {done} passed"
    probes = (
        ("probe_count", pairs.window_pairs),
        ("probe_failure_count", pairs.window_new_alone),
        ("probe_both_failure_count", pairs.window_both),
    )
    confidence = 1.0 - noninferiority.upper_bound(Rate(0, pairs.row), 1.0 - evidence.window.policy.confidence)
    return Verdict(
        NAME,
        GateVerdict.PASS,
        f"{Code.PROBES_DECIDED}: {text}",
        confidence,
        (*_counts(evidence), *probes),
        Evidence.PROBES,
    )


def _by_requests(
    evidence: ErrorsEvidence, verdict: GateVerdict, code: Code, text: str, confidence: float = 0.0
) -> Verdict:
    return Verdict(NAME, verdict, f"{code}: {text}", confidence, _counts(evidence))


def _counts(evidence: ErrorsEvidence) -> tuple[tuple[str, int], ...]:
    """Return the window's counts of the source that tells most.

    That is one that knows callers' mistakes, else the one with most requests.
    """
    records = sorted(evidence.reporting, key=lambda r: (r.tells_client_errors, r.total.requests))
    if not records:
        return (("new_request_count", 0), ("old_request_count", 0))
    counting = [record for record in records if record.total.requests] or records
    total = counting[-1].total
    counts = [
        ("new_request_count", total.new.requests),
        ("new_client_error_count", total.new.client_errors),
        ("new_server_error_count", total.new.server_errors),
        ("old_request_count", total.old.requests),
        ("old_client_error_count", total.old.client_errors),
        ("old_server_error_count", total.old.server_errors),
        ("e_value", int(e_value(evidence.log_e))),
        ("old_overload_count", total.old.overloads),
        ("new_overload_count", total.new.overloads),
    ]
    if total.requests:
        counts.append(("observed_share_ppm", round(total.share * 1_000_000)))
    return tuple(counts)
