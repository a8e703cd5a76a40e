"""A regressor with scikit-learn's interface: fit, predict, transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoplaned.dtesn._arrays import rows
from echoplaned.dtesn.errors import SettingInvalidError, ShapeInvalidError
from echoplaned.dtesn.readout import Ridge
from echoplaned.dtesn.reservoir import ReservoirSettings, TreeReservoir

_DEFAULTS = ReservoirSettings()


@dataclass(slots=True)
class EchoStateRegressor:
    """A tree reservoir with a ridge readout, in scikit-learn's manner.

    The parameters go to `ReservoirSettings`, `TreeReservoir` and `Ridge`.

    Attributes:
        size_class: ``small`` (512 units), ``medium`` (1,024) or ``large`` (2,048); not used where there is a tree.
        tree: level sequence of membranes of 64 units each; None takes that of the size class.
        spectral_radius: spectral radius and 2-norm of each membrane's own matrix; above 0 and below 0.999999.
        leak: leak rate of the root at a step of one token, above 0 and at most 1; at 1 no membrane keeps its old state.
        input_scale: half-width of the uniform distribution of input weights; above 0 and below 10.
        bias_scale: half-width of the uniform distribution of biases; from 0 and below 10.
        coupling_scale: half-width of the uniform distribution of a unit's four weights of its parent membrane; from 0 and below 10.
        givens_layers: layers of Givens rotations of each membrane's own matrix, 0 to 6; see `ReservoirSettings.block_density`.
        seed: seed of all weights, from 0 to 2**64 - 1.
        washout: first steps that the fit leaves out, while the state still depends on the start; from 0.
        regularisation: added to the diagonal of the normal equations; None chooses it by generalised cross-validation.
        reservoir_: the reservoir of the last fit or transform; None before.
        readout_: the readout of the last fit; None before.
        state_: the state after the last step of the fit; `predict` can go on from it. None before.
    """

    size_class: str = "small"
    tree: Sequence[int] | None = None
    spectral_radius: float = _DEFAULTS.spectral_radius
    leak: float = _DEFAULTS.leak
    input_scale: float = _DEFAULTS.input_scale
    bias_scale: float = _DEFAULTS.bias_scale
    coupling_scale: float = _DEFAULTS.coupling_scale
    givens_layers: int = _DEFAULTS.givens_layers
    seed: int = _DEFAULTS.seed
    washout: int = 100
    regularisation: float | None = None
    reservoir_: TreeReservoir | None = field(default=None, init=False, repr=False, compare=False)
    readout_: Ridge | None = field(default=None, init=False, repr=False, compare=False)
    state_: NDArray[np.float32] | None = field(default=None, init=False, repr=False, compare=False)

    def get_params(self, *, deep: bool = True) -> dict[str, object]:
        """Return the parameters by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init}

    def set_params(self, **params: object) -> EchoStateRegressor:
        """Change parameters; what was fitted stays until the next fit.

        Raises:
            SettingInvalidError: there is no such parameter.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise SettingInvalidError(f"there is no parameter {name!r}; there are {', '.join(known)}")
            setattr(self, name, value)
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> EchoStateRegressor:  # noqa: N803 - scikit-learn's name
        """Run the reservoir over one sequence from a state of zeros, and fit the readout.

        Args:
            X: shape (steps, inputs), or (steps,) for one input.
            y: shape (steps, outputs), or (steps,) for one output: the target at each step.

        Raises:
            ShapeInvalidError: there are not as many targets as inputs, or no more than the washout.
            DtesnError: as `TreeReservoir`, `TreeReservoir.run` and `Ridge.fit`.
        """
        inputs, targets = rows("X", X), rows("y", y)
        if len(inputs) != len(targets) or len(inputs) <= self.washout or self.washout < 0:
            raise ShapeInvalidError(
                f"{len(inputs)} inputs, {len(targets)} targets, and {self.washout} steps of washout"
            )
        reservoir = self._make(inputs.shape[1])
        state = reservoir.initial_state()
        states = reservoir.run(inputs, state=state)
        self.readout_ = Ridge.fit(states[self.washout :], targets[self.washout :], self.regularisation)
        self.reservoir_, self.state_ = reservoir, state
        return self

    def transform(self, X: ArrayLike, *, state: NDArray[np.float32] | None = None) -> NDArray[np.float32]:  # noqa: N803
        """Return the states over one sequence, shape (steps, units); before a fit too.

        Args:
            X: shape (steps, inputs), or (steps,) for one input.
            state: where to start; changed to where the sequence ends. Default: zeros.

        Raises:
            DtesnError: as `TreeReservoir.run`.
        """
        inputs = rows("X", X)
        if self.reservoir_ is None:
            self.reservoir_ = self._make(inputs.shape[1])
        return self.reservoir_.run(inputs, state=state)

    def predict(self, X: ArrayLike, *, state: NDArray[np.float32] | None = None) -> NDArray[np.float32]:  # noqa: N803
        """Return predictions over one sequence, shape (steps, outputs).

        Arguments and errors are those of `transform`.

        Raises:
            SettingInvalidError: nothing was fitted.
        """
        if self.readout_ is None:
            raise SettingInvalidError("predict needs a fit first")
        return self.readout_.predict(self.transform(X, state=state))

    def score(self, X: ArrayLike, y: ArrayLike) -> float:  # noqa: N803 - scikit-learn's name
        """Return the coefficient of determination after the washout.

        It is 1 - residual / variance, over all outputs.
        """
        wanted = rows("y", y)[self.washout :].astype(np.float64)
        residual = wanted - self.predict(X)[self.washout :]
        return float(1.0 - np.sum(residual**2) / np.sum((wanted - wanted.mean(axis=0)) ** 2))

    def _make(self, inputs: int) -> TreeReservoir:
        settings = ReservoirSettings(**{name: getattr(self, name) for name in asdict(_DEFAULTS)})
        if self.tree is not None:
            return TreeReservoir(self.tree, inputs, settings)
        return TreeReservoir.of_class(self.size_class, inputs, settings)
