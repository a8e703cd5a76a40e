"""Does it fit, where, and if not, what would?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from echoplaned import _allocator
from echoplaned.core.facts import Dtype
from echoplaned.core.plan import Alternative, Component, Device, DeviceFit, Plan, Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.errors import MemoryInsufficientError, SurgeInfeasibleError
from echoplaned.planning._translate import translated
from echoplaned.planning.devices import find_devices
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.reservoir import plan_reservoir
from echoplaned.planning.sizing import SizedModel, open_source, size_model

_RESERVOIR_SOURCE = "DTESN design, sections 1 to 3: units, couplings, readout, and one state a stream"


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned. None asks for the default: stored dtype, the model's longest context, 8 sequences.

    ``source``: an inspected checkpoint, its directory, or a ``config.json``. ``reserved_bytes``: what instances hold on
    each device, by device id; with ``surge`` it holds the version that is replaced as well.
    """

    source: Path | Checkpoint
    devices: tuple[Device, ...]
    dtype: Dtype | None = None
    context_length: int | None = None
    max_concurrency: int | None = None
    replicas: int = 1
    surge: bool = False
    engine: str = "torch"
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
    )
    facts = checkpoint.facts
    reservoir = plan_reservoir(facts.parameter_count, sized.max_concurrency, request.reservoir)
    components = (*sized.components, _reservoir_component(reservoir, sized.max_concurrency))
    upper_bytes = sized.upper_bytes + reservoir.total_bytes
    placed = place(request.devices, request.reserved_bytes, needed_bytes=upper_bytes, replicas=request.replicas)
    alternatives = () if placed else _alternatives(request, checkpoint, sized, reservoir)
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
        warnings=sized.warnings,
    )


def plan_offline(
    path: Path,
    *,
    dtype: Dtype | None = None,
    context_length: int | None = None,
    max_concurrency: int | None = None,
    replicas: int = 1,
) -> Plan:
    """Plan a directory or a ``config.json`` on this host's devices as if they were empty; needs no daemon.

    Raises:
        EchoplaneError: what inspecting and sizing raise.
    """
    request = PlanRequest(
        source=path,
        devices=find_devices(),
        dtype=dtype,
        context_length=context_length,
        max_concurrency=max_concurrency,
        replicas=replicas,
    )
    return plan_load(request)


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


def _alternatives(
    request: PlanRequest, checkpoint: Checkpoint, sized: SizedModel, reservoir: Reservoir
) -> tuple[Alternative, ...]:
    """Return nearby plans that fit, the least costly first."""
    with translated():
        found = _allocator.alternatives(
            checkpoint.native,
            _native_devices(request.devices, request.reserved_bytes),
            dtype_name=sized.dtype.value,
            context_length=sized.context_length,
            max_concurrency=sized.max_concurrency,
            replicas=request.replicas,
            fixed_bytes=reservoir.total_bytes - sized.max_concurrency * reservoir.bytes_per_stream,
            sequence_bytes=reservoir.bytes_per_stream,
        )
    return tuple(
        Alternative(
            dtype=Dtype(one.dtype),
            context_length=one.context_length,
            max_concurrency=one.max_concurrency,
            upper_bytes=one.upper_bytes,
            device_id=one.device_id,
            warning=one.warning,
        )
        for one in found
    )
