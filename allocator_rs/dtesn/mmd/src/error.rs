//! What is wrong with a request.

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MmdError {
    /// An array is no whole number of rows.
    #[error("{name} has {found} values; rows of {width} are needed")]
    Width {
        /// Which sample.
        name: &'static str,
        /// Its values.
        found: usize,
        /// Values of a row.
        width: usize,
    },
    /// Strata do not belong to the rows.
    #[error("strata has {found} values; one for each of {expected} rows is needed")]
    Strata {
        /// Strata given.
        found: usize,
        /// Rows of both samples.
        expected: usize,
    },
    /// A sample has no pair of rows.
    #[error("{name} has {rows} rows; at least {needed} are needed")]
    TooFewRows {
        /// Which sample.
        name: &'static str,
        /// Its rows.
        rows: usize,
        /// Rows needed.
        needed: usize,
    },
    /// The kernel matrix would take too much memory.
    #[error("both samples have {rows} rows; at most {most} are compared")]
    TooManyRows {
        /// Rows given.
        rows: usize,
        /// Rows allowed.
        most: usize,
    },
    /// Two rows are so far apart that their squared distance is no number.
    #[error("rows are up to {largest} apart in a value; at most {most} can be squared and added up")]
    Overflow {
        /// The largest difference of a value.
        largest: f64,
        /// What can be computed with.
        most: f64,
    },
    /// A value is NaN or infinite.
    #[error("{name}: value {column} of row {row} is {value}; all must be finite")]
    NotFinite {
        /// Which sample.
        name: &'static str,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The value.
        value: f64,
    },
}
