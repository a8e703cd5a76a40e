//! Linear readouts of a reservoir's states.
//!
//! [`Ridge`] is fitted once on data that no test uses; [`Recursive`] follows a stream. All sums are f64 in a fixed order, so
//! the same data give the same weights on every machine.

mod error;
mod matrix;
mod recursive;
mod ridge;
mod tridiagonal;

pub use error::ReadoutError;
pub use recursive::Recursive;
pub use ridge::{Regularisation, Ridge};
