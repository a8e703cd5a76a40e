//! OPT: a decoder with learned positions whose embedding may be narrower than its layers.

use super::blocks::{Builder, Linear, Norm};
use super::decoder::generic_activations;
use super::{Activations, FamilyRules, axis, divide};
use crate::Result;
use crate::architecture::Architecture;
use crate::cache::{CacheGroup, CacheKind};
use crate::component::Workload;
use crate::config::Fields;
use crate::model::{Layers, Model, Role, Shape, Split};

/// Rows of the position table beside those of the context.
const POSITION_OFFSET: u64 = 2;

/// Decoders of transformers' `modeling_opt.py`.
pub struct Opt;

impl FamilyRules for Opt {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        let hidden = fields.count("hidden_size", None)?;
        let heads = fields.count("num_attention_heads", None)?;
        let head_dim = divide("num_attention_heads", hidden, heads)?;
        let shape = Shape {
            hidden,
            layers: fields.count("num_hidden_layers", None)?,
            layers_field: "num_hidden_layers",
            heads,
            kv_heads: heads,
            head_dim,
            intermediate: fields.count("ffn_dim", None)?,
            vocabulary: fields.count("vocab_size", None)?,
            max_context: fields.count("max_position_embeddings", None)?,
            labels: 0,
            tied: fields.flag("tie_word_embeddings", true)?,
            buffer_bytes: 0,
        };
        let mut model = Model::new(shape, Vec::new(), fields.dtype()?);
        model.rules = rules(&model.shape, fields)?;
        let kind = CacheKind::Full { heads, key_dim: head_dim, value_dim: head_dim };
        model.caches = vec![CacheGroup { kind, layers: Layers::All }];
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}

fn rules(shape: &Shape, fields: &Fields) -> Result<Vec<crate::model::Rule>> {
    let all = &Layers::All;
    let hidden = axis("hidden_size", shape.hidden);
    let inner = axis("ffn_dim", shape.intermediate);
    let word = axis("word_embed_proj_dim", fields.count("word_embed_proj_dim", Some(shape.hidden))?);
    let vocabulary = axis("vocab_size", shape.vocabulary);
    let bias = fields.flag("enable_bias", true)?;
    let learned = fields.flag("layer_norm_elementwise_affine", true)?;
    let norm = if learned { Norm::WeightAndBias } else { Norm::Bare };
    let mut builder = Builder::default();
    builder.embedding("embed_tokens.weight", vocabulary, word);
    let positions = axis("max_position_embeddings", shape.max_context.saturating_add(POSITION_OFFSET));
    builder.embedding("embed_positions.weight", positions, hidden);
    if word.size != hidden.size {
        let split = Split::Whole;
        builder.linear(all, Linear { name: "project_in", output: hidden, input: word, bias: false, split });
        builder.linear(all, Linear { name: "project_out", output: word, input: hidden, bias: false, split });
    }
    if fields.flag("do_layer_norm_before", true)? && !fields.flag("_remove_final_layer_norm", false)? {
        builder.norm(all, "final_layer_norm", norm, hidden);
    }
    for (name, output, input, split) in [
        ("layers.{}.self_attn.q_proj", hidden, hidden, Split::Even),
        ("layers.{}.self_attn.k_proj", hidden, hidden, Split::KvHeads),
        ("layers.{}.self_attn.v_proj", hidden, hidden, Split::KvHeads),
        ("layers.{}.self_attn.out_proj", hidden, hidden, Split::Even),
        ("layers.{}.fc1", inner, hidden, Split::Even),
        ("layers.{}.fc2", hidden, inner, Split::Even),
    ] {
        builder.linear(all, Linear { name, output, input, bias, split });
    }
    builder.norm(all, "layers.{}.self_attn_layer_norm", norm, hidden);
    builder.norm(all, "layers.{}.final_layer_norm", norm, hidden);
    if !shape.tied {
        builder.head("lm_head.weight", Role::OutputEmbedding, Split::Vocabulary, &[vocabulary, word]);
    }
    Ok(builder.rules)
}
