//! The first step of a generation: all prompts, and the logits of their next tokens.

use super::parts::{Mode, gated, gemma_norm, layer_norm, linear, multiply, rms_norm, rotate, sdpa};
use super::step::{Peak, finish, start};
use super::tape::Dim::{
    Context, E, EvenRows, Experts, Heads, Hidden, Inner, Key, KvHeads, One, Pairs, PerHead, PerToken, Query, Sequences,
    Tokens, Vocabulary,
};
use super::tape::{Dim, Tape, elements, size};
use crate::Result;
use crate::component::Workload;
use crate::model::Model;
use crate::number::Number;

/// Which decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// `modeling_llama.py`, Mistral, Qwen2.
    Llama,
    /// As Llama, with norms of queries and keys.
    Qwen3,
    /// As Llama, with experts.
    Mixtral,
    /// Four norms a layer, and attention without SDPA, as its scores are capped.
    Gemma2,
    /// `modeling_gpt2.py`.
    Gpt2,
}

/// The peak of the first step, without the cache that it leaves; of experts, one gets a row of every token.
///
/// # Errors
/// [`crate::SizingError::Overflow`].
pub fn decoder(kind: Decoding, model: &Model, workload: &Workload) -> Result<Peak> {
    let (tape, mode) = start(model, workload)?;
    first_step(kind, model, (tape, mode))
}

/// As [`decoder`], every expert getting as many rows as the others.
///
/// # Errors
/// [`crate::SizingError::Overflow`].
pub fn evenly_routed(kind: Decoding, model: &Model, workload: &Workload) -> Result<Peak> {
    let (tape, mode) = start(model, workload)?;
    first_step(kind, model, (tape, Mode { even: true, ..mode }))
}

fn first_step(kind: Decoding, model: &Model, (mut tape, mode): (Tape, Mode)) -> Result<Peak> {
    let wide = elements(&[Tokens, Hidden]);
    // Token ids, mask and positions of the batch.
    tape.hold(size(24, &[Tokens]));
    if kind == Decoding::Gemma2 {
        // A mask in the compute dtype for each kind of layer.
        tape.hold(elements(&[Sequences, Context, Context]));
        tape.hold(elements(&[Sequences, Context, Context]));
    } else if mode.masked {
        tape.hold(size(1, &[Sequences, Context, Context]));
    }
    let windows = model.caches.iter().filter(|group| matches!(group.kind, crate::cache::CacheKind::Sliding { .. }));
    let windows = windows.map(|group| group.layers.count(0, model.shape.layers)).sum();
    // Each layer with a window keeps the window's length as a tensor.
    tape.hold(size(8_u64.saturating_mul(windows), &[]));
    tape.hold(wide);
    if kind == Decoding::Gpt2 {
        // The tables' rows of tokens and of positions stay beside their sum.
        tape.hold(wide);
        tape.hold(wide);
        gpt2(&mut tape, mode);
    } else {
        if model.shape.layers > 1 {
            tape.hold(wide);
        }
        let rotary = elements(&[Tokens, PerHead]);
        tape.hold(rotary);
        tape.hold(rotary);
        layer(&mut tape, mode, kind);
        tape.free(rotary);
        tape.free(rotary);
        if model.shape.layers > 1 {
            tape.free(wide);
        }
    }
    tape.free(wide);
    if kind == Decoding::Gpt2 {
        tape.free(wide);
        tape.free(wide);
    }
    if kind == Decoding::Gemma2 {
        tape.free(elements(&[Sequences, Context, Context]));
        tape.free(elements(&[Sequences, Context, Context]));
    } else if mode.masked {
        tape.free(size(1, &[Sequences, Context, Context]));
    }
    logits(&mut tape, mode, kind);
    finish(tape)
}

/// What a cache takes of a layer's keys and values is no activation: they leave the tape.
fn to_cache(tape: &mut Tape) {
    let key = elements(&[Tokens, Key]);
    // Both copies are there while the old ones still are; the copies are the cache's own bytes.
    tape.free(key);
    tape.free(key);
}

fn layer(tape: &mut Tape, mode: Mode, kind: Decoding) {
    let (wide, query, key) = (elements(&[Tokens, Hidden]), elements(&[Tokens, Query]), elements(&[Tokens, Key]));
    let gemma = kind == Decoding::Gemma2;
    let norm = |tape: &mut Tape| {
        if gemma { gemma_norm(tape, mode) } else { rms_norm(tape, mode, [Tokens, One], Hidden) }
    };
    // The cache of this layer is counted as a whole from the beginning, so it is missing until it is there.
    tape.free(key);
    tape.free(key);
    norm(tape);
    linear(tape, mode, Tokens, Hidden, Query);
    if kind == Decoding::Qwen3 {
        rms_norm(tape, mode, [Tokens, Heads], PerHead);
        tape.free(query);
    }
    linear(tape, mode, Tokens, Hidden, Key);
    if kind == Decoding::Qwen3 {
        rms_norm(tape, mode, [Tokens, KvHeads], PerHead);
        tape.free(key);
    }
    linear(tape, mode, Tokens, Hidden, Key);
    rotate(tape);
    tape.hold(key);
    tape.hold(key);
    to_cache(tape);
    // One head repeated is a view of itself.
    let shared = tape.of(KvHeads) > 1 && tape.of(Heads) > tape.of(KvHeads);
    let repeats = shared && (mode.masked || gemma || tape.of(PerHead) > 256);
    if repeats {
        tape.hold(query);
        tape.hold(query);
    }
    if gemma {
        eager(tape, mode);
    } else {
        // A mask has heads repeated beforehand, as a copy or as a view; else attention itself shares them.
        let wide = mode.masked || tape.of(PerHead) > 256;
        sdpa(tape, mode, if wide { Heads } else { KvHeads });
    }
    if repeats {
        tape.free(query);
        tape.free(query);
    }
    linear(tape, mode, Tokens, Query, Hidden);
    tape.free(query);
    tape.free(query);
    tape.free(wide);
    if gemma {
        norm(tape);
        tape.free(wide);
    }
    tape.replace(wide, wide);
    norm(tape);
    if kind == Decoding::Mixtral {
        mixture(tape, mode);
    } else {
        gated(tape, mode);
    }
    tape.free(wide);
    if gemma {
        norm(tape);
        tape.free(wide);
    }
    tape.replace(wide, wide);
    tape.free(wide);
    if gemma {
        tape.free(elements(&[Tokens, Heads, Context]));
    }
}

/// Attention written out: scores are scaled, capped, masked and made probabilities, which stay until the layer's end.
fn eager(tape: &mut Tape, mode: Mode) {
    let (query, scores) = (elements(&[Tokens, Query]), elements(&[Tokens, Heads, Context]));
    // One head seen by several queries is copied for each while a product runs.
    let copies = tape.of(KvHeads) == 1 && tape.of(Heads) > 1;
    if copies {
        tape.hold(query);
    }
    tape.hold(query);
    tape.hold(scores);
    // Every head's product is one of a batch.
    let batch = tape.of(Sequences).saturating_mul(tape.of(Heads));
    tape.copy(batch, Context, PerHead, Context);
    tape.free(query);
    if copies {
        tape.free(query);
    }
    // A number beside a tensor becomes one itself: in 64 bit, and in the compute dtype.
    let number = size(8, &[]);
    for _ in 0..2 {
        tape.hold(number);
        tape.hold(size(1, &[E]));
        tape.replace(scores, scores);
        tape.free(size(1, &[E]));
        tape.free(number);
    }
    let wide = size(4, &[Tokens, Heads, Context]);
    if mode.narrow() {
        tape.hold(wide);
        tape.replace(wide, wide);
        tape.replace(wide, scores);
        tape.free(scores);
    } else {
        tape.replace(scores, scores);
    }
    if copies {
        tape.hold(query);
    }
    tape.hold(query);
    tape.copy(batch, Context, Context, PerHead);
    if copies {
        tape.free(query);
    }
    tape.replace(query, query);
}

/// Experts by grouped products: each token's rows are sorted by expert, and put back.
fn mixture(tape: &mut Tape, mode: Mode) {
    let pairs = |bytes: u64| size(bytes, &[Pairs]);
    let chosen = |bytes: u64| size(bytes, &[Tokens, PerToken]);
    let router = elements(&[Tokens, Experts]);
    let wide = size(4, &[Tokens, Experts]);
    multiply(tape, mode, Tokens, Hidden, Experts);
    if mode.narrow() {
        tape.hold(wide);
        tape.replace(wide, wide);
    } else {
        tape.hold(wide);
    }
    tape.hold(chosen(4));
    tape.hold(chosen(8));
    tape.pass(size(4, &[Tokens]));
    tape.free(wide);
    tape.hold(pairs(16));
    tape.pass(pairs(8));
    tape.hold(pairs(8));
    tape.hold(elements(&[Pairs, Hidden]));
    tape.free(pairs(8));
    tape.hold(pairs(8));
    tape.hold(size(8, &[Experts]));
    grouped(tape, mode, 2, Hidden, Inner);
    let inner = elements(&[Pairs, Inner]);
    tape.hold(inner);
    tape.hold(inner);
    for _ in 0..3 {
        tape.free(inner);
    }
    grouped(tape, mode, 1, Inner, Hidden);
    tape.free(inner);
    weigh(tape, mode);
    for part in [pairs(16), pairs(8), size(8, &[Experts]), chosen(4), chosen(8), router] {
        tape.free(part);
    }
    tape.free(elements(&[Pairs, Hidden]));
    tape.free(elements(&[Pairs, Hidden]));
}

/// A product by experts. The library's copies are as large as the largest expert's rows want: an even share at least, one of
/// each token at most, as a token's experts are different ones.
fn grouped(tape: &mut Tape, mode: Mode, times: u64, input: Dim, output: Dim) {
    for _ in 0..times {
        tape.hold(elements(&[Pairs, output]));
    }
    if mode.even {
        tape.copy_beside(1, EvenRows, input, (output, times));
    } else {
        tape.copy_any_rows(input, (output, times));
    }
}

/// Each expert's answer times its weight, put back in order, and summed by token.
fn weigh(tape: &mut Tape, mode: Mode) {
    let rows = size(4, &[Pairs, Hidden]);
    if mode.narrow() {
        tape.hold(rows);
        tape.replace(rows, rows);
    } else {
        tape.hold(elements(&[Pairs, Hidden]));
    }
    let weighted = if mode.narrow() { rows } else { elements(&[Pairs, Hidden]) };
    let order = size(8, &[Pairs]);
    tape.hold(order);
    tape.pass(order);
    tape.replace(weighted, weighted);
    let out = elements(&[Tokens, Hidden]);
    if mode.narrow() {
        tape.hold(size(4, &[Tokens, Hidden]));
        tape.replace(size(4, &[Tokens, Hidden]), out);
    } else {
        tape.hold(out);
    }
    tape.free(order);
    tape.free(weighted);
}

fn gpt2(tape: &mut Tape, mode: Mode) {
    let (wide, inner) = (elements(&[Tokens, Hidden]), elements(&[Tokens, Inner]));
    tape.free(wide);
    tape.free(wide);
    layer_norm(tape);
    for _ in 0..3 {
        tape.hold(wide);
    }
    thrice(tape, mode);
    tape.hold(wide);
    tape.hold(wide);
    sdpa(tape, mode, Heads);
    multiply(tape, mode, Tokens, Hidden, Hidden);
    for _ in 0..4 {
        tape.free(wide);
    }
    tape.hold(wide);
    tape.free(wide);
    layer_norm(tape);
    multiply(tape, mode, Tokens, Hidden, Inner);
    // The activation function is written out: half the input, its cube, and their way through a hyperbolic tangent.
    tape.hold(inner);
    tape.hold(inner);
    tape.hold(size(8, &[]));
    tape.hold(size(1, &[E]));
    tape.hold(inner);
    tape.free(size(8, &[]));
    tape.free(size(1, &[E]));
    for _ in 0..3 {
        tape.free(inner);
    }
    multiply(tape, mode, Tokens, Inner, Hidden);
    tape.free(inner);
    tape.hold(wide);
    for _ in 0..3 {
        tape.free(wide);
    }
    tape.free(wide);
}

/// What the library keeps of queries, keys and values at once.
fn thrice(tape: &mut Tape, mode: Mode) {
    if mode.number == Number::Fp32 {
        tape.pack(Tokens, Hidden, Hidden, 3);
    }
    tape.copy_beside(1, Tokens, Hidden, (Hidden, 3));
}

/// Logits of the next tokens, their log-probabilities, and what finds those that are not finite.
fn logits(tape: &mut Tape, mode: Mode, kind: Decoding) {
    let (wide, batch) = (elements(&[Tokens, Hidden]), elements(&[Sequences, Vocabulary]));
    tape.hold(wide);
    multiply(tape, mode, Sequences, Hidden, Vocabulary);
    if kind == Decoding::Gemma2 {
        tape.hold(size(8, &[]));
        tape.hold(size(1, &[E]));
        tape.replace(batch, batch);
        tape.free(size(8, &[]));
        tape.free(size(1, &[E]));
    }
    tape.free(wide);
    if mode.narrow() {
        tape.replace(batch, size(4, &[Sequences, Vocabulary]));
    }
    tape.free(size(16, &[Tokens]));
    tape.free(wide);
    tape.pass(size(11, &[Sequences, Vocabulary]));
}
