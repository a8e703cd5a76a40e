//! Encoders that are not BERT to the letter: ELECTRA, ALBERT, `MPNet`, `ModernBERT`, Nomic BERT.

use super::blocks::{Builder, Linear, Norm};
use super::decoder::generic_activations;
use super::{Activations, FamilyRules, axis, divide};
use crate::Result;
use crate::architecture::{Architecture, Head};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::product;
use crate::model::{Axis, Layers, Model, Role, Shape, Split};

const WHAT: &str = "a parameter's size";
const ALL: &Layers = &Layers::All;

/// Which encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// BERT with a narrower embedding.
    Electra,
    /// One group of layers, used again and again.
    Albert,
    /// BERT without token types, with relative positions.
    Mpnet,
    /// Rotary positions, a gated MLP, windows.
    ModernBert,
    /// BERT with rotary positions and a gated MLP.
    Nomic,
}

impl FamilyRules for Encoder {
    fn build(&self, architecture: &Architecture, fields: &Fields) -> Result<Model> {
        fields.only("is_decoder", &[serde_json::json!(false)])?;
        let shape = shape(*self, architecture.head, fields)?;
        let mut builder = Builder::default();
        match self {
            Self::Electra | Self::Albert | Self::Mpnet => self.classic(&mut builder, &shape, fields)?,
            Self::ModernBert => modern(&mut builder, &shape, fields)?,
            Self::Nomic => nomic(&mut builder, &shape, fields)?,
        }
        self.head(&mut builder, architecture.head, &shape, fields)?;
        Ok(Model::new(shape, builder.rules, fields.dtype()?))
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}

fn shape(kind: Encoder, head: Head, fields: &Fields) -> Result<Shape> {
    let hidden = fields.count("hidden_size", None)?;
    let heads = fields.count("num_attention_heads", None)?;
    let positions = fields.count("max_position_embeddings", None)?;
    let offset = if kind == Encoder::Mpnet { fields.index("pad_token_id", Some(1))?.saturating_add(1) } else { 0 };
    let classifies = matches!(head, Head::PooledClassifier | Head::DenseClassifier);
    Ok(Shape {
        hidden,
        layers: fields.count("num_hidden_layers", None)?,
        layers_field: "num_hidden_layers",
        heads,
        kv_heads: heads,
        head_dim: if kind == Encoder::Nomic && fields.has("head_dim") {
            fields.count("head_dim", None)?
        } else {
            divide("num_attention_heads", hidden, heads)?
        },
        intermediate: fields.count("intermediate_size", None)?,
        vocabulary: fields.count("vocab_size", None)?,
        max_context: positions.saturating_sub(offset).max(1),
        labels: if classifies { fields.labels()? } else { 0 },
        tied: false,
        buffer_bytes: product("the buffers", &[positions, 16])?,
    })
}

impl Encoder {
    fn classic(self, builder: &mut Builder, shape: &Shape, fields: &Fields) -> Result<()> {
        let hidden = axis("hidden_size", shape.hidden);
        let word = if self == Self::Mpnet {
            hidden
        } else {
            axis("embedding_size", fields.count("embedding_size", Some(128))?)
        };
        builder.embedding("embeddings.word_embeddings.weight", axis("vocab_size", shape.vocabulary), word);
        let positions = axis("max_position_embeddings", fields.count("max_position_embeddings", None)?);
        builder.embedding("embeddings.position_embeddings.weight", positions, word);
        if self == Self::Mpnet {
            let buckets =
                axis("relative_attention_num_buckets", fields.count("relative_attention_num_buckets", Some(32))?);
            builder.embedding(
                "encoder.relative_attention_bias.weight",
                buckets,
                axis("num_attention_heads", shape.heads),
            );
        } else {
            let types = axis("type_vocab_size", fields.count("type_vocab_size", Some(2))?);
            builder.embedding("embeddings.token_type_embeddings.weight", types, word);
        }
        builder.norm(ALL, "embeddings.LayerNorm", Norm::WeightAndBias, word);
        if self == Self::Albert || word.size != hidden.size {
            let name = "embeddings_project";
            builder.linear(ALL, Linear { name, output: hidden, input: word, bias: true, split: Split::Whole });
        }
        let copies = if self == Self::Albert {
            let groups = fields.count("num_hidden_groups", Some(1))?;
            product(WHAT, &[groups, fields.count("inner_group_num", Some(1))?])?
        } else {
            1
        };
        classic_layer(builder, shape, if self == Self::Albert { Some(copies) } else { None });
        Ok(())
    }

    fn head(self, builder: &mut Builder, head: Head, shape: &Shape, fields: &Fields) -> Result<()> {
        let hidden = axis("hidden_size", shape.hidden);
        let labels = axis("id2label", shape.labels);
        let modern = self == Self::ModernBert;
        match head {
            Head::Pooler => pool(builder, "pooler.dense", hidden, hidden, true),
            Head::PooledClassifier => {
                pool(builder, "pooler.dense", hidden, hidden, true);
                pool(builder, "classifier", labels, hidden, true);
            }
            Head::DenseClassifier => {
                let bias = !modern || fields.flag("classifier_bias", false)?;
                pool(builder, "classifier.dense", hidden, hidden, bias);
                if modern {
                    let norm = if fields.flag("norm_bias", false)? { Norm::WeightAndBias } else { Norm::Weight };
                    builder.norm(ALL, "head.norm", norm, hidden);
                }
                pool(builder, "classifier.out_proj", labels, hidden, true);
            }
            Head::PreClassifier | Head::Bare | Head::LanguageModel => {}
        }
        Ok(())
    }
}

fn pool(builder: &mut Builder, name: &'static str, output: Axis, input: Axis, bias: bool) {
    builder.linear(ALL, Linear { name, output, input, bias, split: Split::Whole });
}

/// A post-norm layer; `copies` of it in all instead of one a layer.
fn classic_layer(builder: &mut Builder, shape: &Shape, copies: Option<u64>) {
    let hidden = axis("hidden_size", shape.hidden);
    let inner = axis("intermediate_size", shape.intermediate);
    let names = ["query", "key", "value", "output"];
    let matrices = names.map(|name| (name, hidden, hidden)).into_iter();
    for (name, output, input) in matrices.chain([("intermediate", inner, hidden), ("out", hidden, inner)]) {
        match copies {
            None => {
                let weight = format!("encoder.layer.{{}}.{name}.weight");
                builder.push(weight, ALL, Role::Linear, Split::Even, &[output, input]);
                let bias = format!("encoder.layer.{{}}.{name}.bias");
                builder.push(bias, ALL, Role::Vector, Split::Whole, &[output]);
            }
            Some(copies) => {
                for copy in 0..copies.min(64) {
                    let weight = format!("encoder.group{copy}.{name}.weight");
                    builder.push(weight, ALL, Role::Linear, Split::Even, &[output, input]);
                    builder.push(
                        format!("encoder.group{copy}.{name}.bias"),
                        ALL,
                        Role::Vector,
                        Split::Whole,
                        &[output],
                    );
                }
            }
        }
    }
    let norms = axis("hidden_size", shape.hidden);
    let four = axis("LayerNorm", 4_u64.saturating_mul(copies.unwrap_or(1)));
    let name = if copies.is_some() { "encoder.norms" } else { "encoder.layer.{}.norms" };
    builder.vector(ALL, name, &[four, norms]);
}

fn modern(builder: &mut Builder, shape: &Shape, fields: &Fields) -> Result<()> {
    let hidden = axis("hidden_size", shape.hidden);
    let inner = axis("intermediate_size", shape.intermediate);
    let twice = axis("intermediate_size", product(WHAT, &[2, shape.intermediate])?);
    let thrice = axis("hidden_size", product(WHAT, &[3, shape.hidden])?);
    let norm = if fields.flag("norm_bias", false)? { Norm::WeightAndBias } else { Norm::Weight };
    let [attention, mlp] = [fields.flag("attention_bias", false)?, fields.flag("mlp_bias", false)?];
    builder.embedding("embeddings.tok_embeddings.weight", axis("vocab_size", shape.vocabulary), hidden);
    builder.norm(ALL, "embeddings.norm", norm, hidden);
    builder.norm(ALL, "final_norm", norm, hidden);
    // The first layer has no norm before its attention.
    let later = super::decoder::marked(shape.layers, |layer| layer > 0)?;
    builder.norm(&later, "layers.{}.attn_norm", norm, hidden);
    builder.norm(ALL, "layers.{}.mlp_norm", norm, hidden);
    for (name, output, input, bias) in [
        ("layers.{}.attn.Wqkv", thrice, hidden, attention),
        ("layers.{}.attn.Wo", hidden, hidden, attention),
        ("layers.{}.mlp.Wi", twice, hidden, mlp),
        ("layers.{}.mlp.Wo", hidden, inner, mlp),
    ] {
        builder.linear(ALL, Linear { name, output, input, bias, split: Split::Even });
    }
    Ok(())
}

fn nomic(builder: &mut Builder, shape: &Shape, fields: &Fields) -> Result<()> {
    let hidden = axis("hidden_size", shape.hidden);
    let inner = axis("intermediate_size", shape.intermediate);
    let heads = axis("num_attention_heads", product(WHAT, &[shape.heads, shape.head_dim])?);
    builder.embedding("embeddings.word_embeddings.weight", axis("vocab_size", shape.vocabulary), hidden);
    let types = axis("type_vocab_size", fields.count("type_vocab_size", Some(2))?);
    builder.embedding("embeddings.token_type_embeddings.weight", types, hidden);
    builder.norm(ALL, "embeddings.LayerNorm", Norm::WeightAndBias, hidden);
    for (name, output, input) in [
        ("layers.{}.self_attn.q_proj", heads, hidden),
        ("layers.{}.self_attn.k_proj", heads, hidden),
        ("layers.{}.self_attn.v_proj", heads, hidden),
        ("layers.{}.self_attn.o_proj", hidden, heads),
        ("layers.{}.mlp.gate_proj", inner, hidden),
        ("layers.{}.mlp.up_proj", inner, hidden),
        ("layers.{}.mlp.down_proj", hidden, inner),
    ] {
        builder.linear(ALL, Linear { name, output, input, bias: false, split: Split::Even });
    }
    builder.norm(ALL, "layers.{}.post_attention_layernorm", Norm::WeightAndBias, hidden);
    builder.norm(ALL, "layers.{}.post_mlp_layernorm", Norm::WeightAndBias, hidden);
    Ok(())
}
