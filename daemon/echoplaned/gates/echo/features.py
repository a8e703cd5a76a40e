"""Features: a request as a few numbers, by several listeners.

There are three: a reservoir's residuals, those of AR(4), and plain moments.

Everything is fitted once, on requests of the old version that never enter a test, and then frozen: fitted on tested requests, the test
would reject equal versions far too often. Each listener predicts the next token's channels from those before it; what it could not
predict is the residual. Of a request enter the residuals' mean, the logarithm of their mean square and their lag-1 product, beside the
mean and standard deviation of the channels themselves; moments are these alone. An output without tokens has its own moments in all three.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from echoplaned.core.plan import Reservoir
from echoplaned.dtesn import SIZE_CLASSES, ReservoirSettings, Ridge, TreeReservoir, givens_layers
from echoplaned.dtesn.trees import default_tree
from echoplaned.gates.echo.sequences import CHANNELS, AnswerSequence

Floats = NDArray[np.float64]

MIN_CALIBRATION = 30
"""With fewer requests of the old version nothing is fitted."""

MAX_CALIBRATION_TOKENS = 10_000
"""Tokens that the predictors are fitted on at most: of the largest reservoir that takes some seconds."""

AR_ORDER = 4
_CLIP = 5.0
_REGULARISATION = 1e-3
_TINY = 1e-6
_MIN_DT = 1.0


class Listener(StrEnum):
    """Who turns requests into features.

    LOG_PROBABILITY is the mean log-probability alone, as a yardstick.
    """

    RESERVOIR = "RESERVOIR"
    AR4 = "AR4"
    MOMENTS = "MOMENTS"
    LOG_PROBABILITY = "LOG_PROBABILITY"


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Centre and spread of each column; what is scaled is clipped.

    Attributes:
        centre: mean of each column, shape (columns,).
        spread: standard deviation of each column, shape (columns,), above 0.
    """

    centre: Floats
    spread: Floats

    @classmethod
    def of(cls, rows: Floats) -> Scale:
        """Return the scale of the columns of some rows."""
        return cls(rows.mean(axis=0), np.maximum(rows.std(axis=0), _TINY))

    def apply(self, rows: Floats) -> Floats:
        """Scale rows and clip them."""
        return np.clip((rows - self.centre) / self.spread, -_CLIP, _CLIP)


@dataclass(frozen=True, slots=True)
class Network:
    """What a reservoir's weights follow from.

    Attributes:
        tree: level sequence of its tree of membranes.
        settings: settings of its weights and time constants.
    """

    tree: tuple[int, ...] = default_tree(*SIZE_CLASSES["small"])
    settings: ReservoirSettings = field(default_factory=ReservoirSettings)

    @classmethod
    def of(cls, planned: Reservoir | None) -> Network:
        """Return the network of a version, as its plan reserved it.

        It has the changes that the version's load asked for; None: the smallest class.
        """
        if planned is None:
            return cls()
        settings = ReservoirSettings(
            spectral_radius=planned.spectral_radius,
            leak=planned.leak,
            input_scale=planned.input_scale,
            givens_layers=givens_layers(planned.block_density),
            seed=planned.seed,
        )
        return cls(planned.tree, settings)

    def reservoir(self) -> TreeReservoir:
        """Return the reservoir, with its weights drawn."""
        return TreeReservoir(self.tree, CHANNELS, self.settings)


@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """The models that predict a request's next token.

    Attributes:
        channels: centre and spread of the tokens' channels.
        reservoir: the reservoir whose units predict.
        weights: weights of the reservoir's units, shape (channels, units).
        bias: constants beside these weights, shape (channels,).
        ar: weights of the autoregression, shape (channels, AR_ORDER + 1), the constant last.
    """

    channels: Scale
    reservoir: TreeReservoir
    weights: Floats
    bias: Floats
    ar: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FeatureModel:
    """The frozen listeners, fitted on requests of the old version by `fit`.

    Attributes:
        predictors: what predicts the next token; None: the outputs have no tokens.
        scales: centre and spread of each listener's features, in the order of ``Listener``.
        count: requests that it was fitted on, at least ``MIN_CALIBRATION``.
    """

    predictors: Predictors | None
    scales: tuple[Scale, ...]
    count: int

    @property
    def units(self) -> int:
        """Units of the reservoir that listens; 0 where none does."""
        return self.predictors.reservoir.units if self.predictors is not None else 0

    def takes(self, sequence: AnswerSequence) -> bool:
        """Return whether a request is of the kind that was fitted on.

        It then has tokens, or an output as wide.
        """
        if self.predictors is not None:
            return len(sequence.tokens) > 0
        return len(sequence.tokens) == 0 and sequence.output.size == self.scales[0].centre.size

    def features(self, sequence: AnswerSequence, listener: Listener) -> Floats:
        """Return a request's features, shape (features,).

        They are in units of the calibration's spread.
        """
        raw = _raw(self.predictors, sequence, listener)
        return self.scales[list(Listener).index(listener)].apply(raw)

    def matrix(self, sequences: tuple[AnswerSequence, ...], listener: Listener) -> Floats:
        """Return the features of requests, shape (requests, features)."""
        return np.stack([self.features(sequence, listener) for sequence in sequences])


def fit(sequences: tuple[AnswerSequence, ...], network: Network) -> FeatureModel | None:
    """Fit all listeners on requests of the old version.

    None where there are too few requests of one kind.
    """
    usable = tuple(sequence for sequence in sequences if not sequence.is_empty)
    with_tokens = tuple(sequence for sequence in usable if len(sequence.tokens))
    if len(with_tokens) > len(usable) // 2:
        usable, predictors = with_tokens, _predictors(with_tokens, network)
    else:
        widths = {sequence.output.size for sequence in usable}
        usable, predictors = (usable if len(widths) == 1 and not with_tokens else ()), None
    if len(usable) < MIN_CALIBRATION or (len(usable[0].tokens) and predictors is None):
        return None
    scales = tuple(Scale.of(np.stack([_raw(predictors, s, listener) for s in usable])) for listener in Listener)
    return FeatureModel(predictors, scales, len(usable))


# --- what predicts ---------------------------------------------------------------------------------------------------


def _predictors(sequences: tuple[AnswerSequence, ...], network: Network) -> Predictors | None:
    longer = [sequence for sequence in sequences if len(sequence.tokens) > 1]
    if not longer:
        return None
    channels = Scale.of(np.concatenate([sequence.tokens for sequence in sequences]).astype(np.float64))
    reservoir = network.reservoir()
    states, targets, used = [], [], 0
    for at, sequence in enumerate(longer):
        if used >= MAX_CALIBRATION_TOKENS:
            longer = longer[:at]
            break
        used += len(sequence.tokens)
        scaled = channels.apply(sequence.tokens.astype(np.float64))
        states.append(_states(reservoir, scaled, sequence)[:-1])
        targets.append(scaled[1:])
    wanted = np.concatenate(targets)
    readout = Ridge.fit(np.concatenate(states), wanted, _REGULARISATION * len(wanted))
    ar = _autoregression(targets, channels, longer)
    return Predictors(channels, reservoir, readout.weights, readout.bias, ar)


def _states(reservoir: TreeReservoir, scaled: Floats, sequence: AnswerSequence) -> NDArray[np.float32]:
    return reservoir.run(scaled, dt=np.maximum(sequence.dt, _MIN_DT))


def _autoregression(targets: list[Floats], channels: Scale, sequences: list[AnswerSequence]) -> Floats:
    """Fit each channel on its own last values, by least squares with a little ridge."""
    lags = np.concatenate([_lagged(channels.apply(s.tokens.astype(np.float64)))[1:] for s in sequences])
    wanted = np.concatenate(targets)
    fitted = []
    for channel in range(CHANNELS):
        design = lags[:, channel]
        gram = design.T @ design + _REGULARISATION * len(design) * np.eye(design.shape[1])
        fitted.append(np.linalg.solve(gram, design.T @ wanted[:, channel]))
    return np.stack(fitted)


def _lagged(scaled: Floats) -> Floats:
    """Return each step's earlier values, then 1.

    They are the nearest first and zeros before the first; shape (steps, channels, AR_ORDER + 1).
    """
    padded = np.concatenate([np.zeros((AR_ORDER, scaled.shape[1])), scaled])
    steps = len(scaled)
    lags = [padded[AR_ORDER - lag : AR_ORDER - lag + steps] for lag in range(1, AR_ORDER + 1)]
    return np.stack([*lags, np.ones_like(scaled)], axis=2)


# --- features --------------------------------------------------------------------------------------------------------


def _raw(predictors: Predictors | None, sequence: AnswerSequence, listener: Listener) -> Floats:
    if predictors is None:
        output = sequence.output.astype(np.float64)
        return output[:1] if listener is Listener.LOG_PROBABILITY else output
    tokens = sequence.tokens.astype(np.float64)
    if listener is Listener.LOG_PROBABILITY:
        return tokens[:, :1].mean(axis=0) if len(tokens) else np.zeros(1)
    scaled = predictors.channels.apply(tokens)
    moments = np.append(_moments(scaled), sequence.stopped)
    if listener is Listener.MOMENTS:
        return moments
    return np.concatenate([moments, _residual_moments(_residuals(predictors, scaled, sequence, listener))])


def _residuals(predictors: Predictors, scaled: Floats, sequence: AnswerSequence, listener: Listener) -> Floats:
    if len(scaled) < 2:
        return np.zeros((0, CHANNELS))
    if listener is Listener.RESERVOIR:
        states = _states(predictors.reservoir, scaled, sequence)
        residuals: Floats = scaled[1:] - (states[:-1].astype(np.float64) @ predictors.weights.T + predictors.bias)
        return residuals
    lagged = _lagged(scaled)[1:]
    predicted: Floats = np.einsum("tcl,cl->tc", lagged, predictors.ar)
    return scaled[1:] - predicted


def _moments(scaled: Floats) -> Floats:
    if len(scaled) == 0:
        return np.zeros(2 * CHANNELS)
    return np.concatenate([scaled.mean(axis=0), scaled.std(axis=0)])


def _residual_moments(residuals: Floats) -> Floats:
    if len(residuals) == 0:
        return np.zeros(3 * CHANNELS)
    square = np.log((residuals**2).mean(axis=0) + _TINY)
    lag = (residuals[1:] * residuals[:-1]).mean(axis=0) if len(residuals) > 1 else np.zeros(CHANNELS)
    return np.concatenate([residuals.mean(axis=0), square, lag])
