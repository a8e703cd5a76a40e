//! GPT-2: a pre-norm decoder with learned positions, whose matrices are `Conv1D` and so are never quantised.

use serde_json::json;

use super::{Activations, FamilyRules, axis, divide, full_cache, rule, weight_and_bias};
use crate::Result;
use crate::architecture::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::math::product;
use crate::model::{Model, Place, Role, Rule, Shape};
use crate::steps::{Decoding, decoder};

/// Decoders of transformers' `modeling_gpt2.py`.
pub struct Gpt2;

impl FamilyRules for Gpt2 {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        fields.only("add_cross_attention", &[json!(false)])?;
        let hidden = fields.count("n_embd", None)?;
        let heads = fields.count("n_head", None)?;
        let shape = Shape {
            hidden,
            layers: fields.count("n_layer", None)?,
            layers_field: "n_layer",
            heads,
            kv_heads: heads,
            head_dim: divide("n_head", hidden, heads)?,
            intermediate: fields.count("n_inner", Some(product("n_inner", &[4, hidden])?))?,
            vocabulary: fields.count("vocab_size", None)?,
            max_context: fields.count("n_positions", None)?,
            labels: 0,
            tied: fields.flag("tie_word_embeddings", true)?,
            buffer_bytes: 0,
        };
        let (rules, caches) = (rules(&shape)?, full_cache(&shape));
        Ok(Model { caches, ..Model::new(shape, rules, fields.dtype()?) })
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        decoder(Decoding::Gpt2, model, workload).map(Activations::from)
    }

    fn is_buffer(&self, tensor: &str) -> bool {
        tensor.ends_with(".attn.bias") || tensor.ends_with(".attn.masked_bias")
    }

    fn is_unused(&self, tensor: &str) -> bool {
        tensor == "lm_head.weight"
    }

    fn anchor(&self) -> Option<&'static str> {
        Some("wte.weight")
    }
}

fn rules(shape: &Shape) -> Result<Vec<Rule>> {
    let hidden = axis("n_embd", shape.hidden);
    let thrice = axis("n_embd", product("a parameter's size", &[3, shape.hidden])?);
    let inner = axis("n_inner", shape.intermediate);
    let vocabulary = axis("vocab_size", shape.vocabulary);
    let mut rules = vec![
        rule("wte.weight", Place::Base, Role::Embedding, &[vocabulary, hidden]),
        rule("wpe.weight", Place::Base, Role::Embedding, &[axis("n_positions", shape.max_context), hidden]),
    ];
    rules.extend(weight_and_bias(["ln_f.weight", "ln_f.bias"], Place::Base, hidden, None));
    rules.extend(weight_and_bias(["h.{}.ln_1.weight", "h.{}.ln_1.bias"], Place::Layer, hidden, None));
    rules.extend(weight_and_bias(["h.{}.ln_2.weight", "h.{}.ln_2.bias"], Place::Layer, hidden, None));
    for (names, input, output) in [
        (["h.{}.attn.c_attn.weight", "h.{}.attn.c_attn.bias"], hidden, thrice),
        (["h.{}.attn.c_proj.weight", "h.{}.attn.c_proj.bias"], hidden, hidden),
        (["h.{}.mlp.c_fc.weight", "h.{}.mlp.c_fc.bias"], hidden, inner),
        (["h.{}.mlp.c_proj.weight", "h.{}.mlp.c_proj.bias"], inner, hidden),
    ] {
        rules.push(rule(names[0], Place::Layer, Role::Conv1d, &[input, output]));
        rules.push(rule(names[1], Place::Layer, Role::Vector, &[output]));
    }
    if !shape.tied {
        rules.push(rule("lm_head.weight", Place::Head, Role::OutputEmbedding, &[vocabulary, hidden]));
    }
    Ok(rules)
}
