//! One file a family of architectures: its parameters, its buffers and its activations.

pub mod bert;
pub mod distilbert;
pub mod gpt2;
pub mod llama;

use crate::catalogue::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::math::product;
use crate::model::{Axis, Model, Place, Presence, Role, Rule, Shape};
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
    fn activations(&self, shape: &Shape, workload: &Workload) -> Result<Activations>;

    /// Whether a tensor is a buffer that older versions stored: no parameter, and not worth a word.
    fn is_buffer(&self, tensor: &str) -> bool;

    /// Whether a tensor belongs to a head of another task, or is a second copy of a tied one: left out, and said so.
    fn is_spare(&self, tensor: &str) -> bool;

    /// Name of the input embedding without prefix: tells whether files carry the prefix.
    fn anchor(&self) -> &'static str;

    /// Whether a sequence keeps keys and values between steps.
    fn has_kv_cache(&self) -> bool;
}

/// A peak of temporary memory. `verified`: equal to the byte with the allocator's events where this term is the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations {
    /// Bytes.
    pub bytes: u64,
    /// The term that is the largest.
    pub formula: &'static str,
    /// Whether the formula was compared with measurements.
    pub verified: bool,
}

/// The largest of several terms; the first of equals.
fn largest(first: Activations, others: impl IntoIterator<Item = Activations>) -> Activations {
    others.into_iter().fold(first, |best, next| if next.bytes > best.bytes { next } else { best })
}

/// Bytes of the attention mask: one a pair of positions; none where a batch of one needs no padding.
fn mask_bytes(workload: &Workload) -> Result<u64> {
    if workload.sequences < 2 {
        return Ok(0);
    }
    product("the attention mask", &[workload.sequences, workload.context_length, workload.context_length])
}

const fn axis(field: &'static str, size: u64) -> Axis {
    Axis { field, size }
}

fn rule(name: &'static str, place: Place, role: Role, axes: &[Axis]) -> Rule {
    Rule { name, place, axes: axes.to_vec(), role, presence: Presence::Required }
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
