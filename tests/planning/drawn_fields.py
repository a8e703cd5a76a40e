"""Fields of configs drawn at random, by what classes share."""

from __future__ import annotations

import random
from typing import Any

Fields = dict[str, Any]


def common(rng: random.Random) -> Fields:
    """Return the fields that most decoders and encoders have; heads are shared evenly by key and value heads."""
    kv_heads = rng.randint(1, 4)
    heads = kv_heads * rng.randint(1, 4)
    head_dim = 2 * rng.randint(1, 12)
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_size": heads * head_dim,
        "num_hidden_layers": rng.randint(1, 7),
        "intermediate_size": rng.randint(1, 150),
        "vocab_size": rng.randint(40, 500),
        "max_position_embeddings": rng.randint(20, 100),
        "tie_word_embeddings": rng.random() < 0.5,
    }


def flags(rng: random.Random, *names: str) -> Fields:
    """Return random truth values."""
    return {name: rng.random() < 0.5 for name in names}


def wide(rng: random.Random) -> Fields:
    """Return a head width that does not follow from the hidden width."""
    return {"head_dim": 2 * rng.randint(1, 12)}


def experts(rng: random.Random, count: str, width: str | None, *shared: str) -> Fields:
    """Return the fields of a mixture of experts."""
    fields: Fields = {count: rng.randint(4, 9), "num_experts_per_tok": 2}
    if width:
        fields[width] = rng.randint(1, 60)
    for name in shared:
        fields[name] = rng.randint(1, 3)
    return fields


def groups(rng: random.Random) -> Fields:
    """Return routing in one group, so that any number of experts will do."""
    return {"n_group": rng.randint(1, 1), "topk_group": 1}


def latent(rng: random.Random) -> Fields:
    """Return widths of compressed attention."""
    return {
        "kv_lora_rank": rng.randint(1, 40),
        "q_lora_rank": rng.choice([None, rng.randint(1, 40)]),
        "qk_nope_head_dim": rng.randint(1, 20),
        "qk_rope_head_dim": 2 * rng.randint(1, 10),
        "v_head_dim": rng.randint(1, 20),
    }


def window(rng: random.Random) -> Fields:
    """Return a sliding window."""
    return {"sliding_window": rng.randint(2, 50)}


def for_sinusoids(width: int) -> int:
    """Return a width that fairseq's sinusoids can have: they divide by half of it less one, so 2 cannot be built."""
    return max(width, 4)


def gpt(rng: random.Random) -> Fields:
    """Return the fields of GPT-2's line."""
    heads = rng.randint(1, 8)
    return {
        "n_embd": heads * 2 * rng.randint(1, 8),
        "n_head": heads,
        "n_layer": rng.randint(1, 5),
        "n_inner": rng.choice([None, rng.randint(1, 200)]),
        "vocab_size": rng.randint(10, 500),
        "n_positions": rng.randint(10, 100),
        "tie_word_embeddings": rng.random() < 0.5,
        "rotary_dim": 2,
    }


def encoder(rng: random.Random) -> Fields:
    """Return the fields of BERT's line."""
    return common(rng) | {"type_vocab_size": rng.randint(1, 4), "num_labels": rng.randint(1, 9)}


def narrow(rng: random.Random) -> Fields:
    """Return an encoder whose embedding may be narrower than its layers."""
    fields = encoder(rng)
    return fields | {"embedding_size": rng.choice([fields["hidden_size"], rng.randint(1, 30)])}


def distilbert(rng: random.Random) -> Fields:
    """Return DistilBERT's fields."""
    heads = rng.randint(1, 8)
    return {
        "dim": heads * rng.randint(1, 16),
        "n_heads": heads,
        "n_layers": rng.randint(1, 5),
        "hidden_dim": rng.randint(1, 200),
        "vocab_size": rng.randint(10, 500),
        "max_position_embeddings": rng.randint(10, 100),
        "num_labels": rng.randint(1, 9),
    }


def t5(rng: random.Random) -> Fields:
    """Return T5's fields."""
    return {
        "d_model": rng.randint(1, 60),
        "d_kv": rng.randint(1, 20),
        "d_ff": rng.randint(1, 90),
        "num_layers": rng.randint(1, 4),
        "num_decoder_layers": rng.randint(1, 4),
        "num_heads": rng.randint(1, 6),
        "vocab_size": rng.randint(40, 500),
        "relative_attention_num_buckets": rng.randint(4, 40),
        "feed_forward_proj": rng.choice(["relu", "gated-gelu"]),
        "tie_word_embeddings": rng.random() < 0.5,
    }


def bart(rng: random.Random) -> Fields:
    """Return BART's fields."""
    heads = rng.randint(1, 5)
    return {
        "d_model": for_sinusoids(heads * 2 * rng.randint(1, 12)),
        "encoder_layers": rng.randint(1, 4),
        "decoder_layers": rng.randint(1, 4),
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": rng.randint(1, 90),
        "decoder_ffn_dim": rng.randint(1, 90),
        "vocab_size": rng.randint(40, 500),
        "max_position_embeddings": rng.randint(20, 100),
    }


def mamba(rng: random.Random) -> Fields:
    """Return Mamba's fields."""
    fields: Fields = {
        "hidden_size": 16 * rng.randint(1, 6),
        "num_hidden_layers": rng.randint(1, 5),
        "state_size": rng.randint(1, 20),
        "conv_kernel": rng.randint(2, 5),
        "expand": rng.randint(1, 3),
        "time_step_rank": rng.choice(["auto", rng.randint(1, 9)]),
        "vocab_size": rng.randint(40, 500),
    }
    return fields | flags(rng, "use_bias", "use_conv_bias", "tie_word_embeddings")


def mamba_2(rng: random.Random) -> Fields:
    """Return Mamba-2's fields, which must agree with each other."""
    heads, head_dim = rng.randint(1, 6), 2 * rng.randint(1, 8)
    fields: Fields = {
        "num_heads": heads,
        "head_dim": head_dim,
        "hidden_size": heads * head_dim // 2,
        "expand": 2,
        "num_hidden_layers": rng.randint(1, 5),
        "state_size": rng.randint(1, 20),
        "n_groups": 1,
        "conv_kernel": rng.randint(2, 5),
        "vocab_size": rng.randint(40, 500),
    }
    return fields | flags(rng, "use_bias", "use_conv_bias", "tie_word_embeddings")


def hybrid(rng: random.Random) -> Fields:
    """Return the fields of Mamba beside attention."""
    fields = common(rng)
    inner = 2 * fields["hidden_size"]
    heads = rng.choice([n for n in range(1, 9) if inner % n == 0])
    return (
        fields
        | {
            "mamba_d_state": rng.randint(1, 20),
            "mamba_d_conv": rng.randint(2, 5),
            "mamba_expand": 2,
            "mamba_dt_rank": rng.choice(["auto", rng.randint(1, 9)]),
            "mamba_n_heads": heads,
            "mamba_d_head": inner // heads,
            "mamba_n_groups": 1,
            "attn_layer_period": rng.randint(2, 4),
            "attn_layer_offset": rng.randint(0, 1),
            "expert_layer_period": rng.randint(2, 3),
            "expert_layer_offset": rng.randint(0, 1),
            "num_experts": rng.choice([1, 4]),
            "num_experts_per_tok": 1,
            "attn_layer_indices": sorted(rng.sample(range(fields["num_hidden_layers"]), 1)),
        }
        | flags(rng, "mamba_conv_bias", "mamba_proj_bias")
    )
