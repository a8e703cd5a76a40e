"""Linear readouts of states: fitted once, or following a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoplaned import _allocator
from echoplaned.dtesn._arrays import rows
from echoplaned.dtesn._numbers import whole_numbers


class Ridge:
    """Ridge regression by Cholesky decomposition; made by `fit`.

    The bias is not regularised.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, native: _allocator.RidgeReadout) -> None:
        self._native = native

    @classmethod
    def fit(cls, states: ArrayLike, targets: ArrayLike, regularisation: float | None = None) -> Ridge:
        """Fit on data that no test uses.

        Args:
            states: shape (steps, units); finite.
            targets: shape (steps, outputs), or (steps,) for one output; finite.
            regularisation: added to the diagonal of the normal equations of centred data. None: the value that
                generalised cross-validation prefers, of 1e-12 to 100 times the mean variance (Golub, Heath, Wahba,
                Technometrics 21, 1979).

        Raises:
            SingularError: there is no unique solution at this regularisation.
            TooFewRowsError: there are fewer than 2 steps.
            ShapeInvalidError: the arrays do not fit each other.
            NotFiniteError: a value is NaN or infinite.
            SettingInvalidError: the regularisation is negative or not finite.
            SizeExceededError: the normal equations of so many units take more than 2 GiB, or than there is.
        """
        return cls(_allocator.RidgeReadout.fit(rows("states", states), rows("targets", targets), regularisation))

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights, shape (outputs, units)."""
        return self._native.weights.reshape(self._native.outputs, self._native.features)

    @property
    def bias(self) -> NDArray[np.float64]:
        """Biases, shape (outputs,)."""
        return self._native.bias

    @property
    def regularisation(self) -> float:
        """The regularisation that was used."""
        return self._native.regularisation

    @property
    def degrees_of_freedom(self) -> float | None:
        """Effective degrees with the bias, where cross-validation found them."""
        return self._native.degrees

    def predict(self, states: ArrayLike) -> NDArray[np.float32]:
        """Return predictions, shape (steps, outputs).

        Raises:
            ShapeInvalidError: there are not as many units as in the fit.
            NotFiniteError: a value is NaN or infinite.
        """
        given = rows("states", states)
        out = np.empty((len(given), self._native.outputs), dtype=np.float32)
        self._native.predict(given, out)
        return out


class RecursiveLeastSquares:
    """Least squares with exponential forgetting, one step at a time.

    See Haykin, "Adaptive Filter Theory", chapter 10; the bias is a feature of its own.

    Args:
        units: values of a state.
        outputs: values of a target.
        forgetting: the weight of a step against the next one's, above 0.5 and at most 1.
        start: the inverse correlation's diagonal before the first step: large values trust the first steps.

    Raises:
        SettingInvalidError: a value is out of range.
        SizeExceededError: so many units take more memory than there is.
    """

    __slots__ = ("_native", "_outputs", "_units")

    @whole_numbers
    def __init__(self, units: int, outputs: int, *, forgetting: float = 0.999, start: float = 1000.0) -> None:
        self._native = _allocator.RecursiveReadout(units, outputs, forgetting, start)
        self._units, self._outputs = units, outputs

    @property
    def steps(self) -> int:
        """Steps learnt from."""
        return self._native.updates

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights, shape (outputs, units + 1), the bias last."""
        return self._native.weights.reshape(self._outputs, self._units + 1)

    def update(self, states: ArrayLike, targets: ArrayLike) -> NDArray[np.float32]:
        """Predict each step and then learn from it; return the predictions.

        They have the shape (steps, outputs).

        Args:
            states: shape (steps, units); finite.
            targets: shape (steps, outputs), or (steps,) for one output; finite.

        Raises:
            ShapeInvalidError: the arrays do not fit.
            NotFiniteError: a value is NaN or infinite; the steps before it were learnt.
        """
        given, wanted = rows("states", states), rows("targets", targets)
        out = np.empty((len(given), self._outputs), dtype=np.float32)
        self._native.update(given, wanted, out)
        return out

    def predict(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the prediction of one state, shape (outputs,).

        Raises:
            ShapeInvalidError: it has another number of units.
            NotFiniteError: a value is NaN or infinite.
        """
        out = np.empty(self._outputs, dtype=np.float32)
        self._native.predict(np.ascontiguousarray(state, dtype=np.float32), out)
        return out
