"""How much memory a model needs, by component."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned import _allocator
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.facts import Dtype
from echoplaned.core.plan import Component, RankMemory
from echoplaned.planning._translate import translated
from echoplaned.planning.inspection import Checkpoint, survey_model
from echoplaned.planning.options import EngineOptions, WeightFormat, format_name, native_request

DEFAULT_MAX_CONCURRENCY: Final = 8
"""Sequences at once where the caller says nothing."""

_DTYPES: Final = frozenset(Dtype)


@dataclass(frozen=True, slots=True)
class SizedModel:
    """The memory of one instance. ``bytes``: expected; ``upper_bytes``: what admission reserves.

    With several ranks, components and bytes are those of the rank that needs the most, and ``ranks`` holds all. ``dtype``: what is computed
    in; ``weight_format``: how weights are packed. ``quantised_share``: fraction of the parameters that quantisation covers; 0 where
    there is none. ``kv_bytes_per_token``: what one more token of one sequence adds on the fullest rank while no window is full.
    ``is_verified``: whether anything of the engine's profile was compared with the running engine.
    ``is_mapped``: whether the weights are the file's own pages.
    """

    dtype: Dtype
    context_length: int
    max_concurrency: int
    components: tuple[Component, ...]
    bytes: int
    upper_bytes: int
    quantised_share: float
    warnings: tuple[str, ...]
    weight_format: str = ""
    ranks: tuple[RankMemory, ...] = ()
    kv_bytes_per_token: int = 0
    is_verified: bool = True
    is_mapped: bool = True


def open_source(source: Path | Checkpoint) -> Checkpoint:
    """Return what is known of a source: a checkpoint, a directory, a GGUF file or a ``config.json`` alone.

    Raises:
        EchoplaneError: as `echoplaned.planning.survey_model` says.
    """
    return source if isinstance(source, Checkpoint) else survey_model(source)


def size_model(
    source: Path | Checkpoint,
    *,
    dtype: Dtype | WeightFormat | str | None = None,
    context_length: int | None = None,
    max_concurrency: int | None = None,
    engine: str = "torch",
    options: EngineOptions | None = None,
    constants: _allocator.Constants | None = None,
    cpu_isa: CpuIsa = CpuIsa.UNKNOWN,
) -> SizedModel:
    """Return the components of one instance.

    Args:
        source: a checkpoint, its directory, a GGUF file, or a ``config.json``.
        dtype: of the weights, or a GGUF type's name; the stored one where None. What is not quantised keeps the stored dtype.
        context_length: longest sequence in tokens; the model's own limit where None.
        max_concurrency: sequences computed at once; 8 where None.
        engine: whose memory: ``torch`` (the embedded one), ``vllm``, ``aphrodite``, ``sglang``, ``llama.cpp``.
        options: a split, and the engine's own settings.
        constants: of the embedded engine, from `echoplaned.planning.calibrate`; the prior where None.
        cpu_isa: what the embedded engine's matrix library computes with; the largest bound of all where that is not known.

    Raises:
        FieldInvalidError: a number out of range, an impossible split, or an engine without a profile.
        DtypeUnsupportedError: INT8 would quantise less than half of what is no embedding, or the engine has no such dtype.
        EchoplaneError: what reading ``source`` raises.
    """
    checkpoint = open_source(source)
    facts = checkpoint.facts
    weights = checkpoint.weight_format if dtype is None else format_name(dtype)
    context = facts.max_context_length if context_length is None else context_length
    concurrency = DEFAULT_MAX_CONCURRENCY if max_concurrency is None else max_concurrency
    with translated():
        request = native_request(
            engine=engine,
            weights=weights,
            context_length=context,
            max_concurrency=concurrency,
            options=options or EngineOptions(),
            constants=constants,
            cpu_isa=cpu_isa,
        )
        sized = _allocator.size(checkpoint.native, request)
    return SizedModel(
        dtype=Dtype(weights) if weights in _DTYPES else facts.stored_dtype,
        context_length=context,
        max_concurrency=concurrency,
        components=tuple(_component(part) for part in sized.components),
        bytes=sized.bytes,
        upper_bytes=sized.upper_bytes,
        quantised_share=sized.quantised_ppm / 1_000_000,
        warnings=tuple(sized.warnings),
        weight_format="" if weights in _DTYPES else weights,
        ranks=tuple(RankMemory(*rank) for rank in sized.ranks),
        kv_bytes_per_token=sized.kv_bytes_per_token,
        is_verified=sized.verified,
        is_mapped=weights == checkpoint.weight_format and not checkpoint.native.put_together,
    )


def fitting(
    source: Path | Checkpoint,
    sized: SizedModel,
    free_bytes: int,
    *,
    engine: str = "torch",
    options: EngineOptions | None = None,
    constants: _allocator.Constants | None = None,
    cpu_isa: CpuIsa = CpuIsa.UNKNOWN,
) -> tuple[int, int]:
    """Return the longest context (tokens) at the model's concurrency, and the most sequences at its context, that ``free_bytes`` hold.

    Both are 0 where nothing fits. A split's rank counts as one device.

    Raises:
        EchoplaneError: as `size_model` says.
    """
    checkpoint = open_source(source)
    with translated():
        request = native_request(
            engine=engine,
            weights=sized.weight_format or sized.dtype.value,
            context_length=sized.context_length,
            max_concurrency=sized.max_concurrency,
            options=options or EngineOptions(),
            constants=constants,
            cpu_isa=cpu_isa,
        )
        context, concurrency = _allocator.limits(checkpoint.native, request, max(free_bytes, 0))
    return context or 0, concurrency or 0


def _component(part: _allocator.Component) -> Component:
    """Give a native component the core's type."""
    return Component(part.name, part.bytes, part.formula, tuple(part.inputs), part.source, part.upper_bytes)
