//! How short a step may be.

/// The shortest step in time, in tokens: the echo state property needs a lower bound.
pub const MIN_STEP: f64 = 1e-3;
