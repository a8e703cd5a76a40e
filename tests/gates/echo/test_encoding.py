"""Evidence of behaviour as bytes and back: nothing that decides is lost, and what is damaged is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.facts import Task
from echoplaned.core.spec import BehaviourChange, EchoPolicy
from echoplaned.dtesn import ReservoirSettings
from echoplaned.gates.echo import encoding, features, live, verdict
from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo.evidence import BehaviourObservation, EchoEvidence, FitResult
from echoplaned.gates.echo.features import Listener, Network
from echoplaned.gates.echo.matching import TracedRequest
from echoplaned.gates.echo.scored import ScoredText
from echoplaned.gates.echo.sequences import AnswerSequence
from echoplaned.gates.echo.subject import EchoSubject
from echoplaned.gates.gate import EvidenceUnreadableError
from tests.gates.echo.echo_world import sequence

SUBJECT = EchoSubject(EchoPolicy(), BehaviourChange.EQUIVALENT, Task.GENERATION, 0.95, text_count=48)


def requests(seed: int, count: int) -> tuple[TracedRequest, ...]:
    """Draw requests of both versions in turn, each of a conversation of its own."""
    rng = np.random.default_rng(seed)
    return tuple(TracedRequest(bool(n % 2), "a", sequence(rng), f"{seed}.{n}") for n in range(count))


def heard(subject: EchoSubject = SUBJECT) -> EchoEvidence:
    """Return evidence with texts, one of them infinitely far and one a problem, fitted listeners and 40 pairs."""
    rng = np.random.default_rng(5)
    texts = [ScoredText(n, f"text {n}", kl=(0.001, 0.002), difference=(0.1, 0.2)) for n in range(20)]
    texts += [ScoredText(20, "far", kl=(math.inf,), difference=(math.inf,)), ScoredText(21, "x", problem="no score")]
    seen = BehaviourObservation(
        tuple(texts), calibration=tuple(TracedRequest(False, "a", sequence(rng)) for _ in range(200))
    )
    return echo.observe(fitted(echo.observe(echo.begin(subject), seen)), BehaviourObservation(requests=requests(6, 80)))


def fitted(known: EchoEvidence) -> EchoEvidence:
    """Fit the listeners on what was gathered."""
    return echo.observe(
        known, BehaviourObservation(fit_result=FitResult(features.fit(known.live.to_fit, known.subject.network)))
    )


def test_nothing_that_decides_is_lost() -> None:
    """Scores, result, wealth and verdict come back bit by bit; who waited does not, and its conversation is remembered."""
    known = heard()
    back = encoding.decode(SUBJECT, encoding.encode(known))
    assert (back.scored, back.result, back.missing, back.asked) == (
        known.scored,
        known.result,
        known.missing,
        known.asked,
    )
    assert (back.live.pairs, back.log_e, back.live.log_e_path) == (40, known.log_e, known.live.log_e_path)
    assert [back.live.log_e_of(one) for one in Listener] == [known.live.log_e_of(one) for one in Listener]
    waited, waits = known.live.waiting, back.live.waiting
    assert (waits.count, waits.conversations, waits.pairs) == (0, waited.conversations, waited.pairs)
    assert verdict.decide(back) == verdict.decide(known)


def test_the_bets_go_on_as_if_nothing_had_happened() -> None:
    """More pairs change restored evidence as they change what was never written: listeners and learning are the same."""
    known = heard()
    back = encoding.decode(SUBJECT, encoding.encode(known))
    more = BehaviourObservation(requests=requests(7, 60))
    assert echo.observe(back, more).log_e == echo.observe(known, more).log_e


def test_what_calibrates_is_kept() -> None:
    """Requests of the old version that were heard before the listeners were fitted count after a restart."""
    rng = np.random.default_rng(1)
    told = tuple(TracedRequest(False, "a", sequence(rng)) for _ in range(50))
    known = echo.observe(echo.begin(SUBJECT), BehaviourObservation(calibration=told))
    back = encoding.decode(SUBJECT, encoding.encode(known))
    assert len(back.live.calibration) == 50
    assert (back.live.calibration[7].tokens == known.live.calibration[7].tokens).all()
    assert back.live.model is None


def test_what_was_bet_on_is_remembered() -> None:
    """An answer that was heard before a restart is a repeat after it, and repeats go on being counted; so do calibrating answers."""
    rng = np.random.default_rng(3)
    pair = tuple(TracedRequest(bool(n), "a", replace(sequence(rng), digest=2**64 - 1 - n)) for n in range(2))
    known = echo.observe(heard(), BehaviourObservation(requests=(*pair, *pair)))
    back = encoding.decode(SUBJECT, encoding.encode(known))
    assert (back.live.waiting.digests, back.live.waiting.repeats) == ({2**64 - 1, 2**64 - 2}, 2)
    again = echo.observe(back, BehaviourObservation(requests=pair))
    assert (again.live.pairs, again.live.waiting.repeats) == (known.live.pairs, 4)
    waits = echo.observe(echo.begin(SUBJECT), BehaviourObservation(calibration=pair[:1]))
    assert encoding.decode(SUBJECT, encoding.encode(waits)).live.calibration[0].digest == 2**64 - 1


def test_outputs_without_tokens_are_kept() -> None:
    """Embeddings: cosine distances and listeners without a predictor."""
    subject = replace(SUBJECT, task=Task.EMBEDDING)
    rng = np.random.default_rng(2)
    vectors = [AnswerSequence(output=rng.normal(size=4).astype(np.float32)) for _ in range(240)]
    seen = BehaviourObservation(
        tuple(ScoredText(n, "t", cosine=0.001, class_kl=0.1) for n in range(9)),
        calibration=tuple(TracedRequest(False, "a", one) for one in vectors[:200]),
    )
    known = fitted(echo.observe(echo.begin(subject), seen))
    known = echo.observe(
        known,
        BehaviourObservation(requests=tuple(TracedRequest(bool(n % 2), "a", v) for n, v in enumerate(vectors[200:]))),
    )
    back = encoding.decode(subject, encoding.encode(known))
    assert known.live.pairs == back.live.pairs == 20
    assert (back.result, back.log_e) == (known.result, known.log_e)


def test_why_the_margin_is_a_default_is_kept() -> None:
    """The reason goes with the evidence, unless the version has been measured meanwhile."""
    known = echo.observe(heard(), BehaviourObservation(int8_baseline="in INT8"))
    content = encoding.encode(known)
    assert encoding.decode(SUBJECT, content).subject.why_default == "in INT8"
    measured = replace(SUBJECT, int8_baseline=Int8Baseline("KL", 0.1, 16))
    assert encoding.decode(measured, content).subject == measured


def test_pairs_outlive_it_by_the_live_evidence_alone() -> None:
    """Evidence without any text is kept as well."""
    known = replace(heard(), scored=echo.begin(SUBJECT).scored, result=None)
    assert encoding.decode(SUBJECT, encoding.encode(known)).live.pairs == live.observe(known.live, ()).pairs


@pytest.mark.parametrize("cut", [0, 10, 400, -30])
def test_damaged_evidence_is_refused(cut: int) -> None:
    """Cut short, another format, or no evidence at all: an error of its own, never half of the evidence."""
    content = encoding.encode(heard())
    with pytest.raises(EvidenceUnreadableError):
        encoding.decode(SUBJECT, content[:cut])


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version of the daemon wrote is not guessed at."""
    content = encoding.encode(heard())
    monkeypatch.setattr(encoding, "FORMAT", 4)
    with pytest.raises(EvidenceUnreadableError, match="format 3 is not 4"):
        encoding.decode(SUBJECT, content)


def test_evidence_of_another_reservoir_is_refused() -> None:
    """What one network learnt means nothing to another: the version's own is the one that listens."""
    content = encoding.encode(heard())
    other = replace(SUBJECT, network=Network(settings=ReservoirSettings(seed=7)))
    with pytest.raises(EvidenceUnreadableError, match="another reservoir"):
        encoding.decode(other, content)
    known = heard(other)
    assert encoding.decode(other, encoding.encode(known)).log_e == known.log_e
