//! The header of a GGUF file (versions 2 and 3): its keys, and which tensor lies where, within bounds.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Little-endian throughout: magic, version, counts of
//! tensors and keys, the keys, the tensor table; then, aligned, the tensors' bytes, which are never read.
//!
//! Nothing is allocated because a number in the file asks for it: strings and arrays are skipped but for what is small
//! and of use, and every count is checked against the bytes that the file has left.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

mod error;
mod header;
mod kinds;
mod reader;
mod value;

pub use error::{GgufError, Result};
pub use header::{Header, Limits, TENSOR_COUNT, Tensor, read_from, read_within};
pub use kinds::{KINDS, Kind};
pub use reader::HEADER;
pub use value::Value;
