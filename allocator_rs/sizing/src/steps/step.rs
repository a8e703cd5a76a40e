//! One step: the sizes that its tape knows, and its peak.

use std::borrow::Cow;

use super::copies::Copier;
use super::parts::Mode;
use super::tape::{Tape, Values};
use crate::Result;
use crate::cache::CacheKind;
use crate::component::Workload;
use crate::model::{Model, Role};

/// A step's peak, and how it is made up: empty where that was not asked for.
pub struct Peak {
    /// Bytes beside weights and cache.
    pub bytes: u64,
    /// The most it can be on a machine with this instruction set.
    pub upper_bytes: u64,
    /// Sum of what is held at the peak.
    pub formula: Cow<'static, str>,
    /// The formula's numbers.
    pub inputs: Vec<(&'static str, u64)>,
    /// What the matrix library keeps of packed matrices, outside of torch's count: expected and at most.
    pub packed_bytes: [u64; 2],
}

pub(super) fn start(model: &Model, workload: &Workload) -> Result<(Tape, Mode)> {
    let shape = &model.shape;
    let context = workload.context_length;
    // The CPU's attention kernel works in blocks, wider ones for longer sequences.
    let block = match context {
        768.. => 256,
        192.. => 64,
        _ => 32,
    };
    let experts = model.rules.iter().find(|rule| rule.role == Role::Experts).and_then(|rule| rule.axes.first());
    let pairs = workload.tokens()?.saturating_mul(model.experts_per_token);
    let even_rows = experts.map_or(0, |axis| pairs.div_ceil(axis.size.max(1)));
    let values: Values = [
        1,
        workload.sequences,
        context,
        even(context),
        workload.tokens()?,
        shape.hidden,
        shape.intermediate,
        shape.heads,
        shape.kv_heads,
        shape.head_dim,
        even(shape.head_dim),
        shape.head_dim.div_ceil(2),
        shape.heads.saturating_mul(shape.head_dim),
        shape.kv_heads.saturating_mul(shape.head_dim),
        shape.vocabulary,
        experts.map_or(0, |axis| axis.size),
        pairs,
        model.experts_per_token,
        even_rows,
        context.min(block),
        context.min(512),
        even(context.min(512)),
        workload.element_bytes,
    ];
    let full =
        model.caches.iter().any(|group| matches!(group.kind, CacheKind::Sliding { window, .. } if context >= window));
    let masked = workload.sequences > 1 || full;
    let Workload { number, quantised, cpu_isa, threads, told, .. } = *workload;
    let mode = Mode { number, quantised, masked, even: false, isa: cpu_isa, threads };
    Ok((Tape::new(values, told, Copier::new(cpu_isa, number, threads)), mode))
}

/// The next even number: what is packed by pairs is padded to it.
const fn even(size: u64) -> u64 {
    size.saturating_add(size % 2)
}

pub(super) fn finish(tape: Tape) -> Result<Peak> {
    let (inputs, packed_bytes) = (tape.inputs(), tape.packed_bytes());
    let ([bytes, upper_bytes], formula) = tape.end()?;
    Ok(Peak { bytes, upper_bytes, formula, inputs, packed_bytes })
}
