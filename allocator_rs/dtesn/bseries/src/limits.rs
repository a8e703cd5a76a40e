//! How far series go.

/// The largest order.
pub const MAX_ORDER: usize = 10;
/// Trees of each order (A000081).
pub const TREE_COUNTS: [usize; MAX_ORDER] = [1, 1, 2, 4, 9, 20, 48, 115, 286, 719];
/// The most stages that are taken.
pub const MAX_STAGES: usize = 16;
