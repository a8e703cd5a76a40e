"""Configs drawn at random for every architecture of the catalogue, by the fields that its class has."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from tests.planning.drawn_fields import (
    Fields,
    bart,
    common,
    distilbert,
    encoder,
    experts,
    flags,
    for_sinusoids,
    gpt,
    groups,
    hybrid,
    latent,
    mamba,
    mamba_2,
    narrow,
    t5,
    wide,
    window,
)

Draw = Callable[[random.Random], Fields]

TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "decoder_start_token_id": 0}


def _with(*draws: Draw) -> Draw:
    def draw(rng: random.Random) -> Fields:
        fields: Fields = {}
        for one in draws:
            fields |= one(rng)
        return fields

    return draw


def _flags(*names: str) -> Draw:
    return lambda rng: flags(rng, *names)


def _experts(count: str, width: str | None, *shared: str) -> Draw:
    return lambda rng: experts(rng, count, width, *shared)


def _falcon(rng: random.Random) -> Fields:
    fields = common(rng)
    del fields["intermediate_size"]
    return fields | {
        "num_kv_heads": fields["num_key_value_heads"],
        "ffn_hidden_size": rng.choice([None, rng.randint(1, 90)]),
        **flags(rng, "new_decoder_architecture", "multi_query", "parallel_attn", "bias", "alibi"),
    }


def _mpt(rng: random.Random) -> Fields:
    heads = rng.randint(1, 6)
    return {
        "d_model": heads * 2 * rng.randint(1, 10),
        "n_heads": heads,
        "n_layers": rng.randint(1, 5),
        "max_seq_len": rng.randint(10, 90),
        "vocab_size": rng.randint(10, 500),
    }


def _opt(rng: random.Random) -> Fields:
    fields = common(rng)
    more = flags(rng, "do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine")
    narrower = rng.choice([None, rng.randint(1, 30)])
    return fields | more | {"ffn_dim": rng.randint(1, 90), "word_embed_proj_dim": narrower}


def _neo(rng: random.Random) -> Fields:
    fields = {name: value for name, value in common(rng).items() if name != "num_hidden_layers"}
    layers = 2 * rng.randint(1, 3)
    more = {"num_layers": layers, "num_heads": fields["num_attention_heads"]}
    return fields | more | {"attention_types": [[["global", "local"], layers // 2]]}


def _xglm(rng: random.Random) -> Fields:
    fields = common(rng)
    return {
        "d_model": for_sinusoids(fields["hidden_size"]),
        "ffn_dim": rng.randint(1, 90),
        "num_layers": rng.randint(1, 5),
        "attention_heads": fields["num_attention_heads"],
        "vocab_size": fields["vocab_size"],
        "max_position_embeddings": 64,
    }


def _helium(rng: random.Random) -> Fields:
    fields = common(rng) | flags(rng, "attention_bias", "mlp_bias")
    return fields | {"head_dim": fields["hidden_size"] // fields["num_attention_heads"]}


def _sparse(rng: random.Random) -> Fields:
    return {"decoder_sparse_step": rng.randint(1, 3), "mlp_only_layers": rng.choice([[], [0]])}


def _llama_4(rng: random.Random) -> Fields:
    fields = {"attention_chunk_size": rng.randint(2, 50), "interleave_moe_layer_step": rng.randint(1, 3)}
    return fields | {"intermediate_size_mlp": rng.randint(1, 90), "head_dim": 2 * rng.randint(1, 12)}


def _late(rng: random.Random) -> Fields:
    return window(rng) | {"use_sliding_window": rng.random() < 0.5, "max_window_layers": rng.randint(0, 5)}


def _first(rng: random.Random) -> Fields:
    return {"first_k_dense_replace": rng.randint(0, 3)} | groups(rng)


def _ernie(rng: random.Random) -> Fields:
    return {
        "moe_num_experts": rng.randint(4, 9),
        "moe_num_shared_experts": rng.randint(0, 2),
        "moe_k": 2,
        "moe_intermediate_size": rng.randint(1, 40),
        "moe_layer_start_index": rng.randint(0, 2),
        "moe_layer_end_index": rng.randint(3, 6),
        "moe_layer_interval": rng.randint(1, 2),
    }


def _shared_width(rng: random.Random) -> Fields:
    return {"shared_expert_intermediate_size": rng.randint(1, 50), "shared_intermediate_size": rng.choice([0, 7])}


_BIASED = _with(common, _flags("attention_bias"))
_WIDE = _with(_BIASED, wide)

DRAWS: Mapping[str, Draw] = {
    "ApertusForCausalLM": _BIASED,
    "ArceeForCausalLM": _with(_WIDE, _flags("mlp_bias")),
    "BambaForCausalLM": _with(hybrid, _flags("attention_bias", "mlp_bias")),
    "BertForSequenceClassification": encoder,
    "BertModel": encoder,
    "BloomForCausalLM": lambda rng: {"n_layer": rng.randint(1, 5), "n_head": 4, "hidden_size": 8 * rng.randint(1, 9)},
    "CodeGenForCausalLM": lambda rng: gpt(rng) | {"n_head": 4, "n_embd": 16 * rng.randint(1, 9)},
    "Cohere2ForCausalLM": _with(_WIDE, window),
    "CohereForCausalLM": _with(_BIASED, _flags("use_qk_norm")),
    "DeepseekV2ForCausalLM": _with(
        _BIASED,
        latent,
        _first,
        _flags("mlp_bias"),
        _experts("n_routed_experts", "moe_intermediate_size", "n_shared_experts"),
    ),
    "DeepseekV3ForCausalLM": _with(
        _BIASED, latent, _first, _experts("n_routed_experts", "moe_intermediate_size", "n_shared_experts")
    ),
    "DistilBertForSequenceClassification": distilbert,
    "DistilBertModel": distilbert,
    "Ernie4_5ForCausalLM": _with(common, wide, _flags("use_bias")),
    "Ernie4_5_MoeForCausalLM": _with(common, _ernie, _flags("use_bias")),
    "Exaone4ForCausalLM": _with(common, window),
    "FalconForCausalLM": _falcon,
    "FalconMambaForCausalLM": mamba,
    "GPT2LMHeadModel": lambda rng: {k: v for k, v in gpt(rng).items() if k != "rotary_dim"},
    "GPTBigCodeForCausalLM": _with(gpt, _flags("multi_query")),
    "GPTJForCausalLM": gpt,
    "GPTNeoForCausalLM": _neo,
    "GPTNeoXForCausalLM": _BIASED,
    "Gemma2ForCausalLM": _with(_WIDE, window),
    "Gemma3ForCausalLM": _with(_WIDE, window),
    "GemmaForCausalLM": _WIDE,
    "Glm4ForCausalLM": _WIDE,
    "Glm4MoeForCausalLM": _with(
        _WIDE,
        _first,
        _flags("use_qk_norm"),
        _experts("n_routed_experts", "moe_intermediate_size", "n_shared_experts"),
    ),
    "GlmForCausalLM": _WIDE,
    "GptOssForCausalLM": _with(_WIDE, window, _experts("num_local_experts", None)),
    "GraniteForCausalLM": _with(_BIASED, _flags("mlp_bias")),
    "GraniteMoeForCausalLM": _with(_BIASED, _experts("num_local_experts", None)),
    "GraniteMoeSharedForCausalLM": _with(_BIASED, _shared_width, _experts("num_local_experts", None)),
    "HeliumForCausalLM": _helium,
    "HunYuanDenseV1ForCausalLM": _WIDE,
    "JambaForCausalLM": hybrid,
    "Llama4ForCausalLM": _with(_BIASED, _llama_4, _experts("num_local_experts", None)),
    "LlamaForCausalLM": _with(_WIDE, _flags("mlp_bias")),
    "Mamba2ForCausalLM": mamba_2,
    "MambaForCausalLM": mamba,
    "MiniCPM3ForCausalLM": _with(_BIASED, latent, _flags("mlp_bias")),
    "MistralForCausalLM": common,
    "MixtralForCausalLM": _with(common, _experts("num_local_experts", None)),
    "MptForCausalLM": _mpt,
    "NanoChatForCausalLM": _BIASED,
    "NemotronForCausalLM": _with(_WIDE, _flags("mlp_bias")),
    "OPTForCausalLM": _opt,
    "Olmo2ForCausalLM": _BIASED,
    "Olmo3ForCausalLM": _with(_BIASED, window),
    "OlmoForCausalLM": _BIASED,
    "OlmoeForCausalLM": _with(_BIASED, _experts("num_experts", None)),
    "PersimmonForCausalLM": _with(common, _flags("qk_layernorm")),
    "Phi3ForCausalLM": common,
    "PhiForCausalLM": _with(common, _flags("qk_layernorm")),
    "PhimoeForCausalLM": _with(_BIASED, _flags("lm_head_bias"), _experts("num_local_experts", None)),
    "Qwen2ForCausalLM": common,
    "Qwen2MoeForCausalLM": _with(
        common, _late, _sparse, _shared_width, _flags("qkv_bias"), _experts("num_experts", "moe_intermediate_size")
    ),
    "Qwen3ForCausalLM": _with(_WIDE, _late),
    "Qwen3MoeForCausalLM": _with(_WIDE, _sparse, _experts("num_experts", "moe_intermediate_size")),
    "RobertaForSequenceClassification": encoder,
    "RobertaModel": encoder,
    "SeedOssForCausalLM": _with(_WIDE, _flags("attention_out_bias", "mlp_bias")),
    "SmolLM3ForCausalLM": _with(_BIASED, _flags("mlp_bias")),
    "StableLmForCausalLM": _with(common, _flags("use_qkv_bias", "qk_layernorm")),
    "Starcoder2ForCausalLM": _with(common, _flags("use_bias")),
    "VaultGemmaForCausalLM": _with(_WIDE, window),
    "XGLMForCausalLM": _xglm,
    "XLMRobertaForSequenceClassification": encoder,
    "XLMRobertaModel": encoder,
    "BioGptForCausalLM": common,
    "T5ForConditionalGeneration": t5,
    "MT5ForConditionalGeneration": t5,
    "UMT5ForConditionalGeneration": t5,
    "T5EncoderModel": t5,
    "BartForConditionalGeneration": bart,
    "PLBartForConditionalGeneration": bart,
    "MBartForConditionalGeneration": bart,
    "PegasusForConditionalGeneration": bart,
    "BlenderbotForConditionalGeneration": bart,
    "BlenderbotSmallForConditionalGeneration": bart,
    "MarianMTModel": bart,
    "M2M100ForConditionalGeneration": bart,
    "ElectraModel": narrow,
    "ElectraForSequenceClassification": narrow,
    "AlbertModel": narrow,
    "AlbertForSequenceClassification": narrow,
    "MPNetModel": encoder,
    "MPNetForSequenceClassification": encoder,
    "ModernBertModel": _with(encoder, _flags("norm_bias", "attention_bias", "mlp_bias")),
    "ModernBertForSequenceClassification": _with(encoder, _flags("norm_bias", "attention_bias", "classifier_bias")),
    "NomicBertModel": encoder,
    "CamembertForSequenceClassification": encoder,
}
"""A draw for each architecture of the catalogue."""
