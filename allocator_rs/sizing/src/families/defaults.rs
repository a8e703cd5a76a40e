//! What transformers fills in where a nested config leaves a field out: the defaults of its config classes.
//!
//! Saved configs of wrappers leave out what equals a default of `text_config`'s or `vision_config`'s own class (Gemma 3,
//! `LLaVA` and Pixtral as published do). Numbers: transformers 5.23, the class that is named at each row,
//! `configuration_<model>.py`; `tests/planning/test_defaults.py` holds them to it.

use crate::config::Fields;

/// Fields and their defaults; None: the class says that there is nothing.
pub type Defaults = &'static [(&'static str, Option<u64>)];

/// A text model's config class.
#[derive(Debug, Clone, Copy)]
pub struct TextClass {
    /// Its `model_type`.
    pub kind: &'static str,
    /// The class of the catalogue whose rules it has.
    pub rules: &'static str,
    /// Default of `tie_word_embeddings`.
    pub tied: bool,
    /// Sizes. Key and value heads and widths of heads are left out where the class takes them from the rest.
    pub sizes: Defaults,
}

const fn text(kind: &'static str, rules: &'static str, tied: bool, sizes: Defaults) -> TextClass {
    TextClass { kind, rules, tied, sizes }
}

/// `LlamaConfig`.
const LLAMA: Defaults = &[
    ("vocab_size", Some(32_000)),
    ("hidden_size", Some(4_096)),
    ("intermediate_size", Some(11_008)),
    ("num_hidden_layers", Some(32)),
    ("num_attention_heads", Some(32)),
    ("max_position_embeddings", Some(2_048)),
];
/// `MistralConfig`.
const MISTRAL: Defaults = &[
    ("vocab_size", Some(32_000)),
    ("hidden_size", Some(4_096)),
    ("intermediate_size", Some(14_336)),
    ("num_hidden_layers", Some(32)),
    ("num_attention_heads", Some(32)),
    ("num_key_value_heads", Some(8)),
    ("max_position_embeddings", Some(131_072)),
    ("sliding_window", Some(4_096)),
];
/// `Ministral3Config`.
const MINISTRAL_3: Defaults = &[
    ("vocab_size", Some(131_072)),
    ("hidden_size", Some(4_096)),
    ("intermediate_size", Some(14_336)),
    ("num_hidden_layers", Some(34)),
    ("num_attention_heads", Some(32)),
    ("num_key_value_heads", Some(8)),
    ("head_dim", Some(128)),
    ("max_position_embeddings", Some(262_144)),
    ("sliding_window", None),
];
/// `Qwen2Config`.
const QWEN_2: Defaults = &[
    ("vocab_size", Some(151_936)),
    ("hidden_size", Some(4_096)),
    ("intermediate_size", Some(22_016)),
    ("num_hidden_layers", Some(32)),
    ("num_attention_heads", Some(32)),
    ("num_key_value_heads", Some(32)),
    ("max_position_embeddings", Some(32_768)),
    ("sliding_window", Some(4_096)),
    ("max_window_layers", Some(28)),
];
/// `Qwen2VLTextConfig` and `Qwen2_5_VLTextConfig`.
const QWEN_2_VL: Defaults = &[
    ("vocab_size", Some(152_064)),
    ("hidden_size", Some(8_192)),
    ("intermediate_size", Some(29_568)),
    ("num_hidden_layers", Some(80)),
    ("num_attention_heads", Some(64)),
    ("num_key_value_heads", Some(8)),
    ("max_position_embeddings", Some(32_768)),
    ("sliding_window", Some(4_096)),
    ("max_window_layers", Some(80)),
];
/// `Qwen3Config`.
const QWEN_3: Defaults = &[
    ("vocab_size", Some(151_936)),
    ("hidden_size", Some(4_096)),
    ("intermediate_size", Some(22_016)),
    ("num_hidden_layers", Some(32)),
    ("num_attention_heads", Some(32)),
    ("num_key_value_heads", Some(32)),
    ("head_dim", Some(128)),
    ("max_position_embeddings", Some(32_768)),
    ("sliding_window", Some(4_096)),
    ("max_window_layers", Some(28)),
];
/// `Qwen3VLTextConfig`.
const QWEN_3_VL: Defaults = &[
    ("vocab_size", Some(151_936)),
    ("hidden_size", Some(4_096)),
    ("intermediate_size", Some(22_016)),
    ("num_hidden_layers", Some(32)),
    ("num_attention_heads", Some(32)),
    ("num_key_value_heads", Some(32)),
    ("head_dim", Some(128)),
    ("max_position_embeddings", Some(128_000)),
];
/// `Qwen3VLMoeTextConfig`.
const QWEN_3_VL_MOE: Defaults = &[
    ("vocab_size", Some(151_936)),
    ("hidden_size", Some(2_048)),
    ("intermediate_size", Some(5_632)),
    ("num_hidden_layers", Some(24)),
    ("num_attention_heads", Some(16)),
    ("num_key_value_heads", Some(16)),
    ("max_position_embeddings", Some(128_000)),
    ("decoder_sparse_step", Some(1)),
    ("moe_intermediate_size", Some(1_408)),
    ("num_experts", Some(60)),
    ("num_experts_per_tok", Some(4)),
];
/// `GemmaConfig`.
const GEMMA: Defaults = &[
    ("vocab_size", Some(256_000)),
    ("hidden_size", Some(3_072)),
    ("intermediate_size", Some(24_576)),
    ("num_hidden_layers", Some(28)),
    ("num_attention_heads", Some(16)),
    ("num_key_value_heads", Some(16)),
    ("head_dim", Some(256)),
    ("max_position_embeddings", Some(8_192)),
];
/// `Gemma2Config`.
const GEMMA_2: Defaults = &[
    ("vocab_size", Some(256_000)),
    ("hidden_size", Some(2_304)),
    ("intermediate_size", Some(9_216)),
    ("num_hidden_layers", Some(26)),
    ("num_attention_heads", Some(8)),
    ("num_key_value_heads", Some(4)),
    ("head_dim", Some(256)),
    ("max_position_embeddings", Some(8_192)),
    ("sliding_window", Some(4_096)),
];
/// `Gemma3TextConfig`.
const GEMMA_3: Defaults = &[
    ("vocab_size", Some(262_208)),
    ("hidden_size", Some(2_304)),
    ("intermediate_size", Some(9_216)),
    ("num_hidden_layers", Some(26)),
    ("num_attention_heads", Some(8)),
    ("num_key_value_heads", Some(4)),
    ("head_dim", Some(256)),
    ("max_position_embeddings", Some(131_072)),
    ("sliding_window", Some(4_096)),
];
/// `Llama4TextConfig`.
const LLAMA_4: Defaults = &[
    ("vocab_size", Some(202_048)),
    ("hidden_size", Some(5_120)),
    ("intermediate_size", Some(8_192)),
    ("intermediate_size_mlp", Some(16_384)),
    ("num_hidden_layers", Some(48)),
    ("num_attention_heads", Some(40)),
    ("num_key_value_heads", Some(8)),
    ("head_dim", Some(128)),
    ("max_position_embeddings", Some(131_072)),
    ("interleave_moe_layer_step", Some(1)),
    ("num_local_experts", Some(16)),
    ("num_experts_per_tok", Some(1)),
    ("no_rope_layer_interval", Some(4)),
    ("attention_chunk_size", Some(8_192)),
];

/// The text models that may stand in a wrapper.
const TEXTS: [TextClass; 13] = [
    text("llama", "LlamaForCausalLM", false, LLAMA),
    text("mistral", "MistralForCausalLM", false, MISTRAL),
    text("ministral3", "MistralForCausalLM", false, MINISTRAL_3),
    text("qwen2", "Qwen2ForCausalLM", false, QWEN_2),
    text("qwen2_vl_text", "Qwen2ForCausalLM", false, QWEN_2_VL),
    text("qwen2_5_vl_text", "Qwen2ForCausalLM", false, QWEN_2_VL),
    text("qwen3", "Qwen3ForCausalLM", false, QWEN_3),
    text("qwen3_vl_text", "Qwen3ForCausalLM", false, QWEN_3_VL),
    text("qwen3_vl_moe_text", "Qwen3MoeForCausalLM", true, QWEN_3_VL_MOE),
    text("gemma", "GemmaForCausalLM", true, GEMMA),
    text("gemma2", "Gemma2ForCausalLM", true, GEMMA_2),
    text("gemma3_text", "Gemma3ForCausalLM", true, GEMMA_3),
    text("llama4_text", "Llama4ForCausalLM", false, LLAMA_4),
];

/// The text model's class of a `model_type`.
#[must_use]
pub fn text_class(kind: &str) -> Option<&'static TextClass> {
    TEXTS.iter().find(|known| known.kind == kind)
}

/// `SiglipVisionConfig`.
pub const SIGLIP: Defaults = &[
    ("hidden_size", Some(768)),
    ("intermediate_size", Some(3_072)),
    ("num_hidden_layers", Some(12)),
    ("image_size", Some(224)),
    ("patch_size", Some(16)),
];
/// `CLIPVisionConfig`.
pub const CLIP: Defaults = &[
    ("hidden_size", Some(768)),
    ("intermediate_size", Some(3_072)),
    ("num_hidden_layers", Some(12)),
    ("image_size", Some(224)),
    ("patch_size", Some(32)),
];
/// `PixtralVisionConfig`.
pub const PIXTRAL: Defaults = &[
    ("hidden_size", Some(1_024)),
    ("intermediate_size", Some(4_096)),
    ("num_hidden_layers", Some(24)),
    ("patch_size", Some(16)),
];
/// `Idefics3VisionConfig`.
pub const IDEFICS_3: Defaults = &[
    ("hidden_size", Some(1_152)),
    ("intermediate_size", Some(3_072)),
    ("num_hidden_layers", Some(12)),
    ("image_size", Some(224)),
    ("patch_size", Some(32)),
];
/// `Llama4VisionConfig`.
pub const LLAMA_4_VISION: Defaults = &[
    ("hidden_size", Some(768)),
    ("intermediate_size", Some(5_632)),
    ("num_hidden_layers", Some(34)),
    ("image_size", Some(448)),
    ("patch_size", Some(14)),
];

/// The other name of a field, by which transformers reads it as well (`attribute_map`).
fn other_name(field: &'static str) -> &'static str {
    if field == "num_experts" { "num_local_experts" } else { field }
}

/// A nested config as transformers takes it: what it leaves out has its class's default, and null stays null.
#[must_use]
pub fn filled(nested: &Fields, defaults: Defaults) -> Fields {
    let is_there = |field| nested.written(field).is_some() || nested.written(other_name(field)).is_some();
    nested.with_all(defaults.iter().filter(|(field, _)| !is_there(field)).map(|(field, size)| (*field, (*size).into())))
}
