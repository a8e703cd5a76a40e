"""The table of published models: parameters and cache bytes exact to the unit, from a config alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import KvDtype, SizedModel, WeightFormat, inspect_config, size_model

WriteConfig = Callable[..., Path]


@dataclass(frozen=True)
class Published:
    """A model's config and what its authors, or its files, say of it. Cache bytes are BF16's."""

    parameters: int
    kv_bytes_per_token: int
    config: dict[str, Any] = field(default_factory=dict)


Pairs = tuple[tuple[str, str], ...]


def named(**options: int | str) -> Pairs:
    """Return an engine's options as a shape has them."""
    return tuple((name, str(value)) for name, value in options.items())


def decoder(architecture: str, shape: str, **more: object) -> dict[str, Any]:
    """Return a config from layers/hidden/heads/KV heads/intermediate/vocabulary."""
    names = ["num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads"]
    names += ["intermediate_size", "vocab_size"]
    numbers = dict(zip(names, map(int, shape.split("/")), strict=True))
    base = {"architectures": [architecture], "torch_dtype": "bfloat16", "max_position_embeddings": 32768}
    return {**base, **numbers, **more}


LLAMA = "LlamaForCausalLM"
GPT_2 = {"architectures": ["GPT2LMHeadModel"], "torch_dtype": "bfloat16", "n_layer": 12, "n_embd": 768, "n_head": 12}
GEMMA_2 = decoder("Gemma2ForCausalLM", "42/3584/16/8/14336/256000", head_dim=256, sliding_window=4096)
DEEPSEEK = decoder(
    "DeepseekV2ForCausalLM",
    "27/2048/16/16/10944/102400",
    kv_lora_rank=512,
    q_lora_rank=None,
    qk_rope_head_dim=64,
    qk_nope_head_dim=128,
    v_head_dim=128,
    moe_intermediate_size=1408,
    n_routed_experts=64,
    n_shared_experts=2,
    first_k_dense_replace=1,
    num_experts_per_tok=6,
)
FALCON_MAMBA = {
    "architectures": ["FalconMambaForCausalLM"],
    "torch_dtype": "bfloat16",
    "num_hidden_layers": 64,
    "hidden_size": 4096,
    "intermediate_size": 8192,
    "state_size": 16,
    "conv_kernel": 4,
    "time_step_rank": 256,
    "vocab_size": 65024,
    "tie_word_embeddings": False,
}
MODELS = {
    "Llama-2-7B": Published(6_738_415_616, 524_288, decoder(LLAMA, "32/4096/32/32/11008/32000")),
    "Llama-2-13B": Published(13_015_864_320, 819_200, decoder(LLAMA, "40/5120/40/40/13824/32000")),
    "Llama-2-70B": Published(68_976_648_192, 327_680, decoder(LLAMA, "80/8192/64/8/28672/32000")),
    "Llama-3.1-8B": Published(8_030_261_248, 131_072, decoder(LLAMA, "32/4096/32/8/14336/128256")),
    "Mistral-7B": Published(7_241_732_096, 131_072, decoder("MistralForCausalLM", "32/4096/32/8/14336/32000")),
    "Mixtral-8x7B": Published(46_702_792_704, 131_072, decoder("MixtralForCausalLM", "32/4096/32/8/14336/32000")),
    "Qwen2.5-7B": Published(7_615_616_512, 57_344, decoder("Qwen2ForCausalLM", "28/3584/28/4/18944/152064")),
    "Gemma-2-9B": Published(9_241_705_984, 344_064, GEMMA_2),
    "GPT-2": Published(124_439_808, 36_864, GPT_2 | {"vocab_size": 50257, "n_positions": 1024}),
    "DeepSeek-V2-Lite": Published(15_706_484_224, 31_104, DEEPSEEK),
    "Falcon-Mamba-7B": Published(7_272_665_088, 0, FALCON_MAMBA),
}


def component(sized: SizedModel, name: str) -> int:
    """Return one component's bytes; 0 where it is not there."""
    return sum(part.bytes for part in sized.components if part.name == name)


def written(config: dict[str, Any], tmp_path: Path) -> Path:
    """Return the path of a config that was written down."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ["torch", "vllm"])
def test_parameters_and_cache_are_exact(name: str, engine: str, tmp_path: Path) -> None:
    """Every row of the table, from its config alone."""
    model = MODELS[name]
    checkpoint = inspect_config(written(model.config, tmp_path))
    assert checkpoint.facts.parameter_count == model.parameters
    sized = size_model(checkpoint, ShapeRequest(context_length=160, max_concurrency=3, engine=engine))
    assert sized.kv_bytes_per_token == model.kv_bytes_per_token
    assert any("estimate" in warning for warning in sized.warnings)
    if engine == "torch":
        assert component(sized, "kv_cache") == model.kv_bytes_per_token * 480
        assert component(sized, "weights") == 2 * model.parameters


def test_a_state_is_stated_by_engine(tmp_path: Path) -> None:
    """Falcon-Mamba's state of one sequence: four inputs and FP32 in transformers, three and BF16 in vLLM."""
    path = written(FALCON_MAMBA, tmp_path)
    one = ShapeRequest(context_length=100, max_concurrency=1)
    assert component(size_model(path, one), "state_cache") == 37_748_736
    assert component(size_model(path, replace(one, engine="vllm")), "state_cache") == 19_922_944


def test_states_beside_attention_raise_the_block(tmp_path: Path) -> None:
    """Bamba on vLLM: blocks of 528 tokens, so that keys and values fill a state's page; two pages of each state, for cached prefixes."""
    config = decoder("BambaForCausalLM", "32/4096/32/8/14336/128256", attn_layer_indices=[9, 18, 27], mamba_n_groups=1)
    config |= {"mamba_n_heads": 128, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_d_conv": 4, "mamba_expand": 2}
    path = written(config, tmp_path)

    def cache(ranks: int) -> dict[str, int]:
        options = named(tensor_parallel=ranks)
        sized = size_model(path, ShapeRequest(context_length=32768, max_concurrency=1, engine="vllm", options=options))
        return dict(next(part.inputs for part in sized.components if part.name == "kv_cache"))

    whole, half = cache(1), cache(2)
    state = 2 * (3 * (8192 + 256) + 8192 * 128)
    assert whole["page_bytes"] == whole["block_size"] * 4096 == 528 * 4096 >= state > 512 * 4096
    assert (whole["pages"], whole["state_pages"]) == (-(-32768 // 528), 2 * 10)
    # Its one group of inputs and outputs is repeated on each rank.
    assert half["page_bytes"] == half["block_size"] * 2048 >= 2 * (3 * (4096 + 256) + 4096 * 128)


def test_ranks_share_a_state(tmp_path: Path) -> None:
    """A model of states alone has no heads that ranks would have to divide; its channels they must."""
    path = written(FALCON_MAMBA, tmp_path)
    two = size_model(path, ShapeRequest(context_length=100, engine="vllm", options=named(tensor_parallel=2)))
    assert component(two, "state_cache") * 2 == 19_922_944 * two.shape.max_concurrency
    with pytest.raises(FieldInvalidError, match="divide the state's channels"):
        size_model(path, ShapeRequest(engine="vllm", options=named(tensor_parallel=3)))


def test_quantised_weights_of_llama(tmp_path: Path) -> None:
    """Embeddings, norms and the output stay as they are, so that no format is as small as its bits promise."""
    path = written(MODELS["Llama-3.1-8B"].config, tmp_path)

    def weights(weights_format: str, engine: str = "vllm") -> int:
        asked = ShapeRequest(context_length=64, max_concurrency=1, engine=engine, weights_format=weights_format)
        return component(size_model(path, asked), "weights")

    linear, others = 6_979_321_856, 8_030_261_248 - 6_979_321_856
    assert weights(Dtype.INT8, "torch") == 9_086_705_664
    assert weights(WeightFormat.NF4) == 6_027_747_328
    assert weights(WeightFormat.NF4_DOUBLE) == -(-linear * 8452 // 16384) + 2 * others
    assert weights(WeightFormat.INT4_G128) == linear * 133 // 256 + 2 * others
    assert weights("GPTQ") == weights("AWQ") == weights(WeightFormat.INT4_G128)
    assert weights(WeightFormat.FP8) == linear + 4 * linear // 128**2 + 2 * others
    assert weights("Q4_K", "llama.cpp") == linear * 144 // 256 + 2 * others


def test_ranks_share_a_model(tmp_path: Path) -> None:
    """Two ranks halve matrices and heads; eight KV heads over sixteen ranks leave one each; MLA's cache is not shared."""
    path = written(MODELS["Llama-3.1-8B"].config, tmp_path)

    def sized(ranks: int, stages: int = 1) -> SizedModel:
        options = named(tensor_parallel=ranks, pipeline_parallel=stages)
        return size_model(path, ShapeRequest(context_length=1024, max_concurrency=4, engine="vllm", options=options))

    norms = 65 * 4096
    assert component(sized(2), "weights") == 2 * ((8_030_261_248 - norms) // 2 + norms)
    assert [sized(ranks).kv_bytes_per_token for ranks in (1, 2, 8, 16)] == [131_072, 65_536, 16_384, 16_384]
    staged = sized(1, 3)
    assert len(staged.ranks) == 3
    # 32 layers over 3 stages: 11, 11, 10: the remainder is kept from the last stage, which has the output.
    assert staged.kv_bytes_per_token == 11 * 4096
    assert max(rank.upper_bytes for rank in staged.ranks) == staged.upper_bytes
    latent = written(DEEPSEEK, tmp_path)
    options = named(tensor_parallel=4)
    assert (
        size_model(latent, ShapeRequest(context_length=64, engine="vllm", options=options)).kv_bytes_per_token == 31_104
    )


def test_a_vocabulary_that_ranks_do_not_divide_is_padded(tmp_path: Path) -> None:
    """32,001 rows over 2 ranks: padded to 32,064, the next multiple of 64, half of them each; in one rank padded as well."""
    path = written(MODELS["Llama-2-7B"].config | {"vocab_size": 32_001}, tmp_path)
    norms, tables = 65 * 4096, 2 * 4096
    linear = 6_738_415_616 - norms - tables * 32_000

    def weights(ranks: int) -> int:
        options = named(tensor_parallel=ranks)
        return component(size_model(path, ShapeRequest(context_length=64, engine="vllm", options=options)), "weights")

    assert weights(1) == 2 * (linear + norms + tables * 32_064)
    assert weights(2) == 2 * (linear // 2 + norms + tables * 32_064 // 2)


def test_windows_take_pages_of_what_is_in_flight(tmp_path: Path) -> None:
    """A window of 4,096, batches of 8,192 and 32k of context: 1,281 pages a request (vLLM 0.32)."""
    path = written(MODELS["Mistral-7B"].config | {"sliding_window": 4096}, tmp_path)
    options = named(max_batched_tokens=8192)
    sized = size_model(path, ShapeRequest(context_length=32768, max_concurrency=1, engine="vllm", options=options))
    (cache,) = [part for part in sized.components if part.name == "kv_cache"]
    assert dict(cache.inputs)["pages"] == 1281
    assert cache.bytes == 1281 * 16 * 131_072
    half = named(max_batched_tokens=8192, kv_dtype=KvDtype.FP8)
    smaller = size_model(path, ShapeRequest(context_length=32768, max_concurrency=1, engine="vllm", options=half))
    assert component(smaller, "kv_cache") * 2 == cache.bytes
    scaled = named(kv_dtype=KvDtype.INT8_PER_TOKEN_HEAD)
    assert (
        size_model(path, ShapeRequest(engine="vllm", options=scaled)).kv_bytes_per_token
        == 131_072 // 2 + 32 * 8 * 2 * 4
    )


def test_groups_of_unequal_layers(tmp_path: Path) -> None:
    """Gemma-3's five windows for each full layer: six groups of the smallest kind's count, the short one filled up."""
    config = decoder("Gemma3ForCausalLM", "26/1152/4/1/6912/262144", head_dim=256, sliding_window=512)
    options = named(max_batched_tokens=1024)
    sized = size_model(
        written(config, tmp_path), ShapeRequest(context_length=8192, max_concurrency=1, engine="vllm", options=options)
    )
    (cache,) = [part for part in sized.components if part.name == "kv_cache"]
    pages = 1 * 512 + 6 * (-(-(511 + 2048) // 16) + 1)
    assert dict(cache.inputs) | {"pages": pages, "layers_per_group": 4, "groups": 7} == dict(cache.inputs)


def test_adapters_are_a_component(tmp_path: Path) -> None:
    """Four slots of rank 16 need both matrices of every linear layer."""
    path = written(MODELS["Llama-3.1-8B"].config, tmp_path)
    options = named(lora_adapters=4, lora_rank=16)
    sized = size_model(path, ShapeRequest(context_length=64, engine="vllm", options=options))
    widths = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)
    assert component(sized, "lora_adapters") == 4 * 16 * 32 * widths * 2


def test_heads_that_predict_further_tokens_stand_apart(tmp_path: Path) -> None:
    """DeepSeek-V3's one further layer is counted by itself, and said."""
    config = decoder("DeepseekV3ForCausalLM", "61/7168/128/128/18432/129280", q_lora_rank=1536, kv_lora_rank=512)
    config |= {
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "first_k_dense_replace": 3,
    }
    checkpoint = inspect_config(written(config | {"num_nextn_predict_layers": 1}, tmp_path))
    assert checkpoint.facts.parameter_count == 671_026_404_352
    hidden, queries = 7168, 1536 * 7168 + 1536 + 128 * 192 * 1536
    attention = queries + (512 + 64) * hidden + 512 + 128 * 256 * 512 + hidden * 128 * 128
    experts = (256 + 1) * 3 * 2048 * hidden + 256 * hidden
    assert checkpoint.mtp_parameter_count == attention + experts + 2 * hidden + 2 * hidden**2 + 3 * hidden
    assert any("stated apart" in warning for warning in size_model(checkpoint, ShapeRequest(engine="vllm")).warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (named(tensor_parallel=3), "divide the number of attention heads"),
        (named(tensor_parallel=0), "from 1 to 64"),
        (named(pipeline_parallel=33), "fewer layers than stages"),
        (named(block_size=0), "from 1 to 65536"),
        (named(lora_adapters=1, lora_rank=0), "lora rank is 0"),
    ],
)
def test_impossible_splits_are_refused(options: Pairs, words: str, tmp_path: Path) -> None:
    """What the engine would refuse is refused, and named."""
    path = written(MODELS["Llama-3.1-8B"].config, tmp_path)
    with pytest.raises(FieldInvalidError, match=words):
        size_model(path, ShapeRequest(engine="vllm", options=options))


def test_an_unverified_profile_says_so(tmp_path: Path) -> None:
    """No accuracy is claimed for an engine that nothing was run on."""
    path = written(MODELS["GPT-2"].config, tmp_path)
    assert size_model(path).is_verified
    for engine in ("vllm", "aphrodite", "sglang", "llama.cpp"):
        sized = size_model(path, ShapeRequest(engine=engine))
        assert not sized.is_verified
        assert any("profile unverified" in warning for warning in sized.warnings)


def test_letters_mark_the_layers_of_a_window(tmp_path: Path) -> None:
    """EXAONE 4.0 32B's "LLLG" with its ``layer_types`` left out: the plan of the list written out, a third of the cache of whole layers."""
    config = decoder("Exaone4ForCausalLM", "64/5120/40/8/27392/102400", head_dim=128, sliding_window=4096)
    shape = ShapeRequest(context_length=32768, max_concurrency=2, engine="vllm", options=named(max_batched_tokens=2048))

    def sized(**layers: object) -> SizedModel:
        return size_model(written(config | layers, tmp_path), shape)

    lettered = sized(layer_types=None, sliding_window_pattern="LLLG")
    listed = sized(layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 16)
    assert lettered.components == listed.components
    whole = component(sized(layer_types=["full_attention"] * 64), "kv_cache")
    assert 0.3 < component(lettered, "kv_cache") / whole < 0.45
