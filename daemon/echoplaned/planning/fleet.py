"""What a machine of equal devices could serve of one model.

For each split: how many replicas, and at which context.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from echoplaned.core.errors import DaemonError
from echoplaned.core.plan import Device
from echoplaned.core.spec import ShapeRequest
from echoplaned.engine_kinds import find_sized
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.options import read_options
from echoplaned.planning.reservoir import plan_reservoir
from echoplaned.planning.sizing import find_fitting, size_model

_SPLIT_OPTION = "tensor_parallel"


@dataclass(frozen=True, slots=True)
class FleetOption:
    """One way to use equal devices for one model.

    Attributes:
        ranks: devices that share one instance: a power of 2, times the pipeline stages that were asked for.
        replicas: instances that all devices hold together; 0 where one does not fit at any context.
        weights_bytes: weights of one rank, bytes.
        max_concurrency: sequences at once that ``context_length`` is for.
        context_length: longest context at that concurrency, tokens; 0: none.
        full_context_length: context that was asked for, or the checkpoint's longest, tokens.
        full_context_concurrency: most sequences at that context; 0: none.
        refusal: why the engine does not split like this; empty where it does.
    """

    ranks: int
    replicas: int = 0
    weights_bytes: int = 0
    max_concurrency: int = 0
    context_length: int = 0
    full_context_length: int = 0
    full_context_concurrency: int = 0
    refusal: str = ""


def fit_fleet(checkpoint: Checkpoint, devices: tuple[Device, ...], shape: ShapeRequest) -> tuple[FleetOption, ...]:
    """Return one option for each number of devices that share an instance.

    The numbers are 1, 2, 4 ... as many as there are; each as often as there are pipeline stages, where some were asked for.

    Raises:
        DaemonError: what sizing an unsplit model raises.
    """
    size_model(checkpoint, _split(shape, 1))
    engine = shape.engine or checkpoint.default_shape.engine
    stages = read_options(engine, shape.options).pipeline_parallel
    splits = _splits(engine, len(devices) // stages)
    return tuple(_option(checkpoint, devices, shape, split, split * stages) for split in splits)


def _splits(engine: str, most: int) -> Iterator[int]:
    """Yield the powers of two by which each layer may be shared out.

    1 alone for an engine that serves on one device.
    """
    kind = find_sized(engine)
    split = 1
    while split == 1 or split <= most:
        yield split
        if kind is not None and not kind.is_split:
            return
        split *= 2


def _split(shape: ShapeRequest, split: int) -> ShapeRequest:
    rest = tuple((name, value) for name, value in shape.options if name != _SPLIT_OPTION)
    return replace(shape, options=rest if split == 1 else (*rest, (_SPLIT_OPTION, str(split))))


def _option(
    checkpoint: Checkpoint, devices: tuple[Device, ...], shape: ShapeRequest, split: int, ranks: int
) -> FleetOption:
    try:
        sized = size_model(checkpoint, _split(shape, split))
    except DaemonError as error:
        return FleetOption(
            ranks, refusal=error.failure.violations[0].description if error.failure.violations else str(error)
        )
    wanted = sized.shape
    reservoir = plan_reservoir(checkpoint.facts.parameter_count, wanted.max_concurrency)
    free = min(device.capacity_bytes - device.reserve_bytes for device in devices)
    free -= reservoir.weights_bytes(wanted.max_concurrency)
    context, sequences = find_fitting(checkpoint, sized, free, sequence_bytes=reservoir.bytes_per_stream)
    return FleetOption(
        ranks=ranks,
        replicas=len(devices) // ranks if context or sequences else 0,
        weights_bytes=sum(part.bytes for part in sized.components if part.name == "weights"),
        max_concurrency=wanted.max_concurrency,
        context_length=context,
        full_context_length=wanted.context_length,
        full_context_concurrency=sequences,
    )
