"""Plans: whether a model fits, where, and if not, what would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from echoplaned import _allocator
from echoplaned.core.calibration import engine_key
from echoplaned.core.contexts import least_context
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.errors import DaemonError
from echoplaned.core.facts import Dtype
from echoplaned.core.memory import MemoryHolder
from echoplaned.core.plan import (
    Alternative,
    Calibration,
    Component,
    Device,
    DeviceFit,
    EvictionCandidate,
    Plan,
    RankMemory,
    Reservoir,
)
from echoplaned.core.spec import ALL_DEFAULTS, ReservoirOverrides, ShapeRequest
from echoplaned.engine_kinds import find_kind, find_sized
from echoplaned.planning._translate import translate_errors
from echoplaned.planning.calibration import CalibratedConstants, calibrate, is_foreign
from echoplaned.planning.context import choose_context
from echoplaned.planning.devices import find_devices
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.offers import find_offer, serving_fields
from echoplaned.planning.options import native_request, refuse_unknown_options
from echoplaned.planning.reservoir import plan_reservoir
from echoplaned.planning.seats import seat_all
from echoplaned.planning.sizing import SizedModel, declared_bytes, find_fitting, open_source, size_model

# What a load from a disk's cache reaches; only the order of alternatives depends on it.
_RELOAD_BYTES_PER_SECOND = 1_000_000_000
# Numbers of ranks that alternatives try.
_SPLITS = (2, 4, 8)
_RESERVOIR_SOURCE = "DTESN design, sections 1 to 3: units, couplings, readout, and one state a stream"


@dataclass(frozen=True, slots=True)
class ForeignMemory:
    """What processes that are not ours hold on a device.

    It counts where it leaves less than what is reserved would leave.

    Attributes:
        bytes: all that they hold, bytes.
        holders: the largest of them; empty: not known.
    """

    bytes: int
    holders: tuple[MemoryHolder, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned.

    Attributes:
        source: an inspected checkpoint, its directory, a GGUF file, or a ``config.json``.
        devices: what may hold it.
        shape: what is asked of it; the rest is as `size_model` says.
        surge: whether ``reserved_bytes`` holds the version that is replaced as well.
        candidates: versions that could be evicted to make room.
        calibrated: the embedded engine's constants; None: the prior's.
        cpu_isa: what the embedded engine's matrix library computes with; None: the first device's.
        reserved_bytes: what instances hold on each device, by device id, and what others hold beyond what is kept for them.
        reservoir: changes to the reservoir's defaults.
        least_context: where no context is asked for, the least that is chosen, tokens, as far as the checkpoint allows; 0: any.
        foreign: what others hold on the devices where that counts, by device id.
        allowed_root: every file that is read of ``source`` must lie beneath it once links are followed; None allows all.
    """

    source: Path | Checkpoint
    devices: tuple[Device, ...]
    shape: ShapeRequest = ALL_DEFAULTS
    surge: bool = False
    candidates: tuple[EvictionCandidate, ...] = ()
    calibrated: CalibratedConstants | None = None
    cpu_isa: CpuIsa | None = None
    reserved_bytes: Mapping[str, int] = field(default_factory=dict)
    reservoir: ReservoirOverrides = field(default_factory=ReservoirOverrides)
    least_context: int = 0
    foreign: Mapping[str, ForeignMemory] = field(default_factory=dict)
    allowed_root: Path | None = None


def plan_load(request: PlanRequest) -> Plan:
    """Size a model, place its replicas, and look for alternatives.

    Replicas are placed by best fit; alternatives are looked for where they do not fit.
    The same request gives the same plan. Nothing is reserved: that is for whoever owns the state.

    Raises:
        DaemonError: what inspecting and sizing raise. Not fitting is an answer (``fits`` is false), not an error.
    """
    checkpoint = open_source(request.source, request.allowed_root)
    sized = _size(request, checkpoint)
    facts, shape = checkpoint.facts, sized.shape
    reservoir = plan_reservoir(facts.parameter_count, shape.max_concurrency, request.reservoir)
    components = (*sized.components, _reservoir_component(reservoir, shape.max_concurrency))
    upper_bytes = sized.upper_bytes + reservoir.total_bytes
    placed = _place_ranks(request, sized, reservoir.total_bytes)
    serves, reason, detail = serving_fields(find_offer(request.source, checkpoint, shape.engine))
    # What the engine would not load in any shape has no shape that it would: the refusal names another engine where there is one.
    has_alternatives = serves and not placed and declared_bytes(shape) is None
    alternatives = _alternatives(request, checkpoint, sized, reservoir) if has_alternatives else ()
    context, concurrency = _fitting(request, checkpoint, sized, reservoir)
    plan = Plan(
        fits=bool(placed),
        architecture=facts.architecture,
        parameter_count=facts.parameter_count,
        dtype=shape.dtype,
        context_length=shape.context_length,
        max_concurrency=shape.max_concurrency,
        replicas=shape.replicas,
        bytes=sized.bytes + reservoir.total_bytes,
        upper_bytes=upper_bytes,
        components=components,
        device_ids=placed,
        alternatives=alternatives,
        reservoir=reservoir,
        surge=request.surge,
        warnings=(*sized.warnings, *_not_served(sized, checkpoint)),
        serves=serves,
        serves_reason=reason,
        serves_detail=detail,
        weight_format=shape.weights_format,
        ranks=tuple(
            replace(
                rank, bytes=rank.bytes + reservoir.total_bytes, upper_bytes=rank.upper_bytes + reservoir.total_bytes
            )
            for rank in sized.ranks
        ),
        kv_bytes_per_token=sized.kv_bytes_per_token,
        fitting_context_length=context,
        fitting_max_concurrency=concurrency,
        calibration=_shown_calibration(request, shape.engine),
        cpu_isa="" if not _is_calibrated(shape.engine) or is_foreign(shape.engine) else _cpu_isa(request).value,
    )
    return replace(plan, devices=_fits(request, plan.placed_bytes(), upper_bytes))


def _is_calibrated(engine: str) -> bool:
    kind = find_sized(engine)
    return kind is not None and kind.is_calibrated


def _shown_calibration(request: PlanRequest, engine: str) -> Calibration | None:
    """Return what a plan shows of its constants; None: there are none.

    A foreign engine that was never measured here is planned by constants of a device, which no prior of processes is.
    """
    if not _is_calibrated(engine):
        return None
    shown = _calibrated(request, engine).shown
    return shown if shown.sample_count or not is_foreign(engine) else None


def _is_split(engine: str) -> bool:
    """Say whether an engine may spread one instance over several devices.

    Engines that are only sized may.
    """
    kind = find_sized(engine)
    return kind is None or kind.is_split


def _calibrated(request: PlanRequest, engine: str) -> CalibratedConstants:
    """Return the request's constants, or the prior."""
    return request.calibrated or calibrate(engine_key(engine, "", _first_device(request)), ())


def _first_device(request: PlanRequest) -> Device | None:
    return request.devices[0] if request.devices else None


def _cpu_isa(request: PlanRequest) -> CpuIsa:
    """Return the request's instruction set, or the first device's.

    A daemon's devices are of one machine.
    """
    device = _first_device(request)
    return request.cpu_isa or (device.cpu_isa if device else CpuIsa.UNKNOWN)


def _constants(request: PlanRequest) -> _allocator.Constants | None:
    return request.calibrated.native if request.calibrated else None


def plan_batch(requests: Sequence[PlanRequest]) -> tuple[Plan | DaemonError, ...]:
    """Plan several models in order, each as if those before it that fit were placed.

    The result has one entry a request: its plan, or the error that planning it raised. What is placed counts on the devices of the
    requests behind it, by device id, beside their own ``reserved_bytes``.
    """
    taken: Counter[str] = Counter()
    results: list[Plan | DaemonError] = []
    for request in requests:
        held = {device.device_id: request.reserved_bytes.get(device.device_id, 0) for device in request.devices}
        both = {device: held.get(device, 0) + taken[device] for device in {*held, *taken}}
        try:
            plan = plan_load(replace(request, reserved_bytes=both))
        except DaemonError as error:
            results.append(error)
            continue
        taken += plan.placed_bytes()
        results.append(plan)
    return tuple(results)


def plan_offline(path: Path, shape: ShapeRequest = ALL_DEFAULTS, devices: tuple[Device, ...] = ()) -> Plan:
    """Plan on empty devices; needs no daemon.

    The source is a directory, a GGUF file or a ``config.json``; the devices are this host's where none are given.

    Raises:
        FieldInvalidError: an option that sizing does not know.
        DaemonError: what inspecting and sizing raise.
    """
    refuse_unknown_options(shape.engine, shape.options)
    return plan_load(PlanRequest(path, devices or find_devices(), shape))


def place(
    devices: tuple[Device, ...], reserved_bytes: Mapping[str, int], *, needed_bytes: int, replicas: int
) -> tuple[str, ...]:
    """Return one device id a replica, empty where not all of them fit.

    Each replica goes to the device with the fewest of them, of these to the one that is left with the least.

    Raises:
        FieldInvalidError: fewer than one replica, or two devices of one name.
    """
    with translate_errors():
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
        ("weights", reservoir.weights_bytes(streams)),
    )
    return Component(
        "reservoir", reservoir.total_bytes, "weights + streams*bytes_per_stream", inputs, _RESERVOIR_SOURCE
    )


def _fits(request: PlanRequest, placed: Mapping[str, int], upper_bytes: int) -> tuple[DeviceFit, ...]:
    """Return how each device stands.

    It is compared with what its replicas need, or with one replica where none is placed there.
    """
    return tuple(_fit(request, device, placed.get(device.device_id, upper_bytes)) for device in request.devices)


def _fit(request: PlanRequest, device: Device, needed_bytes: int) -> DeviceFit:
    free = device.capacity_bytes - device.reserve_bytes - request.reserved_bytes.get(device.device_id, 0)
    foreign = request.foreign.get(device.device_id, ForeignMemory(0))
    return DeviceFit(device.device_id, max(0, free), needed_bytes, foreign.bytes, foreign.holders)


def _size(request: PlanRequest, checkpoint: Checkpoint) -> SizedModel:
    """Size what was asked for; with the longest context that fits where none was."""

    def size(context_length: int | None) -> SizedModel:
        shape = replace(request.shape, context_length=context_length)
        return size_model(checkpoint, shape, constants=_constants(request), cpu_isa=_cpu_isa(request))

    def fits(sized: SizedModel) -> bool:
        reservoir = plan_reservoir(checkpoint.facts.parameter_count, sized.shape.max_concurrency, request.reservoir)
        return bool(_place_ranks(request, sized, reservoir.total_bytes))

    asked = size(request.shape.context_length)
    if request.shape.context_length is not None:
        return asked
    longest = asked.shape.context_length
    chosen = choose_context(asked, least_context(longest, request.least_context), size, fits)
    length = chosen.shape.context_length
    if length == longest:
        return chosen
    text = (
        f"no context_length was asked for: this plan is for {length} tokens, the {'most' if fits(chosen) else 'least'}"
        f" that is offered here, of the {longest} that the checkpoint allows"
    )
    return replace(chosen, warnings=(*chosen.warnings, text))


def _place_ranks(request: PlanRequest, sized: SizedModel, reservoir_bytes: int) -> tuple[str, ...]:
    """Return a device for each rank of each replica.

    Ranks of one replica go to different devices; empty where they do not fit.
    """
    ranks = sized.ranks if len(sized.ranks) > 1 else (RankMemory(sized.bytes, sized.upper_bytes),)
    needs = [rank.upper_bytes + reservoir_bytes for rank in ranks]
    replicas, largest = sized.shape.replicas, max(needs)
    if len(needs) == 1:
        return place(request.devices, request.reserved_bytes, needed_bytes=largest, replicas=replicas)
    # Refuses what is no number of replicas.
    place(request.devices, request.reserved_bytes, needed_bytes=largest, replicas=replicas)
    return seat_all(request.devices, request.reserved_bytes, needs, replicas)


def _fitting(request: PlanRequest, checkpoint: Checkpoint, sized: SizedModel, reservoir: Reservoir) -> tuple[int, int]:
    """Return the longest context and the most sequences that one device would hold.

    It is the device with the most free bytes; more sequences take more of the reservoir's, too.
    """
    free = max((fit.free_bytes for fit in _fits(request, {}, 0)), default=0)
    if not free:
        return 0, 0
    return find_fitting(
        checkpoint,
        sized,
        free - reservoir.weights_bytes(sized.shape.max_concurrency),
        sequence_bytes=reservoir.bytes_per_stream,
        constants=_constants(request),
        cpu_isa=_cpu_isa(request),
    )


def _not_served(sized: SizedModel, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a warning for a model that is sized and would not be loaded.

    That is one for an engine of ours that would refuse it.
    """
    kind = find_kind(sized.shape.engine)
    if checkpoint.is_served or kind is None or kind.foreign is not None:
        return ()
    return (f"{kind.title} does not serve {checkpoint.facts.architecture}: this is a size, not an offer",)


def _alternatives(
    request: PlanRequest, checkpoint: Checkpoint, sized: SizedModel, reservoir: Reservoir
) -> tuple[Alternative, ...]:
    """Return nearby plans that fit, the least costly first."""
    shape = sized.shape
    with translate_errors():
        found = _allocator.alternatives(
            checkpoint.native,
            native_request(shape, _constants(request), _cpu_isa(request)),
            _native_devices(request.devices, request.reserved_bytes),
            replicas=shape.replicas * max(len(sized.ranks), 1),
            fixed_bytes=reservoir.weights_bytes(shape.max_concurrency),
            sequence_bytes=reservoir.bytes_per_stream,
            victim_tuples=[
                (one.name, one.device_id, one.bytes, one.wake_seconds, one.reload_seconds, one.uses_per_hour)
                for one in request.candidates
            ],
            splits=[] if not _is_split(shape.engine) or len(sized.ranks) > 1 else list(_SPLITS),
            reload_seconds=checkpoint.facts.weights_bytes / _RELOAD_BYTES_PER_SECOND,
        )
    return tuple(_alternative(one, sized) for one in found)


def _alternative(one: _allocator.Alternative, sized: SizedModel) -> Alternative:
    """Give a native alternative the core's type."""
    return Alternative(
        dtype=Dtype(one.dtype) if one.dtype in set(Dtype) else sized.shape.dtype,
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
