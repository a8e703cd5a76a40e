//! When a model does not fit: the nearest plans that do, ranked by what they cost the people who use it.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

use placement::{Device, place};
use sizing::WeightDtype;

/// No more answers than a person reads.
const MAX_ALTERNATIVES: usize = 6;
/// Contexts longer than this are offered in multiples of it.
const CONTEXT_STEP: u64 = 16;

/// One way to serve a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Weights.
    pub dtype: WeightDtype,
    /// Longest sequence in tokens.
    pub context_length: u64,
    /// Sequences at once.
    pub max_concurrency: u64,
}

/// A choice that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The choice.
    pub choice: Choice,
    /// What admission reserves for one instance.
    pub upper_bytes: u64,
    /// The first replica's device.
    pub device_id: String,
    /// What it costs.
    pub warning: String,
}

/// Alternatives to `wanted`, the least costly first: fewer sequences, a shorter context, then smaller dtypes.
///
/// `upper_bytes` says what one instance of a choice needs, and None where the choice cannot be had; it must not fall when
/// context or concurrency rise.
pub fn alternatives<F>(wanted: Choice, replicas: u64, devices: &[Device], upper_bytes: F) -> Vec<Alternative>
where
    F: Fn(Choice) -> Option<u64>,
{
    let fit = |choice: Choice| {
        let bytes = upper_bytes(choice)?;
        let device_id = place(devices, bytes, replicas).ok()??.into_iter().next()?;
        Some(Alternative { choice, upper_bytes: bytes, device_id, warning: warning(wanted, choice) })
    };
    let mut found = Vec::new();
    for dtype in std::iter::once(wanted.dtype).chain(smaller_dtypes(wanted.dtype)) {
        let same = Choice { dtype, ..wanted };
        if let Some(whole) = fit(same) {
            found.extend((dtype != wanted.dtype).then_some(whole));
            continue;
        }
        let fewer = largest(wanted.max_concurrency, 1, |max_concurrency| fit(Choice { max_concurrency, ..same }));
        let shorter =
            largest(wanted.context_length, CONTEXT_STEP, |context_length| fit(Choice { context_length, ..same }));
        if fewer.is_none() && shorter.is_none() {
            let one = Choice { max_concurrency: 1, ..same };
            found.extend(largest(wanted.context_length, CONTEXT_STEP, |context_length| {
                fit(Choice { context_length, ..one })
            }));
        }
        found.extend(fewer.into_iter().chain(shorter));
    }
    found.truncate(MAX_ALTERNATIVES);
    found
}

/// Dtypes with fewer bytes a weight. FP16 and BF16 are the same size; BF16 has FP32's range.
fn smaller_dtypes(dtype: WeightDtype) -> impl Iterator<Item = WeightDtype> {
    let smaller: &[WeightDtype] = match dtype {
        WeightDtype::Fp32 => &[WeightDtype::Bf16, WeightDtype::Int8],
        WeightDtype::Bf16 | WeightDtype::Fp16 => &[WeightDtype::Int8],
        _ => &[],
    };
    smaller.iter().copied()
}

/// The answer for the largest multiple of `step` (or 1) below `limit` that fits, by bisection.
fn largest<F>(limit: u64, step: u64, fit: F) -> Option<Alternative>
where
    F: Fn(u64) -> Option<Alternative>,
{
    let value = |index: u64| index.saturating_mul(step).max(1);
    let (mut low, mut high) = (0_u64, limit.saturating_sub(1).checked_div(step)?);
    if limit <= 1 {
        return None;
    }
    let mut best = fit(value(low))?;
    while low < high {
        let middle = high.saturating_sub(high.saturating_sub(low) / 2);
        match fit(value(middle)) {
            Some(found) => (best, low) = (found, middle),
            None => high = middle.saturating_sub(1),
        }
    }
    Some(best)
}

fn warning(wanted: Choice, choice: Choice) -> String {
    let mut parts = Vec::new();
    if choice.max_concurrency != wanted.max_concurrency {
        parts.push(format!("{} sequences at once instead of {}", choice.max_concurrency, wanted.max_concurrency));
    }
    if choice.context_length != wanted.context_length {
        parts.push(format!(
            "sequences of at most {} tokens instead of {}",
            choice.context_length, wanted.context_length
        ));
    }
    if choice.dtype != wanted.dtype {
        parts.push(format!("{} weights instead of {}: answers differ slightly", choice.dtype, wanted.dtype));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use placement::Device;
    use proptest::prelude::*;
    use sizing::WeightDtype;

    use super::{Choice, alternatives};

    fn device(capacity_bytes: u64) -> [Device; 1] {
        [Device { id: "d".to_owned(), capacity_bytes, reserve_bytes: 0, reserved_bytes: 0 }]
    }

    #[allow(clippy::unnecessary_wraps, reason = "it stands for one that may refuse")]
    fn cost(choice: Choice) -> Option<u64> {
        let weights = match choice.dtype {
            WeightDtype::Fp32 => 4_000,
            WeightDtype::Bf16 | WeightDtype::Fp16 => 2_000,
            _ => 1_000,
        };
        Some(weights + choice.context_length * choice.max_concurrency)
    }

    const WANTED: Choice = Choice { dtype: WeightDtype::Fp32, context_length: 512, max_concurrency: 8 };

    #[test]
    fn offers_the_largest_that_fits_the_cheapest_first() {
        let found = alternatives(WANTED, 1, &device(6_100), cost);
        let choices: Vec<_> =
            found.iter().map(|a| (a.choice.dtype, a.choice.context_length, a.choice.max_concurrency)).collect();
        assert_eq!(
            choices,
            [
                (WeightDtype::Fp32, 512, 4),
                (WeightDtype::Fp32, 256, 8),
                (WeightDtype::Bf16, 512, 8),
                (WeightDtype::Int8, 512, 8),
            ]
        );
        assert_eq!(found[0].warning, "4 sequences at once instead of 8");
        assert!(found.iter().all(|a| a.upper_bytes <= 6_100 && Some(a.upper_bytes) == cost(a.choice)));
    }

    #[test]
    fn gives_up_both_before_it_gives_up() {
        let found = alternatives(WANTED, 1, &device(1_007), cost);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].choice.context_length, found[0].choice.max_concurrency), (1, 1));
    }

    #[test]
    fn nothing_fits_nowhere() {
        assert_eq!(alternatives(WANTED, 1, &[], cost), []);
        assert_eq!(alternatives(WANTED, 3, &device(1_500), cost), []);
        assert_eq!(alternatives(WANTED, 1, &device(u64::MAX), |_| None), []);
    }

    proptest! {
        #[test]
        fn every_answer_fits(capacity in any::<u64>(), context_length in 1_u64..10_000, max_concurrency in 1_u64..100, replicas in 1_u64..4) {
            let wanted = Choice { dtype: WeightDtype::Fp32, context_length, max_concurrency };
            for found in alternatives(wanted, replicas, &device(capacity), cost) {
                prop_assert!(found.upper_bytes.saturating_mul(replicas) <= capacity);
                prop_assert!(found.choice.context_length <= context_length && found.choice.max_concurrency <= max_concurrency);
                prop_assert!(found.choice != wanted && !found.warning.is_empty());
            }
        }
    }
}
