"""Requests to features: fitted once, frozen, the same for the same request."""

from __future__ import annotations

import numpy as np
import pytest

from echoplaned.gates.echo import features
from echoplaned.gates.echo.features import MIN_CALIBRATION, Listener, Network
from echoplaned.gates.echo.sequences import AnswerSequence
from tests.gates.echo.echo_world import sequence, tokens


def drawn(seed: int, count: int, *, shift: float = 0.0, memory: float = 0.5) -> tuple[AnswerSequence, ...]:
    """Draw requests."""
    rng = np.random.default_rng(seed)
    return tuple(sequence(rng, shift=shift, memory=memory) for _ in range(count))


@pytest.mark.parametrize("listener", list(Listener))
def test_equal_requests_look_alike(listener: Listener) -> None:
    """On requests that were not fitted, the features of the same kind have about mean 0 and spread 1."""
    model = features.fit(drawn(0, 200), Network())
    assert model is not None
    rows = model.matrix(drawn(1, 300), listener)
    assert np.abs(rows.mean(axis=0)).max() < 0.4
    assert (np.abs(rows.std(axis=0) - 1.0) < 0.5)[rows.std(axis=0) > 1e-9].all()


def test_a_changed_memory_shows_in_the_residuals() -> None:
    """A version whose channels follow their past more closely is apart in the residuals' lag product, by reservoir and by AR(4)."""
    model = features.fit(drawn(0, 200), Network())
    assert model is not None
    for listener in (Listener.RESERVOIR, Listener.AR4):
        same = model.matrix(drawn(1, 200), listener).mean(axis=0)
        other = model.matrix(drawn(2, 200, memory=0.9), listener).mean(axis=0)
        assert np.abs(other - same)[-2:].max() > 0.5


def test_short_requests_have_features() -> None:
    """A request of one token has finite features for every listener."""
    model = features.fit(drawn(0, 50), Network())
    assert model is not None
    one = AnswerSequence(tokens(np.random.default_rng(0), 1), np.ones(1))
    for listener in Listener:
        assert np.isfinite(model.features(one, listener)).all()


def test_outputs_have_their_own_features() -> None:
    """Outputs without tokens are scaled as they come."""
    rng = np.random.default_rng(0)
    outputs = tuple(AnswerSequence(output=rng.standard_normal(6).astype(np.float32)) for _ in range(60))
    model = features.fit(outputs, Network())
    assert model is not None
    assert model.features(outputs[0], Listener.MOMENTS).shape == (6,)


def test_too_few_requests_fit_nothing() -> None:
    """Nothing is fitted on few requests, on empty ones, or on outputs of several widths."""
    assert features.fit(drawn(0, MIN_CALIBRATION - 1), Network()) is None
    assert features.fit((AnswerSequence(),) * 100, Network()) is None
    assert (
        features.fit(tuple(AnswerSequence(output=np.zeros(1 + n % 2, dtype=np.float32)) for n in range(100)), Network())
        is None
    )
