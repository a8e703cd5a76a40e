//! The embedded engine (transformers on torch): what it does with the weights, and what a call needs beside them.

use crate::catalogue::Task;
use crate::component::{Component, Sized, Workload};
use crate::math::{product, sum};
use crate::{Checkpoint, Result, SizingError, WeightDtype};

/// No engine computes more sequences at once.
pub const MAX_CONCURRENCY: u64 = 65_536;
/// Growth of a warm worker by a load and its calls beyond tensors: tokenizer, batches, mapped libraries. Measured on CPU
/// with the C library told to give freed blocks back: 8 to 17 MiB over five models.
const OVERHEAD_BYTES: u64 = 16 * 1024 * 1024;
const OVERHEAD_UPPER_BYTES: u64 = 48 * 1024 * 1024;
/// What glibc's heap keeps of freed temporaries, in percent of them: seven runs with its default thresholds gave 38 to 110.
const HEAP_SLACK_PERCENT: u64 = 75;
const HEAP_SLACK_UPPER_PERCENT: u64 = 125;
/// One-sided margins, in percent, for what the allocator rounds and for formulas that were not compared.
const VERIFIED_MARGIN_PERCENT: u64 = 5;
const UNVERIFIED_MARGIN_PERCENT: u64 = 50;

/// Components of one instance of a checkpoint.
///
/// # Errors
/// [`SizingError::ContextInvalid`], [`SizingError::ConcurrencyInvalid`], [`SizingError::QuantisationIneffective`],
/// [`SizingError::Overflow`].
pub fn size(checkpoint: &Checkpoint, dtype: WeightDtype, context_length: u64, max_concurrency: u64) -> Result<Sized> {
    let limit = checkpoint.model.shape.max_context;
    if !(1..=limit).contains(&context_length) {
        return Err(SizingError::ContextInvalid { context_length, limit });
    }
    if !(1..=MAX_CONCURRENCY).contains(&max_concurrency) {
        return Err(SizingError::ConcurrencyInvalid { max_concurrency, limit: MAX_CONCURRENCY });
    }
    let element_bytes = dtype.element_bytes(checkpoint.stored_dtype);
    let workload = Workload { sequences: max_concurrency, context_length, element_bytes };
    let mut warnings = checkpoint.warnings.clone();
    let mut components = weights(checkpoint, dtype, element_bytes)?;
    let resident = components.iter().try_fold(0, |acc, part| sum("the weights", &[acc, part.bytes]))?;
    components.extend(kv_cache(checkpoint, &workload)?);
    components.push(activations(checkpoint, &workload, &mut warnings)?);
    components.extend(logits(checkpoint, &workload)?);
    let quantised_ppm = quantised_ppm(checkpoint, dtype)?;
    if dtype == WeightDtype::Int8 {
        components.push(dequantised_copy(checkpoint, element_bytes)?);
        warnings.push(format!(
            "INT8 quantises {}.{} % of the parameters; embeddings, norms and biases stay in {}",
            quantised_ppm / 10_000,
            quantised_ppm % 10_000 / 1_000,
            checkpoint.stored_dtype
        ));
    }
    components.push(heap_slack(&components)?);
    components.push(overhead());
    components.extend(load_peak(checkpoint, dtype, resident, &components)?);
    Ok(Sized { components, warnings, quantised_ppm })
}

/// Refuse INT8 where it leaves most of the matrices as they are; else what share of all parameters it covers.
fn quantised_ppm(checkpoint: &Checkpoint, dtype: WeightDtype) -> Result<u64> {
    let tally = &checkpoint.tally;
    if dtype != WeightDtype::Int8 {
        return Ok(0);
    }
    let eligible = tally.parameters.saturating_sub(tally.embedding);
    if product("the weights", &[tally.linear, 2])? < eligible || tally.linear == 0 {
        let element = dtype.element_bytes(checkpoint.stored_dtype);
        return Err(SizingError::QuantisationIneffective {
            quantised: product("the weights", &[tally.linear, element])?,
            eligible: product("the weights", &[eligible, element])?,
        });
    }
    let scaled = product("the share", &[tally.linear, 1_000_000])?;
    Ok(scaled.checked_div(tally.parameters).unwrap_or(0))
}

/// What stays for as long as the model is loaded: equal to the sum over the tensors' storages.
fn weights(checkpoint: &Checkpoint, dtype: WeightDtype, element: u64) -> Result<Vec<Component>> {
    let tally = &checkpoint.tally;
    let what = "the weights";
    let mut parts = Vec::new();
    if dtype == WeightDtype::Int8 {
        let kept = tally.parameters.saturating_sub(tally.linear);
        let bytes =
            sum(what, &[tally.linear, product(what, &[4, tally.linear_rows])?, product(what, &[kept, element])?])?;
        parts.push(Component {
            name: "weights",
            bytes,
            upper_bytes: bytes,
            formula: "linear*(1 + 4/in_features) + others*e = linear + 4*rows + others*e".to_owned(),
            inputs: vec![("linear", tally.linear), ("rows", tally.linear_rows), ("others", kept), ("e", element)],
            source: "torchao 0.18 Int8WeightOnlyConfig: nn.Linear only, one fp32 scale a row; output embedding left out",
        });
        parts.push(Component {
            name: "quantisation_zero_points",
            bytes: tally.linear_rows,
            upper_bytes: tally.linear_rows,
            formula: "rows".to_owned(),
            inputs: vec![("rows", tally.linear_rows)],
            source: "torchao 0.18 keeps one int8 zero point a row, symmetric or not (measured)",
        });
    } else {
        let bytes = product(what, &[tally.parameters, element])?;
        parts.push(Component {
            name: "weights",
            bytes,
            upper_bytes: bytes,
            formula: "parameters*e".to_owned(),
            inputs: vec![("parameters", tally.parameters), ("e", element)],
            source: if checkpoint.has_weights { "safetensors headers" } else { "config.json" },
        });
    }
    let buffers = checkpoint.model.shape.buffer_bytes;
    if buffers > 0 {
        parts.push(Component {
            name: "buffers",
            bytes: buffers,
            upper_bytes: buffers,
            formula: "position and token type ids, or rotary frequencies".to_owned(),
            inputs: Vec::new(),
            source: "transformers 5: non-persistent buffers of the model's class (measured)",
        });
    }
    Ok(parts)
}

/// Keys and values at the full context of every sequence. A step's concatenation holds one layer's keys twice for a
/// moment; that is always less than the prompt's activations, which are gone by then.
fn kv_cache(checkpoint: &Checkpoint, workload: &Workload) -> Result<Option<Component>> {
    if !checkpoint.architecture.family.has_kv_cache() {
        return Ok(None);
    }
    let shape = &checkpoint.model.shape;
    let what = "the KV cache";
    let per_tensor = product(what, &[workload.tokens()?, shape.kv_heads, shape.head_dim, workload.element_bytes])?;
    let bytes = product(what, &[2, shape.layers, per_tensor])?;
    let cache = Component {
        name: "kv_cache",
        bytes,
        upper_bytes: bytes,
        formula: "2*layers*kv_heads*head_dim*e*sequences*context".to_owned(),
        inputs: vec![
            ("layers", shape.layers),
            ("kv_heads", shape.kv_heads),
            ("head_dim", shape.head_dim),
            ("e", workload.element_bytes),
            ("sequences", workload.sequences),
            ("context", workload.context_length),
        ],
        source: "transformers DynamicCache; a sliding window is not deducted, as it holds the whole prompt until the next step",
    };
    Ok(Some(cache))
}

fn activations(checkpoint: &Checkpoint, workload: &Workload, warnings: &mut Vec<String>) -> Result<Component> {
    let shape = &checkpoint.model.shape;
    let peak = checkpoint.architecture.family.activations(shape, workload)?;
    let source = if peak.verified {
        "equal to the byte with torch's allocation events (transformers 5.23, SDPA, FP32)"
    } else {
        warnings.push(format!("activations are unverified for this shape: {}", peak.formula));
        "unverified"
    };
    let margin = if peak.verified { VERIFIED_MARGIN_PERCENT } else { UNVERIFIED_MARGIN_PERCENT };
    Ok(Component {
        name: "activations",
        bytes: peak.bytes,
        upper_bytes: with_margin(peak.bytes, margin)?,
        formula: peak.formula.to_owned(),
        inputs: vec![
            ("tokens", workload.tokens()?),
            ("e", workload.element_bytes),
            ("hidden", shape.hidden),
            ("intermediate", shape.intermediate),
            ("context", workload.context_length),
        ],
        source,
    })
}

/// The last position's logits and their fp32 log-probabilities, while generating.
fn logits(checkpoint: &Checkpoint, workload: &Workload) -> Result<Option<Component>> {
    if checkpoint.architecture.task != Task::Generation {
        return Ok(None);
    }
    let vocabulary = checkpoint.model.shape.vocabulary;
    let what = "the logits";
    let batch = product(what, &[workload.sequences, vocabulary, sum(what, &[workload.element_bytes, 4])?])?;
    let bytes = sum(what, &[batch, product(what, &[vocabulary, 8])?])?;
    Ok(Some(Component {
        name: "logits",
        bytes,
        upper_bytes: bytes,
        formula: "sequences*vocabulary*(e + 4) + 8*vocabulary".to_owned(),
        inputs: vec![("sequences", workload.sequences), ("vocabulary", vocabulary), ("e", workload.element_bytes)],
        source: "one position a sequence in the compute dtype and in fp32; one row's log-probabilities and sampler's copy",
    }))
}

fn dequantised_copy(checkpoint: &Checkpoint, element: u64) -> Result<Component> {
    let largest = checkpoint.tally.largest_linear;
    let bytes = product("the dequantised copy", &[largest, element])?;
    Ok(Component {
        name: "dequantised_copy",
        bytes,
        upper_bytes: bytes,
        formula: "largest_linear*e".to_owned(),
        inputs: vec![("largest_linear", largest), ("e", element)],
        source: "torchao 0.18: a weight-only INT8 layer makes a copy in the compute dtype while it runs",
    })
}

/// Freed temporaries that the C library's heap has not given back when the next peak comes.
fn heap_slack(components: &[Component]) -> Result<Component> {
    let what = "the heap's slack";
    let temporary = components
        .iter()
        .filter(|part| ["kv_cache", "activations", "logits"].contains(&part.name))
        .try_fold(0, |acc, part| sum(what, &[acc, part.bytes]))?;
    Ok(Component {
        name: "heap_slack",
        bytes: percent(temporary, HEAP_SLACK_PERCENT)?,
        upper_bytes: percent(temporary, HEAP_SLACK_UPPER_PERCENT)?,
        formula: "temporary*percent/100".to_owned(),
        inputs: vec![("temporary", temporary), ("percent", HEAP_SLACK_PERCENT)],
        source: "measured on CPU with glibc's default thresholds (torch 2.15, transformers 5.23); near 0 with MALLOC_ARENA_MAX=1 and fixed thresholds of 1 MiB",
    })
}

fn overhead() -> Component {
    Component {
        name: "overhead",
        bytes: OVERHEAD_BYTES,
        upper_bytes: OVERHEAD_UPPER_BYTES,
        formula: "a constant of the engine".to_owned(),
        inputs: Vec::new(),
        source: "measured on CPU: growth of a warm worker beyond tensors (torch 2.15, transformers 5.23)",
    }
}

/// While a cast or a quantisation runs, the stored bytes are mapped beside the result; the surplus over what serving needs.
fn load_peak(
    checkpoint: &Checkpoint,
    dtype: WeightDtype,
    resident: u64,
    serving: &[Component],
) -> Result<Option<Component>> {
    if dtype == checkpoint.stored_dtype {
        return Ok(None);
    }
    let what = "the load peak";
    let serving_bytes = serving.iter().try_fold(0, |acc, part| sum(what, &[acc, part.bytes]))?;
    let serving_upper = serving.iter().try_fold(0, |acc, part| sum(what, &[acc, part.upper_bytes]))?;
    let peak = sum(what, &[resident, checkpoint.stored_bytes, OVERHEAD_BYTES])?;
    let peak_upper = sum(what, &[resident, checkpoint.stored_bytes, OVERHEAD_UPPER_BYTES])?;
    let (bytes, upper_bytes) = (peak.saturating_sub(serving_bytes), peak_upper.saturating_sub(serving_upper));
    if bytes == 0 && upper_bytes == 0 {
        return Ok(None);
    }
    Ok(Some(Component {
        name: "load_peak",
        bytes,
        upper_bytes: upper_bytes.max(bytes),
        formula: "max(0, stored + weights + overhead - what serving needs)".to_owned(),
        inputs: vec![("stored", checkpoint.stored_bytes), ("weights", resident), ("serving", serving_bytes)],
        source: "measured on CPU: a cast has the mapped file beside its result, 3 times the result for BF16 from FP32; INT8 of MiniLM took 152 MiB from FP32 and 87 MiB from BF16 where this says 159 and 93",
    }))
}

fn with_margin(bytes: u64, margin_percent: u64) -> Result<u64> {
    sum("the upper bound", &[bytes, percent(bytes, margin_percent)?])
}

fn percent(bytes: u64, percent: u64) -> Result<u64> {
    let scaled = u128::from(bytes).saturating_mul(u128::from(percent)) / 100;
    u64::try_from(scaled).map_err(|_| SizingError::Overflow { what: "a share" })
}
