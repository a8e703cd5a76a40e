//! The rows: one decoder each, as it differs from another one.

use super::details::{Attention, Dense, Experts, Flag, HeadNorm, Kept, Latent, Positions, Shared, Style, Window};
use crate::families::blocks::Norm;
use crate::steps::Decoding;

const NO_HEAD_NORM: HeadNorm = HeadNorm { when: Flag::Never, full: false, bias: false };
const HEAD_NORM: HeadNorm = HeadNorm { when: Flag::Always, full: false, bias: false };
const FULL_NORM: HeadNorm = HeadNorm { when: Flag::Always, full: true, bias: false };
const CONFIG_BIAS: Flag = Flag::Field("attention_bias", false);

/// As Llama: what most rows begin with.
pub const LLAMA: Style = Style {
    norm: Norm::Weight,
    layer_norms: 2,
    final_norm: Norm::Weight,
    qkv_bias: CONFIG_BIAS,
    out_bias: CONFIG_BIAS,
    mlp_bias: Flag::Never,
    head_norm: NO_HEAD_NORM,
    gated: true,
    positions: Positions::Computed,
    embedding_norm: false,
    embedding_scale: false,
    tied: false,
    head_bias: Flag::Never,
    head_dim: None,
    kv_heads: None,
    attention: Attention::Heads,
    inner_times_four: false,
    experts: None,
    window: Window::Nowhere,
    sinks: false,
    activation_parameters: 0,
    step: None,
};

/// As GPT-2 with separate linear layers: layer norms, biases, a plain MLP.
const CLASSIC: Style = Style {
    norm: Norm::WeightAndBias,
    final_norm: Norm::WeightAndBias,
    qkv_bias: Flag::Always,
    out_bias: Flag::Always,
    mlp_bias: Flag::Always,
    gated: false,
    tied: true,
    attention: Attention::AllHeads,
    ..LLAMA
};

const fn experts(count: &'static [&'static str], default: u64, width: &'static str) -> Experts {
    Experts {
        count,
        default,
        width,
        dense: Dense::Nowhere,
        shared: Shared::Nowhere,
        shared_gate: false,
        bias: false,
        correction: false,
        kept: Kept::Together,
    }
}

const LOCAL: &[&str] = &["num_local_experts", "num_experts"];
const PLAIN: &[&str] = &["num_experts", "num_local_experts"];
const ROUTED: &[&str] = &["n_routed_experts", "num_local_experts"];

/// Gemma.
pub static GEMMA: Style = Style { tied: true, embedding_scale: true, head_dim: Some(256), ..LLAMA };
/// Gemma 2.
pub static GEMMA_2: Style = Style {
    tied: true,
    embedding_scale: true,
    head_dim: Some(256),
    kv_heads: Some(4),
    layer_norms: 4,
    window: Window::AllBut(2, 4096),
    step: Some(Decoding::Gemma2),
    ..LLAMA
};
/// Gemma 3.
pub static GEMMA_3: Style = Style { head_norm: HEAD_NORM, window: Window::AllBut(6, 4096), step: None, ..GEMMA_2 };
/// Vault Gemma.
pub static VAULT_GEMMA: Style = Style { layer_norms: 2, step: None, ..GEMMA_2 };
/// Qwen 3.
pub static QWEN_3: Style =
    Style { head_norm: HEAD_NORM, head_dim: Some(128), window: Window::Late, step: Some(Decoding::Qwen3), ..LLAMA };
/// Qwen 3 Moe.
pub static QWEN_3_MOE: Style = Style {
    head_dim: None,
    kv_heads: Some(4),
    experts: Some(Experts { dense: Dense::Step, ..experts(PLAIN, 128, "moe_intermediate_size") }),
    step: None,
    ..QWEN_3
};
/// Qwen 2 Moe.
pub static QWEN_2_MOE: Style = Style {
    qkv_bias: Flag::Field("qkv_bias", true),
    out_bias: Flag::Never,
    window: Window::Late,
    experts: Some(Experts {
        dense: Dense::Step,
        shared: Shared::Width("shared_expert_intermediate_size"),
        shared_gate: true,
        ..experts(PLAIN, 60, "moe_intermediate_size")
    }),
    ..LLAMA
};
/// Llama 4, text alone.
pub static LLAMA_4: Style = Style {
    kv_heads: Some(8),
    head_dim: Some(128),
    window: Window::Chunks(4, 8_192),
    experts: Some(Experts {
        dense: Dense::Listed,
        shared: Shared::Width("intermediate_size"),
        ..experts(LOCAL, 16, "intermediate_size")
    }),
    ..LLAMA
};
/// Mixtral.
pub static MIXTRAL: Style = Style {
    qkv_bias: Flag::Never,
    out_bias: Flag::Never,
    kv_heads: Some(8),
    window: Window::Everywhere(None),
    experts: Some(Experts { kept: Kept::Apart, ..experts(LOCAL, 8, "intermediate_size") }),
    step: Some(Decoding::Mixtral),
    ..LLAMA
};
/// Phi.
pub static PHI: Style = Style {
    norm: Norm::WeightAndBias,
    final_norm: Norm::WeightAndBias,
    layer_norms: 1,
    qkv_bias: Flag::Always,
    out_bias: Flag::Always,
    mlp_bias: Flag::Always,
    head_norm: HeadNorm { when: Flag::Field("qk_layernorm", false), full: false, bias: true },
    gated: false,
    head_bias: Flag::Always,
    ..LLAMA
};
/// Phi 3.
pub static PHI_3: Style =
    Style { qkv_bias: Flag::Never, out_bias: Flag::Never, window: Window::Everywhere(None), ..LLAMA };
/// Phi Moe.
pub static PHI_MOE: Style = Style {
    norm: Norm::WeightAndBias,
    final_norm: Norm::WeightAndBias,
    head_bias: Flag::Field("lm_head_bias", false),
    kv_heads: Some(8),
    window: Window::Everywhere(None),
    experts: Some(experts(LOCAL, 16, "intermediate_size")),
    ..LLAMA
};
/// Cohere.
pub static COHERE: Style = Style {
    layer_norms: 1,
    tied: true,
    head_norm: HeadNorm { when: Flag::Field("use_qk_norm", false), full: true, bias: false },
    ..LLAMA
};
/// Cohere 2.
pub static COHERE_2: Style = Style { layer_norms: 1, tied: true, window: Window::AllBut(4, 4096), ..LLAMA };
/// Olmo.
pub static OLMO: Style = Style { norm: Norm::Bare, final_norm: Norm::Bare, ..LLAMA };
/// Olmo 2.
pub static OLMO_2: Style = Style { head_norm: FULL_NORM, ..LLAMA };
/// Olmo 3.
pub static OLMO_3: Style = Style { head_norm: FULL_NORM, window: Window::AllBut(4, 4096), ..LLAMA };
/// Olmoe.
pub static OLMOE: Style =
    Style { head_norm: FULL_NORM, experts: Some(experts(PLAIN, 64, "intermediate_size")), ..LLAMA };
/// Stable Lm.
pub static STABLE_LM: Style = Style {
    norm: Norm::WeightAndBias,
    final_norm: Norm::WeightAndBias,
    qkv_bias: Flag::Field("use_qkv_bias", false),
    out_bias: Flag::Never,
    head_norm: HeadNorm { when: Flag::Field("qk_layernorm", false), full: true, bias: false },
    ..LLAMA
};
/// Starcoder 2.
pub static STARCODER_2: Style = Style {
    qkv_bias: Flag::Field("use_bias", true),
    out_bias: Flag::Field("use_bias", true),
    mlp_bias: Flag::Field("use_bias", true),
    attention: Attention::Heads,
    kv_heads: Some(2),
    window: Window::Everywhere(None),
    ..CLASSIC
};
/// Granite.
pub static GRANITE: Style = Style { mlp_bias: Flag::Field("mlp_bias", false), ..LLAMA };
/// Granite Moe.
pub static GRANITE_MOE: Style = Style { experts: Some(experts(LOCAL, 8, "intermediate_size")), ..LLAMA };
/// Granite Moe Shared.
pub static GRANITE_MOE_SHARED: Style = Style {
    experts: Some(Experts {
        shared: Shared::Width("shared_intermediate_size"),
        ..experts(LOCAL, 8, "intermediate_size")
    }),
    ..LLAMA
};
/// Gpt Neox.
pub static GPT_NEOX: Style = Style {
    tied: false,
    qkv_bias: Flag::Field("attention_bias", true),
    out_bias: Flag::Field("attention_bias", true),
    ..CLASSIC
};
/// Gpt J.
pub static GPT_J: Style = Style {
    inner_times_four: true,
    layer_norms: 1,
    qkv_bias: Flag::Never,
    out_bias: Flag::Never,
    tied: false,
    head_bias: Flag::Always,
    ..CLASSIC
};
/// Gpt Neo.
pub static GPT_NEO: Style =
    Style { inner_times_four: true, qkv_bias: Flag::Never, positions: Positions::Table(0), ..CLASSIC };
/// Gpt Bigcode.
pub static GPT_BIGCODE: Style =
    Style { inner_times_four: true, positions: Positions::Table(0), attention: Attention::MultiQuery, ..CLASSIC };
/// Bloom.
pub static BLOOM: Style = Style { inner_times_four: true, embedding_norm: true, ..CLASSIC };
/// Biogpt.
pub static BIOGPT: Style = Style { positions: Positions::Table(2), ..CLASSIC };
/// Xglm.
pub static XGLM: Style = CLASSIC;
/// Persimmon.
pub static PERSIMMON: Style = Style {
    tied: false,
    head_norm: HeadNorm { when: Flag::Field("qk_layernorm", true), full: false, bias: true },
    ..CLASSIC
};
/// Nemotron.
pub static NEMOTRON: Style = Style {
    norm: Norm::WeightAndBias,
    final_norm: Norm::WeightAndBias,
    gated: false,
    mlp_bias: Flag::Field("mlp_bias", false),
    ..LLAMA
};
/// Falcon.
pub static FALCON: Style = Style {
    inner_times_four: true,
    qkv_bias: Flag::Field("bias", false),
    out_bias: Flag::Field("bias", false),
    mlp_bias: Flag::Field("bias", false),
    attention: Attention::Falcon,
    ..CLASSIC
};
/// Mpt.
pub static MPT: Style = Style {
    inner_times_four: true,
    norm: Norm::Weight,
    final_norm: Norm::Weight,
    qkv_bias: Flag::Never,
    out_bias: Flag::Never,
    mlp_bias: Flag::Never,
    ..CLASSIC
};
/// Glm.
pub static GLM: Style = Style {
    qkv_bias: Flag::Field("attention_bias", true),
    out_bias: Flag::Never,
    kv_heads: Some(2),
    head_dim: Some(128),
    ..LLAMA
};
/// Glm 4.
pub static GLM_4: Style = Style { layer_norms: 4, ..GLM };
/// Glm 4 Moe.
pub static GLM_4_MOE: Style = Style {
    out_bias: Flag::Never,
    kv_heads: Some(8),
    head_norm: HeadNorm { when: Flag::Field("use_qk_norm", false), full: false, bias: false },
    experts: Some(Experts {
        dense: Dense::First("first_k_dense_replace", 1),
        shared: Shared::Times("n_shared_experts"),
        ..experts(ROUTED, 128, "moe_intermediate_size")
    }),
    ..LLAMA
};
/// Gpt Oss.
pub static GPT_OSS: Style = Style {
    qkv_bias: Flag::Field("attention_bias", true),
    out_bias: Flag::Field("attention_bias", true),
    kv_heads: Some(8),
    head_dim: Some(64),
    sinks: true,
    window: Window::AllBut(2, 128),
    experts: Some(Experts { bias: true, ..experts(LOCAL, 128, "intermediate_size") }),
    ..LLAMA
};
/// Exaone 4.
pub static EXAONE_4: Style = Style {
    qkv_bias: Flag::Never,
    out_bias: Flag::Never,
    head_norm: HEAD_NORM,
    window: Window::AllBut(4, 4096),
    ..LLAMA
};
/// Smollm 3.
pub static SMOLLM_3: Style = Style { tied: true, kv_heads: Some(4), mlp_bias: Flag::Field("mlp_bias", false), ..LLAMA };
/// Seed Oss.
pub static SEED_OSS: Style = Style {
    qkv_bias: Flag::Field("attention_bias", true),
    out_bias: Flag::Field("attention_out_bias", false),
    mlp_bias: Flag::Field("mlp_bias", false),
    kv_heads: Some(8),
    head_dim: Some(128),
    ..LLAMA
};
const USE_BIAS: Flag = Flag::Field("use_bias", false);
/// Ernie 4 5.
pub static ERNIE_4_5: Style = Style {
    qkv_bias: USE_BIAS,
    out_bias: USE_BIAS,
    mlp_bias: USE_BIAS,
    tied: true,
    kv_heads: Some(2),
    head_dim: Some(128),
    ..LLAMA
};
/// Ernie 4 5 Moe.
pub static ERNIE_4_5_MOE: Style = Style {
    head_bias: USE_BIAS,
    kv_heads: Some(4),
    head_dim: None,
    experts: Some(Experts {
        dense: Dense::Ernie,
        shared: Shared::Times("moe_num_shared_experts"),
        correction: true,
        ..experts(&["moe_num_experts"], 64, "moe_intermediate_size")
    }),
    ..ERNIE_4_5
};
/// Helium.
pub static HELIUM: Style =
    Style { head_dim: Some(128), out_bias: Flag::Never, mlp_bias: Flag::Field("mlp_bias", false), ..LLAMA };
/// Arcee.
pub static ARCEE: Style = Style { gated: false, mlp_bias: Flag::Field("mlp_bias", false), ..LLAMA };
/// Apertus.
pub static APERTUS: Style = Style { gated: false, head_norm: HEAD_NORM, activation_parameters: 2, ..LLAMA };
/// Hunyuan.
pub static HUNYUAN: Style = Style { head_norm: HEAD_NORM, ..LLAMA };
/// Nanochat.
pub static NANOCHAT: Style = Style { norm: Norm::Bare, final_norm: Norm::Bare, gated: false, ..LLAMA };
const DEEPSEEK: Latent = Latent { query_rank: 1536, rank: 512, plain: 128, rotary: 64, value: 128 };
/// Deepseek 2.
pub static DEEPSEEK_2: Style = Style {
    mlp_bias: Flag::Field("mlp_bias", false),
    attention: Attention::Latent(DEEPSEEK),
    experts: Some(Experts {
        dense: Dense::First("first_k_dense_replace", 0),
        shared: Shared::Times("n_shared_experts"),
        ..experts(ROUTED, 64, "moe_intermediate_size")
    }),
    ..LLAMA
};
/// Deepseek 3.
pub static DEEPSEEK_3: Style = Style {
    mlp_bias: Flag::Never,
    experts: Some(Experts {
        dense: Dense::First("first_k_dense_replace", 3),
        shared: Shared::Times("n_shared_experts"),
        ..experts(ROUTED, 256, "moe_intermediate_size")
    }),
    ..DEEPSEEK_2
};
const MINICPM: Latent = Latent { query_rank: 768, rank: 256, plain: 64, rotary: 32, value: 64 };
/// Minicpm 3.
pub static MINICPM_3: Style =
    Style { attention: Attention::Latent(MINICPM), tied: true, mlp_bias: Flag::Field("mlp_bias", false), ..LLAMA };
