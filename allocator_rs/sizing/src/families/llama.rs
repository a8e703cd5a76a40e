//! Llama, Mistral and Qwen2: pre-norm decoders with rotary positions and a gated MLP.

use super::decoder::marked;
use super::{Activations, FamilyRules, axis, divide, full_cache, rule};
use crate::Result;
use crate::architecture::Architecture;
use crate::cache::{CacheGroup, CacheKind};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::product;
use crate::model::{Layers, Model, Place, Role, Rule, Shape};
use crate::steps::{Decoding, decoder};

/// Decoders of transformers' `modeling_llama.py` and its copies.
pub struct Llama;

/// Which linear layers have biases.
struct Biases {
    qkv: bool,
    output: bool,
    mlp: bool,
}

impl FamilyRules for Llama {
    fn build(&self, architecture: &Architecture, fields: &Fields) -> Result<Model> {
        let hidden = fields.count("hidden_size", None)?;
        let heads = fields.count("num_attention_heads", None)?;
        let kv_heads = fields.count("num_key_value_heads", Some(heads))?;
        divide("num_key_value_heads", heads, kv_heads)?;
        let head_dim = if fields.has("head_dim") {
            fields.count("head_dim", None)?
        } else {
            divide("num_attention_heads", hidden, heads)?
        };
        let shape = Shape {
            hidden,
            layers: fields.count("num_hidden_layers", None)?,
            layers_field: "num_hidden_layers",
            heads,
            kv_heads,
            head_dim,
            intermediate: fields.count("intermediate_size", None)?,
            vocabulary: fields.count("vocab_size", None)?,
            max_context: fields.count("max_position_embeddings", None)?,
            labels: 0,
            tied: fields.flag("tie_word_embeddings", false)?,
            // inv_freq and original_inv_freq: half a head each, fp32 whatever the dtype.
            buffer_bytes: product("the buffers", &[head_dim / 2, 8])?,
        };
        let of_config = fields.flag("attention_bias", false)?;
        let biases = Biases {
            qkv: architecture.qkv_bias || of_config,
            output: !architecture.qkv_bias && of_config,
            mlp: fields.flag("mlp_bias", false)?,
        };
        let (rules, caches) = (rules(&shape, &biases)?, caches(architecture, &shape, fields)?);
        Ok(Model { caches, ..Model::new(shape, rules, fields.dtype()?) })
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        // Layers of two kinds have a mask each, which nothing was compared for.
        let verified = model.caches.len() == 1;
        Ok(Activations { verified, ..decoder(Decoding::Llama, model, workload)?.into() })
    }

    fn is_buffer(&self, tensor: &str) -> bool {
        tensor.ends_with("rotary_emb.inv_freq")
    }

    fn is_unused(&self, tensor: &str) -> bool {
        tensor == "lm_head.weight"
    }

    fn anchor(&self) -> Option<&'static str> {
        Some("embed_tokens.weight")
    }
}

/// Mistral's classes see a window of 4,096 tokens unless their config says otherwise; Qwen2's later layers may.
fn caches(architecture: &Architecture, shape: &Shape, fields: &Fields) -> Result<Vec<CacheGroup>> {
    let first = match architecture.name {
        "MistralForCausalLM" if !fields.is_null("sliding_window") => 0,
        "Qwen2ForCausalLM" if fields.flag("use_sliding_window", false)? => {
            fields.index("max_window_layers", Some(28))?
        }
        _ => return Ok(full_cache(shape)),
    };
    let window = fields.index("sliding_window", Some(4_096))?;
    let (heads, key_dim, value_dim) = (shape.kv_heads, shape.head_dim, shape.head_dim);
    if window == 0 || first >= shape.layers {
        return Ok(full_cache(shape));
    }
    let kind = CacheKind::Sliding { heads, key_dim, value_dim, window };
    if first == 0 {
        return Ok(vec![CacheGroup { kind, layers: Layers::All }]);
    }
    let full = CacheKind::Full { heads, key_dim, value_dim };
    let before = CacheGroup { kind: full, layers: marked(shape.layers, |layer| layer < first)? };
    Ok(vec![before, CacheGroup { kind, layers: marked(shape.layers, |layer| layer >= first)? }])
}

fn rules(shape: &Shape, biases: &Biases) -> Result<Vec<Rule>> {
    let hidden = axis("hidden_size", shape.hidden);
    let vocabulary = axis("vocab_size", shape.vocabulary);
    let inner = axis("intermediate_size", shape.intermediate);
    let query = axis("num_attention_heads", product("a parameter's size", &[shape.heads, shape.head_dim])?);
    let key = axis("num_key_value_heads", product("a parameter's size", &[shape.kv_heads, shape.head_dim])?);
    let mut rules = vec![
        rule("embed_tokens.weight", Place::Base, Role::Embedding, &[vocabulary, hidden]),
        rule("norm.weight", Place::Base, Role::Vector, &[hidden]),
        rule("layers.{}.input_layernorm.weight", Place::Layer, Role::Vector, &[hidden]),
        rule("layers.{}.post_attention_layernorm.weight", Place::Layer, Role::Vector, &[hidden]),
    ];
    for (names, output, input, bias) in [
        (["layers.{}.self_attn.q_proj.weight", "layers.{}.self_attn.q_proj.bias"], query, hidden, biases.qkv),
        (["layers.{}.self_attn.k_proj.weight", "layers.{}.self_attn.k_proj.bias"], key, hidden, biases.qkv),
        (["layers.{}.self_attn.v_proj.weight", "layers.{}.self_attn.v_proj.bias"], key, hidden, biases.qkv),
        (["layers.{}.self_attn.o_proj.weight", "layers.{}.self_attn.o_proj.bias"], hidden, query, biases.output),
        (["layers.{}.mlp.gate_proj.weight", "layers.{}.mlp.gate_proj.bias"], inner, hidden, biases.mlp),
        (["layers.{}.mlp.up_proj.weight", "layers.{}.mlp.up_proj.bias"], inner, hidden, biases.mlp),
        (["layers.{}.mlp.down_proj.weight", "layers.{}.mlp.down_proj.bias"], hidden, inner, biases.mlp),
    ] {
        rules.push(rule(names[0], Place::Layer, Role::Linear, &[output, input]));
        if bias {
            rules.push(rule(names[1], Place::Layer, Role::Vector, &[output]));
        }
    }
    if !shape.tied {
        rules.push(rule("lm_head.weight", Place::Head, Role::OutputEmbedding, &[vocabulary, hidden]));
    }
    Ok(rules)
}
