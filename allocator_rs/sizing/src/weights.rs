//! Bytes of weights by dtype, whole or of one rank.

use crate::ledger::{Detail, Ledger};
use crate::math::{product, sum};
use crate::model::{Model, Place, Rule, Split, Tally};
use crate::request::{Engine, Request};
use crate::{Checkpoint, Result, SizingError, WeightDtype};

const WHAT: &str = "the weights";
/// Rows of the vocabulary are padded to a multiple of this before ranks share them (vLLM 0.32).
const VOCABULARY_PADDING: u64 = 64;

/// Elements that a quantising dtype covers, and bytes of them with their scales.
///
/// `with_experts`: whether experts held in one tensor are quantised as well, as vLLM does and the torch engine does not.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn quantised(tally: &Tally, dtype: WeightDtype, with_experts: bool) -> Result<(u64, u64)> {
    let covered = sum(WHAT, &[tally.linear, if with_experts { tally.experts } else { 0 }])?;
    let share = |numerator: u64, denominator: u64| -> Result<u64> {
        let scaled = u128::from(covered).saturating_mul(u128::from(numerator)).div_ceil(u128::from(denominator.max(1)));
        u64::try_from(scaled).map_err(|_| SizingError::Overflow { what: WHAT })
    };
    let bytes = match dtype {
        WeightDtype::Fp32 | WeightDtype::Fp16 | WeightDtype::Bf16 | WeightDtype::Packed(_) => return Ok((0, 0)),
        WeightDtype::Int8 => sum(WHAT, &[covered, product(WHAT, &[4, tally.linear_rows])?])?,
        WeightDtype::Fp8 => sum(WHAT, &[covered, product(WHAT, &[4, tally.blocks])?])?,
        // 4 bit, and 32 bit of scale for 64 values.
        WeightDtype::Nf4 => share(9, 16)?,
        // As above, the scale in 8 bit with 32 bit for 256 of them: 1/2 + 1/64 + 4/16384.
        WeightDtype::Nf4Double => share(8_452, 16_384)?,
        // 4 bit, and 16 + 4 bit for 128 values.
        WeightDtype::Int4 => share(133, 256)?,
        WeightDtype::Gguf(kind) => share(kind.bytes, kind.elements)?,
    };
    Ok((covered, bytes))
}

/// How quantised bytes follow, and why.
const fn explanation(dtype: WeightDtype) -> (&'static str, &'static str) {
    match dtype {
        WeightDtype::Int8 => (
            "linear*(1 + 4/in_features) + others*e = linear + 4*rows + others*e",
            "torchao 0.18 Int8WeightOnlyConfig: nn.Linear only, one fp32 scale a row; output embedding left out",
        ),
        WeightDtype::Fp8 => (
            "linear + 4*blocks + others*e",
            "FP8 in blocks of 128 by 128 with one fp32 scale each; embeddings left out",
        ),
        WeightDtype::Nf4 => ("linear*(1/2 + 4/64) + others*e", "bitsandbytes 4 bit: one fp32 scale for 64 values"),
        WeightDtype::Nf4Double => (
            "linear*(1/2 + 1/64 + 4/16384) + others*e",
            "bitsandbytes 4 bit with quantised scales: 8 bit for 64 values",
        ),
        WeightDtype::Int4 => (
            "linear*(1/2 + 2/128 + 1/256) + others*e",
            "GPTQ and AWQ, groups of 128: a 16-bit scale and a 4-bit zero each",
        ),
        WeightDtype::Gguf(_) => ("linear*block_bytes/block_elements + others*e", "the GGUF format's table of types"),
        WeightDtype::Fp32 | WeightDtype::Fp16 | WeightDtype::Bf16 | WeightDtype::Packed(_) => {
            ("parameters*e", "config.json")
        }
    }
}

/// Add the weights as they are stored. Returns their bytes.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn add_stored<L: Ledger>(ledger: &mut L, checkpoint: &Checkpoint) -> Result<u64> {
    let bytes = checkpoint.held_bytes;
    ledger.exact("weights", bytes, || {
        let numbers = [("stored", bytes), ("packed_parameters", checkpoint.packed_parameters)];
        let source = if checkpoint.has_weights { "the files' headers" } else { "config.json, by the format's layout" };
        Detail::new("stored", &numbers, source)
    })?;
    Ok(bytes)
}

/// Add the weights of a tally in a dtype that they are not stored packed in. Returns their bytes.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn add<L: Ledger>(
    ledger: &mut L,
    checkpoint: &Checkpoint,
    dtype: WeightDtype,
    tally: &Tally,
    with_experts: bool,
) -> Result<u64> {
    let element = checkpoint.element_bytes(dtype);
    if !dtype.is_quantised() {
        let bytes = product(WHAT, &[tally.parameters, element])?;
        let source = if checkpoint.has_weights { "the files' headers" } else { "config.json" };
        ledger.exact("weights", bytes, || {
            Detail::new("parameters*e", &[("parameters", tally.parameters), ("e", element)], source)
        })?;
        return Ok(bytes);
    }
    let (covered, packed) = quantised(tally, dtype, with_experts)?;
    let kept = tally.parameters.saturating_sub(covered);
    let bytes = sum(WHAT, &[packed, product(WHAT, &[kept, element])?])?;
    ledger.exact("weights", bytes, || {
        let (formula, source) = explanation(dtype);
        let mut inputs = vec![("linear", covered)];
        match dtype {
            WeightDtype::Int8 => inputs.push(("rows", tally.linear_rows)),
            WeightDtype::Fp8 => inputs.push(("blocks", tally.blocks)),
            WeightDtype::Gguf(kind) => inputs.extend([("block_bytes", kind.bytes), ("block_elements", kind.elements)]),
            _ => {}
        }
        inputs.extend([("others", kept), ("e", element)]);
        Detail::new(formula, &inputs, source)
    })?;
    Ok(bytes)
}

/// One pipeline stage: layers from `begin` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// First layer.
    pub begin: u64,
    /// One past the last layer.
    pub end: u64,
    /// Whether it has the embedding.
    pub first: bool,
    /// Whether it has the output.
    pub last: bool,
}

/// Share layers out over stages as vLLM does: a remainder goes to the stages before the last one, one each.
#[must_use]
pub fn stages(layers: u64, count: u64) -> Vec<Stage> {
    let even = layers.checked_div(count).unwrap_or(layers);
    let rest = layers.checked_rem(count).unwrap_or(0);
    let last = count.saturating_sub(1);
    let mut begin = 0_u64;
    (0..count)
        .map(|index| {
            let from_end = last.saturating_sub(index);
            let more = u64::from((1..=rest).contains(&from_end));
            let end = begin.saturating_add(even).saturating_add(more);
            let stage = Stage { begin, end, first: index == 0, last: index == last };
            begin = end;
            stage
        })
        .collect()
}

/// What one rank of a stage holds.
///
/// # Errors
/// [`SizingError::SplitInvalid`], [`SizingError::Overflow`].
pub fn rank_tally(model: &Model, request: &Request, stage: Stage) -> Result<Tally> {
    let ranks = request.tensor_parallel;
    let mut tally = Tally::default();
    for rule in &model.rules {
        let copies = match rule.place {
            Place::Layer => rule.layers.count(stage.begin, stage.end),
            Place::Head => u64::from(stage.last),
            Place::Tower => u64::from(stage.first),
            // Embeddings lie first, norms and whatever else stands alone last; a tied embedding is needed at both ends.
            Place::Base => {
                let embeds = rule.role == crate::model::Role::Embedding;
                u64::from(if embeds { stage.first || (stage.last && model.shape.tied) } else { stage.last })
            }
        };
        if copies > 0 {
            tally.add(rule, share(rule, model, ranks)?, copies, ranks)?;
        }
    }
    Ok(tally)
}

fn share(rule: &Rule, model: &Model, ranks: u64) -> Result<u64> {
    let all = rule.elements()?;
    if ranks == 1 {
        return Ok(match rule.split {
            Split::Vocabulary => padded_vocabulary(rule, 1)?,
            _ => all,
        });
    }
    match rule.split {
        Split::Whole => Ok(all),
        Split::Even => Ok(all.div_ceil(ranks)),
        Split::KvHeads => {
            let heads = model.shape.kv_heads.max(1);
            let mine = heads.checked_div(ranks).unwrap_or(heads).max(1);
            Ok(product(WHAT, &[all.checked_div(heads).unwrap_or(all), mine])?.min(all))
        }
        Split::Vocabulary => padded_vocabulary(rule, ranks),
    }
}

fn padded_vocabulary(rule: &Rule, ranks: u64) -> Result<u64> {
    let rows = rule.axes.first().map_or(0, |axis| axis.size);
    let width = rule.axes.iter().skip(1).try_fold(1, |acc, axis| product(WHAT, &[acc, axis.size]))?;
    let padded = rows.checked_next_multiple_of(VOCABULARY_PADDING).ok_or(SizingError::Overflow { what: WHAT })?;
    product(WHAT, &[padded.div_ceil(ranks), width])
}

/// Refuse a split that the engine would refuse.
///
/// # Errors
/// [`SizingError::SplitInvalid`].
pub fn check_split(checkpoint: &Checkpoint, request: &Request) -> Result<()> {
    let model = &checkpoint.model;
    let (ranks, count) = (request.tensor_parallel, request.pipeline_parallel);
    let shape = &model.shape;
    let refuse = |what, value, detail| Err(SizingError::SplitInvalid { what, value, detail });
    // A model of states alone has no heads of attention: ranks share the inner channels.
    let states = !model.caches.is_empty() && model.caches.iter().all(|group| group.kind.is_state());
    if states && shape.intermediate.checked_rem(ranks) != Some(0) {
        return refuse("tensor_parallel", ranks, "it must divide the state's channels");
    }
    if !states && ranks > 1 && shape.heads.checked_rem(ranks) != Some(0) {
        return refuse("tensor_parallel", ranks, "it must divide the number of attention heads");
    }
    let (kv_heads, uneven) = (shape.kv_heads.max(1), "it must divide, or be a multiple of, the key and value heads");
    if ranks > 1 && kv_heads.checked_rem(ranks) != Some(0) && ranks.checked_rem(kv_heads) != Some(0) {
        return refuse("tensor_parallel", ranks, uneven);
    }
    if count > shape.layers {
        return refuse("pipeline_parallel", count, "there are fewer layers than stages");
    }
    if ranks > 1 && request.engine != Engine::LlamaCpp { check_matrices(checkpoint, request) } else { Ok(()) }
}

/// Refuse a split that leaves a part of a matrix over, or cuts through what shares a scale: vLLM's `divide`, its fused experts, and its
/// checks of blocks and groups (`validate_fp8_block_shape`, `create_weights` of GPTQ and AWQ).
fn check_matrices(checkpoint: &Checkpoint, request: &Request) -> Result<()> {
    let ranks = request.tensor_parallel;
    let (rows, columns) = if checkpoint.holds(request.dtype) { checkpoint.stored_block } else { (0, 0) };
    for rule in checkpoint.model.rules.iter().filter(|rule| rule.is_matrix() && rule.split == Split::Even) {
        let (outputs, inputs, _) = rule.matrix();
        let (side, scaled) = if rule.shares_inputs() { (inputs, columns) } else { (outputs, rows) };
        // Fused halves (gate and input of an MLP in one tensor) are shared out one by one.
        let halves = if rule.name.contains("gate_up") && !rule.shares_inputs() { 2 } else { 1 };
        let (each, rest) = (side.checked_div(halves).unwrap_or(side), side.checked_rem(halves));
        let mine = each.checked_div(ranks).unwrap_or(0);
        let detail = if rest != Some(0) || each.checked_rem(ranks) != Some(0) {
            "it must divide the widths of the MLP and of the experts"
        } else if scaled > 0 && mine.checked_rem(scaled) != Some(0) {
            "it cuts through weights that share a scale (blocks or groups of the checkpoint's format)"
        } else {
            continue;
        };
        return Err(SizingError::SplitInvalid { what: "tensor_parallel", value: ranks, detail });
    }
    Ok(())
}

/// A part of bytes, in percent.
pub(crate) fn percent(bytes: u64, percent: u64) -> Result<u64> {
    let scaled = u128::from(bytes).saturating_mul(u128::from(percent)) / 100;
    u64::try_from(scaled).map_err(|_| SizingError::Overflow { what: "a share" })
}

/// The share of parameters that a dtype covers, for engines that quantise experts as well.
pub(crate) fn covered_ppm(checkpoint: &Checkpoint, dtype: WeightDtype) -> Result<u64> {
    let covered = if checkpoint.holds(dtype) {
        checkpoint.packed_parameters
    } else {
        quantised(&checkpoint.tally, dtype, true)?.0
    };
    let scaled = u128::from(covered).saturating_mul(1_000_000);
    let share = scaled.checked_div(u128::from(checkpoint.tally.parameters)).unwrap_or(0);
    u64::try_from(share).map_err(|_| SizingError::Overflow { what: "the share" })
}
