//! Encoder-decoders with cross-attention: T5 and BART, and what was copied from them.

use super::blocks::{Builder, Linear, Norm};
use super::decoder::{generic_activations, marked};
use super::{Activations, FamilyRules, axis, divide};
use crate::Result;
use crate::architecture::Architecture;
use crate::cache::{CacheGroup, CacheKind};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::{product, sum};
use crate::model::{Axis, Layers, Model, Role, Shape, Split};

const WHAT: &str = "a parameter's size";
/// Relative positions reach anywhere; this is how far the models were trained.
const RELATIVE_CONTEXT: u64 = 512;

/// T5's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct T5 {
    /// Whether the MLP is gated where the config does not say.
    pub gated: bool,
    /// Whether every layer has its own relative positions.
    pub bias_everywhere: bool,
    /// Whether there is no decoder.
    pub encoder_only: bool,
}

/// BART's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bart {
    /// Rows of the position tables beside those of the context; None where positions are computed.
    pub position_offset: Option<u64>,
    /// Whether embeddings are normed.
    pub embedding_norm: bool,
    /// Whether a norm follows the last layer.
    pub final_norm: bool,
}

/// Which of the layers, encoder first, belong to which side.
struct Sides {
    encoder: Layers,
    decoder: Layers,
    layers: u64,
}

impl Sides {
    fn of(encoder: u64, decoder: u64) -> Result<Self> {
        let layers = sum("the layers", &[encoder, decoder])?;
        let first = marked(layers, |layer| layer < encoder)?;
        Ok(Self { encoder: first, decoder: marked(layers, |layer| layer >= encoder)?, layers })
    }

    /// What one sequence keeps: its own tokens' keys and values, and the encoder's.
    fn caches(&self, heads: u64, dim: u64) -> Vec<CacheGroup> {
        if self.decoder.count(0, self.layers) == 0 {
            return Vec::new();
        }
        [
            CacheKind::Full { heads, key_dim: dim, value_dim: dim },
            CacheKind::Cross { heads, key_dim: dim, value_dim: dim },
        ]
        .map(|kind| CacheGroup { kind, layers: self.decoder.clone() })
        .to_vec()
    }
}

/// Four linear layers: queries, keys, values, output.
fn attention(builder: &mut Builder, layers: &Layers, names: [&'static str; 4], hidden: Axis, inner: Axis, bias: bool) {
    let splits = [Split::Even, Split::KvHeads, Split::KvHeads];
    let [query, key, value, out] = names;
    for (name, split) in [query, key, value].into_iter().zip(splits) {
        builder.linear(layers, Linear { name, output: inner, input: hidden, bias, split });
    }
    builder.linear(layers, Linear { name: out, output: hidden, input: inner, bias, split: Split::Even });
}

impl FamilyRules for T5 {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        let encoder = fields.count("num_layers", None)?;
        let decoder = if self.encoder_only { 0 } else { fields.count("num_decoder_layers", Some(encoder))? };
        let sides = Sides::of(encoder, decoder)?;
        let (heads, dim) = (fields.count("num_heads", None)?, fields.count("d_kv", Some(64))?);
        let shape = Shape {
            hidden: fields.count("d_model", None)?,
            layers: sides.layers,
            layers_field: "num_layers",
            heads,
            kv_heads: heads,
            head_dim: dim,
            intermediate: fields.count("d_ff", None)?,
            vocabulary: fields.count("vocab_size", None)?,
            max_context: fields.count("n_positions", Some(RELATIVE_CONTEXT))?,
            labels: 0,
            tied: self.encoder_only || fields.flag("tie_word_embeddings", true)?,
            buffer_bytes: 0,
        };
        let mut builder = Builder::default();
        self.rules(&mut builder, &shape, &sides, fields)?;
        let mut model = Model::new(shape, builder.rules, fields.dtype()?);
        model.caches = sides.caches(heads, dim);
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}

impl T5 {
    fn rules(self, builder: &mut Builder, shape: &Shape, sides: &Sides, fields: &Fields) -> Result<()> {
        let hidden = axis("d_model", shape.hidden);
        let vocabulary = axis("vocab_size", shape.vocabulary);
        let inner = axis("num_heads", product(WHAT, &[shape.heads, shape.head_dim])?);
        let buckets = axis("relative_attention_num_buckets", fields.count("relative_attention_num_buckets", Some(32))?);
        let heads = axis("num_heads", shape.heads);
        let gated = match fields.text("feed_forward_proj")? {
            Some(text) => text.starts_with("gated-"),
            None => self.gated,
        };
        builder.embedding("shared.weight", vocabulary, hidden);
        for (layers, is_decoder) in [(&sides.encoder, false), (&sides.decoder, true)] {
            if layers.count(0, sides.layers) == 0 {
                continue;
            }
            let own = ["block.{}.0.q", "block.{}.0.k", "block.{}.0.v", "block.{}.0.o"];
            attention(builder, layers, own, hidden, inner, false);
            builder.norm(layers, "block.{}.0.layer_norm", Norm::Weight, hidden);
            let bias_name = if self.bias_everywhere { "block.{}.0.relative_bias" } else { "block.0.relative_bias" };
            builder.vector(layers, bias_name, &[buckets, heads]);
            if is_decoder {
                let cross = ["block.{}.1.q", "block.{}.1.k", "block.{}.1.v", "block.{}.1.o"];
                attention(builder, layers, cross, hidden, inner, false);
                builder.norm(layers, "block.{}.1.layer_norm", Norm::Weight, hidden);
            }
            t5_mlp(builder, layers, hidden, axis("d_ff", shape.intermediate), gated);
            builder.norm(layers, "final_layer_norm", Norm::Weight, hidden);
        }
        if !shape.tied {
            builder.head("lm_head.weight", Role::OutputEmbedding, Split::Vocabulary, &[vocabulary, hidden]);
        }
        Ok(())
    }
}

fn t5_mlp(builder: &mut Builder, layers: &Layers, hidden: Axis, inner: Axis, gated: bool) {
    builder.norm(layers, "block.{}.mlp.layer_norm", Norm::Weight, hidden);
    for name in ["block.{}.mlp.wi_0", "block.{}.mlp.wi_1"].into_iter().take(if gated { 2 } else { 1 }) {
        builder.linear(layers, Linear { name, output: inner, input: hidden, bias: false, split: Split::Even });
    }
    let name = "block.{}.mlp.wo";
    builder.linear(layers, Linear { name, output: hidden, input: inner, bias: false, split: Split::Even });
}

impl FamilyRules for Bart {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        let sides = Sides::of(fields.count("encoder_layers", None)?, fields.count("decoder_layers", None)?)?;
        let hidden = fields.count("d_model", None)?;
        let heads = fields.count("decoder_attention_heads", None)?;
        let dim = divide("decoder_attention_heads", hidden, heads)?;
        divide("encoder_attention_heads", hidden, fields.count("encoder_attention_heads", None)?)?;
        let inner = [fields.count("encoder_ffn_dim", None)?, fields.count("decoder_ffn_dim", None)?];
        let shape = Shape {
            hidden,
            layers: sides.layers,
            layers_field: "encoder_layers",
            heads,
            kv_heads: heads,
            head_dim: dim,
            intermediate: inner[0].max(inner[1]),
            vocabulary: fields.count("vocab_size", None)?,
            max_context: fields.count("max_position_embeddings", None)?,
            labels: 0,
            tied: fields.flag("tie_word_embeddings", true)?,
            // The bias of the logits.
            buffer_bytes: product("the buffers", &[4, fields.count("vocab_size", None)?])?,
        };
        fields.only("share_encoder_decoder_embeddings", &[serde_json::json!(true)])?;
        let mut builder = Builder::default();
        self.rules(&mut builder, &shape, &sides, inner);
        let mut model = Model::new(shape, builder.rules, fields.dtype()?);
        model.caches = sides.caches(heads, dim);
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}

impl Bart {
    fn rules(&self, builder: &mut Builder, shape: &Shape, sides: &Sides, inner: [u64; 2]) {
        let hidden = axis("d_model", shape.hidden);
        let vocabulary = axis("vocab_size", shape.vocabulary);
        let norm = Norm::WeightAndBias;
        builder.embedding("shared.weight", vocabulary, hidden);
        for (layers, is_decoder, inner) in [(&sides.encoder, false, inner[0]), (&sides.decoder, true, inner[1])] {
            if let Some(more) = self.position_offset {
                let rows = axis("max_position_embeddings", shape.max_context.saturating_add(more));
                builder.embedding("embed_positions.weight", rows, hidden);
            }
            if self.embedding_norm {
                builder.norm(layers, "layernorm_embedding", norm, hidden);
            }
            let own =
                ["layers.{}.self.q_proj", "layers.{}.self.k_proj", "layers.{}.self.v_proj", "layers.{}.self.out_proj"];
            attention(builder, layers, own, hidden, hidden, true);
            builder.norm(layers, "layers.{}.self_attn_layer_norm", norm, hidden);
            if is_decoder {
                let cross = [
                    "layers.{}.cross.q_proj",
                    "layers.{}.cross.k_proj",
                    "layers.{}.cross.v_proj",
                    "layers.{}.cross.out_proj",
                ];
                attention(builder, layers, cross, hidden, hidden, true);
                builder.norm(layers, "layers.{}.encoder_attn_layer_norm", norm, hidden);
            }
            let inner = axis(if is_decoder { "decoder_ffn_dim" } else { "encoder_ffn_dim" }, inner);
            for (name, output, input) in [("layers.{}.fc1", inner, hidden), ("layers.{}.fc2", hidden, inner)] {
                builder.linear(layers, Linear { name, output, input, bias: true, split: Split::Even });
            }
            builder.norm(layers, "layers.{}.final_layer_norm", norm, hidden);
            if self.final_norm {
                builder.norm(layers, "layer_norm", norm, hidden);
            }
        }
        if !shape.tied {
            builder.head("lm_head.weight", Role::OutputEmbedding, Split::Vocabulary, &[vocabulary, hidden]);
        }
    }
}
