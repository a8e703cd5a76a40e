//! Who goes for a newcomer.

use crate::usage::Usage;

/// A model that lies in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Unique name.
    pub id: String,
    /// What its going frees.
    pub bytes: u64,
    /// Milliseconds to bring it back.
    pub reload_ms: u64,
    /// Since when it lies there.
    pub since_ms: u64,
    /// A caller said that it stays.
    pub pinned: bool,
    /// It answers requests now.
    pub serving: bool,
}

/// A model that wants room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// Its name.
    pub id: String,
    /// What it lacks beyond what is free.
    pub lacking_bytes: u64,
    /// Milliseconds of its load.
    pub reload_ms: u64,
    /// It must come in whatever it is worth: a caller asked for it.
    pub required: bool,
}

/// What keeps models from pushing each other out in turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// A model that came less than this ago stays.
    pub min_residency_ms: u64,
    /// A newcomer has to be worth this many times what it pushes out; 1: as much.
    pub advantage: f64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// These go, the least valuable first. Their expected cost: seconds of reload per second.
    Evict {
        /// Names.
        ids: Vec<String>,
        /// Seconds of reload per second that their absence is expected to cost.
        cost: f64,
    },
    /// They could go, but are worth too much.
    NotWorth {
        /// Seconds of reload per second that their absence would cost.
        cost: f64,
        /// The same of the newcomer.
        worth: f64,
    },
    /// Not enough may go.
    Impossible {
        /// What would be missing even then.
        missing_bytes: u64,
    },
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvictionError {
    /// Two residents have one name.
    #[error("resident {id} is there twice")]
    ResidentDuplicate {
        /// The name.
        id: String,
    },
    /// The advantage is no number from 1.
    #[error("advantage is {advantage}; it must be a number from 1")]
    AdvantageInvalid {
        /// What was given.
        advantage: f64,
    },
}

struct Candidate<'a> {
    resident: &'a Resident,
    /// Seconds of reload per second that its absence is expected to cost.
    worth: f64,
}

/// Choose who goes for a newcomer.
///
/// # Errors
/// [`EvictionError`].
pub fn choose(
    residents: &[Resident],
    newcomer: &Newcomer,
    usage: &Usage,
    settings: Settings,
    now_ms: u64,
) -> Result<Decision, EvictionError> {
    let Settings { min_residency_ms, advantage } = settings;
    if !advantage.is_finite() || advantage < 1.0 {
        return Err(EvictionError::AdvantageInvalid { advantage });
    }
    let mut names: Vec<&str> = residents.iter().map(|one| one.id.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find_map(|pair| pair.first().filter(|one| Some(*one) == pair.last())) {
        return Err(EvictionError::ResidentDuplicate { id: (*twice).to_owned() });
    }
    let stays = |one: &&Resident| {
        let fresh = now_ms.saturating_sub(one.since_ms) < min_residency_ms;
        one.pinned || one.serving || fresh || one.id == newcomer.id
    };
    let weigh = |resident| Candidate { resident, worth: worth(usage, resident, now_ms) };
    let mut candidates: Vec<_> = residents.iter().filter(|one| !stays(one)).map(weigh).collect();
    let may_go = candidates.iter().fold(0_u64, |sum, one| sum.saturating_add(one.resident.bytes));
    if may_go < newcomer.lacking_bytes {
        return Ok(Decision::Impossible { missing_bytes: newcomer.lacking_bytes.saturating_sub(may_go) });
    }
    let going = cheapest(&mut candidates, newcomer.lacking_bytes);
    let cost = going.iter().map(|one| one.worth).sum();
    let own = usage.rate(&newcomer.id, now_ms) * seconds(newcomer.reload_ms);
    if !newcomer.required && !going.is_empty() && own < advantage * cost {
        return Ok(Decision::NotWorth { cost, worth: own });
    }
    Ok(Decision::Evict { ids: going.iter().map(|one| one.resident.id.clone()).collect(), cost })
}

fn worth(usage: &Usage, resident: &Resident, now_ms: u64) -> f64 {
    usage.rate(&resident.id, now_ms) * seconds(resident.reload_ms)
}

/// Candidates that free enough and are worth little together: one after the other by worth per byte, less those that turn out
/// not to be needed, or the one that does it alone.
fn cheapest<'a>(candidates: &'a mut [Candidate<'a>], lacking: u64) -> Vec<&'a Candidate<'a>> {
    candidates.sort_by(|one, other| {
        let density = |it: &Candidate| it.worth / bytes(it.resident.bytes.max(1));
        density(one).total_cmp(&density(other)).then_with(|| one.resident.id.cmp(&other.resident.id))
    });
    let (mut going, mut freed) = (Vec::new(), 0_u64);
    for one in &*candidates {
        if freed >= lacking {
            break;
        }
        freed = freed.saturating_add(one.resident.bytes);
        going.push(one);
    }
    // The most valuable first: each stays if the others free enough.
    going.sort_by(|one, other| other.worth.total_cmp(&one.worth));
    going.retain(|one| match freed.checked_sub(one.resident.bytes) {
        Some(without) if without >= lacking => {
            freed = without;
            false
        }
        _ => true,
    });
    going.reverse();
    let alone = candidates.iter().filter(|one| one.resident.bytes >= lacking && lacking > 0);
    let alone = alone.min_by(|one, other| one.worth.total_cmp(&other.worth));
    match alone {
        Some(one) if one.worth < going.iter().map(|it| it.worth).sum() => vec![one],
        _ => going,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a ratio: the last bits do not matter")]
fn bytes(amount: u64) -> f64 {
    amount as f64
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of 285,000 years are exact")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decision, EvictionError, Newcomer, Resident, Settings, choose};
    use crate::Usage;

    const NOW_MS: u64 = 1_000_000;
    const FREE: Settings = Settings { min_residency_ms: 0, advantage: 1.0 };

    fn resident(id: &str, bytes: u64, reload_ms: u64) -> Resident {
        Resident { id: id.to_owned(), bytes, reload_ms, since_ms: 0, pinned: false, serving: false }
    }

    fn newcomer(lacking_bytes: u64) -> Newcomer {
        Newcomer { id: "new".to_owned(), lacking_bytes, reload_ms: 1_000, required: true }
    }

    fn usage(uses: &[(&str, u32)]) -> Usage {
        let mut usage = Usage::new(60_000);
        for (id, count) in uses {
            usage.record(id, *count, NOW_MS);
        }
        usage
    }

    fn ids(decision: Decision) -> Vec<String> {
        match decision {
            Decision::Evict { ids, .. } => ids,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_worth_a_byte_goes() {
        let residents = [resident("used", 10, 1_000), resident("slow", 10, 9_000), resident("idle", 10, 1_000)];
        let seen = usage(&[("used", 5), ("slow", 1), ("idle", 1)]);
        assert_eq!(ids(choose(&residents, &newcomer(5), &seen, FREE, NOW_MS).unwrap()), ["idle"]);
        assert_eq!(ids(choose(&residents, &newcomer(15), &seen, FREE, NOW_MS).unwrap()), ["idle", "used"]);
    }

    #[test]
    fn one_large_model_may_be_cheaper_than_many_small_ones() {
        let residents = [resident("a", 1, 10), resident("b", 1, 10), resident("large", 100, 1_500)];
        let seen = usage(&[("a", 1), ("b", 1), ("large", 1)]);
        assert_eq!(ids(choose(&residents, &newcomer(50), &seen, FREE, NOW_MS).unwrap()), ["large"]);
    }

    #[test]
    fn two_models_do_not_push_each_other_out() {
        let settings = Settings { min_residency_ms: 30_000, advantage: 1.5 };
        let mut seen = usage(&[("there", 10), ("new", 12)]);
        let wish = Newcomer { required: false, ..newcomer(10) };
        let there = resident("there", 10, 1_000);
        let decision = choose(std::slice::from_ref(&there), &wish, &seen, settings, NOW_MS).unwrap();
        assert!(matches!(decision, Decision::NotWorth { cost, worth } if worth > cost));
        seen.record("new", 20, NOW_MS);
        assert_eq!(ids(choose(std::slice::from_ref(&there), &wish, &seen, settings, NOW_MS).unwrap()), ["there"]);
        let fresh = Resident { since_ms: NOW_MS - 29_999, ..there };
        let decision = choose(&[fresh], &newcomer(10), &seen, settings, NOW_MS).unwrap();
        assert_eq!(decision, Decision::Impossible { missing_bytes: 10 });
    }

    #[test]
    fn nonsense_is_refused() {
        let twice = [resident("a", 1, 1), resident("a", 1, 1)];
        let seen = usage(&[]);
        assert!(matches!(
            choose(&twice, &newcomer(1), &seen, FREE, NOW_MS),
            Err(EvictionError::ResidentDuplicate { .. })
        ));
        for advantage in [0.5, f64::NAN, f64::INFINITY] {
            let settings = Settings { advantage, ..FREE };
            let found = choose(&[], &newcomer(1), &seen, settings, NOW_MS);
            assert!(matches!(found, Err(EvictionError::AdvantageInvalid { .. })));
        }
    }

    proptest! {
        #[test]
        fn only_those_that_may_go_and_no_more_than_needed(
            rows in proptest::collection::vec((0_u64..50, 0_u64..9_000, any::<bool>(), any::<bool>(), 0_u64..100_000, 0_u32..9), 0..12),
            lacking in 0_u64..200,
            required in any::<bool>(),
        ) {
            let mut seen = Usage::new(60_000);
            let mut residents = Vec::new();
            for (at, (bytes, reload_ms, pinned, serving, age_ms, uses)) in rows.into_iter().enumerate() {
                seen.record(&at.to_string(), uses, NOW_MS);
                let since_ms = NOW_MS - age_ms;
                residents.push(Resident { since_ms, pinned, serving, ..resident(&at.to_string(), bytes, reload_ms) });
            }
            let settings = Settings { min_residency_ms: 30_000, advantage: 1.2 };
            let wish = Newcomer { required, ..newcomer(lacking) };
            let decision = choose(&residents, &wish, &seen, settings, NOW_MS).unwrap();
            prop_assert_eq!(&decision, &choose(&residents, &wish, &seen, settings, NOW_MS).unwrap());
            let may_go = |one: &Resident| !one.pinned && !one.serving && NOW_MS - one.since_ms >= 30_000;
            let room: u64 = residents.iter().filter(|one| may_go(one)).map(|one| one.bytes).sum();
            match decision {
                Decision::Evict { ids, .. } => {
                    let going: Vec<_> = residents.iter().filter(|one| ids.contains(&one.id)).collect();
                    prop_assert!(going.iter().all(|one| may_go(one)));
                    let freed: u64 = going.iter().map(|one| one.bytes).sum();
                    prop_assert!(freed >= lacking);
                    prop_assert!(going.iter().all(|one| freed - one.bytes < lacking), "{ids:?} frees too much");
                }
                Decision::NotWorth { .. } => prop_assert!(!required && room >= lacking),
                Decision::Impossible { missing_bytes } => prop_assert_eq!(missing_bytes, lacking - room),
            }
        }
    }
}
