"""Pages, groups and bytes of the vLLM profile beside what vLLM's own cache specs give; exits with 1 on a difference.

Run in an environment of its own that has vLLM, with this repository's packages on the path:
``PYTHONPATH=daemon:clients/python/src:. python benchmarks/allocator/vllm_specs.py``. No GPU and no engine is needed: vLLM's spec
classes, its grouping of layers, its choice of the state cache's mode and its raising of a hybrid model's block size are called
as they are, with the few fields of a config that they read. The table goes into ``benchmarks/results/allocator-vllm-specs.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import torch
import vllm
from vllm.config import ModelConfig
from vllm.config.vllm import set_current_vllm_config
from vllm.model_executor.layers.mamba.mamba_utils import MambaStateShapeCalculator
from vllm.model_executor.models import ModelRegistry
from vllm.model_executor.models.config import MambaModelConfig
from vllm.platforms.interface import Platform
from vllm.v1 import kv_cache_interface as specs
from vllm.v1.attention.backend import MultipleOf
from vllm.v1.attention.backends.triton_attn import TritonAttentionBackend
from vllm.v1.core import kv_cache_utils

from echoplaned import _allocator

BLOCK: Final = 16
BATCHED: Final = 2048
IN_FLIGHT: Final = 2 * BATCHED
"""Two batches are under way at once with asynchronous scheduling."""
CACHE_DTYPES: Final = {
    "AUTO": ("auto", torch.bfloat16),
    "FP8": ("fp8", torch.uint8),
    "INT8_PER_TOKEN_HEAD": ("int8_per_token_head", torch.int8),
}
RESULTS: Final = Path(__file__).parents[1] / "results" / "allocator-vllm-specs.json"

Config = dict[str, Any]
Spec = Any  # vLLM has no types here
Layers = Callable[["Split"], list[Spec]]


@dataclass(frozen=True)
class Split:
    """``ranks`` share each layer; keys and values in ``kv_dtype``; ``block``: tokens of a page."""

    ranks: int = 1
    kv_dtype: str = "AUTO"
    block: int = BLOCK


@dataclass(frozen=True)
class Case:
    """A config, and the spec of each of its layers. ``context``: tokens of the longest sequence."""

    name: str
    config: Config
    layers: Layers
    context: int
    kind: str = "decoder"
    split: Split = field(default_factory=Split)


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


def attention(kind: type, split: Split, heads: int, head_dim: int, **more: object) -> Spec:
    """Return the spec of a layer that attends; heads are shared out, and repeated where ranks are more, as in vLLM's models."""
    name, dtype = CACHE_DTYPES[split.kv_dtype]
    spec = kind(
        block_size=split.block,
        num_kv_heads=max(1, heads // split.ranks),
        head_size=head_dim,
        dtype=dtype,
        kv_quant_mode=specs.get_kv_quant_mode(name),
        **more,
    )
    return TritonAttentionBackend.customize_spec(spec)


def full(heads: int, head_dim: int) -> Callable[[Split], Spec]:
    """Return a layer that sees everything."""
    return lambda split: attention(specs.FullAttentionSpec, split, heads, head_dim)


def window(heads: int, head_dim: int, tokens: int) -> Callable[[Split], Spec]:
    """Return a layer that sees a window."""
    return lambda split: attention(specs.SlidingWindowSpec, split, heads, head_dim, sliding_window=tokens)


def mixed(count: int, choose: Callable[[int], Callable[[Split], Spec]]) -> Layers:
    """Return so many layers, each chosen by its number."""
    return lambda split: [choose(at)(split) for at in range(count)]


def decoders() -> list[Case]:
    """Return one case for each kind of attention."""
    widths = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    experts = {"moe_intermediate_size": 64, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2}

    def latent(split: Split) -> Spec:
        return attention(specs.MLAAttentionSpec, replace(split, ranks=1), 1, 576)

    gemma = mixed(26, lambda at: full(1, 256) if at % 6 == 5 else window(1, 256, 512))
    gemma_2 = mixed(26, lambda at: full(4, 256) if at % 2 else window(4, 256, 4096))
    return [
        Case("MHA", base("LlamaForCausalLM", 4, 8, 8, 64), mixed(4, lambda _: full(8, 64)), 8192),
        Case("GQA", base("LlamaForCausalLM", 32, 32, 8, 128), mixed(32, lambda _: full(8, 128)), 8190),
        Case("MQA", base("GemmaForCausalLM", 18, 8, 1, 256), mixed(18, lambda _: full(1, 256)), 8192),
        Case(
            "MLA", base("DeepseekV2ForCausalLM", 5, 16, 16, 128, **widths, **experts), mixed(5, lambda _: latent), 8192
        ),
        Case(
            "window",
            base("MistralForCausalLM", 8, 32, 8, 128, sliding_window=4096),
            mixed(8, lambda _: window(8, 128, 4096)),
            32768,
        ),
        Case("1 full : 5 windows", base("Gemma3ForCausalLM", 26, 4, 1, 256, sliding_window=512), gemma, 32768),
        Case("1 full : 1 window", base("Gemma2ForCausalLM", 26, 8, 4, 256, sliding_window=4096), gemma_2, 8192),
    ]


def state(calculate: Callable[[int], Any]) -> Callable[[Split], Spec]:
    """Return a layer with a state whose shapes are those that vLLM calculates for so many ranks."""
    dtypes = (torch.bfloat16, torch.bfloat16)
    return lambda split: specs.MambaSpec(block_size=split.block, shapes=calculate(split.ranks), dtypes=dtypes)


def recurrent() -> list[Case]:
    """Return states alone, beside attention, and the encoder's keys beside the decoder's."""

    def first(ranks: int) -> Any:  # noqa: ANN401 - as above
        return MambaStateShapeCalculator.mamba1_state_shape(ranks, 8192, 16, 4)

    def second(ranks: int) -> Any:  # noqa: ANN401 - as above
        return MambaStateShapeCalculator.mamba2_state_shape(ranks, 8192, 1, 128, 64, 128, 4)

    falcon = base("FalconMambaForCausalLM", 4, 32, 32, 128, state_size=16, conv_kernel=4, time_step_rank=256)
    jamba = base("JambaForCausalLM", 32, 32, 8, 128, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2)
    bamba = base("BambaForCausalLM", 32, 32, 8, 128, attn_layer_indices=[9, 18, 27], mamba_n_heads=128, mamba_d_head=64)
    bamba |= {"mamba_d_state": 128, "mamba_n_groups": 1, "mamba_d_conv": 4, "mamba_expand": 2}
    bart = {"architectures": ["BartForConditionalGeneration"], "torch_dtype": "bfloat16", "d_model": 1024}
    bart |= {"encoder_layers": 12, "decoder_layers": 12, "encoder_attention_heads": 16, "decoder_attention_heads": 16}
    bart |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 128, "max_position_embeddings": 4096}

    def cross(split: Split) -> Spec:
        return attention(specs.CrossAttentionSpec, split, 16, 64)

    return [
        Case("state", falcon | {"intermediate_size": 8192}, mixed(4, lambda _: state(first)), 8192, "attention_free"),
        Case(
            "attention and Mamba",
            jamba | {"attn_layer_period": 8, "attn_layer_offset": 4},
            mixed(32, lambda at: full(8, 128) if at % 8 == 4 else state(first)),
            32768,
            "hybrid",
        ),
        Case(
            "attention and Mamba-2",
            bamba,
            mixed(32, lambda at: full(8, 128) if at in {9, 18, 27} else state(second)),
            32768,
            "hybrid",
        ),
        Case("cross attention", bart, mixed(24, lambda at: cross if at % 2 else full(16, 64)), 4000, "encoder_decoder"),
    ]


def cases() -> list[Case]:
    """Return every kind by itself, on two ranks, and with keys and values in 8 bit."""
    plain = [*decoders(), *recurrent()]
    found = [*plain, *(replace(case, name=f"{case.name}, TP 2", split=Split(ranks=2)) for case in plain)]
    for dtype in ("FP8", "INT8_PER_TOKEN_HEAD"):
        split = Split(kv_dtype=dtype)
        # A state has no keys; MLA's 8-bit forms have layouts of their own.
        kept = [case for case in plain if case.kind != "attention_free" and case.name != "MLA"]
        found += [replace(case, name=f"{case.name}, {dtype}", split=split) for case in kept]
    return found


def settings(case: Case) -> SimpleNamespace:
    """Return the fields of a config that vLLM's functions read, with the cache's mode as vLLM chooses it by default."""
    model = SimpleNamespace(max_model_len=case.context, architecture=case.config["architectures"][0], use_mla=False)
    model.attn_type, model.pooler_config, model.dtype = case.kind, None, torch.bfloat16
    # The property takes no more than these fields.
    prefixes = ModelConfig.is_prefix_caching_supported.fget(model)
    cache = SimpleNamespace(mamba_cache_mode="none", mamba_block_size=None, mamba_page_size_padded=None)
    cache.block_size, cache.enable_prefix_caching = case.split.block, prefixes
    cache.cache_dtype, cache.kv_cache_dtype_skip_layers = CACHE_DTYPES[case.split.kv_dtype][0], []
    cache.get_resolved_kv_cache_layout = lambda: SimpleNamespace(is_block_outermost=False)
    config = SimpleNamespace(
        max_in_flight_tokens=IN_FLIGHT,
        model_config=model,
        cache_config=cache,
        parallel_config=SimpleNamespace(
            decode_context_parallel_size=1, prefill_context_parallel_size=1, pipeline_parallel_size=1
        ),
        scheduler_config=SimpleNamespace(
            disable_hybrid_kv_cache_manager=False,
            enable_chunked_prefill=True,
            max_num_encoder_input_tokens=BATCHED,  # what SchedulerConfig sets it to
        ),
        speculative_config=None,
    )
    if case.kind in {"hybrid", "attention_free"}:
        MambaModelConfig.verify_and_update_config(config)
    return config


class _Kernels:
    """What FlashAttention and Triton say of blocks: any multiple of 16."""

    customize_spec = TritonAttentionBackend.customize_spec

    @staticmethod
    def get_supported_kernel_block_sizes() -> list[MultipleOf]:
        """Return the least block."""
        return [MultipleOf(BLOCK)]


def raised(case: Case, config: SimpleNamespace) -> int:
    """Return the block size that vLLM gives a hybrid model's attention."""
    layers = case.layers(case.split)
    (keys, *_) = [spec for spec in layers if isinstance(spec, specs.AttentionSpec)]
    (held, *_) = [spec for spec in layers if isinstance(spec, specs.MambaSpec)]
    config.model_config.get_num_kv_heads = lambda _: keys.num_kv_heads
    config.model_config.get_head_size = lambda: keys.head_size
    # The model's class would be imported for nothing but the state's shapes, which are at hand.
    shaped = SimpleNamespace(
        get_mamba_state_shape_from_config=lambda _: held.shapes,
        get_mamba_state_dtype_from_config=lambda _: held.dtypes,
    )
    with (
        patch.object(ModelRegistry, "resolve_model_cls", lambda *_, **__: (shaped, "")),
        patch.object(Platform, "_find_non_ssm_backends", classmethod(lambda *_: [_Kernels])),
        patch(f"{set_current_vllm_config.__module__}.{set_current_vllm_config.__name__}"),
    ):
        Platform._align_hybrid_block_size(config, _Kernels)  # noqa: SLF001 - the public way wants an engine
    return int(config.cache_config.block_size)


def of_vllm(case: Case) -> tuple[int, ...]:
    """Return page bytes, layers a group, groups, pages of a request and tokens of a page, as vLLM lays them out."""
    config = settings(case)
    block = raised(case, config) if case.kind == "hybrid" else case.split.block
    layers = [
        replace(spec, page_size_padded=config.cache_config.mamba_page_size_padded)
        if isinstance(spec, specs.MambaSpec)
        else spec
        for spec in case.layers(replace(case.split, block=block))
    ]
    named = {f"layers.{at}": spec for at, spec in enumerate(layers)}
    with patch.object(kv_cache_utils, "get_hisparse_kv_cache_groups", lambda *_: None):
        groups = kv_cache_utils.get_kv_cache_groups(config, named)
    page = groups[0].kv_cache_spec.page_size_bytes
    pages = sum(-(-group.kv_cache_spec.max_memory_usage_bytes(config) // page) for group in groups)
    return page, max(len(group.layer_names) for group in groups), len(groups), pages, block


def of_ours(case: Case) -> tuple[int, ...]:
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
        kv_dtype_name=case.split.kv_dtype,
        tensor_parallel=case.split.ranks,
        pipeline_parallel=1,
        block_size=BLOCK,
        max_batched_tokens=BATCHED,
        lora=None,
    )
    parts = _allocator.size(checkpoint, request).components
    inputs = dict(next(part.inputs for part in parts if part.name in {"kv_cache", "state_cache"}))
    # States have pages of their own kind among those that vLLM counts as one.
    inputs["pages"] += inputs["state_pages"]
    return tuple(inputs[name] for name in ("page_bytes", "layers_per_group", "groups", "pages", "block_size"))


def main() -> int:
    """Print the table and write it down; return 1 where a row differs."""
    print(f"vLLM {vllm.__version__}: page bytes, layers a group, groups, pages a request, tokens a page")
    rows = []
    for case in cases():
        theirs, ours = of_vllm(case), of_ours(case)
        same = theirs == ours
        rows.append({"case": case.name, "context": case.context, "vllm": theirs, "ours": ours, "same": same})
        print(f"{case.name:44s} vllm {theirs!s:36s} ours {ours!s:36s} {'same' if same else 'DIFFERS'}")
    differing = sum(not row["same"] for row in rows)
    print(f"{len(rows)} rows, {differing} differ")
    columns = ["page_bytes", "layers_per_group", "groups", "pages_per_request", "block_size"]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"vllm": vllm.__version__, "columns": columns, "rows": rows}, indent=1) + "\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
