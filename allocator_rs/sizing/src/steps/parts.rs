//! The parts that steps are made of: linear layers, norms, attention, as torch and transformers run them.

use super::tape::Dim::{
    Context, E, EvenContext, EvenHead, EvenKeyBlock, HalfHead, Heads, Hidden, Inner, Key, KeyBlock, KvHeads, PerHead,
    Query, QueryBlock, Sequences, Tokens,
};
use super::tape::{Dim, Tape, elements, size};
use crate::CpuIsa;
use crate::number::Number;

/// Keys from which on attention packs them, where it computes with tiles.
const PACKED_KEYS: u64 = 64;

/// How a step computes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub number: Number,
    /// Whether linear layers hold INT8.
    pub quantised: bool,
    /// Whether a mask is held: one byte a pair of positions.
    pub masked: bool,
    /// Whether every expert is taken to get as many rows as the others; else one gets a row of every token.
    pub even: bool,
    /// What the matrix library computes with.
    pub isa: CpuIsa,
    /// Threads of one inference.
    pub threads: u64,
}

impl Mode {
    pub const fn narrow(self) -> bool {
        !matches!(self.number, Number::Fp32)
    }
}

/// A linear layer's output is held afterwards.
pub(super) fn linear(tape: &mut Tape, mode: Mode, rows: Dim, input: Dim, output: Dim) {
    let out = elements(&[rows, output]);
    let copy = elements(&[input, output]);
    if mode.quantised {
        tape.hold(copy);
    }
    multiply(tape, mode, rows, input, output);
    if mode.quantised {
        tape.free(copy);
        if mode.narrow() {
            tape.hold(elements(&[output]));
        }
        tape.replace(out, out);
        if mode.narrow() {
            tape.free(elements(&[output]));
        }
    }
}

/// As [`linear`], of a matrix that is never quantised.
pub(super) fn multiply(tape: &mut Tape, mode: Mode, rows: Dim, input: Dim, output: Dim) {
    tape.hold(elements(&[rows, output]));
    if mode.number == Number::Fp32 {
        tape.pack(rows, input, output, 1);
    }
    tape.copy(1, rows, input, output);
}

/// A layer norm's output is held afterwards.
pub(super) fn layer_norm(tape: &mut Tape) {
    tape.hold(elements(&[Tokens, Hidden]));
    tape.pass(size(2, &[Tokens, E]));
}

/// An RMS norm in FP32 over `rows` of `width`; its output is held afterwards.
pub(super) fn rms_norm(tape: &mut Tape, mode: Mode, rows: [Dim; 2], width: Dim) {
    let (wide, one) = (size(4, &[rows[0], rows[1], width]), size(4, &rows));
    let out = elements(&[rows[0], rows[1], width]);
    if mode.narrow() {
        tape.hold(wide);
    }
    tape.hold(wide);
    tape.hold(one);
    tape.pass(size(12, &[]));
    tape.free(wide);
    tape.hold(one);
    tape.hold(one);
    tape.free(one);
    tape.hold(wide);
    tape.free(one);
    if mode.narrow() {
        tape.free(wide);
        tape.hold(out);
        tape.replace(out, out);
    } else {
        tape.hold(out);
    }
    tape.free(wide);
    tape.free(one);
}

/// Gemma's norm, the weight being one more than what is stored; its output is held afterwards.
pub(super) fn gemma_norm(tape: &mut Tape, mode: Mode) {
    let (wide, one, weight) = (size(4, &[Tokens, Hidden]), size(4, &[Tokens]), size(4, &[Hidden]));
    if mode.narrow() {
        tape.hold(wide);
    }
    tape.hold(wide);
    tape.hold(one);
    tape.pass(size(12, &[]));
    tape.free(wide);
    tape.replace(one, one);
    tape.replace(one, one);
    tape.replace(one, wide);
    if mode.narrow() {
        tape.free(wide);
        tape.hold(weight);
    }
    tape.hold(weight);
    if mode.narrow() {
        tape.free(weight);
    }
    tape.replace(weight, wide);
    tape.free(wide);
    if mode.narrow() {
        tape.replace(wide, elements(&[Tokens, Hidden]));
    }
}

/// Attention by SDPA on the CPU from queries, keys and values that are held; its output is held afterwards. `heads`: of keys and values.
pub(super) fn sdpa(tape: &mut Tape, mode: Mode, heads: Dim) {
    let mask = elements(&[Sequences, Context, Context]);
    if mode.masked {
        tape.hold(mask);
    }
    tape.hold(elements(&[Tokens, Query]));
    tape.hold(size(4, &[Tokens, Heads]));
    let keys = if packs_heads(tape, mode) { EvenKeyBlock } else { KeyBlock };
    let buffers = [
        size(mode.threads.saturating_mul(4), &[QueryBlock, KeyBlock]),
        size(mode.threads.saturating_mul(8), &[QueryBlock]),
        size(mode.threads.saturating_mul(4), &[QueryBlock, PerHead]),
        size(mode.threads.saturating_mul(2), &[QueryBlock, keys]),
    ];
    let used = if mode.narrow() { 4 } else { 3 };
    for buffer in buffers.into_iter().take(used) {
        tape.hold(buffer);
    }
    pack_heads(tape, mode, heads);
    for buffer in buffers.into_iter().take(used) {
        tape.free(buffer);
    }
    tape.free(size(4, &[Tokens, Heads]));
    if mode.masked {
        tape.free(mask);
    }
}

/// Whether keys and values are packed for tiles, for certain.
fn packs_heads(tape: &Tape, mode: Mode) -> bool {
    mode.isa == CpuIsa::Amx && mode.number == Number::Bf16 && tape.of(Context) >= PACKED_KEYS
}

/// With tiles, keys and values are packed as a whole, and each thread's block of keys on its way: their depth is padded to pairs.
fn pack_heads(tape: &mut Tape, mode: Mode, heads: Dim) {
    let tiles = matches!(mode.isa, CpuIsa::Amx | CpuIsa::Unknown);
    if !(mode.narrow() && tiles && tape.of(Context) >= PACKED_KEYS) {
        return;
    }
    // Padded keys, padded values, and the transposed blocks.
    let packed = [
        size(2, &[Tokens, heads, EvenHead]),
        size(2, &[Sequences, EvenContext, heads, PerHead]),
        size(mode.threads.saturating_mul(2), &[KeyBlock, EvenHead]),
    ];
    if packs_heads(tape, mode) {
        for part in packed {
            tape.hold(part);
        }
        for part in packed {
            tape.free(part);
        }
    }
    // A newer kernel packs blocks of 64 beside them, outside of torch's count, and FP16 as well. A block of keys may be padded to pairs.
    let (blocks, padding) =
        (size(mode.threads.saturating_mul(256), &[PerHead]), size(mode.threads.saturating_mul(2), &[QueryBlock]));
    tape.may_pass(&[packed[0], packed[1], packed[2], packed[2], blocks, padding]);
}

/// Rotary positions of queries and keys; the old ones go when both are there.
pub(super) fn rotate(tape: &mut Tape) {
    for (width, heads) in [(Query, Heads), (Key, KvHeads)] {
        let whole = elements(&[Tokens, width]);
        let half = elements(&[Tokens, heads, HalfHead]);
        tape.hold(whole);
        tape.hold(half);
        tape.hold(whole);
        tape.free(half);
        tape.hold(whole);
        tape.free(whole);
        tape.hold(whole);
        tape.free(whole);
        tape.free(whole);
    }
    tape.free(elements(&[Tokens, Query]));
    tape.free(elements(&[Tokens, Key]));
}

/// A gated MLP from an input that is held; its output is held afterwards.
pub(super) fn gated(tape: &mut Tape, mode: Mode) {
    let inner = elements(&[Tokens, Inner]);
    linear(tape, mode, Tokens, Hidden, Inner);
    tape.replace(inner, inner);
    linear(tape, mode, Tokens, Hidden, Inner);
    tape.hold(inner);
    tape.free(inner);
    tape.free(inner);
    linear(tape, mode, Tokens, Inner, Hidden);
    tape.free(inner);
}
