//! When a model does not fit: the nearest plans that do, ranked by what they cost the people who use it.
//!
//! What keeps the wish whole comes first: parking others, splitting, evicting others; of one kind, what is undone soonest.
//! Then what narrows it: fewer sequences, a shorter context, both; last what changes the answers: a smaller dtype.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

mod eviction;
mod situation;

use std::collections::BTreeMap;

use placement::{Device, place};

pub use situation::{Action, Alternative, Choice, EvictionCandidate, Situation};

/// No more answers than a person reads.
const MAX_ALTERNATIVES: usize = 8;
/// Contexts longer than this are offered in multiples of it.
const CONTEXT_STEP: u64 = 16;

/// Alternatives to a wish, ranked as the crate says.
///
/// `upper_bytes` says what one instance (one rank of it) of a choice needs, and None where the choice cannot be had; it must
/// not fall when context or concurrency rise.
pub fn alternatives<F>(situation: &Situation<'_>, upper_bytes: F) -> Vec<Alternative>
where
    F: Fn(Choice) -> Option<u64>,
{
    let wanted_bytes = upper_bytes(situation.wanted);
    let mut found = Vec::new();
    if let Some(bytes) = wanted_bytes {
        found.extend(eviction::alternatives(situation, bytes));
    }
    found.extend(splits(situation, &upper_bytes));
    found.extend(narrower(situation, wanted_bytes.unwrap_or(u64::MAX), &upper_bytes));
    let rank = |one: &Alternative| match one.action {
        // The search's own order: larger dtypes first, and within one as they were found.
        action if action >= Action::FewerSequences => (Action::FewerSequences, 0.0),
        action => (action, one.undo_seconds),
    };
    found.sort_by(|one, other| {
        let ((first, undo), (second, other_undo)) = (rank(one), rank(other));
        first.cmp(&second).then(undo.total_cmp(&other_undo))
    });
    found.truncate(MAX_ALTERNATIVES);
    found
}

/// The wish, shared by ranks on devices of one size.
fn splits<F>(situation: &Situation<'_>, upper_bytes: &F) -> Vec<Alternative>
where
    F: Fn(Choice) -> Option<u64>,
{
    let wanted = situation.wanted;
    let more = situation.splits.iter().filter(|&&ranks| ranks > wanted.tensor_parallel);
    more.filter_map(|&tensor_parallel| {
        let choice = Choice { tensor_parallel, ..wanted };
        let bytes = upper_bytes(choice)?;
        let count = usize::try_from(tensor_parallel.checked_mul(situation.replicas)?).ok()?;
        let mut equal = BTreeMap::<u64, Vec<&Device>>::new();
        for device in situation.devices.iter().filter(|device| device.free_bytes() >= bytes) {
            equal.entry(device.capacity_bytes).or_default().push(device);
        }
        let device_id = equal.into_values().find(|devices| devices.len() >= count)?.first()?.id.clone();
        Some(Alternative {
            action: Action::Split,
            choice,
            upper_bytes: bytes,
            device_id,
            freed_bytes: 0,
            undo_seconds: situation.reload_seconds,
            victims: Vec::new(),
            warning: format!("{tensor_parallel} devices are taken, and each token crosses between them"),
        })
    })
    .collect()
}

/// Fewer sequences, a shorter context, then smaller dtypes.
fn narrower<F>(situation: &Situation<'_>, wanted_bytes: u64, upper_bytes: &F) -> Vec<Alternative>
where
    F: Fn(Choice) -> Option<u64>,
{
    let wanted = situation.wanted;
    let fit = |action: Action, choice: Choice| {
        let bytes = upper_bytes(choice)?;
        let device_id = place(situation.devices, bytes, situation.replicas).ok()??.into_iter().next()?;
        let action = if choice.dtype == wanted.dtype { action } else { Action::SmallerDtype };
        Some(Alternative {
            action,
            choice,
            upper_bytes: bytes,
            device_id,
            freed_bytes: wanted_bytes.saturating_sub(bytes),
            undo_seconds: situation.reload_seconds,
            victims: Vec::new(),
            warning: warning(wanted, choice),
        })
    };
    let mut found = Vec::new();
    for dtype in std::iter::once(wanted.dtype).chain(situation.dtypes.iter().copied()) {
        let same = Choice { dtype, ..wanted };
        if let Some(whole) = fit(Action::SmallerDtype, same) {
            found.extend((dtype != wanted.dtype).then_some(whole));
            continue;
        }
        let fewer = largest(wanted.max_concurrency, 1, |max_concurrency| {
            fit(Action::FewerSequences, Choice { max_concurrency, ..same })
        });
        let shorter = largest(wanted.context_length, CONTEXT_STEP, |context_length| {
            fit(Action::ShorterContext, Choice { context_length, ..same })
        });
        if fewer.is_none() && shorter.is_none() {
            let one = Choice { max_concurrency: 1, ..same };
            found.extend(largest(wanted.context_length, CONTEXT_STEP, |context_length| {
                fit(Action::FewerAndShorter, Choice { context_length, ..one })
            }));
        }
        found.extend(fewer.into_iter().chain(shorter));
    }
    found
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

    use super::{Action, Alternative, Choice, EvictionCandidate, Situation};

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

    const WANTED: Choice =
        Choice { dtype: WeightDtype::Fp32, context_length: 512, max_concurrency: 8, tensor_parallel: 1 };

    const SMALLER: [WeightDtype; 2] = [WeightDtype::Bf16, WeightDtype::Int8];

    fn alternatives<F>(wanted: Choice, replicas: u64, devices: &[Device], cost: F) -> Vec<Alternative>
    where
        F: Fn(Choice) -> Option<u64>,
    {
        let situation = Situation {
            wanted,
            replicas,
            devices,
            candidates: &[],
            dtypes: &SMALLER,
            splits: &[],
            reload_seconds: 7.0,
        };
        super::alternatives(&situation, cost)
    }

    fn candidate(name: &str, bytes: u64, wake_seconds: Option<f64>, reload_seconds: f64) -> EvictionCandidate {
        EvictionCandidate {
            name: name.to_owned(),
            device_id: "d".to_owned(),
            bytes,
            wake_seconds,
            reload_seconds,
            uses_per_hour: 1.0,
        }
    }

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
    fn others_make_room_the_cheapest_ones_first() {
        let full = [Device { id: "d".to_owned(), capacity_bytes: 10_000, reserve_bytes: 0, reserved_bytes: 6_000 }];
        let candidates = [
            candidate("slow", 4_200, None, 90.0),
            candidate("quick", 4_200, Some(0.5), 30.0),
            candidate("small", 10, Some(0.1), 1.0),
        ];
        let situation = Situation {
            wanted: WANTED,
            replicas: 1,
            devices: &full,
            candidates: &candidates,
            dtypes: &SMALLER,
            splits: &[2],
            reload_seconds: 7.0,
        };
        let found = super::alternatives(&situation, cost);
        let first: Vec<_> =
            found.iter().take(2).map(|one| (one.action, one.victims.clone(), one.undo_seconds)).collect();
        let quick = vec!["quick".to_owned()];
        assert_eq!(first, [(Action::Park, quick.clone(), 0.5), (Action::Evict, quick, 30.0)]);
        assert_eq!((found[0].choice, found[0].freed_bytes), (WANTED, 4_200));
        assert!(found.iter().skip(2).all(|one| one.action >= Action::FewerSequences && one.victims.is_empty()));
    }

    #[test]
    fn ranks_share_on_devices_of_one_size() {
        let devices = ["a", "b", "c"].map(|id| Device {
            id: id.to_owned(),
            capacity_bytes: if id == "a" { 9_000 } else { 5_000 },
            reserve_bytes: 0,
            reserved_bytes: if id == "a" { 6_000 } else { 0 },
        });
        let situation = Situation {
            wanted: WANTED,
            replicas: 1,
            devices: &devices,
            candidates: &[],
            dtypes: &SMALLER,
            splits: &[1, 2, 4],
            reload_seconds: 7.0,
        };
        let found = super::alternatives(&situation, |choice| Some(cost(choice)? / choice.tensor_parallel));
        assert_eq!((found[0].action, found[0].device_id.as_str(), found[0].upper_bytes), (Action::Split, "b", 4_048));
        assert_eq!(found.iter().filter(|one| one.action == Action::Split).count(), 1);
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
            let wanted = Choice { context_length, max_concurrency, ..WANTED };
            for found in alternatives(wanted, replicas, &device(capacity), cost) {
                prop_assert!(found.upper_bytes.saturating_mul(replicas) <= capacity);
                prop_assert!(found.choice.context_length <= context_length && found.choice.max_concurrency <= max_concurrency);
                prop_assert!(found.choice != wanted && !found.warning.is_empty());
            }
        }
    }
}
