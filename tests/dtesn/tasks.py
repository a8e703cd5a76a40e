"""Published tasks for reservoirs, shared by tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WASHOUT, TRAIN, TEST = 200, 3000, 2000


class Model(Protocol):
    """What a task needs of a model: fit leaves out its own washout, predict starts from zeros."""

    def fit(self, X: NDArray[np.float64], y: NDArray[np.float64]) -> object: ...  # noqa: D102, N803
    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float32]: ...  # noqa: D102, N803


def narma(random: np.random.Generator, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return inputs and targets of NARMA-10 (Atiya, Parlos, IEEE Trans. Neural Networks 11, 2000), uniform in [0, 0.5]."""
    inputs = random.uniform(0.0, 0.5, steps)
    series = np.zeros(steps + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(9, steps):
            window = series[t - 9 : t + 1].sum()
            product = inputs[t - 9] * inputs[t]
            series[t + 1] = 0.3 * series[t] + 0.05 * series[t] * window + 1.5 * product + 0.1
    return inputs, series[1:]


def normalised_error(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Return the mean squared error by the target's variance."""
    return float(np.mean((found - wanted) ** 2) / np.var(wanted))


def narma_error(seed: int, make: Callable[[int], Model]) -> tuple[float, int]:
    """Return the error on NARMA-10, and how many draws of the series diverged before one did not."""
    random = np.random.default_rng(seed)
    diverged = 0
    while True:
        inputs, targets = narma(random, WASHOUT + TRAIN + TEST)
        if np.all(np.abs(targets) < 2.0):
            break
        diverged += 1
    model, split = make(seed), WASHOUT + TRAIN
    model.fit(inputs[:split], targets[:split])
    return normalised_error(model.predict(inputs)[split:, 0], targets[split:]), diverged


def mackey_glass(seed: int, steps: int) -> NDArray[np.float64]:
    """Return the Mackey-Glass series, tau 17, one value a time unit, integrated with steps of 0.1 (Runge-Kutta 4)."""
    delay, h = 170, 0.1
    total = (steps + 500) * 10
    series = np.empty(total + delay)
    series[:delay] = 1.2 + 0.2 * np.random.default_rng(seed).uniform(-1, 1, delay)

    def slope(value: float, late: float) -> float:
        return 0.2 * late / (1.0 + late**10) - 0.1 * value

    for t in range(delay, total + delay):
        value, late = series[t - 1], series[t - delay]
        middle = 0.5 * (late + series[t - delay + 1])
        k1 = slope(value, late)
        k2 = slope(value + h / 2 * k1, middle)
        k3 = slope(value + h / 2 * k2, middle)
        k4 = slope(value + h * k3, series[t - delay + 1])
        series[t] = value + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return series[delay + 5000 :: 10][:steps]


def mackey_glass_error(seed: int, model: Model, ahead: int = 84) -> float:
    """Return the normalised root of the mean squared error of predicting ``ahead`` steps at once."""
    series = mackey_glass(seed, WASHOUT + TRAIN + TEST + ahead)
    inputs, targets = series[:-ahead] - 0.9, series[ahead:]
    split = WASHOUT + TRAIN
    model.fit(inputs[:split], targets[:split])
    return normalised_error(model.predict(inputs)[split:, 0], targets[split:]) ** 0.5


def memory_capacity(seed: int, model: Model, delays: int) -> float:
    """Return the sum over delays of the squared correlation with the input so long ago (Jaeger, GMD report 152, 2001)."""
    random = np.random.default_rng(seed)
    inputs = random.uniform(-1.0, 1.0, WASHOUT + TRAIN + TEST)
    targets = np.stack([np.roll(inputs, delay) for delay in range(1, delays + 1)], axis=1)
    split = WASHOUT + TRAIN
    model.fit(inputs[:split], targets[:split])
    found = model.predict(inputs)[split:]
    pairs = zip(found.T, targets[split:].T, strict=True)
    return float(sum(np.corrcoef(one, other)[0, 1] ** 2 for one, other in pairs))
