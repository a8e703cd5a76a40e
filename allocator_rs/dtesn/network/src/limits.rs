//! How short a step may be, and how large an input.

/// The shortest step in time, in tokens: the echo state property needs a lower bound.
pub const MIN_STEP: f64 = 1e-3;

/// Inputs beyond this size act as if they were of it: 1,024 of them with weights below 10 add up to less than infinity.
pub const LARGEST_INPUT: f32 = 1e30;
