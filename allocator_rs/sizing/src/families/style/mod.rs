//! Decoders that differ in details: a [`Style`] is one row of details, and one set of rules reads them all.

mod details;
mod rows;

pub use details::*;
pub use rows::*;
