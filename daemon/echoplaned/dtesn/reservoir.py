"""The tree reservoir: membranes of 64 units on a rooted tree.

Each level is slower than the one above.

For membrane v with state x, parent p and input u, in float32::

    s_v = W_v x_v + U_v u + b_v + V_v x_p         the parent is updated first
    a_v = 1 - exp(-dt / tau_v)                    dt in tokens since the last sample
    x_v <- (1 - a_v) x_v + a_v tanh(s_v)

W is the spectral radius times an orthogonal matrix (a signed permutation times Givens layers), so spectral radius and
2-norm are the same by construction, and below 1. With dt bounded below the tree contracts in a weighted norm: two starts
meet, whatever the input (echo state property). A spectral radius below 1 alone would not suffice (Yildiz, Jaeger, Kiebel,
"Re-visiting the echo state property", Neural Networks 35, 2012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoplaned import _allocator
from echoplaned.dtesn._arrays import rows, vector
from echoplaned.dtesn._numbers import whole_numbers
from echoplaned.dtesn.errors import SettingInvalidError, ShapeInvalidError
from echoplaned.dtesn.trees import default_tree

SIZE_CLASSES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"small": (8, 4), "medium": (16, 6), "large": (32, 8)}
)
"""Membranes of 64 units, and levels, of each class."""

Store: TypeAlias = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True, slots=True)
class ReservoirSettings:
    """What a reservoir's weights and time constants follow from.

    Attributes:
        spectral_radius: spectral radius and 2-norm of each membrane's own matrix; above 0 and below 0.999999.
        leak: leak rate of the root at a step of one token, above 0 and at most 1; at 1 no membrane keeps its old state.
        input_scale: half-width of the uniform distribution of input weights; above 0 and below 10.
        bias_scale: half-width of the uniform distribution of biases; from 0 and below 10.
        coupling_scale: half-width of the uniform distribution of a unit's four weights of its parent membrane; from 0 and below 10.
        givens_layers: layers of Givens rotations of each membrane's own matrix, 0 to 6; see `block_density`.
        seed: seed of all weights, from 0 to 2**64 - 1.
    """

    spectral_radius: float = 0.85
    leak: float = 0.3
    input_scale: float = 0.15
    bias_scale: float = 0.15
    coupling_scale: float = 0.3
    givens_layers: int = 3
    seed: int = 0

    @property
    def block_density(self) -> float:
        """Share of non-zeros in each membrane's own matrix: 2**givens_layers / 64."""
        return 2.0**self.givens_layers / 64


def givens_layers(block_density: float) -> int:
    """Return the Givens layers that give a block this share of non-zeros.

    It is 0 for 1/64, and one more for each doubling, up to 6 for 1.

    Raises:
        SettingInvalidError: no whole number of layers gives it; the text names the two densities next to it.
    """
    return _allocator.TreeNetwork.givens_layers(block_density)


class TreeReservoir:
    """A fixed recurrent network; any number of states may run through one.

    Args:
        tree: level sequence of the membranes, the root on level 1, at most 1,024 of them.
        inputs: values in an input, 1 to 1,024.
        settings: the rest.

    Raises:
        LevelsInvalidError: the membranes form no tree.
        SettingInvalidError: a setting is out of range; a spectral radius of 1 or more always is.
    """

    __slots__ = ("_native", "settings")

    @whole_numbers
    def __init__(self, tree: Sequence[int], inputs: int, settings: ReservoirSettings | None = None) -> None:
        self.settings = ReservoirSettings() if settings is None else settings
        self._native = _allocator.TreeNetwork(list(tree), inputs, **asdict(self.settings))

    @classmethod
    def of_class(cls, size_class: str, inputs: int, settings: ReservoirSettings | None = None) -> TreeReservoir:
        """Return the reservoir of a size class.

        The classes are ``small`` (512 units), ``medium`` (1,024) and ``large`` (2,048).

        Raises:
            SettingInvalidError: there is no such class, or a setting is out of range.
        """
        if size_class not in SIZE_CLASSES:
            raise SettingInvalidError(f"size_class is {size_class!r}; it must be one of {', '.join(SIZE_CLASSES)}")
        return cls(default_tree(*SIZE_CLASSES[size_class]), inputs, settings)

    @property
    def units(self) -> int:
        """Units in all membranes."""
        return self._native.units

    @property
    def inputs(self) -> int:
        """Values in an input."""
        return self._native.inputs

    @property
    def tree(self) -> tuple[int, ...]:
        """The canonical level sequence of the membranes.

        Units 64 v to 64 v + 63 are those of membrane v.
        """
        return tuple(self._native.tree)

    @property
    def time_constants(self) -> tuple[float, ...]:
        """Time constants in tokens, one a level, the root's first.

        Each is 1/0.6 of the one above, up to 32.
        """
        return tuple(self._native.time_constants)

    @property
    def fingerprint(self) -> int:
        """The same for reservoirs that give the same states."""
        return self._native.fingerprint

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights, which all streams share."""
        return self._native.weight_bytes

    @property
    def non_zeros(self) -> int:
        """Weights that are not zero by construction: blocks, couplings and inputs."""
        return self._native.non_zeros

    @whole_numbers
    def block(self, membrane: int) -> NDArray[np.float32]:
        """Return a membrane's own matrix W, shape (64, 64).

        Raises:
            ShapeInvalidError: there is no such membrane.
        """
        return np.array(self._native.block(membrane), dtype=np.float32)

    def contraction_rate(self, dt: float = 1.0) -> float:
        """Return the slowest rate at which a level contracts in one step.

        That is the largest 1 - a (1 - spectral radius) over the levels, at steps of ``dt`` tokens.

        Raises:
            TimeStepError: ``dt`` is not finite or below 0.001.
        """
        return self._native.contraction_rate(dt)

    def washout(self, tolerance: float = 1e-5, dt: float = 1.0) -> int:
        """Return the number of steps to leave out, by the contraction rate.

        After these the rate alone takes a difference of 2 below ``tolerance``.

        Raises:
            TimeStepError: as `contraction_rate`.
            SettingInvalidError: the tolerance is outside (0, 1).
        """
        return self._native.washout(tolerance, dt)

    def washout_bound(self, tolerance: float = 1e-5, dt: float = 1.0) -> int:
        """Return a proved number of steps after which any two starts agree.

        From then on no two starts differ by more than ``tolerance`` in any unit.

        Raises:
            TimeStepError: as `contraction_rate`.
            SettingInvalidError: the tolerance is outside (0, 1), or a million steps are not enough.
        """
        return self._native.washout_bound(tolerance, dt)

    def initial_state(self) -> NDArray[np.float32]:
        """Return a state of zeros, shape (units,)."""
        return np.zeros(self.units, dtype=np.float32)

    def run(
        self,
        inputs: ArrayLike,
        *,
        dt: ArrayLike = 1.0,
        state: NDArray[np.float32] | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the state after each step, shape (steps, units).

        Args:
            inputs: shape (steps, inputs), or (steps,) where there is one input; finite.
            dt: tokens since the last sample, one for all steps or one each, at least 0.001.
            state: where to start, shape (units,), float32; left as it is after the last step. Default: zeros.
            out: takes the result, shape (steps, units), float32 and C-contiguous.

        Raises:
            ShapeInvalidError: an array has another shape or layout; the state is as it was, here and below.
            NotFiniteError: an input is NaN or infinite.
            TimeStepError: a ``dt`` is not finite or too short.
        """
        given = rows("inputs", inputs)
        start = self.initial_state() if state is None else state
        states = np.empty((len(given), self.units), dtype=np.float32) if out is None else out
        self._run(start, given, dt, states)
        return states

    @whole_numbers
    def advance(self, state: NDArray[np.float32], inputs: ArrayLike, *, dt: ArrayLike = 1.0) -> None:
        """Change a state in place by one step an input.

        The states in between are not kept.

        Args:
            state: shape (units,), float32.
            inputs: shape (steps, inputs), or (steps,) where there is one input.
            dt: as in `run`.

        Raises:
            ShapeInvalidError, NotFiniteError, TimeStepError: as `run`.
        """
        self._run(state, rows("inputs", inputs), dt, None)

    def _run(
        self,
        state: NDArray[np.float32],
        inputs: NDArray[np.float32],
        dt: ArrayLike,
        out: NDArray[np.float32] | None,
    ) -> None:
        steps = vector("dt", dt, np.float64)
        for name, array, dimensions in (("state", state, 1), ("out", out, 2)):
            if array is not None and (array.dtype != np.float32 or array.ndim != dimensions):
                raise ShapeInvalidError(f"{name} must be float32 with {dimensions} dimensions")
        self._native.run(state, inputs, steps, out)


class Streams:
    """Live streams of one reservoir, within a memory that is taken when it is made.

    Args:
        reservoir: the network that they share.
        capacity: how many may be open at once, 1 to 2**24.
        store: how states are kept between steps: ``fp32``, or ``fp16`` and ``bf16`` at half the memory.

    Raises:
        SettingInvalidError: the capacity or the store is out of range.
        SizeExceededError: so many states take more than 32 GiB, or than there is.
    """

    __slots__ = ("_native", "_reservoir")

    @whole_numbers
    def __init__(self, reservoir: TreeReservoir, capacity: int, store: Store = "fp32") -> None:
        self._native = _allocator.TreeStreams(reservoir._native, capacity, store)  # noqa: SLF001 - one module
        self._reservoir = reservoir

    @property
    def reservoir(self) -> TreeReservoir:
        """The network."""
        return self._reservoir

    @property
    def total_bytes(self) -> int:
        """Bytes that all streams really take, open or not."""
        return self._native.bytes

    @property
    def bytes_per_stream(self) -> int:
        """Bytes of one stream, as the memory plan has it."""
        return self._native.bytes_per_stream

    def __len__(self) -> int:
        return self._native.open_count

    def open(self) -> int:
        """Open a stream with a state of zeros; returns its id.

        Raises:
            StreamsFullError: as many are open as were planned.
        """
        return self._native.open()

    @whole_numbers
    def close(self, stream: int) -> None:
        """Close a stream.

        Raises:
            StreamUnknownError: it is not open.
        """
        self._native.close(stream)

    def replace(self, reservoir: TreeReservoir) -> None:
        """Put another network in the place of this one.

        Raises:
            StreamsLiveError: a stream is open.
        """
        self._native.replace(reservoir._native)  # noqa: SLF001 - one module
        self._reservoir = reservoir

    @whole_numbers
    def step(self, streams: ArrayLike, inputs: ArrayLike, *, dt: ArrayLike = 1.0) -> None:
        """Move each stream by one step, in their order.

        Args:
            streams: ids, shape (n,).
            inputs: shape (n, inputs); finite.
            dt: tokens since the last sample, one for all or one each, at least 0.001.

        Raises:
            StreamUnknownError: a stream is not open; none has moved, here and below.
            ShapeInvalidError, NotFiniteError, TimeStepError: as `TreeReservoir.run`.
        """
        self._native.step(self._ids(streams), rows("inputs", inputs), vector("dt", dt, np.float64))

    @whole_numbers
    def advance(self, streams: ArrayLike, inputs: ArrayLike, positions: ArrayLike) -> None:
        """Move each stream to a position in tokens.

        A stream's first sample counts as one token.

        Args:
            streams: ids, shape (n,).
            inputs: shape (n, inputs); finite.
            positions: shape (n,), each at least 0.001 behind its stream's last one.

        Raises:
            TimeReversedError: a position is not; no stream has moved, here and below.
            StreamUnknownError, ShapeInvalidError, NotFiniteError, TimeStepError: as `step`.
        """
        self._native.advance(self._ids(streams), rows("inputs", inputs), vector("positions", positions, np.float64))

    @whole_numbers
    def states(self, streams: ArrayLike, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the states of some streams, shape (n, units).

        Raises:
            StreamUnknownError: a stream is not open.
            ShapeInvalidError: ``out`` has another shape or layout.
        """
        ids = self._ids(streams)
        found = np.empty((len(ids), self._reservoir.units), dtype=np.float32) if out is None else out
        self._native.read(ids, found)
        return found

    @whole_numbers
    def position(self, stream: int) -> float:
        """Return where a stream is, in tokens.

        Raises:
            StreamUnknownError: it is not open.
        """
        return self._native.place(stream)[0]

    @whole_numbers
    def save(self, stream: int) -> bytes:
        """Return a stream's state and position as bytes.

        Raises:
            StreamUnknownError: it is not open.
        """
        return self._native.save(stream)

    def restore(self, saved: bytes) -> int:
        """Open a stream where a saved one was; returns its id.

        Raises:
            SnapshotInvalidError: the bytes are no saved stream.
            NetworkMismatchError: another network saved it.
            StreamsFullError: as many are open as were planned.
        """
        return self._native.restore(saved)

    @staticmethod
    def _ids(streams: ArrayLike) -> NDArray[np.uint64]:
        return vector("streams", streams, np.uint64)
