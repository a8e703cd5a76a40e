"""A memory plan: does it fit, where, and if not, what would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.facts import Dtype
from echoplaned.core.memory import MemoryHolder

_CACHES: Final = frozenset({"kv_cache", "state_cache", "cross_cache"})
"""Components that are the engine's cache."""


@dataclass(frozen=True, slots=True)
class Component:
    """One part of the memory that a model needs.

    The formula, its inputs and the source let a person check the bytes.

    Attributes:
        name: stable name, for example ``weights`` or ``kv_cache``.
        bytes: expected size for one instance.
        formula: formula that gives the bytes from the inputs; empty: they were read from a file.
        inputs: the formula's numbers: name and value.
        source: where the formula or the number comes from.
        upper_bytes: upper bound in bytes, which admission counts with.
    """

    name: str
    bytes: int
    formula: str = ""
    inputs: tuple[tuple[str, int], ...] = ()
    source: str = ""
    upper_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A place that holds models.

    Attributes:
        device_id: ``host`` or ``cuda:N``.
        kind: ``host`` or ``cuda``.
        name: the maker's.
        capacity_bytes: all of its memory.
        reserve_bytes: what is never given to a model.
        cpu_isa: what the engine's matrix library computes with: by the CPU's flags, and as a worker reports it once one has.
    """

    device_id: str
    kind: str
    name: str
    capacity_bytes: int
    reserve_bytes: int
    cpu_isa: CpuIsa = CpuIsa.UNKNOWN


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """How a plan stands on one device.

    Attributes:
        device_id: id of the device.
        free_bytes: capacity less the reserve less every reservation, or less than that where less is measured as free.
        needed_bytes: upper bound of all the plan's instances on this device.
        foreign_bytes: what other processes hold, where less is measured as free than reservations leave; else 0.
        holders: the largest of these processes, where they are known.
    """

    device_id: str
    free_bytes: int
    needed_bytes: int
    foreign_bytes: int = 0
    holders: tuple[MemoryHolder, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the plan's upper bound fits into what is free."""
        return self.needed_bytes <= self.free_bytes


@dataclass(frozen=True, slots=True)
class Alternative:
    """A nearby plan that does fit.

    Attributes:
        dtype: weight dtype to ask for.
        context_length: context length to ask for, tokens.
        max_concurrency: sequences at once to ask for.
        upper_bytes: upper bound in bytes for one instance.
        device_id: device on which it fits.
        warning: what it costs in quality or reach; empty: nothing.
        action: what is done, for example ``shorter_context``, ``smaller_dtype`` or ``evict``.
        freed_bytes: bytes that it needs less, or that it frees on the device.
        undo_seconds: time to undo it: reload of what it changed or evicted, wake-up of what it parked.
        victims: full resource names of the versions that are evicted or parked.
        tensor_parallel: ranks that share the model; more than 1 only where it is split.
    """

    dtype: Dtype
    context_length: int
    max_concurrency: int
    upper_bytes: int
    device_id: str
    warning: str = ""
    action: str = ""
    freed_bytes: int = 0
    undo_seconds: float = 0.0
    victims: tuple[str, ...] = ()
    tensor_parallel: int = 1


@dataclass(frozen=True, slots=True)
class EvictionCandidate:
    """A version that holds memory and may be parked or evicted.

    It is never one that serves, or that is pinned.

    Attributes:
        name: full resource name.
        device_id: where it lies.
        bytes: what it would free.
        wake_seconds: time to bring it back from host memory; None where it cannot be parked.
        reload_seconds: time to bring it back from disk.
        uses_per_hour: expected uses an hour.
    """

    name: str
    device_id: str
    bytes: int
    wake_seconds: float | None
    reload_seconds: float
    uses_per_hour: float = 1.0


@dataclass(frozen=True, slots=True)
class RankMemory:
    """What one rank of an instance needs.

    Attributes:
        bytes: expected size.
        upper_bytes: upper bound in bytes, which admission reserves.
    """

    bytes: int
    upper_bytes: int


@dataclass(frozen=True, slots=True)
class Reservoir:
    """The DTESN reservoir that goes with a version.

    Its sizes follow the size class table of the DTESN design, section 1.

    Attributes:
        size_class: ``small``, ``medium`` or ``large``, by the model's parameters.
        membrane_depth: levels of the tree: 4, 6 or 8.
        units: units of all membranes together: 512, 1024 or 2048.
        tree: canonical level sequence of the membranes, root first; one entry a membrane of 64 units.
        level_time_constants: tokens, one a level, root level first.
        bytes_per_stream: state of one concurrent request.
        total_bytes: parameters and the state of every stream together.
        spectral_radius: of each membrane's own matrix, above 0 and below 1.
        leak: leak of the root at a step of one token, above 0 and below 1.
        input_scale: scale of the input weights, above 0.
        seed: seed of the fixed random weights, 0 or more.
        block_density: share of non-zeros in a membrane's own matrix of 64 x 64: 2^layers / 64 of 0 to 6 layers.
    """

    size_class: str
    membrane_depth: int
    units: int
    tree: tuple[int, ...]
    level_time_constants: tuple[float, ...]
    bytes_per_stream: int
    total_bytes: int
    spectral_radius: float = 0.85
    leak: float = 0.3
    input_scale: float = 0.15
    seed: int = 0
    block_density: float = 0.125

    def weights_bytes(self, streams: int) -> int:
        """Return what it takes beside the streams that it is planned for."""
        return self.total_bytes - streams * self.bytes_per_stream


@dataclass(frozen=True, slots=True)
class Calibration:
    """The measured constants of an engine on a device that a plan used.

    Attributes:
        engine: kind of the engine.
        engine_version: versions of what runs the model; empty: not known.
        device: the maker's name of the device.
        sample_count: processes that were measured; 0: none, so that the constants are those of the prior.
        time_s: when the newest of them was measured, seconds since the epoch; 0: none was.
        overhead_bytes: what every serving process takes beyond its tensors.
        heap_slack: bytes that the heap keeps of each byte of temporaries, 0 or more.
        load_overhead_bytes: what a load that casts takes beyond stored bytes and weights.
        load_slack: the same for each byte of both, 0 or more.
    """

    engine: str
    engine_version: str
    device: str
    sample_count: int
    time_s: float
    overhead_bytes: int
    heap_slack: float
    load_overhead_bytes: int
    load_slack: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to "does it fit, and where?".

    It is the same in ``validate_only``, in errors and in ``PlanModel``. Bytes are of one instance, and of the rank that needs the most.

    Attributes:
        fits: whether every instance fits on a device.
        architecture: architecture by the checkpoint's own name.
        parameter_count: parameters, counted from the tensors.
        dtype: weight dtype; where there is a ``weight_format``, what is computed in.
        context_length: longest sequence, tokens.
        max_concurrency: sequences at once.
        replicas: instances.
        bytes: expected memory.
        upper_bytes: upper bound of the memory, which admission reserves.
        components: what the expected memory is made of.
        device_ids: one device for each rank of each replica; empty where the plan does not fit.
        devices: how the plan stands on each device.
        alternatives: nearby plans that do fit, best first; only where this one does not.
        reservoir: the reservoir that goes with the version; None: none was planned.
        surge: whether the plan counts a copy that is served beside the version it replaces.
        warnings: what the caller should know though the plan stands, one sentence each.
        weight_format: name where ``dtype`` does not say how weights are packed; else empty.
        ranks: what each rank of an instance needs.
        kv_bytes_per_token: what one more token of one sequence adds to the cache of the fullest rank.
        fitting_context_length: longest context that fits on one device at ``max_concurrency``, tokens; 0: none.
        fitting_max_concurrency: most sequences that fit on one device at ``context_length``; 0: none.
        calibration: which constants of the engine were used; None: the engine is not calibrated.
        cpu_isa: instruction set that activations are planned for; empty: another engine's plan.
        serves: whether the engine would load the checkpoint; a size is given either way.
        serves_reason: stable reason why it would not; empty: it would.
        serves_detail: file, field and what to do, where it would not; else empty.
    """

    fits: bool
    architecture: str
    parameter_count: int
    dtype: Dtype
    context_length: int
    max_concurrency: int
    replicas: int
    bytes: int
    upper_bytes: int
    components: tuple[Component, ...] = ()
    device_ids: tuple[str, ...] = ()
    devices: tuple[DeviceFit, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    reservoir: Reservoir | None = None
    surge: bool = False
    warnings: tuple[str, ...] = ()
    weight_format: str = ""
    ranks: tuple[RankMemory, ...] = ()
    kv_bytes_per_token: int = 0
    fitting_context_length: int = 0
    fitting_max_concurrency: int = 0
    calibration: Calibration | None = None
    cpu_isa: str = ""
    serves: bool = True
    serves_reason: str = ""
    serves_detail: str = ""

    @property
    def kv_cache_bytes(self) -> int:
        """Bytes that the engine's cache takes on each of an instance's devices.

        It caches keys, values and states; 0 where the plan does not name it.
        """
        return sum(part.bytes for part in self.components if part.name in _CACHES)

    def placed_bytes(self) -> Counter[str]:
        """Return the bytes that the plan's replicas take, by device id.

        Empty where they do not fit.
        """
        needs, taken = self.rank_bytes, Counter[str]()
        for number, device in enumerate(self.device_ids):
            taken[device] += needs[number % len(needs)]
        return taken

    @property
    def rank_bytes(self) -> tuple[int, ...]:
        """Bytes that admission reserves for each rank of one instance.

        One entry where nothing is split.
        """
        return tuple(rank.upper_bytes for rank in self.ranks) if len(self.ranks) > 1 else (self.upper_bytes,)
