//! What can be wrong with a request.

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReservoirError {
    /// A caller's override is out of range.
    #[error("{name} is {value}; it must be {expected}")]
    OverrideInvalid {
        /// The parameter.
        name: &'static str,
        /// What the caller gave.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// No whole number of layers gives a block this density.
    #[error("block_density is {value}; it must be 2^layers / 64 of 0 to 6 layers: next to it are {below} and {above}")]
    DensityInvalid {
        /// What the caller gave.
        value: f64,
        /// The smaller of the two that would be accepted.
        below: f64,
        /// The larger of them.
        above: f64,
    },
    /// The bytes of so many streams do not fit into 64 bits.
    #[error("the reservoir's bytes do not fit into 64 bits")]
    Overflow,
}
