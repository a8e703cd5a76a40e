//! One step of the embedded engine, allocation by allocation: what torch 2.15 and transformers 5.23 do on the CPU with one thread.
//!
//! The peaks are equal to the byte with torch's own allocation events; `tests/worker/test_activations.py` compares them.
//! What the matrix library copies for 16 bit depends on the CPU's instruction set: `copies.rs` has the rules.

mod copies;
mod decoder;
mod encoder;
mod packed;
mod parts;
mod step;
mod tape;

pub use decoder::{Decoding, decoder, evenly_routed};
pub use encoder::{Encoding, encoder};
pub use step::Peak;

pub use crate::number::Number;
