"""Does it fit, where, and if not, what would?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from echoplaned import _allocator
from echoplaned.core.calibration import engine_key
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.facts import Dtype
from echoplaned.core.plan import Alternative, Component, Device, DeviceFit, Plan, Reservoir, Victim
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.errors import EchoplaneError, MemoryInsufficientError, SurgeInfeasibleError
from echoplaned.planning._translate import translated
from echoplaned.planning.calibration import Calibrated, calibrate
from echoplaned.planning.devices import find_devices
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.options import EngineOptions, WeightFormat, native_request
from echoplaned.planning.reservoir import plan_reservoir
from echoplaned.planning.sizing import SizedModel, fitting, open_source, size_model

# What a load from a disk's cache reaches; only the order of alternatives depends on it.
_RELOAD_BYTES_PER_SECOND = 1_000_000_000
# Numbers of ranks that alternatives try.
_SPLITS = (2, 4, 8)
_RESERVOIR_SOURCE = "DTESN design, sections 1 to 3: units, couplings, readout, and one state a stream"


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned. None asks for the default: stored dtype, the model's longest context, 8 sequences.

    ``source``: an inspected checkpoint, its directory, a GGUF file, or a ``config.json``. ``reserved_bytes``: what instances hold on
    each device, by device id; with ``surge`` it holds the version that is replaced as well.
    ``victims``: what could make room. ``calibrated``: the embedded engine's constants; the prior where None.
    ``options``: a split, an engine's settings. ``cpu_isa``: what the embedded engine's matrix library computes with; the first device's
    where None.
    """

    source: Path | Checkpoint
    devices: tuple[Device, ...]
    dtype: Dtype | WeightFormat | str | None = None
    context_length: int | None = None
    max_concurrency: int | None = None
    replicas: int = 1
    surge: bool = False
    engine: str = "torch"
    victims: tuple[Victim, ...] = ()
    calibrated: Calibrated | None = None
    cpu_isa: CpuIsa | None = None
    options: EngineOptions = field(default_factory=EngineOptions)
    reserved_bytes: Mapping[str, int] = field(default_factory=dict)
    reservoir: ReservoirOverrides = field(default_factory=ReservoirOverrides)


def plan_load(request: PlanRequest) -> Plan:
    """Size a model, place its replicas by best fit, and look for alternatives where they do not fit.

    The same request gives the same plan. Nothing is reserved: that is for whoever owns the ledger.

    Raises:
        EchoplaneError: what inspecting and sizing raise. Not fitting is an answer (``fits`` is false), not an error.
    """
    checkpoint = open_source(request.source)
    sized = size_model(
        checkpoint,
        dtype=request.dtype,
        context_length=request.context_length,
        max_concurrency=request.max_concurrency,
        engine=request.engine,
        options=request.options,
        constants=_constants(request),
        cpu_isa=_cpu_isa(request),
    )
    facts = checkpoint.facts
    reservoir = plan_reservoir(facts.parameter_count, sized.max_concurrency, request.reservoir)
    components = (*sized.components, _reservoir_component(reservoir, sized.max_concurrency))
    upper_bytes = sized.upper_bytes + reservoir.total_bytes
    placed = _place_ranks(request, upper_bytes, len(sized.ranks))
    alternatives = () if placed else _alternatives(request, checkpoint, sized, reservoir)
    context, concurrency = _fitting(request, checkpoint, sized, reservoir)
    return Plan(
        fits=bool(placed),
        architecture=facts.architecture,
        parameter_count=facts.parameter_count,
        dtype=sized.dtype,
        context_length=sized.context_length,
        max_concurrency=sized.max_concurrency,
        replicas=request.replicas,
        bytes=sized.bytes + reservoir.total_bytes,
        upper_bytes=upper_bytes,
        components=components,
        device_ids=placed,
        devices=_fits(request, placed, upper_bytes),
        alternatives=alternatives,
        reservoir=reservoir,
        surge=request.surge,
        warnings=(*sized.warnings, *_not_served(request, checkpoint)),
        weight_format=sized.weight_format,
        ranks=tuple(
            replace(
                rank, bytes=rank.bytes + reservoir.total_bytes, upper_bytes=rank.upper_bytes + reservoir.total_bytes
            )
            for rank in sized.ranks
        ),
        kv_bytes_per_token=sized.kv_bytes_per_token,
        fitting_context_length=context,
        fitting_max_concurrency=concurrency,
        calibration=_calibrated(request).shown if request.engine == "torch" else None,
        cpu_isa=_cpu_isa(request).value if request.engine == "torch" else "",
    )


def _calibrated(request: PlanRequest) -> Calibrated:
    """Return the request's constants, or the prior."""
    return request.calibrated or calibrate(engine_key(request.engine, "", _first_device(request)), ())


def _first_device(request: PlanRequest) -> Device | None:
    return request.devices[0] if request.devices else None


def _cpu_isa(request: PlanRequest) -> CpuIsa:
    """Return the request's instruction set, or the first device's: a daemon's devices are of one machine."""
    device = _first_device(request)
    return request.cpu_isa or (device.cpu_isa if device else CpuIsa.UNKNOWN)


def _constants(request: PlanRequest) -> _allocator.Constants | None:
    return request.calibrated.native if request.calibrated else None


def plan_batch(requests: Sequence[PlanRequest]) -> tuple[Plan | EchoplaneError, ...]:
    """Plan several models in order, each as if those before it that fit were placed.

    The result has one entry a request: its plan, or the error that planning it raised. What is placed counts on the devices of the
    requests behind it, by device id, beside their own ``reserved_bytes``.
    """
    taken: Counter[str] = Counter()
    results: list[Plan | EchoplaneError] = []
    for request in requests:
        held = {device.device_id: request.reserved_bytes.get(device.device_id, 0) for device in request.devices}
        both = {device: held.get(device, 0) + taken[device] for device in {*held, *taken}}
        try:
            plan = plan_load(replace(request, reserved_bytes=both))
        except EchoplaneError as error:
            results.append(error)
            continue
        for device_id in plan.device_ids:
            taken[device_id] += plan.upper_bytes
        results.append(plan)
    return tuple(results)


def plan_offline(
    path: Path,
    *,
    dtype: Dtype | WeightFormat | str | None = None,
    context_length: int | None = None,
    max_concurrency: int | None = None,
    replicas: int = 1,
    engine: str = "torch",
    options: EngineOptions | None = None,
) -> Plan:
    """Plan a directory, a GGUF file or a ``config.json`` on this host's devices as if they were empty; needs no daemon.

    Raises:
        EchoplaneError: what inspecting and sizing raise.
    """
    return plan_load(
        PlanRequest(
            source=path,
            devices=find_devices(),
            dtype=dtype,
            context_length=context_length,
            max_concurrency=max_concurrency,
            replicas=replicas,
            engine=engine,
            options=options or EngineOptions(),
        )
    )


def require_fit(plan: Plan) -> Plan:
    """Return a plan that fits.

    Raises:
        SurgeInfeasibleError: it does not, beside the version it would replace.
        MemoryInsufficientError: it does not.
    """
    if plan.fits:
        return plan
    most = max((fit.free_bytes for fit in plan.devices), default=0)
    copies = "1 instance" if plan.replicas == 1 else f"each of {plan.replicas} instances"
    message = f"{copies} needs {plan.upper_bytes} bytes; the most that is free on one device is {most}"
    if plan.surge:
        raise SurgeInfeasibleError(f"{message}, beside the version that is serving", plan)
    raise MemoryInsufficientError(message, plan)


def place(
    devices: tuple[Device, ...], reserved_bytes: Mapping[str, int], *, needed_bytes: int, replicas: int
) -> tuple[str, ...]:
    """Return one device id a replica, empty where not all of them fit.

    Each replica goes to the device with the fewest of them, of these to the one that is left with the least.

    Raises:
        FieldInvalidError: fewer than one replica, or two devices of one name.
    """
    with translated():
        found = _allocator.place(_native_devices(devices, reserved_bytes), needed_bytes, max(replicas, 0))
    return tuple(found or ())


def _native_devices(devices: tuple[Device, ...], reserved: Mapping[str, int]) -> list[tuple[str, int, int, int]]:
    """Return devices as the native module takes them."""
    return [(d.device_id, d.capacity_bytes, d.reserve_bytes, reserved.get(d.device_id, 0)) for d in devices]


def _reservoir_component(reservoir: Reservoir, streams: int) -> Component:
    """Return the reservoir's share of the memory."""
    inputs = (
        ("units", reservoir.units),
        ("streams", streams),
        ("bytes_per_stream", reservoir.bytes_per_stream),
        ("weights", reservoir.total_bytes - streams * reservoir.bytes_per_stream),
    )
    return Component(
        "reservoir", reservoir.total_bytes, "weights + streams*bytes_per_stream", inputs, _RESERVOIR_SOURCE
    )


def _fits(request: PlanRequest, placed: tuple[str, ...], upper_bytes: int) -> tuple[DeviceFit, ...]:
    """Return how each device stands: what its replicas need, or one replica where none is placed there."""
    counts = Counter(placed)
    return tuple(
        DeviceFit(
            device_id=device.device_id,
            free_bytes=max(
                0, device.capacity_bytes - device.reserve_bytes - request.reserved_bytes.get(device.device_id, 0)
            ),
            needed_bytes=upper_bytes * max(1, counts[device.device_id]),
        )
        for device in request.devices
    )


def _place_ranks(request: PlanRequest, upper_bytes: int, ranks: int) -> tuple[str, ...]:
    """Return a device for each rank of each replica, ranks of one replica on different ones; empty where they do not fit."""
    placed = place(
        request.devices, request.reserved_bytes, needed_bytes=upper_bytes, replicas=request.replicas * max(ranks, 1)
    )
    groups = [placed[at : at + ranks] for at in range(0, len(placed), max(ranks, 1))]
    return placed if all(len(set(group)) == len(group) for group in groups) else ()


def _fitting(request: PlanRequest, checkpoint: Checkpoint, sized: SizedModel, reservoir: Reservoir) -> tuple[int, int]:
    """Return what the device with the most free bytes would hold at most; the reservoir's share is set aside as it is."""
    free = max((fit.free_bytes for fit in _fits(request, (), 0)), default=0)
    if not free:
        return 0, 0
    return fitting(
        checkpoint,
        sized,
        free - reservoir.total_bytes,
        engine=request.engine,
        options=request.options,
        constants=_constants(request),
        cpu_isa=_cpu_isa(request),
    )


def _not_served(request: PlanRequest, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a warning where a model is sized for the embedded engine, which would refuse to load it."""
    if checkpoint.is_served or request.engine != "torch":
        return ()
    return (f"the embedded engine does not serve {checkpoint.facts.architecture}: this is a size, not an offer",)


def _alternatives(
    request: PlanRequest, checkpoint: Checkpoint, sized: SizedModel, reservoir: Reservoir
) -> tuple[Alternative, ...]:
    """Return nearby plans that fit, the least costly first."""
    with translated():
        wanted = native_request(
            engine=request.engine,
            weights=sized.weight_format or sized.dtype.value,
            context_length=sized.context_length,
            max_concurrency=sized.max_concurrency,
            options=request.options,
            constants=_constants(request),
            cpu_isa=_cpu_isa(request),
        )
        found = _allocator.alternatives(
            checkpoint.native,
            wanted,
            _native_devices(request.devices, request.reserved_bytes),
            replicas=request.replicas * max(len(sized.ranks), 1),
            fixed_bytes=reservoir.total_bytes - sized.max_concurrency * reservoir.bytes_per_stream,
            sequence_bytes=reservoir.bytes_per_stream,
            victim_tuples=[
                (one.name, one.device_id, one.bytes, one.wake_seconds, one.reload_seconds, one.uses_per_hour)
                for one in request.victims
            ],
            splits=[] if request.engine == "torch" or len(sized.ranks) > 1 else list(_SPLITS),
            reload_seconds=checkpoint.facts.weights_bytes / _RELOAD_BYTES_PER_SECOND,
        )
    return tuple(_alternative(one, sized) for one in found)


def _alternative(one: _allocator.Alternative, sized: SizedModel) -> Alternative:
    """Give a native alternative the core's type."""
    return Alternative(
        dtype=Dtype(one.dtype) if one.dtype in set(Dtype) else sized.dtype,
        context_length=one.context_length,
        max_concurrency=one.max_concurrency,
        upper_bytes=one.upper_bytes,
        device_id=one.device_id,
        warning=one.warning,
        action=one.action,
        freed_bytes=one.freed_bytes,
        undo_seconds=one.undo_seconds,
        victims=tuple(one.victims),
        tensor_parallel=one.tensor_parallel,
    )
