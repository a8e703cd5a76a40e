//! The embedded engine (transformers on torch): what it does with the weights, and what a call needs beside them.

use crate::cache::CacheKind;
use crate::catalogue::Task;
use crate::component::Workload;
use crate::constants::{self, Bound};
use crate::engines::paged::refuse_packed;
use crate::ledger::{Detail, Ledger, Totals};
use crate::math::{product, sum};
use crate::request::{KvDtype, Request};
use crate::steps::Number;
use crate::weights::{self, covered_ppm, percent};
use crate::{Checkpoint, CpuIsa, Result, SizingError, WeightDtype, tokenizer};

/// One-sided margin, in percent, of formulas that were not compared; of others the constants' bound speaks.
const UNVERIFIED_MARGIN_PERCENT: u64 = 50;

/// Pages of the matrix library's code for 16-bit arithmetic, touched by the first call: 3.3 to 3.9 MB over ten models.
const LIBRARY_CODE: [u64; 2] = [3_600_000, 4_200_000];
/// The same of torch's own loops, where the library does not compute in that dtype: FP16 1.0 to 1.6 MB, BF16 0.6 MB.
const LOOPS_CODE: [u64; 2] = [1_200_000, 1_800_000];
/// Where no process was measured; 4.2 MB and 1.4 MB of kernels made at run time where the CPU was imitated.
const UNMEASURED_CODE_UPPER: u64 = 8_000_000;

/// Write the embedded engine's components down.
pub(crate) fn itemise<L: Ledger>(checkpoint: &Checkpoint, request: &Request, ledger: &mut L) -> Result<()> {
    let dtype = request.dtype;
    let packed = checkpoint.holds(dtype);
    if !packed {
        refuse_packed(request)?;
    }
    if (matches!(dtype, WeightDtype::Gguf(_)) && !packed) || !matches!(request.kv_dtype, KvDtype::Auto) {
        let accepted =
            "the torch engine holds FP32, FP16, BF16, INT8, FP8, NF4 and INT4, and keys and values as it computes";
        return Err(SizingError::EngineDtype { engine: "torch", dtype: dtype.name(), accepted });
    }
    let element_bytes = checkpoint.element_bytes(dtype);
    let (sequences, context_length) = (request.max_concurrency, request.context_length);
    let number = match if dtype.is_quantised() { checkpoint.compute_dtype() } else { dtype } {
        WeightDtype::Fp32 => Number::Fp32,
        WeightDtype::Fp16 => Number::Fp16,
        _ => Number::Bf16,
    };
    let quantised = dtype.is_quantised() && !packed;
    let Request { cpu_isa, threads, .. } = *request;
    let told = L::TOLD;
    let workload = Workload { sequences, context_length, element_bytes, number, cpu_isa, threads, quantised, told };
    let share = quantised_ppm(checkpoint, dtype)?;
    let resident = resident(checkpoint, dtype, ledger)?;
    let mut serving = Totals { bytes: resident, upper_bytes: resident };
    let mut temporary = caches(checkpoint, &workload, ledger)?;
    let step = activations(checkpoint, dtype, &workload, ledger)?;
    let logits = if step.whole { 0 } else { logits(checkpoint, &workload, ledger)? };
    let mut copied = 0;
    if quantised {
        copied = quantised_extras(checkpoint, dtype, if step.whole { 0 } else { element_bytes }, share, ledger)?;
    }
    let libraries = libraries(checkpoint, &workload, step.packed_bytes, ledger)?;
    let what = "what libraries keep";
    let [rest, rest_upper] = [sum(what, &[copied, libraries.bytes])?, sum(what, &[copied, libraries.upper_bytes])?];
    temporary = sum("the heap's slack", &[temporary, step.bytes, logits])?;
    let constants = &request.constants;
    let (slack, overhead) = (constants::share(&constants.serving, temporary), constants::base(&constants.serving));
    add_slack(temporary, slack, overhead, ledger)?;
    let what = "the load peak";
    serving.bytes = sum(what, &[serving.bytes, temporary, rest, slack.bytes, overhead.bytes])?;
    let upper = sum(what, &[temporary.saturating_sub(step.bytes), step.upper_bytes])?;
    let slack_upper = sum(what, &[slack.upper_bytes, overhead.upper_bytes])?;
    serving.upper_bytes = sum(what, &[serving.upper_bytes, upper, rest_upper, slack_upper])?;
    load_peak(checkpoint, request, resident, serving, ledger)
}

/// Refuse quantisation where it leaves most of the matrices as they are; else what share of all parameters it covers.
pub(crate) fn quantised_ppm(checkpoint: &Checkpoint, dtype: WeightDtype) -> Result<u64> {
    let tally = &checkpoint.tally;
    if !dtype.is_quantised() {
        return Ok(0);
    }
    if checkpoint.holds(dtype) {
        return covered_ppm(checkpoint, dtype);
    }
    let eligible = tally.parameters.saturating_sub(tally.embedding);
    if product("the weights", &[tally.linear, 2])? < eligible || tally.linear == 0 {
        let element = checkpoint.element_bytes(dtype);
        return Err(SizingError::QuantisationIneffective {
            quantised: product("the weights", &[tally.linear, element])?,
            eligible: product("the weights", &[eligible, element])?,
        });
    }
    let scaled = product("the share", &[tally.linear, 1_000_000])?;
    Ok(scaled.checked_div(tally.parameters).unwrap_or(0))
}

/// What stays for as long as the model is loaded: equal to the sum over the tensors' storages.
fn resident<L: Ledger>(checkpoint: &Checkpoint, dtype: WeightDtype, ledger: &mut L) -> Result<u64> {
    let tally = &checkpoint.tally;
    let mut bytes = if checkpoint.holds(dtype) {
        weights::add_stored(ledger, checkpoint)?
    } else {
        weights::add(ledger, checkpoint, dtype, tally, false)?
    };
    if dtype == WeightDtype::Int8 {
        ledger.exact("quantisation_zero_points", tally.linear_rows, || {
            let source = "torchao 0.18 keeps one int8 zero point a row, symmetric or not (measured)";
            Detail::new("rows", &[("rows", tally.linear_rows)], source)
        })?;
        bytes = sum("the weights", &[bytes, tally.linear_rows])?;
    }
    let (fixed, elements) = (checkpoint.model.shape.buffer_bytes, checkpoint.model.buffer_elements);
    let element = checkpoint.element_bytes(dtype);
    let buffers = sum("the buffers", &[fixed, product("the buffers", &[elements, element])?])?;
    if buffers > 0 {
        ledger.exact("buffers", buffers, || {
            let formula = "position and token type ids, or rotary frequencies; elements*e";
            Detail::new(
                formula,
                &[("elements", elements), ("e", element)],
                "transformers 5: non-persistent buffers of the model's class (measured)",
            )
        })?;
    }
    sum("the weights", &[bytes, buffers])
}

/// Keys and values at the full context of every sequence, and states. A step's concatenation holds one layer's keys twice
/// for a moment; that is always less than the prompt's activations, which are gone by then.
fn caches<L: Ledger>(checkpoint: &Checkpoint, workload: &Workload, ledger: &mut L) -> Result<u64> {
    let (what, element) = ("the KV cache", workload.element_bytes);
    let mut total = 0;
    for group in &checkpoint.model.caches {
        let layers = group.layers.count(0, checkpoint.model.shape.layers);
        let bytes = if let CacheKind::State { channels, kernel, matrix, .. } = group.kind {
            let each = state_bytes(channels, kernel, matrix, element)?;
            let bytes = product(what, &[layers, each, workload.sequences])?;
            ledger.exact("state_cache", bytes, || {
                let numbers = [
                    ("layers", layers),
                    ("channels", channels),
                    ("kernel", kernel),
                    ("matrix", matrix),
                    ("e", element),
                    ("sequences", workload.sequences),
                ];
                let source = "transformers: inputs of the convolution in the compute dtype, the state's matrix in fp32";
                Detail::new("layers*(channels*kernel*e + matrix*4)*sequences", &numbers, source)
            })?;
            bytes
        } else {
            let token = group.kind.token_elements(1)?;
            let bytes = product(what, &[layers, token, element, workload.tokens()?])?;
            let name = if matches!(group.kind, CacheKind::Cross { .. }) { "cross_cache" } else { "kv_cache" };
            ledger.exact(name, bytes, || cache_detail(&group.kind, layers, token, workload))?;
            bytes
        };
        total = sum(what, &[total, bytes])?;
    }
    Ok(total)
}

/// One layer's state of one sequence in the torch engine.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn state_bytes(channels: u64, kernel: u64, matrix: u64, element: u64) -> Result<u64> {
    let what = "the state";
    sum(what, &[product(what, &[channels, kernel, element])?, product(what, &[matrix, 4])?])
}

fn cache_detail(kind: &CacheKind, layers: u64, token: u64, workload: &Workload) -> Detail {
    const SOURCE: &str = "transformers DynamicCache after a prompt as long as the context; a window is not deducted, as its layer shows the last window - 1 tokens of the whole prompt's storage, and holds no more than the window from the next step on";
    let element = ("e", workload.element_bytes);
    let tail = [("sequences", workload.sequences), ("context", workload.context_length)];
    let (formula, mut numbers) = match *kind {
        CacheKind::Full { heads, key_dim, value_dim } | CacheKind::Sliding { heads, key_dim, value_dim, .. }
            if key_dim == value_dim =>
        {
            let numbers = vec![("layers", layers), ("kv_heads", heads), ("head_dim", key_dim), element];
            ("2*layers*kv_heads*head_dim*e*sequences*context", numbers)
        }
        _ => {
            let numbers = vec![("layers", layers), ("elements_per_token", token), element];
            ("layers*elements_per_token*e*sequences*context", numbers)
        }
    };
    numbers.extend(tail);
    if let CacheKind::Sliding { window, .. } | CacheKind::Chunked { chunk: window, .. } = *kind {
        numbers.push(("window", window));
    }
    Detail::new(formula, &numbers, SOURCE)
}

/// What one step takes beside weights and cache. `whole`: with its logits, and with the copies that quantised layers make.
struct Step {
    bytes: u64,
    upper_bytes: u64,
    whole: bool,
    /// What the matrix library keeps, outside of torch's count.
    packed_bytes: [u64; 2],
}

fn activations<L: Ledger>(
    checkpoint: &Checkpoint,
    dtype: WeightDtype,
    workload: &Workload,
    ledger: &mut L,
) -> Result<Step> {
    let peak = checkpoint.architecture.family.activations(&checkpoint.model, workload)?;
    // Of the dtypes that quantise, INT8 alone was followed.
    let (source, margin) = if peak.worst_bytes.is_some() {
        (
            "a step as torch allocates it, experts getting equal shares; the upper bound has one expert get every token",
            0,
        )
    } else if peak.verified && (!dtype.is_quantised() || dtype == WeightDtype::Int8) {
        compared(workload, ledger)
    } else {
        ledger.warn(|| format!("activations are unverified for this shape: {}", peak.formula));
        ("unverified", UNVERIFIED_MARGIN_PERCENT)
    };
    let bound = sum("the upper bound", &[peak.bytes, percent(peak.bytes, margin)?])?;
    let upper_bytes = bound.max(peak.upper_bytes).max(peak.worst_bytes.unwrap_or(0));
    let step = Step { bytes: peak.bytes, upper_bytes, whole: peak.whole, packed_bytes: peak.packed_bytes };
    ledger.add("activations", step.bytes, upper_bytes, || Detail {
        formula: peak.formula,
        inputs: peak.inputs,
        source,
    })?;
    Ok(step)
}

/// What a step that was followed is worth on this CPU, and the margin it wants beside the copies' own bounds.
fn compared<L: Ledger>(workload: &Workload, ledger: &mut L) -> (&'static str, u64) {
    let isa = workload.cpu_isa;
    let measured = isa.is_measured() || (workload.number == Number::Fp32 && isa != CpuIsa::Unknown);
    if measured && workload.threads > 1 {
        ledger.warn(|| {
            format!("activations are unverified for {} threads: each has copies of its own", workload.threads)
        });
        return ("unverified for several threads; the upper bound holds for copies of each", 0);
    }
    if measured {
        return (
            "equal to the byte with torch's allocation events of one step (torch 2.15, transformers 5.23, CPU)",
            0,
        );
    }
    ledger.warn(|| {
        format!("activations are unverified on a CPU of the kind {}: the upper bound holds for its copies", isa.name())
    });
    ("unverified on this kind of CPU; the upper bound holds for the matrix library's copies", 0)
}

/// What libraries keep that torch does not count: the tokenizer's tables, packed matrices, and code that a warm worker never ran.
fn libraries<L: Ledger>(
    checkpoint: &Checkpoint,
    workload: &Workload,
    [packed, packed_upper]: [u64; 2],
    ledger: &mut L,
) -> Result<Totals> {
    let (tokenizer, inputs) = tokenizer::memory(checkpoint.tokenizer, checkpoint.model.shape.vocabulary)?;
    ledger.exact("tokenizer", tokenizer, || {
        let formula = if checkpoint.tokenizer.is_some() { "file_bytes*factor" } else { "vocabulary*bytes_per_word" };
        let source = "measured with tokenizers 0.22: tables of words, merges or pieces, by the file's kind";
        Detail::new(formula, &inputs, source)
    })?;
    if packed_upper > 0 {
        ledger.add("matrix_packing", packed, packed_upper, || {
            let formula = "sum of (384 + output)*min(384, input)*4 over layers wider than those before";
            let source = "measured: what MKL keeps of packed FP32 matrices, one thread, AVX-512; the upper bound holds with AVX2 as well";
            Detail::new(formula, &[], source)
        })?;
    }
    let [code, code_upper] = kernel_code(workload);
    if code > 0 {
        ledger.add("kernel_code", code, code_upper, || {
            let source = "measured: pages of code for 16 bit, which no warm worker has touched";
            Detail::new("a constant of dtype and instruction set", &[], source)
        })?;
    }
    let what = "what libraries keep";
    let bytes = sum(what, &[tokenizer, packed, code])?;
    Ok(Totals { bytes, upper_bytes: sum(what, &[tokenizer, packed_upper, code_upper])? })
}

/// Pages of code, expected and at most.
const fn kernel_code(workload: &Workload) -> [u64; 2] {
    match (workload.number, workload.cpu_isa) {
        (Number::Fp32, _) => [0, 0],
        (Number::Bf16, CpuIsa::Avx512Core | CpuIsa::Avx512CoreBf16) => LIBRARY_CODE,
        (Number::Bf16, CpuIsa::Avx2) | (Number::Fp16, CpuIsa::Avx2 | CpuIsa::Avx512Core | CpuIsa::Avx512CoreBf16) => {
            LOOPS_CODE
        }
        (Number::Fp16, CpuIsa::Unknown) => [LOOPS_CODE[0], UNMEASURED_CODE_UPPER],
        _ => [LIBRARY_CODE[0], UNMEASURED_CODE_UPPER],
    }
}

/// The last position's logits and their fp32 log-probabilities, while generating.
fn logits<L: Ledger>(checkpoint: &Checkpoint, workload: &Workload, ledger: &mut L) -> Result<u64> {
    if checkpoint.task != Task::Generation {
        return Ok(0);
    }
    let vocabulary = checkpoint.model.shape.vocabulary;
    let what = "the logits";
    let batch = product(what, &[workload.sequences, vocabulary, sum(what, &[workload.element_bytes, 4])?])?;
    let bytes = sum(what, &[batch, product(what, &[vocabulary, 8])?])?;
    ledger.exact("logits", bytes, || {
        let numbers = [("sequences", workload.sequences), ("vocabulary", vocabulary), ("e", workload.element_bytes)];
        let source =
            "one position a sequence in the compute dtype and in fp32; one row's log-probabilities and sampler's copy";
        Detail::new("sequences*vocabulary*(e + 4) + 8*vocabulary", &numbers, source)
    })?;
    Ok(bytes)
}

/// What a quantised model needs beside its weights: the copy that a layer makes.
fn quantised_extras<L: Ledger>(
    checkpoint: &Checkpoint,
    dtype: WeightDtype,
    element: u64,
    share: u64,
    ledger: &mut L,
) -> Result<u64> {
    let tally = &checkpoint.tally;
    let copy = product("the dequantised copy", &[tally.largest_linear, element])?;
    // Where a whole step was followed, the copies are among its activations.
    if copy > 0 {
        ledger.exact("dequantised_copy", copy, || {
            let source = "torchao 0.18: a weight-only INT8 layer makes a copy in the compute dtype while it runs";
            Detail::new("largest_linear*e", &[("largest_linear", tally.largest_linear), ("e", element)], source)
        })?;
    }
    ledger.warn(|| {
        let (whole, tenth, stored) = (share / 10_000, share % 10_000 / 1_000, checkpoint.compute_dtype());
        format!("{dtype} quantises {whole}.{tenth} % of the parameters; embeddings, norms and biases stay in {stored}")
    });
    if dtype != WeightDtype::Int8 {
        ledger.warn(|| format!("{dtype} in the torch engine is unverified: no measurement stands behind it"));
    }
    Ok(copy)
}

/// Freed temporaries that the C library's heap has not given back when the next peak comes, and what is not tensors.
fn add_slack<L: Ledger>(temporary: u64, slack: Bound, overhead: Bound, ledger: &mut L) -> Result<()> {
    ledger.add("heap_slack", slack.bytes, slack.upper_bytes, || {
        let source = "the calibration's factor: what the heap keeps of freed temporaries (CPU, glibc)";
        Detail::new("temporary*factor", &[("temporary", temporary)], source)
    })?;
    ledger.add("overhead", overhead.bytes, overhead.upper_bytes, || {
        let source = "the calibration's base: growth of a warm worker beyond tensors";
        Detail::new("a constant of engine, version and device", &[], source)
    })
}

/// While a cast or a quantisation runs, or experts are put together, the stored bytes are mapped beside the
/// result; the surplus over what serving needs. A load that only copies lets go of each MiB of the file when it is copied.
fn load_peak<L: Ledger>(
    checkpoint: &Checkpoint,
    request: &Request,
    resident: u64,
    serving: Totals,
    ledger: &mut L,
) -> Result<()> {
    if request.dtype == checkpoint.stored_dtype && !checkpoint.put_together {
        return Ok(());
    }
    let what = "the load peak";
    let both = sum(what, &[resident, checkpoint.stored_bytes])?;
    let loading = &request.constants.loading;
    let (share, base) = (constants::share(loading, both), constants::base(loading));
    let (tokenizer, _) = tokenizer::memory(checkpoint.tokenizer, checkpoint.model.shape.vocabulary)?;
    let peak = sum(what, &[both, tokenizer, share.bytes, base.bytes])?;
    let peak_upper = sum(what, &[both, tokenizer, share.upper_bytes, base.upper_bytes])?;
    let bytes = peak.saturating_sub(serving.bytes);
    let upper_bytes = peak_upper.saturating_sub(serving.upper_bytes);
    if bytes == 0 && upper_bytes == 0 {
        return Ok(());
    }
    ledger.add("load_peak", bytes, upper_bytes.max(bytes), || {
        Detail::new(
            "max(0, stored + weights + tokenizer + overhead - what serving needs)",
            &[
                ("stored", checkpoint.stored_bytes),
                ("weights", resident),
                ("tokenizer", tokenizer),
                ("serving", serving.bytes),
            ],
            "measured on CPU: a cast has the mapped file beside its result, 3 times the result for BF16 from FP32; INT8 of MiniLM took 152 MiB from FP32 and 87 MiB from BF16 where this says 159 and 93",
        )
    })
}
