"""The live evidence: old requests calibrate, pairs are bet on, the wealth is never reset."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from echoplaned.gates.echo import features, live
from echoplaned.gates.echo.features import Listener, Network
from echoplaned.gates.echo.live import LiveEvidence
from echoplaned.gates.echo.matching import TracedRequest
from echoplaned.gates.echo.sequences import PROMPT_CLASSES, AnswerSequence, sequence_of, stratum_of
from echoplaned.ports.traces import TraceFlag
from tests.gates.echo.echo_world import NEW, learnt, sequence, trace


def requests(seed: int, count: int, *, shift: float = 0.0) -> tuple[TracedRequest, ...]:
    """Draw requests of both versions in turn; the new one's log-probabilities are shifted."""
    rng = np.random.default_rng(seed)
    return tuple(TracedRequest(bool(n % 2), "a", sequence(rng, shift=shift if n % 2 else 0.0)) for n in range(count))


def calibrated(seed: int = 0) -> LiveEvidence:
    """Return evidence whose listeners are fitted."""
    rng = np.random.default_rng(seed)
    return learnt(LiveEvidence(), tuple(sequence(rng) for _ in range(live.CALIBRATION_WANTED)))


def test_old_requests_calibrate_first_and_never_enter_the_test() -> None:
    """Until the listeners are fitted nothing is bet, and the requests that they are fitted on are not paired."""
    evidence = live.observe(LiveEvidence(), requests(0, 100))
    assert (evidence.pairs, len(evidence.calibration), evidence.to_fit) == (0, 50, ())
    evidence = live.observe(evidence, requests(1, 400))
    assert (evidence.pairs, len(evidence.to_fit)) == (0, live.CALIBRATION_WANTED)
    assert live.observe(evidence, requests(2, 100)).to_fit == evidence.to_fit
    evidence = live.use_model(evidence, features.fit(evidence.to_fit, Network()))
    assert evidence.model is not None
    assert (evidence.pairs, evidence.waiting.count, evidence.calibration) == (0, 0, ())


def test_listeners_that_cannot_be_fitted_wait_for_newer_requests() -> None:
    """Half of what was gathered is given up, and bets begin once the rest and what comes then can be fitted on."""
    gathered = live.observe(LiveEvidence(), requests(1, 400))
    waits = live.use_model(gathered, None)
    assert (waits.model, waits.to_fit, waits.calibration) == (None, (), gathered.calibration[100:])
    assert live.use_model(waits, None) is waits


def test_a_shifted_version_is_found_and_an_equal_one_is_not() -> None:
    """A shift of log-probabilities by one spread makes rich within 200 pairs; without one the wealth stays small."""
    worse = live.observe(calibrated(), requests(1, 400, shift=-1.0))
    assert worse.pairs == 200
    assert worse.log_e > math.log(500.0)
    assert worse.log_e_of(Listener.LOG_PROBABILITY) > math.log(500.0)
    assert len(worse.log_e_path) == 200
    same = live.observe(calibrated(), requests(2, 400))
    assert same.log_e < math.log(20.0)


def vectors(texts: int, count: int, *, shift: float) -> tuple[TracedRequest, ...]:
    """Ask both versions for the outputs of a few texts again and again; the new one's are shifted a little, and draw nothing."""
    rng = np.random.default_rng(4)
    outputs = rng.standard_normal((texts, 6))
    asked = rng.integers(0, texts, count)
    return tuple(
        TracedRequest(
            is_new := bool(n % 2),
            "a",
            AnswerSequence(output=(outputs[text] + shift * is_new).astype(np.float32), digest=int(text) + 1),
        )
        for n, text in enumerate(asked)
    )


@pytest.mark.parametrize("texts", [1, 8, 500])
def test_asking_again_makes_no_evidence(texts: int) -> None:
    """The same answers over and over, each shifted by a rounding, are not taken for a change; every answer is bet on once."""
    old = tuple(r.sequence for r in vectors(texts, 3000, shift=0.0) if r.sequence is not None)
    evidence = live.observe(learnt(LiveEvidence(), old), vectors(texts, 2000, shift=1e-5))
    assert evidence.log_e < math.log(20.0)
    assert evidence.pairs <= texts
    if texts < live.CALIBRATION_WANTED:
        assert (evidence.model, evidence.pairs, len(evidence.calibration)) == (None, 0, texts)
    else:
        assert evidence.pairs > texts // 4
        assert evidence.waiting.repeats > 1000


def test_an_interval_bets_on_so_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would hold the daemon's thread for long is left out, and counted; the next reading bets again."""
    monkeypatch.setattr(live, "MAX_UNIT_TOKENS", 512 * 200)
    first = live.observe(calibrated(), requests(1, 400))
    assert 4 <= first.pairs <= 13  # of 16 to 48 tokens each, 200 and the pair that goes beyond
    assert first.pairs + first.skipped == 200
    assert live.observe(first, requests(2, 400)).pairs > first.pairs


def test_outputs_of_another_width_are_left_out() -> None:
    """A version that answers with more numbers than the listeners know breaks nothing."""
    old = tuple(
        AnswerSequence(output=row.astype(np.float32)) for row in np.random.default_rng(1).standard_normal((300, 6))
    )
    wide = TracedRequest(True, "a", AnswerSequence(output=np.zeros(7, dtype=np.float32)))
    evidence = live.observe(
        learnt(LiveEvidence(), old), (TracedRequest(False, "a", old[0]), wide, TracedRequest(False, "a", old[1]))
    )
    assert (evidence.pairs, evidence.skipped) == (0, 1)
    # A vector that was not finite has no features: it must wait where its partner does, to take it along.
    assert stratum_of(replace(trace(), features=np.zeros(6, np.float32))) == stratum_of(
        replace(trace(), features=np.zeros(0, np.float32))
    )


def test_it_is_the_same_in_portions() -> None:
    """Evidence does not depend on how requests are grouped into intervals."""
    given = requests(3, 60, shift=-0.5)
    whole = live.observe(calibrated(), given)
    parts = calibrated()
    for request in given:
        parts = live.observe(parts, (request,))
    assert parts.log_e == whole.log_e


def test_traces_become_sequences_and_strata() -> None:
    """Tokens, steps and the stop flag are read off a trace; what was asked for makes the stratum, not what was answered."""
    told = sequence_of(trace(NEW, flags=TraceFlag.STOPPED))
    assert told.tokens.tolist() == [[-1.0, 2.0]] * 3
    assert told.dt.tolist() == [1.0, 2.0, 2.0]
    assert told.stopped == 1.0
    assert stratum_of(trace(count=3)) == stratum_of(trace(count=9))
    assert stratum_of(trace(prompt=5)) != stratum_of(trace(prompt=500))
    assert stratum_of(trace()) != stratum_of(trace(flags=TraceFlag.SAMPLED))
    assert stratum_of(trace(asked=60)) == stratum_of(trace(asked=20)) != stratum_of(trace(asked=65))
    named = [stratum_of(trace(prompt_class=name)) for name in ("tale", "tale", "code", "")]
    assert named[0] == named[1]
    assert len(set(named)) == 3


def test_callers_cannot_make_endless_strata() -> None:
    """However many kinds of request are named, they share a fixed number of strata."""
    assert len({stratum_of(trace(prompt_class=str(number))) for number in range(5000)}) == PROMPT_CLASSES
