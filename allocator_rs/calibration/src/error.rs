//! What can be wrong with readings.

use thiserror::Error;

/// This crate's results.
pub type Result<T> = std::result::Result<T, CalibrationError>;

/// Why nothing was fitted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CalibrationError {
    /// A number is not finite, or negative where it cannot be.
    #[error("reading {index}: {what} is {value}, which must be finite and at least {least}")]
    ReadingInvalid {
        /// Position of the reading.
        index: usize,
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f64,
        /// The least that it may be.
        least: f64,
    },
    /// A prior that says nothing.
    #[error("the prior's {what} is {value}, which must be finite and above 0")]
    PriorInvalid {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f64,
    },
}
