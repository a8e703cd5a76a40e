"""Readouts and the estimator on published tasks."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest

from echoplaned.dtesn import EchoStateRegressor, RecursiveLeastSquares, Ridge, errors
from tests.dtesn import tasks


@pytest.mark.long
def test_narma_10() -> None:
    """The mean error of 20 seeds is below 0.035 (a published ESN of 200 units: 0.0425); diverging draws are counted."""
    found = [tasks.narma_error(seed, lambda seed: EchoStateRegressor(leak=1.0, seed=seed)) for seed in range(20)]
    assert np.mean([error for error, _ in found]) < 0.035
    assert sum(diverged for _, diverged in found) <= 2


def test_mackey_glass_84_steps_ahead() -> None:
    """The readout predicts the chaotic series 84 steps ahead within a tenth of its standard deviation."""
    model = EchoStateRegressor(leak=0.7, input_scale=0.5, seed=1)
    assert tasks.mackey_glass_error(1, model) < 0.1


def test_memory_capacity() -> None:
    """Of white noise the small reservoir remembers a good part of the last 60 inputs, and no more than its units."""
    model = EchoStateRegressor(leak=1.0, input_scale=0.05, bias_scale=0.0, seed=1)
    capacity = tasks.memory_capacity(1, model, delays=60)
    assert 20 < capacity <= 60


def test_ridge_is_the_normal_equations() -> None:
    """Weights are those that NumPy finds for the same regularisation."""
    random = np.random.default_rng(3)
    states, targets = random.standard_normal((300, 20)).astype(np.float32), random.standard_normal((300, 3))
    fitted = Ridge.fit(states, targets, regularisation=5.0)
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    wanted = targets.astype(np.float32).astype(np.float64)
    solved = np.linalg.solve(centred.T @ centred + 5.0 * np.eye(20), centred.T @ (wanted - wanted.mean(axis=0)))
    assert np.allclose(fitted.weights, solved.T, atol=1e-9)
    predicted = centred @ solved + wanted.mean(axis=0)
    assert np.allclose(fitted.predict(states), predicted, atol=1e-5)


def test_cross_validation_is_the_published_score() -> None:
    """The chosen regularisation has the least score of singular values, within the grid of four a decade."""
    random = np.random.default_rng(4)
    states = random.standard_normal((200, 30)).astype(np.float32)
    targets = (states[:, :3].sum(axis=1) + 2 * random.standard_normal(200)).astype(np.float32)
    fitted = Ridge.fit(states, targets)
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    wanted = targets - targets.mean(dtype=np.float64)
    grid = np.mean(values**2) / 1.0 * 10.0 ** np.arange(-8, 2.01, 0.05)

    def score(ridge: float) -> float:
        shrink = values**2 / (values**2 + ridge)
        residual = wanted - left @ (shrink * (left.T @ wanted))
        return float(np.sum(residual**2) / (200 - shrink.sum() - 1) ** 2)

    assert score(fitted.regularisation) <= min(map(score, grid)) * 1.01
    shrink = values**2 / (values**2 + fitted.regularisation)
    assert fitted.degrees_of_freedom == pytest.approx(shrink.sum() + 1, rel=1e-6)


def test_recursive_least_squares_follow_a_change() -> None:
    """With forgetting the weights end at the later truth."""
    random = np.random.default_rng(5)
    states = random.standard_normal((2000, 4)).astype(np.float32)
    truth = np.where(np.arange(2000)[:, None] < 1000, [1.0, 0.0, 0.0, 0.0], [0.0, 2.0, -1.0, 0.5])
    targets = np.sum(states * truth, axis=1) + 0.25
    online = RecursiveLeastSquares(4, 1, forgetting=0.98)
    predictions = online.update(states, targets)
    assert np.allclose(online.weights, [[0.0, 2.0, -1.0, 0.5, 0.25]], atol=1e-3)
    assert np.mean((predictions[-200:, 0] - targets[-200:]) ** 2) < 1e-6
    assert online.predict(np.zeros(4, np.float32))[0] == pytest.approx(0.25, abs=1e-3)
    assert online.steps == 2000


def test_a_singular_readout_is_refused() -> None:
    """Equal columns without regularisation, and states that never change, have no unique readout."""
    column = np.random.default_rng(6).standard_normal((50, 1)).astype(np.float32)
    with pytest.raises(errors.SingularError, match="feature 1"):
        Ridge.fit(np.hstack([column, column]), column, regularisation=0.0)
    with pytest.raises(errors.SingularError):
        Ridge.fit(np.ones((50, 2)), column)


def test_bad_numbers_are_refused() -> None:
    """NaN, shapes that do not fit, and settings out of range have their errors."""
    good = np.ones((5, 2), np.float32)
    with pytest.raises(errors.NotFiniteError, match="row 3"):
        Ridge.fit(np.where(np.arange(5)[:, None] == 3, math.nan, good), np.ones(5))
    with pytest.raises(errors.ShapeInvalidError):
        Ridge.fit(good, np.ones(4))
    with pytest.raises(errors.TooFewRowsError):
        Ridge.fit(good[:1], np.ones(1))
    with pytest.raises(errors.SettingInvalidError):
        Ridge.fit(good, np.ones(5), regularisation=-1.0)
    with pytest.raises(errors.SettingInvalidError):
        RecursiveLeastSquares(2, 1, forgetting=1.5)
    with pytest.raises(errors.ShapeInvalidError):
        RecursiveLeastSquares(3, 1).update(good, np.ones(5))


def test_the_front_is_scikit_learns() -> None:
    """Parameters by name, fit, predict from a state, transform and score."""
    inputs, targets = tasks.narma(np.random.default_rng(1), 1500)
    model = EchoStateRegressor(leak=1.0).set_params(seed=3, washout=50)
    assert EchoStateRegressor(**cast(Any, model.get_params())) == model
    assert model.transform(inputs).shape == (1500, 512)
    whole = model.fit(inputs[:1000], targets[:1000]).predict(inputs)
    assert model.state_ is not None
    assert np.allclose(model.predict(inputs[1000:], state=model.state_.copy()), whole[1000:], atol=1e-6)
    assert model.score(inputs[1000:], targets[1000:]) > 0.8
    with pytest.raises(errors.SettingInvalidError, match="needs a fit"):
        EchoStateRegressor().predict(inputs)
    with pytest.raises(errors.SettingInvalidError, match="no parameter"):
        model.set_params(units=3)
    with pytest.raises(errors.ShapeInvalidError):
        EchoStateRegressor(washout=10).fit(inputs[:10], targets[:10])
