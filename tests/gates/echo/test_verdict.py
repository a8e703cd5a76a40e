"""The echo gate's verdict: what is clear decides as it was declared, what cannot be compared does not block."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.facts import Task
from echoplaned.core.rollout_state import Evidence, GateVerdict
from echoplaned.core.spec import BehaviourChange, EchoPolicy, EchoPreset
from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo import margins, verdict
from echoplaned.gates.echo.evidence import BehaviourObservation, EchoEvidence
from echoplaned.gates.echo.paired import DistanceMeasure
from echoplaned.gates.echo.scored import ScoredText, compare
from echoplaned.gates.echo.subject import EchoSubject
from echoplaned.ports.scoring import ScoreOutcome

SUBJECT = EchoSubject(EchoPolicy(), BehaviourChange.EQUIVALENT, Task.GENERATION, confidence=0.95, text_count=48)
MARGIN = margins.DEFAULT_KL_NATS


def text(index: int, kl: float, tokens: int = 20) -> ScoredText:
    """Return a text whose tokens are all as far apart."""
    return ScoredText(index, f"text {index}", kl=(kl,) * tokens, difference=(kl,) * tokens)


def heard(kl: float, subject: EchoSubject = SUBJECT, count: int = 48) -> EchoEvidence:
    """Return the evidence after texts at a distance."""
    return echo.observe(echo.begin(subject), BehaviourObservation(tuple(text(n, kl) for n in range(count))))


@pytest.mark.parametrize(
    ("change", "expected", "code"),
    [
        (BehaviourChange.EQUIVALENT, GateVerdict.FAIL, "ECHO_DIFFERS"),
        (BehaviourChange.INTENDED, GateVerdict.PASS, "ECHO_CHANGE_INTENDED"),
        (BehaviourChange.UNSPECIFIED, GateVerdict.HOLD, "ECHO_CHANGE_UNDECLARED"),
    ],
)
def test_a_clear_change_decides_as_declared(change: BehaviourChange, expected: GateVerdict, code: str) -> None:
    """The same evidence fails, passes with a report, or holds and asks."""
    said = verdict.decide(heard(5 * MARGIN, replace(SUBJECT, change=change)))
    assert said.verdict is expected
    assert said.reason.startswith(f"{code}: ")
    assert said.behaviour is not None
    assert said.behaviour.lower > said.behaviour.margin
    assert [moved.text for moved in said.behaviour.moved] == ["text 0", "text 1", "text 2"]
    assert dict(said.counts)["scored_text_count"] == 48
    assert said.evidence is Evidence.PROBES


@pytest.mark.parametrize(
    ("change", "expected", "code"),
    [
        (BehaviourChange.EQUIVALENT, GateVerdict.FAIL, "ECHO_DIFFERS"),
        (BehaviourChange.INTENDED, GateVerdict.PASS, "ECHO_WITHIN_MARGIN"),
        (BehaviourChange.UNSPECIFIED, GateVerdict.HOLD, "ECHO_CHANGE_UNDECLARED"),
    ],
)
def test_another_chat_template_decides_as_declared(change: BehaviourChange, expected: GateVerdict, code: str) -> None:
    """Golden texts go through none: however alike they are scored, the request says that chats are not."""
    subject = replace(SUBJECT, change=change, rendering="chats are rendered by llama2")
    for evidence in (echo.begin(subject), heard(0.0, subject)):
        said = verdict.decide(evidence)
        if change is BehaviourChange.INTENDED and not evidence.scored:
            assert said.reason.startswith("ECHO_SCORING: ")
            continue
        assert said.verdict is expected
        assert said.reason.startswith(f"{code}: ")
        assert ("chats are rendered by llama2" in said.reason) is (change is not BehaviourChange.INTENDED)


@pytest.mark.parametrize("change", list(BehaviourChange))
def test_a_shorter_context_is_against_equivalent(change: BehaviourChange) -> None:
    """Who declared that nothing changes is told so at once; who did not has asked for it."""
    subject = replace(SUBJECT, change=change, shortening="its context is 64 tokens and was 256")
    said = verdict.decide(heard(0.0, subject))
    if change is BehaviourChange.EQUIVALENT:
        assert said.verdict is GateVerdict.FAIL
        assert said.reason == "ECHO_DIFFERS: declared EQUIVALENT, but its context is 64 tokens and was 256"
    else:
        assert said.reason.startswith("ECHO_WITHIN_MARGIN: ")


def test_everything_that_was_asked_otherwise_is_told() -> None:
    """Another template and a shorter context in one update: both are in the reason."""
    subject = replace(SUBJECT, change=BehaviourChange.EQUIVALENT, rendering="chats differ", shortening="contexts do")
    assert verdict.decide(echo.begin(subject)).reason.endswith("declared EQUIVALENT, but chats differ; contexts do")


@pytest.mark.parametrize("change", list(BehaviourChange))
def test_a_small_change_passes(change: BehaviourChange) -> None:
    """Below the margin any declaration passes, with the policy's confidence."""
    said = verdict.decide(heard(MARGIN / 3, replace(SUBJECT, change=change)))
    assert said.verdict is GateVerdict.PASS
    assert said.reason.startswith("ECHO_WITHIN_MARGIN: ")
    assert said.confidence == pytest.approx(0.95)


def test_texts_are_waited_for() -> None:
    """Until the last text of the round is scored the stage holds, and says how many are."""
    said = verdict.decide(heard(0.0, count=47))
    assert said.verdict is GateVerdict.HOLD
    assert said.reason == "ECHO_SCORING: 47 of 48 golden texts scored by both versions"
    assert verdict.decide(echo.begin(SUBJECT)).verdict is GateVerdict.HOLD


def test_a_clear_change_does_not_wait_for_the_rest() -> None:
    """A change that is clear from few texts fails at once."""
    assert verdict.decide(heard(10 * MARGIN, count=5)).verdict is GateVerdict.FAIL


@pytest.mark.parametrize("required", [False, True])
def test_what_cannot_be_compared_does_not_block(required: bool) -> None:
    """Without a scorer, or with failing scores, the gate passes with confidence 0 and says why; it holds where the policy requires it."""
    policy = EchoPolicy(required=required)
    nobody = replace(SUBJECT, policy=policy, text_count=0, why_not="nothing scores golden texts")
    failing = replace(SUBJECT, policy=policy)
    texts = tuple(ScoredText(n, "x", problem="the new version: UNIMPLEMENTED") for n in range(48))
    for evidence in (echo.begin(nobody), echo.observe(echo.begin(failing), BehaviourObservation(texts))):
        said = verdict.decide(evidence)
        assert said.verdict is (GateVerdict.HOLD if required else GateVerdict.PASS)
        assert said.reason.startswith("ECHO_NOT_COMPARABLE: ")
        assert said.confidence == 0.0
        assert said.behaviour is None


def test_what_does_not_decide() -> None:
    """At the margin nothing is clear: EQUIVALENT holds, others go on with little confidence."""
    said = verdict.decide(heard(MARGIN * 1.001))
    assert (said.verdict, said.reason.split(":")[0]) == (GateVerdict.HOLD, "ECHO_UNDECIDED")
    for change in (BehaviourChange.UNSPECIFIED, BehaviourChange.INTENDED):
        said = verdict.decide(heard(MARGIN * 1.001, replace(SUBJECT, change=change)))
        assert (said.verdict, said.reason.split(":")[0]) == (GateVerdict.PASS, "ECHO_PROBABLY_WITHIN")
        assert said.confidence == 0.0


def test_an_undecided_round_asks_for_more_texts() -> None:
    """Where there are more texts than a round has, an undecided round is followed by the next ones."""
    more = replace(SUBJECT, text_count=100)
    assert heard(MARGIN * 1.001, more).missing == frozenset(range(48, 96))
    assert heard(MARGIN * 1.001, replace(SUBJECT, text_count=56)).missing == frozenset(range(48, 56))
    assert heard(MARGIN * 1.001, replace(SUBJECT, text_count=56), count=56).missing == frozenset()
    assert heard(0.0, more).missing == frozenset()


def test_rounds_begin_again_where_they_are_asked_for() -> None:
    """An extended window has all texts scored again, another one does not; a new score takes the place of the old one."""
    evidence = heard(0.0)
    assert echo.enter(evidence, extended=False).missing == frozenset()
    again = echo.enter(evidence, extended=True)
    assert again.missing == frozenset(range(48))
    worse = echo.observe(again, BehaviourObservation(tuple(text(n, 5 * MARGIN) for n in range(48))))
    assert verdict.decide(worse).verdict is GateVerdict.FAIL
    assert len(worse.scored) == 48


def test_margins() -> None:
    """The policy's margin is used and named; without one the default; of log-probabilities the difference that goes with it."""
    assert margins.margin_of(EchoPolicy(max_kl_nats=0.5), DistanceMeasure.KL) == (0.5, "the policy's max_kl_nats")
    assert margins.margin_of(EchoPolicy(), DistanceMeasure.CLASS_KL) == (MARGIN, "the default of max_kl_nats")
    assert margins.margin_of(EchoPolicy(max_distance=0.1), DistanceMeasure.COSINE) == (0.1, "the policy's max_distance")
    margin, source = margins.margin_of(EchoPolicy(), DistanceMeasure.LOG_PROBABILITY)
    assert margin == pytest.approx(math.sqrt(4 * MARGIN / math.pi))
    assert "0.004 nats" in source


@pytest.mark.parametrize(("preset", "nats"), [("SAME_WEIGHTS", 0.001), ("QUANTISED", 0.1), ("FINE_TUNED", 0.5)])
def test_a_preset_states_its_margin(preset: str, nats: float) -> None:
    """What was declared of the version gives the margin, and not what INT8 does; a number of the policy's own is above it."""
    policy = EchoPolicy(preset=EchoPreset(preset))
    told = Int8Baseline("KL", 0.01, 16)
    assert margins.margin_of(policy, DistanceMeasure.KL, told) == (nats, f"the preset {preset}")
    margin, source = margins.margin_of(policy, DistanceMeasure.LOG_PROBABILITY, told)
    assert margin == pytest.approx(math.sqrt(4 * nats / math.pi))
    assert source == f"the preset {preset} ({nats:g} nats) as a difference of log-probabilities"
    assert margins.margin_of(policy, DistanceMeasure.COSINE)[0] == nats / 2
    assert margins.margin_of(replace(policy, max_kl_nats=0.7), DistanceMeasure.KL)[0] == 0.7
    assert not margins.is_open(policy, Task.GENERATION)
    assert not margins.is_open(policy, Task.EMBEDDING)


def test_a_measured_margin_is_used_by_its_own_measure() -> None:
    """Three times what INT8 does; as log-probabilities where the KL divergence is known; never in another unit."""
    told = Int8Baseline("KL", 0.01, 16)
    assert margins.margin_of(EchoPolicy(), DistanceMeasure.KL, told)[0] == pytest.approx(0.03)
    assert margins.margin_of(EchoPolicy(), DistanceMeasure.LOG_PROBABILITY, told)[0] == pytest.approx(
        math.sqrt(0.12 / math.pi)
    )
    assert margins.margin_of(EchoPolicy(), DistanceMeasure.COSINE, told) == (0.002, "the default of max_distance")
    assert margins.margin_of(EchoPolicy(max_kl_nats=0.5), DistanceMeasure.KL, told)[0] == 0.5


def test_what_int8_does_is_a_number_or_a_reason() -> None:
    """The mean over all tokens; equal answers, too few texts and distances that are not finite are no measurement."""
    texts = tuple(ScoredText(n, "t", kl=(0.01, 0.03), difference=(0.1, 0.1)) for n in range(8))
    assert margins.measure(Task.GENERATION, texts) == Int8Baseline("KL", cast(Any, pytest.approx(0.02)), 8)
    same = tuple(replace(text, kl=(0.0,)) for text in texts)
    assert margins.measure(Task.GENERATION, same) == "INT8 changes nothing that can be measured"
    assert "nothing" in str(margins.measure(Task.GENERATION, (*texts, replace(texts[0], kl=(math.inf,)))))
    assert margins.measure(Task.GENERATION, texts[:7]) == "7 texts are too few"
    assert margins.measure(Task.GENERATION, (ScoredText(0, "t", problem="in INT8"),)) == "in INT8"


def test_scores_are_compared_by_what_both_give() -> None:
    """Whole distributions give a divergence, log-probabilities a difference, vectors a cosine; another tokenizer is as far as can be."""
    flat = np.full((2, 4), math.log(0.25), dtype=np.float32)
    whole = ScoreOutcome(
        ok=True, token_ids=np.array([1, 2]), log_probabilities=flat[:, 0], distributions=flat, vector=None
    )
    assert compare(0, "x", whole, whole).kl == (0.0, 0.0)
    alone = replace(whole, distributions=None)
    assert compare(0, "x", alone, whole).kl is None
    assert compare(0, "x", alone, whole).difference == (0.0, 0.0)
    other = replace(whole, token_ids=np.array([1, 3]))
    assert compare(0, "x", other, whole).kl == (math.inf, math.inf)
    cut = replace(alone, token_ids=np.array([1]), log_probabilities=flat[:1, 0])
    assert compare(0, "x", cut, alone).difference == (0.0,)
    vector = ScoreOutcome(ok=True, vector=np.ones(3, dtype=np.float32))
    assert compare(0, "x", vector, vector).cosine == pytest.approx(0.0)
    assert compare(0, "x", vector, whole).problem == "the versions give different kinds of answers"
    failed = ScoreOutcome(ok=False, detail="gone")
    assert compare(0, "x", whole, failed).problem == "the old version: gone"


def test_embeddings_are_judged_by_cosine() -> None:
    """An embedding's verdict has the cosine's margin."""
    subject = replace(SUBJECT, task=Task.EMBEDDING)
    texts = tuple(ScoredText(n, f"{n}", cosine=0.0001, class_kl=1.0) for n in range(48))
    said = verdict.decide(echo.observe(echo.begin(subject), BehaviourObservation(texts)))
    assert said.verdict is GateVerdict.PASS
    assert said.behaviour is not None
    assert (said.behaviour.measure, said.behaviour.margin) == ("COSINE", margins.DEFAULT_COSINE_DISTANCE)
