//! Fields that transformers checks before it builds a model, and names that it looks up: what a load would fail with, found before.

use serde_json::Value;

use crate::config::{Fields, show};
use crate::{Result, SizingError};

/// What a field must be; none may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Whole,
    Number,
    Text,
}

const COMMON: [(&str, Kind); 5] = [
    ("vocab_size", Kind::Whole),
    ("initializer_range", Kind::Number),
    ("tie_word_embeddings", Kind::Flag),
    ("chunk_size_feed_forward", Kind::Whole),
    ("is_encoder_decoder", Kind::Flag),
];
const ENCODER: [(&str, Kind); 13] = [
    ("hidden_size", Kind::Whole),
    ("num_hidden_layers", Kind::Whole),
    ("num_attention_heads", Kind::Whole),
    ("intermediate_size", Kind::Whole),
    ("hidden_act", Kind::Text),
    ("hidden_dropout_prob", Kind::Number),
    ("attention_probs_dropout_prob", Kind::Number),
    ("max_position_embeddings", Kind::Whole),
    ("type_vocab_size", Kind::Whole),
    ("layer_norm_eps", Kind::Number),
    ("use_cache", Kind::Flag),
    ("is_decoder", Kind::Flag),
    ("add_cross_attention", Kind::Flag),
];
const DISTILBERT: [(&str, Kind); 11] = [
    ("max_position_embeddings", Kind::Whole),
    ("sinusoidal_pos_embds", Kind::Flag),
    ("n_layers", Kind::Whole),
    ("n_heads", Kind::Whole),
    ("dim", Kind::Whole),
    ("hidden_dim", Kind::Whole),
    ("dropout", Kind::Number),
    ("attention_dropout", Kind::Number),
    ("activation", Kind::Text),
    ("qa_dropout", Kind::Number),
    ("seq_classif_dropout", Kind::Number),
];
const DECODER: [(&str, Kind); 8] = [
    ("hidden_size", Kind::Whole),
    ("intermediate_size", Kind::Whole),
    ("num_hidden_layers", Kind::Whole),
    ("num_attention_heads", Kind::Whole),
    ("max_position_embeddings", Kind::Whole),
    ("rms_norm_eps", Kind::Number),
    ("use_cache", Kind::Flag),
    ("hidden_act", Kind::Text),
];
const GPT_2: [(&str, Kind); 17] = [
    ("n_positions", Kind::Whole),
    ("n_embd", Kind::Whole),
    ("n_layer", Kind::Whole),
    ("n_head", Kind::Whole),
    ("activation_function", Kind::Text),
    ("resid_pdrop", Kind::Number),
    ("embd_pdrop", Kind::Number),
    ("attn_pdrop", Kind::Number),
    ("layer_norm_epsilon", Kind::Number),
    ("summary_type", Kind::Text),
    ("summary_use_proj", Kind::Flag),
    ("summary_proj_to_labels", Kind::Flag),
    ("summary_first_dropout", Kind::Number),
    ("scale_attn_weights", Kind::Flag),
    ("use_cache", Kind::Flag),
    ("scale_attn_by_inverse_layer_idx", Kind::Flag),
    ("reorder_and_upcast_attn", Kind::Flag),
];
/// What single classes have beside the rest.
const MORE: [(&str, &[(&str, Kind)]); 6] = [
    ("LlamaForCausalLM", &[("attention_bias", Kind::Flag), ("mlp_bias", Kind::Flag)]),
    ("MistralForCausalLM", &[("num_key_value_heads", Kind::Whole), ("attention_dropout", Kind::Number)]),
    ("Qwen2ForCausalLM", &[("use_sliding_window", Kind::Flag), ("max_window_layers", Kind::Whole)]),
    (
        "Qwen3ForCausalLM",
        &[
            ("use_sliding_window", Kind::Flag),
            ("max_window_layers", Kind::Whole),
            ("attention_bias", Kind::Flag),
            ("head_dim", Kind::Whole),
        ],
    ),
    (
        "Gemma2ForCausalLM",
        &[
            ("num_key_value_heads", Kind::Whole),
            ("head_dim", Kind::Whole),
            ("attention_bias", Kind::Flag),
            ("hidden_activation", Kind::Text),
        ],
    ),
    (
        "MixtralForCausalLM",
        &[
            ("num_key_value_heads", Kind::Whole),
            ("num_experts_per_tok", Kind::Whole),
            ("num_local_experts", Kind::Whole),
            ("output_router_logits", Kind::Flag),
            ("router_aux_loss_coef", Kind::Number),
            ("router_jitter_noise", Kind::Number),
        ],
    ),
];
/// The activation functions that transformers knows by name.
pub const ACTIVATIONS: [&str; 24] = [
    "gelu",
    "gelu_10",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "gelu_python_tanh",
    "gelu_accurate",
    "hardswish",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "sqrtsoftplus",
    "swish",
    "tanh",
    "prelu",
    "xielu",
];
/// The kinds of rotary positions that it knows.
pub const ROPE_TYPES: [&str; 7] = ["default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional"];

/// Refuse what transformers would refuse of a config that the torch engine is to serve.
///
/// # Errors
/// [`SizingError::SourceUnsupported`], with the field and what it must be.
pub(crate) fn check(fields: &Fields) -> Result<()> {
    let name = fields.architecture()?;
    let (rows, activation): (&[(&str, Kind)], &'static str) = match name {
        _ if name.starts_with("DistilBert") => (&DISTILBERT, "activation"),
        _ if name.contains("BertModel") || name.contains("RobertaModel") || name.contains("ForSequence") => {
            (&ENCODER, "hidden_act")
        }
        "GPT2LMHeadModel" => (&GPT_2, "activation_function"),
        "Gemma2ForCausalLM" => (DECODER.split_last().map_or(&[], |(_, rest)| rest), "hidden_activation"),
        _ => (&DECODER, "hidden_act"),
    };
    let more = MORE.iter().find(|(class, _)| *class == name).map_or(&[] as &[_], |(_, rows)| rows);
    for (field, kind) in COMMON.iter().chain(rows).chain(more) {
        check_kind(fields, field, *kind)?;
    }
    check_activation(fields, activation)?;
    for field in ["rope_parameters", "rope_scaling"] {
        check_rope(fields, field)?;
    }
    Ok(())
}

fn unsupported(field: &'static str, detail: String) -> SizingError {
    SizingError::SourceUnsupported { file: "config.json".to_owned(), field, detail }
}

fn check_kind(fields: &Fields, field: &'static str, kind: Kind) -> Result<()> {
    let Some(value) = fields.written(field) else { return Ok(()) };
    let (right, expected) = match kind {
        Kind::Flag => (value.is_boolean(), "true or false"),
        Kind::Whole => (value.is_i64() || value.is_u64(), "a whole number"),
        Kind::Number => (value.is_number(), "a number"),
        Kind::Text => (value.is_string(), "a text"),
    };
    if right { Ok(()) } else { Err(unsupported(field, format!("it is {}; it must be {expected}", show(value)))) }
}

fn check_activation(fields: &Fields, field: &'static str) -> Result<()> {
    match fields.value(field).and_then(Value::as_str) {
        Some(name) if !ACTIVATIONS.contains(&name) => {
            let known = ACTIVATIONS.join(", ");
            Err(unsupported(field, format!("the activation {name:.60?} is not known; known are {known}")))
        }
        _ => Ok(()),
    }
}

fn check_rope(fields: &Fields, field: &'static str) -> Result<()> {
    let Some(Value::Object(rope)) = fields.value(field) else { return Ok(()) };
    // One for all layers, or one for each kind of layer.
    let each = rope.values().filter_map(Value::as_object).chain([rope]);
    for map in each {
        let named = map.get("rope_type").or_else(|| map.get("type")).and_then(Value::as_str);
        if let Some(name) = named.filter(|name| !ROPE_TYPES.contains(name)) {
            let known = ROPE_TYPES.join(", ");
            return Err(unsupported(field, format!("the rope_type {name:.60?} is not known; known are {known}")));
        }
    }
    Ok(())
}
