"""The live evidence of a rollout.

It says who calibrates, who waits for a partner, and what the wealth of each listener's bets is.

One e-process over all stages, never reset. The listeners' wealths are averaged; an average of e-processes is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.gates.echo import matching, wager
from echoplaned.gates.echo.description import MAX_PAIRS, PairFeatures
from echoplaned.gates.echo.features import FeatureModel, Listener
from echoplaned.gates.echo.matching import Pair, TracedRequest, Waiting
from echoplaned.gates.echo.sequences import AnswerSequence
from echoplaned.gates.echo.wager import Wager
from echoplaned.gates.statistics.bets import log_sum

CALIBRATION_WANTED = 200
"""Requests of the old version that the listeners are fitted on; none of them enters the test."""

VOTING = (Listener.RESERVOIR, Listener.AR4, Listener.MOMENTS)
"""Listeners whose bets count; the others are reported beside them."""

MAX_UNIT_TOKENS = 5_000_000
"""Units of the reservoir times tokens of both requests that one reading bets on: about a tenth of a second of a thread."""

PATH_RETAINED = 256
"""Newest pairs after which the e-value is reported."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveEvidence:
    """What live requests say of a change of behaviour.

    Attributes:
        calibration: requests of the old version, until the listeners are fitted.
        model: the fitted listeners; None: not yet.
        waiting: requests without a partner.
        wagers: one a listener, in the order of ``Listener``; empty until the listeners are fitted.
        log_e_path: the e-value's natural logarithm after the newest pairs, for a picture; at most ``PATH_RETAINED``.
        distances: mean squared features of the last interval's pairs, new and old, by the first listener.
        newest: features of the newest pairs, which can be described; at most ``MAX_PAIRS``.
        skipped: pairs that were not bet on, for their number, or as one was of another kind than what the listeners were fitted on.
    """

    calibration: tuple[AnswerSequence, ...] = ()
    model: FeatureModel | None = None
    waiting: Waiting = field(default_factory=Waiting)
    wagers: tuple[Wager, ...] = ()
    log_e_path: tuple[float, ...] = ()
    distances: tuple[tuple[float, float], ...] = ()
    newest: tuple[PairFeatures, ...] = ()
    skipped: int = 0

    @property
    def to_fit(self) -> tuple[AnswerSequence, ...]:
        """What the listeners are to be fitted on now.

        Empty where it is too little, or where they are fitted.
        """
        return self.calibration if self.model is None and len(self.calibration) >= CALIBRATION_WANTED else ()

    @property
    def pairs(self) -> int:
        """Pairs that were bet on."""
        return self.wagers[0].pairs if self.wagers else 0

    def log_e_of(self, listener: Listener) -> float:
        """The logarithm of one listener's e-value; 0 before the first pair."""
        return float(self.wagers[list(Listener).index(listener)].log_e) if self.wagers else 0.0

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against "both versions behave alike"."""
        return log_sum(tuple(self.log_e_of(listener) for listener in VOTING)) - math.log(len(VOTING))


def calibrate(evidence: LiveEvidence, sequences: tuple[AnswerSequence, ...]) -> LiveEvidence:
    """Gather what the listeners are to be fitted on.

    Does nothing once they are, or once there is enough.
    """
    if evidence.model is not None or evidence.to_fit:
        return evidence
    gathered = _distinct((*evidence.calibration, *(s for s in sequences if not s.is_empty)))
    return replace(evidence, calibration=gathered[:CALIBRATION_WANTED])


def use_model(evidence: LiveEvidence, model: FeatureModel | None) -> LiveEvidence:
    """Begin to bet with listeners that were fitted on what was gathered.

    None: they could not be, so that newer requests are needed.
    """
    if not evidence.to_fit:
        return evidence
    if model is None:
        return replace(evidence, calibration=evidence.calibration[CALIBRATION_WANTED // 2 :])
    wagers = tuple(wager.begin(model.scales[at].centre.size) for at in range(len(Listener)))
    return replace(evidence, calibration=(), model=model, wagers=wagers)


def observe(evidence: LiveEvidence, requests: tuple[TracedRequest, ...]) -> LiveEvidence:
    """Add requests, in the order of arrival.

    Until the listeners are fitted, the old version's are calibrated on.
    """
    if evidence.model is None:
        old = tuple(r.sequence for r in requests if not r.is_new and r.sequence is not None)
        return calibrate(evidence, old)
    model, left = evidence.model, MAX_UNIT_TOKENS
    waiting, pairs = matching.match(evidence.waiting, requests)
    evidence = replace(evidence, waiting=waiting, distances=())
    for pair in pairs:
        # What is left follows from the pairs before alone, so it does not depend on what these two said.
        if left > 0 and model.takes(pair.new) and model.takes(pair.old):
            left -= model.units * (len(pair.new.tokens) + len(pair.old.tokens))
            evidence = _bet(evidence, model, pair)
        else:
            evidence = replace(evidence, skipped=evidence.skipped + 1)
    return evidence


def _distinct(sequences: tuple[AnswerSequence, ...]) -> tuple[AnswerSequence, ...]:
    """Leave repeated answers out.

    Listeners that know one answer only take any other for a great change.
    """
    known: set[int] = set()
    distinct = []
    for sequence in sequences:
        if sequence.digest not in known:
            distinct.append(sequence)
        known |= {sequence.digest} - {0}
    return tuple(distinct)


def _bet(evidence: LiveEvidence, model: FeatureModel, pair: Pair) -> LiveEvidence:
    features = tuple((model.features(pair.new, each), model.features(pair.old, each)) for each in Listener)
    wagers = tuple(wager.bet(one, *features) for one, features in zip(evidence.wagers, features, strict=True))
    new, old = (float((side**2).mean()) for side in features[0])
    after = replace(
        evidence,
        wagers=wagers,
        distances=(*evidence.distances, (new, old)),
        newest=(*evidence.newest, PairFeatures(*zip(*features, strict=True)))[-MAX_PAIRS:],
    )
    return replace(after, log_e_path=(*after.log_e_path, after.log_e)[-PATH_RETAINED:])
