"""Options of an engine beside dtype, context and concurrency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned import _allocator
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.numbers import MAX_COUNT, read_whole
from echoplaned.core.spec import ServingShape
from echoplaned.engine_kinds import Option, OptionType, find_sized, sizing_name
from echoplaned.engine_kinds.sizing_options import KV_DTYPE, NUMBERS

_NUMBERS: Final = {option.name: option for option in NUMBERS}


class WeightFormat(StrEnum):
    """How weights may be packed beyond what the embedded engine serves.

    GGUF's types are named as in the format.
    """

    FP8 = "FP8"
    NF4 = "NF4"
    NF4_DOUBLE = "NF4_DOUBLE"
    INT4_G128 = "INT4_G128"


class KvDtype(StrEnum):
    """Dtypes of keys and values in the cache.

    AUTO: as the activations. Q8_0 and Q4_0 are llama.cpp's.
    """

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
class SizingOptions:
    """Those of an engine's options that change the memory it takes.

    They are read from their texts. None asks for the engine's default.

    Attributes:
        kv_dtype: dtype of keys and values in the cache.
        tensor_parallel: ranks that share each layer, at least 1.
        pipeline_parallel: stages that share out the layers, at least 1.
        block_size: tokens of a page of the cache; None: the engine's default.
        max_batched_tokens: tokens of one step; None: the engine's default.
        lora_adapters: adapters kept beside the weights; 0: none.
        lora_rank: rank of each of them; 0: none.
    """

    kv_dtype: KvDtype = KvDtype.AUTO
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    block_size: int | None = None
    max_batched_tokens: int | None = None
    lora_adapters: int = 0
    lora_rank: int = 0


_NO_OPTIONS: Final = SizingOptions()


def read_options(engine: str, pairs: Sequence[tuple[str, str]]) -> SizingOptions:
    """Return what a shape's options say of its memory.

    A name that sizing does not know changes none of it.
    An option that the engine's kind declares has that declaration's bounds, so that a plan takes what a load takes.

    Raises:
        FieldInvalidError: a value is not of its kind.
    """
    kv_dtype = KvDtype.AUTO
    numbers: dict[str, int] = {}
    if not pairs:
        return _NO_OPTIONS
    declared = _declared(engine)
    for name, text in pairs:
        if name not in _NUMBERS and name != KV_DTYPE:
            continue
        problem = declared.get(name, _GENERAL[name]).problem(text)
        if problem:
            raise FieldInvalidError(InvalidField(f'engine_options["{name}"]', problem))
        if name == KV_DTYPE:
            kv_dtype = KvDtype(text.upper())
        else:
            numbers[name] = int(text)
    return SizingOptions(
        kv_dtype=kv_dtype,
        tensor_parallel=numbers.get("tensor_parallel", 1),
        pipeline_parallel=numbers.get("pipeline_parallel", 1),
        block_size=numbers.get("block_size"),
        max_batched_tokens=numbers.get("max_batched_tokens"),
        lora_adapters=numbers.get("lora_adapters", 0),
        lora_rank=numbers.get("lora_rank", 0),
    )


_GENERAL: Final = {**_NUMBERS, KV_DTYPE: Option(KV_DTYPE, "", OptionType.TEXT, choices=tuple(KvDtype))}
"""Where an engine's kind does not declare them: all that sizing knows of."""


def _declared(engine: str) -> dict[str, Option]:
    kind = find_sized(engine)
    return {} if kind is None else {option.name: option for option in kind.options}


def _whole_number(field: str, text: str) -> int:
    number = read_whole(text, MAX_COUNT)
    if number is None:
        raise FieldInvalidError(InvalidField(field, "must be a whole number"))
    return number


def refuse_unknown_options(engine: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Check the names of options where no load does.

    Raises:
        FieldInvalidError: neither sizing nor the engine's kind knows one.
    """
    known = tuple(dict.fromkeys((*_GENERAL, *_declared(engine))))
    text = f"there is no such option; there are: {', '.join(known)}"
    unknown = [InvalidField(f'engine_options["{name}"]', text) for name, _ in pairs if name not in known]
    if unknown:
        raise FieldInvalidError(*unknown)


def weights_name(shape: ServingShape) -> str:
    """Return the native module's name of how a shape's weights are packed."""
    return shape.weights_format or shape.dtype.value


def native_request(
    shape: ServingShape, constants: _allocator.Constants | None = None, cpu_isa: CpuIsa = CpuIsa.UNKNOWN
) -> _allocator.Request:
    """Return a shape as the native module takes it.

    Negative numbers become 0, which it refuses by name.

    Raises:
        FieldInvalidError: an option's value is not of its kind.
        AllocatorError: a name is unknown.
    """
    options = read_options(shape.engine, shape.options)
    lora = (options.lora_adapters, options.lora_rank) if options.lora_adapters else None
    return _allocator.Request(
        engine_name=sizing_name(shape.engine),
        dtype_name=weights_name(shape),
        context_length=max(shape.context_length, 0),
        max_concurrency=max(shape.max_concurrency, 0),
        kv_dtype_name=options.kv_dtype.value,
        tensor_parallel=options.tensor_parallel,
        pipeline_parallel=options.pipeline_parallel,
        block_size=options.block_size,
        max_batched_tokens=options.max_batched_tokens,
        lora=lora,
        constants=constants,
        cpu_isa_name=cpu_isa.value,
        threads=_threads(shape) if shape.options else 1,
    )


def _threads(shape: ServingShape) -> int:
    """Return how many threads one inference takes.

    Each thread has copies of its own, which the upper bound counts.
    """
    kind = find_sized(shape.engine)
    name = kind.threads_option if kind is not None else ""
    return _whole_number(f'engine_options["{name}"]', dict(shape.options).get(name, "1"))
