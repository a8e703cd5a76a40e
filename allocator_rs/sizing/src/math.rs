//! Checked arithmetic on byte counts.

use crate::{Result, SizingError};

/// The product of all factors; 1 for none.
///
/// # Errors
/// [`SizingError::Overflow`] naming `what`.
pub fn product(what: &'static str, factors: &[u64]) -> Result<u64> {
    factors.iter().try_fold(1_u64, |acc, &factor| acc.checked_mul(factor)).ok_or(SizingError::Overflow { what })
}

/// The sum of all terms; 0 for none.
///
/// # Errors
/// [`SizingError::Overflow`] naming `what`.
pub fn sum(what: &'static str, terms: &[u64]) -> Result<u64> {
    terms.iter().try_fold(0_u64, |acc, &term| acc.checked_add(term)).ok_or(SizingError::Overflow { what })
}
