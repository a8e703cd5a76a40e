//! One file a family of architectures: its parameters, its buffers and its activations.

pub mod bert;
pub mod blocks;
pub mod decoder;
pub mod distilbert;
pub mod encoder;
pub mod foreign;
pub mod gpt2;
pub mod llama;
pub mod opt;
pub mod recurrent;
pub mod seq2seq;
pub mod style;

use std::borrow::Cow;

use crate::cache::{CacheGroup, CacheKind};
use crate::catalogue::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::model::{Axis, Layers, Model, Place, Presence, Role, Rule, Shape, Split};
use crate::steps::Peak;
use crate::{Result, SizingError};

/// What a family knows. Implementations are data: they hold no state of a model.
pub trait FamilyRules: Sync {
    /// Read the config's fields and give the model's dimensions and parameters.
    ///
    /// # Errors
    /// What [`Fields`] says of missing, invalid and unsupported fields.
    fn build(&self, architecture: &Architecture, fields: &Fields) -> Result<Model>;

    /// The largest sum of temporary tensors during one forward pass, without what is kept (the KV cache).
    ///
    /// # Errors
    /// [`SizingError::Overflow`].
    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations>;

    /// Whether a tensor is a buffer that older versions stored: no parameter, and not worth a word.
    fn is_buffer(&self, tensor: &str) -> bool {
        tensor.ends_with("rotary_emb.inv_freq")
    }

    /// Whether a tensor belongs to a head of another task, or is a second copy of a tied one: left out, and said so.
    fn is_spare(&self, _tensor: &str) -> bool {
        false
    }

    /// The tensor in which files keep a parameter, or one of several that it is put together of: the one of this number,
    /// its layer to be filled in; None where the parameter has its own name in files, and behind the last part.
    fn part(&self, _rule: &Rule, _number: u64) -> Option<Rule> {
        None
    }

    /// Name of the input embedding without prefix: tells whether files carry the prefix. None where the rules' names are
    /// not the files': then files are compared by their sums alone.
    fn anchor(&self) -> Option<&'static str> {
        None
    }
}

/// A peak of temporary memory. `verified`: equal to the byte with the allocator's events where this term is the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations {
    /// Bytes.
    pub bytes: u64,
    /// The most it can be on a machine with the workload's instruction set.
    pub upper_bytes: u64,
    /// The term that is the largest.
    pub formula: Cow<'static, str>,
    /// The formula's numbers.
    pub inputs: Vec<(&'static str, u64)>,
    /// Whether the formula was compared with measurements.
    pub verified: bool,
    /// Whether it is a whole step's: with the logits, and with the copies that quantised layers make.
    pub whole: bool,
    /// What the matrix library keeps of packed matrices, where a step was followed, expected and at most; 0 elsewhere.
    pub packed_bytes: [u64; 2],
    /// The most it can be, where that depends on what is computed; None: it does not.
    pub worst_bytes: Option<u64>,
}

impl From<Peak> for Activations {
    fn from(peak: Peak) -> Self {
        Self {
            bytes: peak.bytes,
            upper_bytes: peak.upper_bytes,
            formula: peak.formula,
            inputs: peak.inputs,
            verified: true,
            whole: true,
            packed_bytes: peak.packed_bytes,
            worst_bytes: None,
        }
    }
}

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
