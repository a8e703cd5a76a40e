"""How much memory a model needs, by component."""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from echoplaned import _allocator
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import InvalidField
from echoplaned.core.plan import Component, RankMemory
from echoplaned.core.spec import ALL_DEFAULTS, MAX_CONCURRENCY, ServingShape, ShapeRequest
from echoplaned.engine_kinds import find_kind
from echoplaned.planning._translate import translate_errors
from echoplaned.planning.inspection import Checkpoint, survey_model
from echoplaned.planning.options import native_request, weights_name

_DTYPES: Final = frozenset(Dtype)


@dataclass(frozen=True, slots=True)
class SizedModel:
    """The memory of one instance.

    With several ranks, components and bytes are those of the rank that needs the most.

    Attributes:
        shape: what was sized, every default filled in.
        components: the parts that ``bytes`` adds up.
        bytes: expected bytes.
        upper_bytes: upper bound of the bytes, which admission reserves.
        quantised_share: fraction of the parameters that quantisation covers, 0 to 1; 0 where there is none.
        warnings: what a caller should know of the figures; empty: nothing.
        ranks: every rank's memory.
        kv_bytes_per_token: what one more token of one sequence adds on the fullest rank while no window is full.
        is_verified: whether anything of the engine's profile was compared with the running engine.
        is_copied: whether a load only copies the weights, with no cast.
    """

    shape: ServingShape
    components: tuple[Component, ...]
    bytes: int
    upper_bytes: int
    quantised_share: float
    warnings: tuple[str, ...]
    ranks: tuple[RankMemory, ...] = ()
    kv_bytes_per_token: int = 0
    is_verified: bool = True
    is_copied: bool = True


def open_source(source: Path | Checkpoint, allowed_root: Path | None = None) -> Checkpoint:
    """Return what is known of a source.

    It may be a checkpoint, a directory, a GGUF file or a ``config.json`` alone.

    Raises:
        DaemonError: as `echoplaned.planning.survey_model` says.
    """
    return source if isinstance(source, Checkpoint) else survey_model(source, allowed_root=allowed_root)


def complete_shape(checkpoint: Checkpoint, asked: ShapeRequest) -> ServingShape:
    """Return a shape with a checkpoint's defaults.

    A weights' format that is a dtype is told as the dtype.
    """
    shape = asked.complete(checkpoint.default_shape)
    if shape.weights_format in _DTYPES:
        return replace(shape, dtype=Dtype(shape.weights_format), weights_format="")
    return shape


def size_model(
    source: Path | Checkpoint,
    asked: ShapeRequest = ALL_DEFAULTS,
    *,
    constants: _allocator.Constants | None = None,
    cpu_isa: CpuIsa = CpuIsa.UNKNOWN,
) -> SizedModel:
    """Return the components of one instance.

    Args:
        source: a checkpoint, its directory, a GGUF file, or a ``config.json``.
        asked: dtype or weights' format (a GGUF type's name among them; what is not quantised keeps the stored dtype), context, sequences,
            engine (a kind of ours, ``vllm``, ``aphrodite``, ``sglang``, ``llama.cpp``) and its options. Replicas count for nothing here.
        constants: of the embedded engine, from `echoplaned.planning.calibrate`; the prior where None.
        cpu_isa: what the embedded engine's matrix library computes with; the largest bound of all where that is not known.

    Raises:
        FieldInvalidError: a number out of range, an impossible split, or an engine without a profile.
        DtypeUnsupportedError: INT8 would quantise less than half of what is no embedding, or the engine has no such dtype.
        DaemonError: what reading ``source`` raises.
    """
    checkpoint = open_source(source)
    shape = complete_shape(checkpoint, asked)
    declared = declared_bytes(shape)
    if declared is not None:
        return _declared(shape, declared)
    with translate_errors():
        sized = _allocator.size(checkpoint.native, native_request(shape, constants, cpu_isa))
    return SizedModel(
        shape=shape,
        components=tuple(_component(part) for part in sized.components),
        bytes=sized.bytes,
        upper_bytes=sized.upper_bytes,
        quantised_share=sized.quantised_ppm / 1_000_000,
        warnings=tuple(sized.warnings),
        ranks=tuple(RankMemory(*rank) for rank in sized.ranks),
        kv_bytes_per_token=sized.kv_bytes_per_token,
        is_verified=sized.verified,
        is_copied=weights_name(shape) == checkpoint.weight_format and not checkpoint.native.put_together,
    )


def find_fitting(
    source: Path | Checkpoint,
    sized: SizedModel,
    free_bytes: int,
    *,
    sequence_bytes: int = 0,
    constants: _allocator.Constants | None = None,
    cpu_isa: CpuIsa = CpuIsa.UNKNOWN,
) -> tuple[int, int]:
    """Return the longest context, and the most sequences, that some bytes hold.

    The context (tokens) is at the model's concurrency, the sequences are at its context, and as many as a load may ask for.
    Both are 0 where nothing fits. A split's rank counts as one device.

    Args:
        source: a checkpoint, its directory, a GGUF file, or a ``config.json``.
        sized: the model, as it is asked for.
        free_bytes: what there is for it and its sequences.
        sequence_bytes: what each sequence takes beside the model.
        constants: as `size_model` says.
        cpu_isa: as `size_model` says.

    Raises:
        DaemonError: as `size_model` says.
    """
    checkpoint = open_source(source)
    declared = declared_bytes(sized.shape)
    if declared is not None:
        taken = declared + sized.shape.max_concurrency * sequence_bytes
        return (sized.shape.context_length, sized.shape.max_concurrency) if taken <= free_bytes else (0, 0)

    def upper_bytes(sequences: int) -> int:
        request = native_request(replace(sized.shape, max_concurrency=sequences), constants, cpu_isa)
        return _allocator.size(checkpoint.native, request).upper_bytes + sequences * sequence_bytes

    with translate_errors():
        request = native_request(sized.shape, constants, cpu_isa)
        beside = sized.shape.max_concurrency * sequence_bytes
        context, _ = _allocator.limits(checkpoint.native, request, max(free_bytes - beside, 0))
        _, most = _allocator.limits(checkpoint.native, request, max(free_bytes, 0))
        # As many fit without what each takes beside the model; with it, no more.
        askable = max(MAX_CONCURRENCY, sized.shape.max_concurrency)
        sequences = range(1, min(most or 0, askable) + 1)
        return context or 0, bisect_right(sequences, free_bytes, key=upper_bytes)


def declared_bytes(shape: ServingShape) -> int | None:
    """Return the bytes that a load declares for an engine that nobody can size.

    Of such an engine nothing else is known. None: the engine is known.

    Raises:
        FieldInvalidError: it does not say it.
    """
    kind = find_kind(shape.engine)
    if kind is None or not kind.memory_option:
        return None
    text = dict(shape.options).get(kind.memory_option, "")
    problem = next(one for one in kind.options if one.name == kind.memory_option).problem(text)
    if problem:
        field = f'engine_options["{kind.memory_option}"]'
        raise FieldInvalidError(InvalidField(field, f"{problem}: nothing else says what one instance takes"))
    return int(text)


def _declared(shape: ServingShape, size: int) -> SizedModel:
    part = Component("declared", size, "as the load says", (("bytes", size),), "engine_options", size)
    warning = "the memory is what the load says: nothing is known of the engine"
    return SizedModel(shape, (part,), size, size, 0.0, (warning,), is_verified=False)


def _component(part: _allocator.Component) -> Component:
    """Give a native component the core's type.

    Its texts are the same few for all models: each is kept once, whatever number of plans is kept with operations and versions. So are
    parts that are alike, as those of one model's versions: a plan takes 5 KiB by itself, and 1,000 finished operations have one each.
    """
    inputs = tuple((sys.intern(name), value) for name, value in part.inputs)
    formula, source = sys.intern(part.formula), sys.intern(part.source)
    return _component_once(sys.intern(part.name), part.bytes, formula, inputs, source, part.upper_bytes)


_component_once: Final = lru_cache(maxsize=1024)(Component)
