"""The echo gate's verdict: what its evidence means for an update.

The update was, or was not, declared to change behaviour.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum

from echoplaned.core.behaviour import BehaviourReport, ListenerValue, MovedText
from echoplaned.core.rollout_state import Evidence, GateVerdict, Verdict
from echoplaned.core.spec import BehaviourChange
from echoplaned.gates.codes import e_value, short
from echoplaned.gates.echo.evidence import EchoEvidence
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.live import VOTING
from echoplaned.gates.echo.paired import DistanceMeasure, PairedResult

NAME = "echo"

MAX_SHOWN = 64
"""Points of a curve that a report carries."""

_TEXT_SHOWN = 120
_ASK = "promote or abort this rollout, or update with behaviour_change EQUIVALENT or INTENDED"
_UNITS = {
    DistanceMeasure.KL: "nats of KL divergence a token",
    DistanceMeasure.LOG_PROBABILITY: "nats of log-probability a token",
    DistanceMeasure.CLASS_KL: "nats of KL divergence an answer",
    DistanceMeasure.COSINE: "of cosine distance",
}


class EchoCode(StrEnum):
    """The code that a reason of the echo gate begins with."""

    ECHO_NOT_COMPARABLE = "ECHO_NOT_COMPARABLE"
    ECHO_SCORING = "ECHO_SCORING"
    ECHO_WITHIN_MARGIN = "ECHO_WITHIN_MARGIN"
    ECHO_PROBABLY_WITHIN = "ECHO_PROBABLY_WITHIN"
    ECHO_UNDECIDED = "ECHO_UNDECIDED"
    ECHO_DIFFERS = "ECHO_DIFFERS"
    ECHO_CHANGE_INTENDED = "ECHO_CHANGE_INTENDED"
    ECHO_CHANGE_UNDECLARED = "ECHO_CHANGE_UNDECLARED"


def decide(evidence: EchoEvidence, health: tuple[str, ...] = ()) -> Verdict:
    """Judge a change of behaviour.

    What is clear decides by what was declared, what is not clear waits for more texts, then goes on.

    ``health``: lines of the health tree, which the report carries and which decide nothing.
    """
    verdict = _decide(evidence)
    if verdict.behaviour is None:
        return verdict
    return replace(verdict, behaviour=replace(verdict.behaviour, health=health))


def _decide(evidence: EchoEvidence) -> Verdict:
    if evidence.log_e >= -math.log(evidence.subject.policy.alpha):
        return _changed(evidence)
    asked_otherwise = _asked_otherwise(evidence)
    if asked_otherwise is not None:
        return asked_otherwise
    if not evidence.subject.scorable:
        return _not_comparable(evidence, evidence.subject.why_not)
    if evidence.missing or not evidence.asked:
        done = len(evidence.asked) - len(evidence.missing)
        text = f"{done} of {len(evidence.asked) or 'the'} golden texts scored by both versions"
        return _verdict(evidence, GateVerdict.HOLD, EchoCode.ECHO_SCORING, text)
    if evidence.result is None or 2 * evidence.compared < len(evidence.scored):
        problems = evidence.problems
        return _not_comparable(evidence, problems[-1] if problems else "no text was scored")
    return _weigh(evidence, evidence.result)


def _changed(evidence: EchoEvidence) -> Verdict:
    confidence = 1.0 - evidence.subject.policy.alpha
    strength = f"e-value {short(e_value(evidence.log_e))}, threshold {short(1.0 / evidence.subject.policy.alpha)}"
    size = f"it behaves differently ({strength}): {_size(evidence)}"
    match evidence.subject.change:
        case BehaviourChange.EQUIVALENT:
            text = f"declared EQUIVALENT, but {size}"
            return _verdict(evidence, GateVerdict.FAIL, EchoCode.ECHO_DIFFERS, text, confidence)
        case BehaviourChange.INTENDED:
            text = f"declared INTENDED, and {size}"
            return _verdict(evidence, GateVerdict.PASS, EchoCode.ECHO_CHANGE_INTENDED, text, confidence)
        case BehaviourChange.UNSPECIFIED:
            text = f"nothing was declared, and {size}; {_ASK}"
            return _verdict(evidence, GateVerdict.HOLD, EchoCode.ECHO_CHANGE_UNDECLARED, text, confidence)


def _asked_otherwise(evidence: EchoEvidence) -> Verdict | None:
    """Judge what the requests for both versions say of their chats and contexts.

    None: nothing, or it was declared.

    It is no measurement, so it has no confidence, and the texts go on to be scored. A shorter context is no surprise to who asked for it,
    so it speaks only against who declared that nothing changes.
    """
    rendering = evidence.subject.rendering
    said = [each for each in (rendering, evidence.subject.shortening) if each]
    match evidence.subject.change:
        case BehaviourChange.EQUIVALENT if said:
            text = f"declared EQUIVALENT, but {'; '.join(said)}"
            return _verdict(evidence, GateVerdict.FAIL, EchoCode.ECHO_DIFFERS, text)
        case BehaviourChange.UNSPECIFIED if rendering:
            text = f"nothing was declared, and {rendering}; {_ASK}"
            return _verdict(evidence, GateVerdict.HOLD, EchoCode.ECHO_CHANGE_UNDECLARED, text)
        case _:
            return None


def _not_comparable(evidence: EchoEvidence, why: str) -> Verdict:
    required = evidence.subject.policy.required
    verdict = GateVerdict.HOLD if required else GateVerdict.PASS
    then = "the policy requires it" if required else "behaviour was not judged"
    return _verdict(evidence, verdict, EchoCode.ECHO_NOT_COMPARABLE, f"{why}; {then}")


def _weigh(evidence: EchoEvidence, result: PairedResult) -> Verdict:
    """Judge what is no clear change.

    It is below the margin, or not clear yet though every text was scored.
    """
    if result.is_within:
        confidence = 1.0 - result.test.pass_alpha
        return _verdict(evidence, GateVerdict.PASS, EchoCode.ECHO_WITHIN_MARGIN, _size(evidence), confidence)
    declared_equal = evidence.subject.change is BehaviourChange.EQUIVALENT
    if declared_equal and result.mean >= result.test.margin:
        text = f"all texts are scored and do not decide: {_size(evidence)}"
        return _verdict(evidence, GateVerdict.HOLD, EchoCode.ECHO_UNDECIDED, text)
    confidence = max(0.0, -math.expm1(-max(0.0, result.log_e_within)))
    return _verdict(evidence, GateVerdict.PASS, EchoCode.ECHO_PROBABLY_WITHIN, _size(evidence), confidence)


def _size(evidence: EchoEvidence) -> str:
    parts = []
    result = evidence.result
    if result is not None and result.texts:
        margin, source = evidence.subject.margin(result.test.measure)
        unit = _UNITS[result.test.measure]
        parts.append(
            f"{result.mean:.3g} {unit} on {result.texts} texts, between {result.lower:.3g} and {result.upper:.3g}; "
            f"margin {margin:.3g} ({source})"
        )
    live = evidence.live
    if live.pairs:
        parts.append(f"{live.pairs} live pairs with e-value {short(e_value(live.log_e))}")
    if live.waiting.repeats:
        parts.append(f"{live.waiting.repeats} requests repeated answers that were paired before")
    return "; ".join(parts) or "nothing was measured"


def _verdict(
    evidence: EchoEvidence, verdict: GateVerdict, code: EchoCode, text: str, confidence: float = 0.0
) -> Verdict:
    measured = report(evidence)
    counts = (
        ("e_value", int(e_value(evidence.log_e))),
        ("scored_text_count", 0 if measured is None else measured.texts),
        ("live_pair_count", evidence.live.pairs),
        ("live_repeat_count", evidence.live.waiting.repeats),
        ("live_skipped_count", evidence.live.skipped),
    )
    by_pairs = evidence.live.log_e > evidence.paired_log_e
    source = Evidence.LIVE if by_pairs else Evidence.PROBES
    return Verdict(NAME, verdict, f"{code}: {text}", confidence, counts, source, measured)


def report(evidence: EchoEvidence) -> BehaviourReport | None:
    """Return what was measured; None where nothing was."""
    result, live = evidence.result, evidence.live
    if result is None and not live.pairs:
        return None
    measure = result.test.measure if result is not None else None
    margin, source = evidence.subject.margin(measure) if measure is not None else (0.0, "")
    scored = [text for text in evidence.scored.values() if not text.problem]
    means = [found.mean for text in scored if measure is not None and (found := text.distance(measure)) is not None]
    return BehaviourReport(
        measure=measure.value if measure is not None else "",
        margin=margin,
        margin_source=source,
        ceiling=result.test.ceiling if result is not None else 0.0,
        mean=result.mean if result is not None else 0.0,
        lower=result.lower if result is not None else 0.0,
        upper=result.upper if result is not None else 0.0,
        texts=result.texts if result is not None else 0,
        tokens=result.tokens if result is not None else 0,
        clipped=result.clipped if result is not None else 0,
        pairs=live.pairs,
        log_e=evidence.log_e,
        paired_log_e=evidence.paired_log_e,
        live_log_e=live.log_e,
        listeners=tuple(_listener(evidence, one) for one in Listener),
        described_pairs=evidence.described[0].pairs if evidence.described else 0,
        moved=tuple(MovedText(t.text[:_TEXT_SHOWN], t.mean) for t in (result.moved if result is not None else ())),
        text_distances=tuple(means[:MAX_SHOWN]),
        log_e_path=_thin(live.log_e_path),
    )


def _listener(evidence: EchoEvidence, listener: Listener) -> ListenerValue:
    found = next((one for one in evidence.described if one.listener is listener), None)
    value = ListenerValue(listener.value, evidence.live.log_e_of(listener), listener in VOTING)
    return value if found is None else replace(value, mmd_squared=found.statistic, mmd_p_value=found.p_value)


def _thin(path: tuple[float, ...]) -> tuple[float, ...]:
    """Return at most ``MAX_SHOWN`` points of a path, the newest among them."""
    step = max(1, math.ceil(len(path) / MAX_SHOWN))
    return path[::-1][::step][::-1]
