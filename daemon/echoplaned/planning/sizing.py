"""How much memory a model needs, by component."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned import _allocator
from echoplaned.core.facts import Dtype
from echoplaned.core.plan import Component
from echoplaned.planning._translate import translated
from echoplaned.planning.inspection import Checkpoint, inspect_checkpoint, inspect_config

DEFAULT_MAX_CONCURRENCY: Final = 8
"""Sequences at once where the caller says nothing."""


@dataclass(frozen=True, slots=True)
class SizedModel:
    """The memory of one instance. ``bytes``: expected; ``upper_bytes``: what admission reserves.

    ``quantised_share``: fraction of the parameters that INT8 covers; 0 for other dtypes.
    """

    dtype: Dtype
    context_length: int
    max_concurrency: int
    components: tuple[Component, ...]
    bytes: int
    upper_bytes: int
    quantised_share: float
    warnings: tuple[str, ...]


def open_source(source: Path | Checkpoint) -> Checkpoint:
    """Return what is known of a source: a checkpoint, a directory, or a ``config.json`` alone (also as a directory's only file).

    Raises:
        EchoplaneError: as `echoplaned.planning.inspect_model` says.
    """
    if isinstance(source, Checkpoint):
        return source
    if source.is_file():
        return inspect_config(source)
    if source.is_dir() and [entry.name for entry in source.iterdir()] == ["config.json"]:
        return inspect_config(source / "config.json")
    return inspect_checkpoint(source, with_digest=False)


def size_model(
    source: Path | Checkpoint,
    *,
    dtype: Dtype | None = None,
    context_length: int | None = None,
    max_concurrency: int | None = None,
    engine: str = "torch",
) -> SizedModel:
    """Return the components of one instance.

    Args:
        source: a checkpoint, its directory, or a ``config.json``.
        dtype: of the weights; the stored one where None. INT8 leaves what it does not quantise in the stored dtype.
        context_length: longest sequence in tokens; the model's own limit where None.
        max_concurrency: sequences computed at once; 8 where None.
        engine: whose memory; ``torch`` is the embedded one.

    Raises:
        FieldInvalidError: context or concurrency out of range, or an engine without a profile.
        DtypeUnsupportedError: INT8 would quantise less than half of what is no embedding.
        EchoplaneError: what reading ``source`` raises.
    """
    checkpoint = open_source(source)
    facts = checkpoint.facts
    chosen = facts.stored_dtype if dtype is None else dtype
    context = facts.max_context_length if context_length is None else context_length
    concurrency = DEFAULT_MAX_CONCURRENCY if max_concurrency is None else max_concurrency
    with translated():
        sized = checkpoint.native.size(
            dtype_name=chosen.value,
            context_length=max(context, 0),
            max_concurrency=max(concurrency, 0),
            engine_name=engine,
        )
    return SizedModel(
        dtype=chosen,
        context_length=context,
        max_concurrency=concurrency,
        components=tuple(_component(part) for part in sized.components),
        bytes=sized.bytes,
        upper_bytes=sized.upper_bytes,
        quantised_share=sized.quantised_ppm / 1_000_000,
        warnings=tuple(sized.warnings),
    )


def _component(part: _allocator.Component) -> Component:
    """Give a native component the core's type."""
    return Component(
        name=part.name, bytes=part.bytes, formula=part.formula, inputs=tuple(part.inputs), source=part.source
    )
