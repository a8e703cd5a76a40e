//! What can be wrong with a request.

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
    /// An array would take more memory than is allowed, or than there is.
    #[error("{what} would take {bytes} bytes; {reason}")]
    Size {
        /// The array.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// Why that is too much.
        reason: &'static str,
    },
}
