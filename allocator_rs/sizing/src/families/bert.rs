//! BERT and `RoBERTa`: post-norm encoders with learned positions.

use serde_json::json;

use super::{Activations, FamilyRules, axis, divide, rule, weight_and_bias};
use crate::architecture::{Architecture, Head};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::product;
use crate::model::{Model, Place, Presence, Role, Rule, Shape};
use crate::steps::{Encoding, encoder};
use crate::{Result, SizingError};

/// Encoders of transformers' `modeling_bert.py` and its copies.
pub struct Bert {
    /// `RoBERTa`'s positions begin at `pad_token_id + 1`, so that its table is longer than its context.
    pub padding_offset: bool,
}

impl FamilyRules for Bert {
    fn build(&self, architecture: &Architecture, fields: &Fields) -> Result<Model> {
        fields.only("is_decoder", &[json!(false)])?;
        fields.only("add_cross_attention", &[json!(false)])?;
        fields.only("position_embedding_type", &[json!("absolute")])?;
        let heads = fields.count("num_attention_heads", None)?;
        let hidden = fields.count("hidden_size", None)?;
        let positions = fields.count("max_position_embeddings", None)?;
        let classifies = architecture.head != Head::Pooler;
        let shape = Shape {
            hidden,
            layers: fields.count("num_hidden_layers", None)?,
            layers_field: "num_hidden_layers",
            heads,
            kv_heads: heads,
            head_dim: divide("num_attention_heads", hidden, heads)?,
            intermediate: fields.count("intermediate_size", None)?,
            vocabulary: fields.count("vocab_size", None)?,
            max_context: self.max_context(fields, positions)?,
            labels: if classifies { fields.labels()? } else { 0 },
            tied: false,
            // position_ids and token_type_ids, int64, one entry a position each.
            buffer_bytes: product("the buffers", &[positions, 16])?,
        };
        let token_types = fields.count("type_vocab_size", Some(2))?;
        let mut rules = embeddings(&shape, positions, token_types);
        rules.extend(layer(&shape));
        rules.extend(head(architecture.head, &shape));
        Ok(Model::new(shape, rules, fields.dtype()?))
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        encoder(Encoding::Bert, model, workload).map(Activations::from)
    }

    fn is_buffer(&self, tensor: &str) -> bool {
        tensor.ends_with("embeddings.position_ids") || tensor.ends_with("embeddings.token_type_ids")
    }

    fn is_unused(&self, tensor: &str) -> bool {
        ["cls.", "lm_head.", "qa_outputs.", "pooler.", "bert.pooler.", "roberta.pooler."]
            .iter()
            .any(|head| tensor.starts_with(head))
    }

    fn anchor(&self) -> Option<&'static str> {
        Some("embeddings.word_embeddings.weight")
    }
}

impl Bert {
    fn max_context(&self, fields: &Fields, positions: u64) -> Result<u64> {
        let unused = if self.padding_offset { fields.index("pad_token_id", Some(1))?.saturating_add(1) } else { 0 };
        positions.checked_sub(unused).filter(|&rest| rest > 0).ok_or_else(|| SizingError::FieldInvalid {
            field: "max_position_embeddings",
            value: positions.to_string(),
            expected: "larger than pad_token_id + 1",
        })
    }
}

fn embeddings(shape: &Shape, positions: u64, token_types: u64) -> Vec<Rule> {
    let hidden = axis("hidden_size", shape.hidden);
    let mut rules = vec![
        rule(
            "embeddings.word_embeddings.weight",
            Place::Base,
            Role::Embedding,
            &[axis("vocab_size", shape.vocabulary), hidden],
        ),
        rule(
            "embeddings.position_embeddings.weight",
            Place::Base,
            Role::Embedding,
            &[axis("max_position_embeddings", positions), hidden],
        ),
        rule(
            "embeddings.token_type_embeddings.weight",
            Place::Base,
            Role::Embedding,
            &[axis("type_vocab_size", token_types), hidden],
        ),
    ];
    rules.extend(weight_and_bias(
        ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"],
        Place::Base,
        hidden,
        None,
    ));
    rules
}

fn layer(shape: &Shape) -> Vec<Rule> {
    let hidden = axis("hidden_size", shape.hidden);
    let inner = axis("intermediate_size", shape.intermediate);
    [
        (
            ["encoder.layer.{}.attention.self.query.weight", "encoder.layer.{}.attention.self.query.bias"],
            hidden,
            Some(hidden),
        ),
        (
            ["encoder.layer.{}.attention.self.key.weight", "encoder.layer.{}.attention.self.key.bias"],
            hidden,
            Some(hidden),
        ),
        (
            ["encoder.layer.{}.attention.self.value.weight", "encoder.layer.{}.attention.self.value.bias"],
            hidden,
            Some(hidden),
        ),
        (
            ["encoder.layer.{}.attention.output.dense.weight", "encoder.layer.{}.attention.output.dense.bias"],
            hidden,
            Some(hidden),
        ),
        (
            ["encoder.layer.{}.attention.output.LayerNorm.weight", "encoder.layer.{}.attention.output.LayerNorm.bias"],
            hidden,
            None,
        ),
        (
            ["encoder.layer.{}.intermediate.dense.weight", "encoder.layer.{}.intermediate.dense.bias"],
            inner,
            Some(hidden),
        ),
        (["encoder.layer.{}.output.dense.weight", "encoder.layer.{}.output.dense.bias"], hidden, Some(inner)),
        (["encoder.layer.{}.output.LayerNorm.weight", "encoder.layer.{}.output.LayerNorm.bias"], hidden, None),
    ]
    .into_iter()
    .flat_map(|(names, output, input)| weight_and_bias(names, Place::Layer, output, input))
    .collect()
}

fn head(head: Head, shape: &Shape) -> Vec<Rule> {
    let hidden = axis("hidden_size", shape.hidden);
    let labels = axis("id2label", shape.labels);
    let pooler = weight_and_bias(["pooler.dense.weight", "pooler.dense.bias"], Place::Base, hidden, Some(hidden));
    match head {
        Head::Pooler => pooler.into_iter().map(|rule| Rule { presence: Presence::Optional, ..rule }).collect(),
        Head::PooledClassifier => {
            let last = weight_and_bias(["classifier.weight", "classifier.bias"], Place::Head, labels, Some(hidden));
            pooler.into_iter().chain(last).collect()
        }
        Head::DenseClassifier => {
            let dense = weight_and_bias(
                ["classifier.dense.weight", "classifier.dense.bias"],
                Place::Head,
                hidden,
                Some(hidden),
            );
            let last = weight_and_bias(
                ["classifier.out_proj.weight", "classifier.out_proj.bias"],
                Place::Head,
                labels,
                Some(hidden),
            );
            dense.into_iter().chain(last).collect()
        }
        Head::PreClassifier | Head::Bare | Head::LanguageModel => Vec::new(),
    }
}
