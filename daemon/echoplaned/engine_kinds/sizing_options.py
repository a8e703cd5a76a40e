"""Options that change how much memory an engine takes.

One spelling, type and set of bounds for the planner and for every kind that has them.
"""

from __future__ import annotations

from typing import Final

from echoplaned.engine_kinds.kind import Option, OptionType

TENSOR_PARALLEL: Final = Option(
    "tensor_parallel",
    "Ranks that share each layer, one device each.",
    OptionType.WHOLE_NUMBER,
    minimum=1,
    maximum=64,
    default="1",
)
PIPELINE_PARALLEL: Final = Option(
    "pipeline_parallel",
    "Stages that share out the layers, one device each.",
    OptionType.WHOLE_NUMBER,
    minimum=1,
    maximum=64,
    default="1",
)
BLOCK_SIZE: Final = Option(
    "block_size", "Tokens of a page of the cache.", OptionType.WHOLE_NUMBER, minimum=1, maximum=65_536
)
MAX_BATCHED_TOKENS: Final = Option(
    "max_batched_tokens", "Tokens of one step at most.", OptionType.WHOLE_NUMBER, minimum=1, maximum=1_048_576
)
LORA_ADAPTERS: Final = Option(
    "lora_adapters",
    "Places for adapters that are kept beside the weights.",
    OptionType.WHOLE_NUMBER,
    maximum=256,
    default="0",
)
LORA_RANK: Final = Option("lora_rank", "Rank of each adapter at most.", OptionType.WHOLE_NUMBER, maximum=512)

NUMBERS: Final = (
    TENSOR_PARALLEL,
    PIPELINE_PARALLEL,
    BLOCK_SIZE,
    MAX_BATCHED_TOKENS,
    LORA_ADAPTERS,
    LORA_RANK,
)
"""Those that are whole numbers; ``kv_dtype`` is a name, and each kind has its own."""

KV_DTYPE: Final = "kv_dtype"


def kv_dtype(*choices: str) -> Option:
    """Return the option for the dtype of keys and values.

    ``choices``: what a kind takes beside AUTO.
    """
    return Option(
        KV_DTYPE,
        "Dtype of keys and values; AUTO: as the activations.",
        default="AUTO",
        choices=("AUTO", *choices),
    )
