//! Fits an engine's constants to what was measured of it.
//!
//! A reading says: this much was measured where the formulas left `target` bytes to be explained by `base` (what every
//! process pays once) and by `size` bytes whose real cost is a factor times their computed one. [`fit`] finds the two by
//! least squares with a Gaussian prior, neither of them negative, with weights that fade out readings which lie far from the
//! rest (Tukey's bisquare, begun from Huber's). [`Fit::margin`] gives the one-sided bound of a prediction.
//!
//! Pure: the same readings give the same constants; no clock, no randomness.

#![cfg_attr(test, allow(clippy::float_arithmetic, reason = "a test computes"))]

mod error;
mod fit;
mod tail;

pub use error::{CalibrationError, Result};
pub use fit::{Fit, Prior, Reading, fit};
pub use tail::{NORMAL_QUANTILE, TAIL_QUANTILE, heavy_tail_quantile};
