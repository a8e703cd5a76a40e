//! Linear readouts of a reservoir's states.
//!
//! [`Ridge`] is fitted once on data that no test uses; [`Recursive`] follows a stream. All sums are f64 in a fixed order, so
//! the same data give the same weights on every machine.

mod matrix;
mod recursive;
mod ridge;
mod tridiagonal;

pub use recursive::Recursive;
pub use ridge::{Regularisation, Ridge};

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadoutError {
    /// An array has another size than is needed.
    #[error("{name} has {found} values; {expected} are needed")]
    Width {
        /// Which array.
        name: &'static str,
        /// Its values.
        found: usize,
        /// Values that are needed.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("{name}: value {column} of row {row} is {value}; all must be finite")]
    NotFinite {
        /// Which array.
        name: &'static str,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The value.
        value: f32,
    },
    /// Too few rows to fit anything.
    #[error("{rows} rows; at least {needed} are needed")]
    TooFewRows {
        /// Rows given.
        rows: usize,
        /// Rows needed.
        needed: usize,
    },
    /// The normal equations have no unique solution at this regularisation.
    #[error("the readout is singular: feature {feature} depends on those before it; regularise more")]
    Singular {
        /// The feature, from 0.
        feature: usize,
    },
    /// A setting is out of range.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What the caller gave.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
}

/// Rows of an array, checked.
fn rows(name: &'static str, values: &[f32], columns: usize) -> Result<usize, ReadoutError> {
    let count = values.len() / columns.max(1);
    if columns == 0 || values.len() != count * columns {
        return Err(ReadoutError::Width { name, found: values.len(), expected: (count + 1) * columns.max(1) });
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(count),
        Some(at) => Err(ReadoutError::NotFinite { name, row: at / columns, column: at % columns, value: values[at] }),
    }
}
