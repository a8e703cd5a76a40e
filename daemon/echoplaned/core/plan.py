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
    """One part of the memory a model needs.

    ``formula``, ``inputs`` (its numbers) and ``source`` let a person check ``bytes``. ``upper_bytes``: what admission counts with.
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

    ``free_bytes``: capacity less the reserve less every reservation, or less than that where less is measured as free.
    ``foreign_bytes``: what others hold where that is so, else 0; ``holders``: the largest of them.
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
    """A nearby plan that does fit. ``warning`` says what it costs in quality or reach; empty: nothing.

    ``freed_bytes``: what it needs less, or frees on the device. ``undo_seconds``: reload or wake-up of what it changed, evicted or
    parked (``victims``, full resource names).
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
    """Something that holds memory and may be parked or evicted: never a version that serves, or that is pinned.

    Attributes:
        name: full resource name.
        device_id: where it lies.
        bytes: what it would free.
        wake_seconds: from host memory back; None where it cannot be parked.
        reload_seconds: from disk.
        uses_per_hour: expected.
    """

    name: str
    device_id: str
    bytes: int
    wake_seconds: float | None
    reload_seconds: float
    uses_per_hour: float = 1.0


@dataclass(frozen=True, slots=True)
class RankMemory:
    """What one rank of an instance needs."""

    bytes: int
    upper_bytes: int


@dataclass(frozen=True, slots=True)
class Reservoir:
    """The DTESN reservoir that goes with a version (size class table of the DTESN design, section 1).

    ``tree``: the canonical level sequence of its membranes, root first. ``level_time_constants``: tokens, one a level.
    ``block_density``: share of non-zeros in a membrane's own matrix of 64 x 64.
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


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which constants a plan used. ``sample_count`` 0: nothing was measured of this engine on this device, and a prior answers.

    ``heap_slack``: what the heap keeps of each byte of temporaries. ``load_slack``: what a load takes beyond stored bytes and weights, for
    each byte of both. ``time_s``: of the newest reading, seconds since the epoch.
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
    """The answer to "does it fit, and where?", the same in ``validate_only``, in errors and in ``PlanModel``.

    ``bytes`` is the expectation, ``upper_bytes`` what admission reserves, both for one instance. ``device_ids``: one entry for each
    rank of each replica, empty where the plan does not fit. ``surge``: the plan counts a copy that is served beside the version it
    replaces. ``weight_format``: name where ``dtype``, which is what is computed in, does not say how weights are packed. ``ranks``: each
    rank's need; the plan's own bytes are the largest of them. ``fitting_*``: what one device would hold at the plan's other number; 0:
    nothing.
    ``cpu_isa``: the instruction set that activations are planned for; empty: another engine's plan.
    ``serves``: whether the engine would load it; if not, ``serves_reason`` is the stable reason and ``serves_detail`` says file, field
    and what to do.
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
        """What the cache of keys, values and states takes on each of an instance's devices; 0 where the plan does not name it."""
        return sum(part.bytes for part in self.components if part.name in _CACHES)

    def placed_bytes(self) -> Counter[str]:
        """Return what its replicas take by device id; nothing where they do not fit."""
        needs, taken = self.rank_bytes, Counter[str]()
        for number, device in enumerate(self.device_ids):
            taken[device] += needs[number % len(needs)]
        return taken

    @property
    def rank_bytes(self) -> tuple[int, ...]:
        """What admission reserves for each rank of one instance; one entry where nothing is split."""
        return tuple(rank.upper_bytes for rank in self.ranks) if len(self.ranks) > 1 else (self.upper_bytes,)
