//! What each fuzz target does with its input, and the allocator that it does it under.

pub mod capped;
pub mod targets;
