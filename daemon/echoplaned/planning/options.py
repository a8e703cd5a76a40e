"""What an engine can be asked beside dtype, context and concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned import _allocator
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import Violation
from echoplaned.errors import FieldInvalidError

_NUMBERS: Final = (
    "tensor_parallel",
    "pipeline_parallel",
    "block_size",
    "max_batched_tokens",
    "lora_adapters",
    "lora_rank",
)
_MAX_DIGITS: Final = 15


class WeightFormat(StrEnum):
    """How weights may be packed beyond what the embedded engine serves. GGUF's types are named as in the format."""

    FP8 = "FP8"
    NF4 = "NF4"
    NF4_DOUBLE = "NF4_DOUBLE"
    INT4_G128 = "INT4_G128"


class KvDtype(StrEnum):
    """Dtypes of keys and values. AUTO: as the activations. Q8_0 and Q4_0 are llama.cpp's."""

    AUTO = "AUTO"
    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"
    FP8 = "FP8"
    INT8_PER_TOKEN_HEAD = "INT8_PER_TOKEN_HEAD"  # noqa: S105 - a dtype, no password
    FP8_PER_TOKEN_HEAD = "FP8_PER_TOKEN_HEAD"  # noqa: S105 - as above
    Q8_0 = "Q8_0"
    Q4_0 = "Q4_0"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """A split and an engine's own settings. None asks for the engine's default.

    ``tensor_parallel``: ranks that share each layer. ``pipeline_parallel``: stages that share out the layers. ``block_size``: tokens of a
    page of the cache. ``max_batched_tokens``: tokens of one step. ``lora_adapters`` of ``lora_rank`` are kept beside the weights.
    """

    kv_dtype: KvDtype = KvDtype.AUTO
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    block_size: int | None = None
    max_batched_tokens: int | None = None
    lora_adapters: int = 0
    lora_rank: int = 0


def options_of(named: Mapping[str, str]) -> EngineOptions:
    """Return options from names and texts, as a command line gives them.

    Raises:
        FieldInvalidError: a name is unknown, or a value is not of its kind.
    """
    kv_dtype = KvDtype.AUTO
    numbers: dict[str, int] = {}
    for name, text in named.items():
        field = f'engine_options["{name}"]'
        if name == "kv_dtype":
            if text.upper() not in set(KvDtype):
                raise FieldInvalidError(Violation(field, f"must be one of {', '.join(KvDtype)}"))
            kv_dtype = KvDtype(text.upper())
        elif name not in _NUMBERS:
            known = ", ".join(("kv_dtype", *_NUMBERS))
            raise FieldInvalidError(Violation(field, f"there is no such option; there are: {known}"))
        elif not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise FieldInvalidError(Violation(field, "must be a whole number"))
        else:
            numbers[name] = int(text)
    return EngineOptions(
        kv_dtype=kv_dtype,
        tensor_parallel=numbers.get("tensor_parallel", 1),
        pipeline_parallel=numbers.get("pipeline_parallel", 1),
        block_size=numbers.get("block_size"),
        max_batched_tokens=numbers.get("max_batched_tokens"),
        lora_adapters=numbers.get("lora_adapters", 0),
        lora_rank=numbers.get("lora_rank", 0),
    )


def format_name(dtype: Dtype | WeightFormat | str) -> str:
    """Return the native module's name of a dtype, a format, or a GGUF type given by name."""
    return dtype.value if isinstance(dtype, Dtype | WeightFormat) else dtype


def native_request(
    *,
    engine: str,
    weights: str,
    context_length: int,
    max_concurrency: int,
    options: EngineOptions,
    constants: _allocator.Constants | None = None,
    cpu_isa: CpuIsa = CpuIsa.UNKNOWN,
) -> _allocator.Request:
    """Return a request as the native module takes it; negative numbers become 0, which it refuses by name.

    Raises:
        AllocatorError: a name is unknown.
    """
    lora = (options.lora_adapters, options.lora_rank) if options.lora_adapters else None
    return _allocator.Request(
        engine_name=engine,
        dtype_name=weights,
        context_length=max(context_length, 0),
        max_concurrency=max(max_concurrency, 0),
        kv_dtype_name=options.kv_dtype.value,
        tensor_parallel=max(options.tensor_parallel, 0),
        pipeline_parallel=max(options.pipeline_parallel, 0),
        block_size=options.block_size,
        max_batched_tokens=options.max_batched_tokens,
        lora=lora,
        constants=constants,
        cpu_isa_name=cpu_isa.value,
    )
