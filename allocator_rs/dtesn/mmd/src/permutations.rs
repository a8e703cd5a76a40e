//! The null: labels exchanged within strata.

use std::collections::BTreeMap;
use std::thread;

use random::Random;

use crate::kernel::Kernel;

/// Permutations that reach what was observed before no more are tried: the p-value is then known to about a fifth of itself.
pub const EXCEEDANCES: u32 = 20;

/// Permutations of one thread between two looks at how many have reached it.
const BATCH: u32 = 25;

/// What is equal but for the order of a sum must count as equal.
const TIE: f64 = 1e-12;

/// The rows of a stratum; `first`: how many of them are the first sample's.
pub struct Group {
    rows: Vec<usize>,
    first: usize,
}

/// Divide the rows, those of the first sample in front of each stratum; a stratum of one sample alone permutes to itself.
pub fn groups(strata: &[u32], first: usize, second: usize) -> Vec<Group> {
    if strata.is_empty() {
        return vec![Group { rows: (0..first + second).collect(), first }];
    }
    let mut told: BTreeMap<u32, Group> = BTreeMap::new();
    for (row, &stratum) in strata.iter().enumerate() {
        let group = told.entry(stratum).or_insert_with(|| Group { rows: Vec::new(), first: 0 });
        group.rows.push(row);
        group.first += usize::from(row < first);
    }
    told.into_values().collect()
}

/// Draws permutations and counts those whose statistic is at least the observed one.
pub struct Null<'a> {
    pub kernel: &'a Kernel,
    pub groups: &'a [Group],
    pub observed: f64,
    pub seed: u64,
}

impl Null<'_> {
    /// The p-value and the permutations that it took, at most `most`.
    ///
    /// Of Besag and Clifford ("Sequential Monte Carlo p-values", Biometrika 78, 1991): where the h-th exceedance comes with
    /// permutation l, h / l; else (exceedances + 1) / (most + 1). Under the null it is at most a with a chance of at most a.
    pub fn p_value(&self, most: u32, threads: usize) -> (f64, u32) {
        let (mut tried, mut reached) = (0, 0);
        while tried < most {
            for exceeds in self.batch(tried, most, threads) {
                tried += 1;
                reached += u32::from(exceeds);
                if reached == EXCEEDANCES {
                    return (f64::from(EXCEEDANCES) / f64::from(tried), tried);
                }
            }
        }
        (f64::from(reached + 1) / (f64::from(most) + 1.0), tried)
    }

    /// Whether each of the next permutations exceeds, in their order.
    fn batch(&self, from: u32, most: u32, threads: usize) -> Vec<bool> {
        let threads = u32::try_from(threads.max(1)).unwrap_or(1);
        let part = |number: u32| {
            let begin = from.saturating_add(number * BATCH).min(most);
            begin..begin.saturating_add(BATCH).min(most)
        };
        if threads == 1 {
            return part(0).map(|permutation| self.exceeds(permutation)).collect();
        }
        thread::scope(|scope| {
            let spawned: Vec<_> = (0..threads)
                .map(|number| {
                    let own = part(number);
                    scope.spawn(move || own.map(|permutation| self.exceeds(permutation)).collect::<Vec<_>>())
                })
                .collect();
            // A thread that panicked has found nothing; nothing in it panics.
            spawned.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }

    fn exceeds(&self, permutation: u32) -> bool {
        let mut random = Random::stream(self.seed, u64::from(permutation));
        let mut members = Vec::new();
        for group in self.groups {
            let mut rows = group.rows.clone();
            // The first steps of a Fisher-Yates shuffle draw who is in the first sample.
            for at in 0..group.first {
                let other = at + random.below(rows.len() - at);
                rows.swap(at, other);
            }
            members.extend_from_slice(&rows[..group.first]);
        }
        members.sort_unstable();
        self.kernel.statistic(&members) >= self.observed - TIE
    }
}
