//! One file a family of architectures: its parameters, its buffers and its activations.

pub mod bert;
pub mod blocks;
pub mod decoder;
pub mod defaults;
pub mod distilbert;
pub mod encoder;
pub mod foreign;
mod foreign_layers;
pub mod gpt2;
pub mod llama;
pub mod multimodal;
pub mod opt;
pub mod recurrent;
pub mod seq2seq;
pub mod style;
pub mod towers;

use std::borrow::Cow;

use crate::cache::{CacheGroup, CacheKind};
use crate::model::{Axis, Layers, Place, Presence, Role, Rule, Shape, Split};
use crate::{Result, SizingError};

pub use crate::architecture::{Activations, FamilyRules};

/// Keys and values of every layer.
fn full_cache(shape: &Shape) -> Vec<CacheGroup> {
    let kind = CacheKind::Full { heads: shape.kv_heads, key_dim: shape.head_dim, value_dim: shape.head_dim };
    vec![CacheGroup { kind, layers: Layers::All }]
}

const fn axis(field: &'static str, size: u64) -> Axis {
    Axis { field, size }
}

fn rule(name: &'static str, place: Place, role: Role, axes: &[Axis]) -> Rule {
    let split = match (place, role) {
        (_, Role::Embedding | Role::OutputEmbedding) if axes.first().is_some_and(|axis| axis.field == "vocab_size") => {
            Split::Vocabulary
        }
        (Place::Layer, Role::Linear | Role::Conv1d) if axes.iter().any(|axis| axis.field == "num_key_value_heads") => {
            Split::KvHeads
        }
        (Place::Layer, Role::Linear | Role::Conv1d) => Split::Even,
        _ => Split::Whole,
    };
    let (name, axes, layers) = (Cow::Borrowed(name), axes.to_vec(), Layers::All);
    Rule { name, place, layers, axes, role, split, presence: Presence::Required }
}

/// The weight and the bias of a linear layer, or of a norm where `input` is None.
fn weight_and_bias(names: [&'static str; 2], place: Place, output: Axis, input: Option<Axis>) -> [Rule; 2] {
    let weight = match input {
        Some(input) => rule(names[0], place, Role::Linear, &[output, input]),
        None => rule(names[0], place, Role::Vector, &[output]),
    };
    [weight, rule(names[1], place, Role::Vector, &[output])]
}

/// `whole / parts`, refused where something would be left over.
fn divide(field: &'static str, whole: u64, parts: u64) -> Result<u64> {
    match (whole.checked_div(parts), whole.checked_rem(parts)) {
        (Some(quotient), Some(0)) => Ok(quotient),
        _ => {
            Err(SizingError::FieldInvalid { field, value: parts.to_string(), expected: "a divisor of what it divides" })
        }
    }
}
