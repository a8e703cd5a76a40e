//! The longest context at a concurrency, and the most sequences at a context, that fit into so many bytes.

use crate::request::{MAX_CONCURRENCY, Request};
use crate::{Checkpoint, Result, totals_for};

/// What fits into a device's free bytes; None where not even one token, or one sequence, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest context in tokens at the request's concurrency.
    pub context_length: Option<u64>,
    /// Most sequences at the request's context.
    pub max_concurrency: Option<u64>,
}

/// Find both by bisection over upper bounds. Where these fall a little as context or concurrency rise (the matrix library's blocks of rows
/// follow what divides them well), what is found still fits, and is within that little of the most.
///
/// # Errors
/// What [`totals_for`] says of the request itself.
pub fn limits(checkpoint: &Checkpoint, request: &Request, free_bytes: u64) -> Result<Limits> {
    totals_for(checkpoint, request)?;
    let fits = |request: &Request| totals_for(checkpoint, request).is_ok_and(|totals| totals.upper_bytes <= free_bytes);
    let limit = checkpoint.model.shape.max_context;
    Ok(Limits {
        context_length: largest(limit, |context_length| fits(&Request { context_length, ..*request })),
        max_concurrency: largest(MAX_CONCURRENCY, |max_concurrency| fits(&Request { max_concurrency, ..*request })),
    })
}

/// The largest number from 1 to `limit` that passes, where all below one that passes do.
fn largest(limit: u64, passes: impl Fn(u64) -> bool) -> Option<u64> {
    if limit == 0 || !passes(1) {
        return None;
    }
    let (mut low, mut high) = (1, limit);
    while low < high {
        let middle = high.saturating_sub(high.saturating_sub(low) / 2);
        if passes(middle) {
            low = middle;
        } else {
            high = middle.saturating_sub(1);
        }
    }
    Some(low)
}
