//! How large trees may be.

/// The largest order that is counted, ranked and drawn; the large class has 32 membranes.
pub const MAX_ORDER: usize = 64;
/// The largest tree that is taken; recursion over it is safe.
pub const MAX_NODES: usize = 1024;
