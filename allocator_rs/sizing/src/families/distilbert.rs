//! `DistilBERT`: BERT's layers without token types and without a pooler.

use super::{Activations, FamilyRules, axis, divide, rule, weight_and_bias};
use crate::Result;
use crate::architecture::{Architecture, Head};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::product;
use crate::model::{Model, Place, Role, Rule, Shape};
use crate::steps::{Encoding, encoder};

/// Encoders of transformers' `modeling_distilbert.py`.
pub struct DistilBert;

impl FamilyRules for DistilBert {
    fn build(&self, architecture: &Architecture, fields: &Fields) -> Result<Model> {
        let heads = fields.count("n_heads", None)?;
        let hidden = fields.count("dim", None)?;
        let positions = fields.count("max_position_embeddings", None)?;
        let classifies = architecture.head == Head::PreClassifier;
        let shape = Shape {
            hidden,
            layers: fields.count("n_layers", None)?,
            layers_field: "n_layers",
            heads,
            kv_heads: heads,
            head_dim: divide("n_heads", hidden, heads)?,
            intermediate: fields.count("hidden_dim", None)?,
            vocabulary: fields.count("vocab_size", None)?,
            max_context: positions,
            labels: if classifies { fields.labels()? } else { 0 },
            tied: false,
            // position_ids, int64.
            buffer_bytes: product("the buffers", &[positions, 8])?,
        };
        let mut rules = embeddings(&shape);
        rules.extend(layer(&shape));
        if classifies {
            let width = axis("dim", shape.hidden);
            let labels = axis("id2label", shape.labels);
            rules.extend(weight_and_bias(
                ["pre_classifier.weight", "pre_classifier.bias"],
                Place::Head,
                width,
                Some(width),
            ));
            rules.extend(weight_and_bias(["classifier.weight", "classifier.bias"], Place::Head, labels, Some(width)));
        }
        Ok(Model::new(shape, rules, fields.dtype()?))
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        encoder(Encoding::DistilBert, model, workload).map(Activations::from)
    }

    fn is_buffer(&self, tensor: &str) -> bool {
        tensor.ends_with("embeddings.position_ids")
    }

    fn is_unused(&self, tensor: &str) -> bool {
        tensor.starts_with("vocab_") || tensor.starts_with("qa_outputs.")
    }

    fn anchor(&self) -> Option<&'static str> {
        Some("embeddings.word_embeddings.weight")
    }
}

fn embeddings(shape: &Shape) -> Vec<Rule> {
    let width = axis("dim", shape.hidden);
    let positions = axis("max_position_embeddings", shape.max_context);
    let mut rules = vec![
        rule(
            "embeddings.word_embeddings.weight",
            Place::Base,
            Role::Embedding,
            &[axis("vocab_size", shape.vocabulary), width],
        ),
        rule("embeddings.position_embeddings.weight", Place::Base, Role::Embedding, &[positions, width]),
    ];
    rules.extend(weight_and_bias(
        ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"],
        Place::Base,
        width,
        None,
    ));
    rules
}

fn layer(shape: &Shape) -> Vec<Rule> {
    let width = axis("dim", shape.hidden);
    let inner = axis("hidden_dim", shape.intermediate);
    [
        (
            ["transformer.layer.{}.attention.q_lin.weight", "transformer.layer.{}.attention.q_lin.bias"],
            width,
            Some(width),
        ),
        (
            ["transformer.layer.{}.attention.k_lin.weight", "transformer.layer.{}.attention.k_lin.bias"],
            width,
            Some(width),
        ),
        (
            ["transformer.layer.{}.attention.v_lin.weight", "transformer.layer.{}.attention.v_lin.bias"],
            width,
            Some(width),
        ),
        (
            ["transformer.layer.{}.attention.out_lin.weight", "transformer.layer.{}.attention.out_lin.bias"],
            width,
            Some(width),
        ),
        (["transformer.layer.{}.sa_layer_norm.weight", "transformer.layer.{}.sa_layer_norm.bias"], width, None),
        (["transformer.layer.{}.ffn.lin1.weight", "transformer.layer.{}.ffn.lin1.bias"], inner, Some(width)),
        (["transformer.layer.{}.ffn.lin2.weight", "transformer.layer.{}.ffn.lin2.bias"], width, Some(inner)),
        (["transformer.layer.{}.output_layer_norm.weight", "transformer.layer.{}.output_layer_norm.bias"], width, None),
    ]
    .into_iter()
    .flat_map(|(names, output, input)| weight_and_bias(names, Place::Layer, output, input))
    .collect()
}
