"""Pages, groups and bytes of the vLLM profile beside what vLLM's own cache specs give; exits with 1 on a difference.

Run in an environment of its own that has vLLM, with this repository's packages on the path:
``PYTHONPATH=daemon:clients/python/src:. python benchmarks/allocator/vllm_specs.py``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import torch
import vllm
from vllm.v1 import kv_cache_interface as specs
from vllm.v1.core import kv_cache_utils

from echoplaned import _allocator

BLOCK: Final = 16
BATCHED: Final = 2048
IN_FLIGHT: Final = 2 * BATCHED
"""Two batches are under way at once with asynchronous scheduling."""

Config = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A config, and the spec of each of its layers. ``context``: tokens of the longest sequence."""

    name: str
    config: Config
    layers: list[Any]
    context: int


def base(architecture: str, layers: int, heads: int, kv_heads: int, head_dim: int, **more: object) -> Config:
    """Return a decoder's config."""
    return {
        "architectures": [architecture],
        "torch_dtype": "bfloat16",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_size": heads * head_dim,
        "head_dim": head_dim,
        "intermediate_size": 64,
        "vocab_size": 128,
        "max_position_embeddings": 32768,
        **more,
    }


def full(kv_heads: int, head_dim: int) -> Any:  # noqa: ANN401 - vLLM has no types here
    """Return the spec of a layer that sees everything."""
    return specs.FullAttentionSpec(block_size=BLOCK, num_kv_heads=kv_heads, head_size=head_dim, dtype=torch.bfloat16)


def window(kv_heads: int, head_dim: int, tokens: int) -> Any:  # noqa: ANN401 - as above
    """Return the spec of a layer that sees a window."""
    return specs.SlidingWindowSpec(
        block_size=BLOCK, num_kv_heads=kv_heads, head_size=head_dim, dtype=torch.bfloat16, sliding_window=tokens
    )


def cases() -> list[Case]:
    """Return one case for each kind of cache."""
    gemma = [full(1, 256) if at % 6 == 5 else window(1, 256, 512) for at in range(26)]
    gemma_2 = [full(4, 256) if at % 2 else window(4, 256, 4096) for at in range(26)]
    latent = specs.MLAAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=576, dtype=torch.bfloat16)
    widths = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    experts = {"moe_intermediate_size": 64, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2}
    inner, state = 8192, 16
    mamba = specs.MambaSpec(
        block_size=BLOCK, shapes=((inner, 3), (inner, state)), dtypes=(torch.bfloat16, torch.bfloat16)
    )
    mamba_config = base("FalconMambaForCausalLM", 4, 32, 32, 128, state_size=state, conv_kernel=4)
    mamba_config |= {"intermediate_size": inner, "time_step_rank": 256}
    return [
        Case("MHA", base("LlamaForCausalLM", 4, 8, 8, 64), [full(8, 64)] * 4, 8192),
        Case("GQA", base("LlamaForCausalLM", 32, 32, 8, 128), [full(8, 128)] * 32, 8190),
        Case("MQA", base("GemmaForCausalLM", 18, 8, 1, 256), [full(1, 256)] * 18, 8192),
        Case("MLA", base("DeepseekV2ForCausalLM", 5, 16, 16, 128, **widths, **experts), [latent] * 5, 8192),
        Case(
            "window", base("MistralForCausalLM", 8, 32, 8, 128, sliding_window=4096), [window(8, 128, 4096)] * 8, 32768
        ),
        Case("1 full : 5 windows", base("Gemma3ForCausalLM", 26, 4, 1, 256, sliding_window=512), gemma, 32768),
        Case("1 full : 1 window", base("Gemma2ForCausalLM", 26, 8, 4, 256, sliding_window=4096), gemma_2, 8192),
        Case("state", mamba_config, [mamba] * 4, 8192),
    ]


def of_vllm(case: Case) -> tuple[int, int, int, int]:
    """Return page bytes, layers a group, groups and pages of a request, as vLLM lays them out."""
    config = SimpleNamespace(
        max_in_flight_tokens=IN_FLIGHT,
        model_config=SimpleNamespace(max_model_len=case.context),
        # Prefix caching sets this mode, in which a state has two pages; without it one, and the profile is above by one.
        cache_config=SimpleNamespace(mamba_cache_mode="align"),
        parallel_config=SimpleNamespace(
            decode_context_parallel_size=1, prefill_context_parallel_size=1, pipeline_parallel_size=1
        ),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
    )
    layers = {f"layers.{at}": spec for at, spec in enumerate(case.layers)}
    if len(set(case.layers)) == 1:
        groups = kv_cache_utils._get_kv_cache_groups_uniform_spec(layers)  # noqa: SLF001 - the public way wants an engine
    else:
        unified = kv_cache_utils.unify_kv_cache_spec_page_size(layers)
        groups = kv_cache_utils._get_kv_cache_groups_uniform_page_size(unified)  # noqa: SLF001 - as above
    page = groups[0].kv_cache_spec.page_size_bytes
    pages = sum(-(-group.kv_cache_spec.max_memory_usage_bytes(config) // page) for group in groups)
    return page, max(len(group.layer_names) for group in groups), len(groups), pages


def of_ours(case: Case) -> tuple[int, int, int, int]:
    """Return the same of the profile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(case.config))
        checkpoint = _allocator.survey_config(path.read_bytes())
    request = _allocator.Request(
        engine_name="vllm",
        dtype_name="BF16",
        context_length=case.context,
        max_concurrency=1,
        kv_dtype_name="AUTO",
        tensor_parallel=1,
        pipeline_parallel=1,
        block_size=BLOCK,
        max_batched_tokens=BATCHED,
        lora=None,
    )
    parts = _allocator.size(checkpoint, request).components
    inputs = dict(next(part.inputs for part in parts if part.name in {"kv_cache", "state_cache"}))
    return inputs["page_bytes"], inputs["layers_per_group"], inputs["groups"], inputs["pages"]


def main() -> int:
    """Print the table; return 1 where a row differs."""
    print(f"vLLM {vllm.__version__}: page bytes, layers a group, groups, pages a request")
    differing = 0
    for case in cases():
        theirs, ours = of_vllm(case), of_ours(case)
        differing += theirs != ours
        print(f"{case.name:20s} vllm {theirs!s:28s} ours {ours!s:28s} {'same' if theirs == ours else 'DIFFERS'}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
