//! One batch through an encoder.

use super::parts::{Mode, layer_norm, linear, sdpa};
use super::step::{Peak, finish, start};
use super::tape::Dim::{Context, Heads, Hidden, Inner, Sequences, Tokens};
use super::tape::{Tape, elements, size};
use crate::Result;
use crate::component::Workload;
use crate::model::Model;

/// Which encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `modeling_bert.py` and its copies.
    Bert,
    /// `modeling_distilbert.py`.
    DistilBert,
}

/// The peak of one batch.
///
/// # Errors
/// [`crate::SizingError::Overflow`].
pub fn encoder(kind: Encoding, model: &Model, workload: &Workload) -> Result<Peak> {
    let (mut tape, mode) = start(model, workload)?;
    // Token ids and the mask of the batch.
    tape.hold(size(16, &[Tokens]));
    if mode.masked {
        tape.hold(size(1, &[Sequences, Context, Context]));
    }
    // The model holds the embedding's output while its layers run; the last layer has an input of its own.
    tape.hold(elements(&[Tokens, Hidden]));
    if model.shape.layers > 1 {
        tape.hold(elements(&[Tokens, Hidden]));
    }
    match kind {
        Encoding::Bert => bert(&mut tape, mode),
        Encoding::DistilBert => distilbert(&mut tape, mode),
    }
    finish(tape)
}

fn attention(tape: &mut Tape, mode: Mode) {
    for _ in 0..3 {
        linear(tape, mode, Tokens, Hidden, Hidden);
    }
    sdpa(tape, mode, Heads);
}

/// A dense layer, the sum with its input, and the norm, each in memory of its own.
fn add_and_norm(tape: &mut Tape) {
    let wide = elements(&[Tokens, Hidden]);
    tape.hold(wide);
    layer_norm(tape);
    tape.free(wide);
    tape.free(wide);
}

fn bert(tape: &mut Tape, mode: Mode) {
    let (wide, inner) = (elements(&[Tokens, Hidden]), elements(&[Tokens, Inner]));
    attention(tape, mode);
    for _ in 0..3 {
        tape.free(wide);
    }
    linear(tape, mode, Tokens, Hidden, Hidden);
    add_and_norm(tape);
    tape.free(wide);
    linear(tape, mode, Tokens, Hidden, Inner);
    tape.replace(inner, inner);
    linear(tape, mode, Tokens, Inner, Hidden);
    add_and_norm(tape);
}

fn distilbert(tape: &mut Tape, mode: Mode) {
    let (wide, inner) = (elements(&[Tokens, Hidden]), elements(&[Tokens, Inner]));
    attention(tape, mode);
    linear(tape, mode, Tokens, Hidden, Hidden);
    for _ in 0..4 {
        tape.free(wide);
    }
    add_and_norm(tape);
    linear(tape, mode, Tokens, Hidden, Inner);
    tape.replace(inner, inner);
    linear(tape, mode, Tokens, Inner, Hidden);
    tape.free(inner);
    add_and_norm(tape);
}
