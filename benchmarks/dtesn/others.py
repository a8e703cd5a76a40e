"""What the tree reservoir is compared with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from echoplaned.dtesn import Ridge

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from reservoirpy.nodes import Reservoir


def scipy_weights(units: int, non_zeros: int, seed: int = 0) -> scipy.sparse.csr_matrix:
    """Return a float32 matrix of that many non-zeros with a 2-norm below 1."""
    density = non_zeros / units**2
    matrix = scipy.sparse.random(units, units, density, "csr", np.float32, np.random.default_rng(seed))
    return matrix * np.float32(0.85 / np.sqrt(non_zeros / units / 3))


def reservoirpy_node(units: int, *, non_zeros: int | None = None, dtype: type[np.floating] = np.float64) -> Any:  # noqa: ANN401 - reservoirpy has no types
    """Return reservoirpy's node: its own 10 % of connections, or as many as asked for."""
    connectivity = 0.1 if non_zeros is None else non_zeros / units**2
    return Reservoir(units=units, sr=0.85, lr=0.3, rc_connectivity=connectivity, dtype=dtype, seed=0)


@dataclass
class ReservoirpyModel:
    """reservoirpy's reservoir with the same ridge regression as ours, so that only reservoirs are compared."""

    units: int
    options: dict[str, Any]
    washout: int = 100
    _node: Any = field(default=None, init=False)
    _readout: Ridge | None = field(default=None, init=False)

    def fit(self, X: NDArray[np.float64], y: NDArray[np.float64]) -> None:  # noqa: N803
        """Fit as the estimator does."""
        self._node = Reservoir(units=self.units, **self.options)
        states = self._node.run(X.reshape(-1, 1))
        self._readout = Ridge.fit(states[self.washout :], y[self.washout :])

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float32]:  # noqa: N803
        """Predict from a state of zeros."""
        assert self._readout is not None
        self._node.reset()
        return self._readout.predict(self._node.run(X.reshape(-1, 1)))
