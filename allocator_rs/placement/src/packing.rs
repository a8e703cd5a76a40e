//! Vectors into as few equal bins as possible.
//!
//! A first packing fills one bin after the other with the best completion of the largest item left; then a bin at a time is
//! dissolved: its items wait outside while a few bins at a time are emptied and filled anew with what they held and what
//! waits, and a filling that leaves less outside is kept. After the consistent neighbourhood search of Buljubasic and
//! Vasquez (Computers & Operations Research 76, 2016) with bin completion (Korf, AAAI 2002) as the inner step.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "positions are made here and bounded by the tables' lengths; amounts are checked to be at most 2^48"
)]

use random::Random;

use crate::PlacementError;
use crate::spec::MAX_AMOUNT;

/// Steps of one search for a completion.
const COMPLETION_STEPS: u32 = 3_000;
/// Items that a completion chooses from.
const POOL: usize = 64;
/// Weights are parts of this.
const PARTS: u64 = 1_000_000;
/// Bins that are emptied at once.
const EMPTIED: usize = 3;

/// Items in bins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// The bin of each item, from 0.
    pub bins: Vec<u32>,
    /// Bins that are used.
    pub count: u32,
    /// No packing has fewer.
    pub lower_bound: u32,
}

/// The items as the search sees them.
struct Table<'a> {
    sizes: &'a [u64],
    capacity: &'a [u64],
    /// An item's share of a bin: the mean over the dimensions, of which scarce ones count more; parts of a million.
    weights: Vec<u64>,
}

impl Table<'_> {
    fn size(&self, item: usize) -> &[u64] {
        let width = self.capacity.len();
        &self.sizes[item * width..(item + 1) * width]
    }

    fn fits(&self, item: usize, left: &[u64]) -> bool {
        self.size(item).iter().zip(left).all(|(size, left)| size <= left)
    }

    fn take(&self, item: usize, left: &mut [u64]) {
        self.size(item).iter().zip(left).for_each(|(size, left)| *left -= size);
    }

    fn give(&self, item: usize, left: &mut [u64]) {
        self.size(item).iter().zip(left).for_each(|(size, left)| *left += size);
    }

    fn weight(&self, items: &[usize]) -> u64 {
        items.iter().map(|item| self.weights[*item]).sum()
    }
}

/// Pack `sizes` (one row an item, as wide as `capacity`) into as few bins as a search of `rounds` rounds finds.
///
/// # Errors
/// [`PlacementError::VectorInvalid`]: no dimension, a ragged table, an item larger than a bin, amounts beyond 2^48.
pub fn pack(sizes: &[u64], capacity: &[u64], rounds: u32, seed: u64) -> Result<Packing, PlacementError> {
    let lower_bound = lower_bound(sizes, capacity)?;
    let table = Table { sizes, capacity, weights: weights(sizes, capacity) };
    let mut random = Random::new(seed);
    let mut bins = complete_all(&table);
    let mut rounds_left = rounds;
    while bins.len() > lower_bound as usize && rounds_left > 0 {
        match dissolve(&table, &bins, &mut random, &mut rounds_left) {
            Some(fewer) => bins = fewer,
            None => break,
        }
    }
    let mut found = vec![0; sizes.len() / capacity.len()];
    for (number, bin) in (0_u32..).zip(&bins) {
        for item in bin {
            found[*item] = number;
        }
    }
    Ok(Packing { bins: found, count: u32::try_from(bins.len()).unwrap_or(u32::MAX), lower_bound })
}

/// Bins that are needed at least: what the fullest dimension needs, and one for each item that shares with no other of its kind.
///
/// # Errors
/// As [`pack`].
pub fn lower_bound(sizes: &[u64], capacity: &[u64]) -> Result<u32, PlacementError> {
    let invalid = |what: &str| PlacementError::VectorInvalid { what: what.to_owned() };
    if capacity.is_empty() || capacity.iter().any(|amount| *amount == 0 || *amount > MAX_AMOUNT) {
        return Err(invalid("a bin needs dimensions, each from 1 to 2^48"));
    }
    if !sizes.len().is_multiple_of(capacity.len()) || sizes.len() > u32::MAX as usize {
        return Err(invalid("the table's width is not the number of dimensions"));
    }
    let mut bound = 0_u128;
    for (dimension, amount) in capacity.iter().enumerate() {
        let column = || sizes.iter().skip(dimension).step_by(capacity.len());
        if column().any(|size| size > amount) {
            return Err(invalid("an item is larger than a bin"));
        }
        let sum: u128 = column().map(|size| u128::from(*size)).sum();
        let large = column().filter(|size| **size > amount / 2).count() as u128;
        bound = bound.max(sum.div_ceil(u128::from(*amount))).max(large);
    }
    let any = u128::from(!sizes.is_empty());
    Ok(u32::try_from(bound.max(any)).unwrap_or(u32::MAX))
}

fn weights(sizes: &[u64], capacity: &[u64]) -> Vec<u64> {
    let width = capacity.len();
    let column_sum = |at: usize| -> u128 { sizes.iter().skip(at).step_by(width).map(|size| u128::from(*size)).sum() };
    let demand: Vec<u128> =
        (0..width).map(|at| column_sum(at) * u128::from(PARTS) / u128::from(capacity[at])).collect();
    let all = demand.iter().sum::<u128>().max(1);
    let one = |row: &[u64]| {
        let share = |(at, size): (usize, &u64)| {
            u128::from(*size) * u128::from(PARTS) / u128::from(capacity[at]) * demand[at] / all
        };
        u64::try_from(row.iter().enumerate().map(share).sum::<u128>()).unwrap_or(PARTS).max(1)
    };
    sizes.chunks_exact(width).map(one).collect()
}

/// Fill one bin after the other: the largest item left, and the best completion from those left.
fn complete_all(table: &Table) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = (0..table.weights.len()).collect();
    left.sort_by_key(|item| (std::cmp::Reverse(table.weights[*item]), *item));
    let mut bins = Vec::new();
    while !left.is_empty() {
        let first = left.remove(0);
        let mut room = table.capacity.to_vec();
        table.take(first, &mut room);
        // Items from the whole range of sizes, or the small ones would never meet the large ones.
        let fitting: Vec<usize> = left.iter().copied().filter(|item| table.fits(*item, &room)).collect();
        let stride = fitting.len().div_ceil(POOL).max(1);
        let pool: Vec<usize> = fitting.into_iter().step_by(stride).collect();
        let mut bin = complete(table, &pool, &mut room);
        left.retain(|item| !bin.contains(item));
        bin.push(first);
        // The pool was a sample: what still fits goes in as well.
        left.retain(|item| {
            let fits = table.fits(*item, &room);
            if fits {
                table.take(*item, &mut room);
                bin.push(*item);
            }
            !fits
        });
        bins.push(bin);
    }
    bins
}

/// The items of a pool that fit into the room together and weigh most, found within a bounded number of steps; takes their room.
fn complete(table: &Table, pool: &[usize], room: &mut [u64]) -> Vec<usize> {
    let mut search = Completion {
        table,
        pool,
        rest: suffix_sums(table, pool),
        best: Vec::new(),
        best_weight: 0,
        steps: COMPLETION_STEPS,
    };
    search.descend(0, 0, &mut Vec::new(), room);
    for item in &search.best {
        table.take(*item, room);
    }
    search.best
}

fn suffix_sums(table: &Table, pool: &[usize]) -> Vec<u64> {
    let mut sums = vec![0; pool.len() + 1];
    for at in (0..pool.len()).rev() {
        sums[at] = sums[at + 1] + table.weights[pool[at]];
    }
    sums
}

struct Completion<'a> {
    table: &'a Table<'a>,
    pool: &'a [usize],
    rest: Vec<u64>,
    best: Vec<usize>,
    best_weight: u64,
    steps: u32,
}

impl Completion<'_> {
    /// Try each further item from `from` on. The room is as it was when this returns.
    fn descend(&mut self, from: usize, weight: u64, chosen: &mut Vec<usize>, room: &mut [u64]) {
        if weight > self.best_weight {
            self.best_weight = weight;
            self.best.clone_from(chosen);
        }
        for at in from..self.pool.len() {
            if self.steps == 0 || weight + self.rest[at] <= self.best_weight {
                return;
            }
            let item = self.pool[at];
            if self.table.fits(item, room) {
                self.steps -= 1;
                self.table.take(item, room);
                chosen.push(item);
                self.descend(at + 1, weight + self.table.weights[item], chosen, room);
                chosen.pop();
                self.table.give(item, room);
            }
        }
    }
}

/// Try to do with one bin fewer. None where the rounds are over first.
fn dissolve(table: &Table, bins: &[Vec<usize>], random: &mut Random, rounds: &mut u32) -> Option<Vec<Vec<usize>>> {
    let mut bins = bins.to_vec();
    let lightest = (0..bins.len()).min_by_key(|at| table.weight(&bins[*at]))?;
    let mut outside = bins.swap_remove(lightest);
    while !outside.is_empty() {
        if *rounds == 0 || bins.is_empty() {
            return None;
        }
        *rounds -= 1;
        let chosen = draw(random, bins.len());
        let mut pool = outside.clone();
        pool.extend(chosen.iter().flat_map(|at| bins[*at].iter().copied()));
        random.shuffle(&mut pool);
        // A nearly sorted order: large items first, but not always the same ones.
        pool.sort_by_cached_key(|item| std::cmp::Reverse(table.weights[*item] * (8 + random.below(5) as u64)));
        let mut refilled = Vec::with_capacity(chosen.len());
        for _ in &chosen {
            let mut room = table.capacity.to_vec();
            let filled = complete(table, &pool[..pool.len().min(POOL)], &mut room);
            pool.retain(|item| !filled.contains(item));
            refilled.push(filled);
        }
        if table.weight(&pool) <= table.weight(&outside) {
            outside = pool;
            for (at, filled) in chosen.into_iter().zip(refilled) {
                bins[at] = filled;
            }
        }
    }
    Some(bins)
}

/// A few different bins.
fn draw(random: &mut Random, end: usize) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(EMPTIED);
    for _ in 0..EMPTIED.min(end) {
        let at = random.below(end);
        if !chosen.contains(&at) {
            chosen.push(at);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{lower_bound, pack};
    use crate::{PlacementError, Random};

    fn instance(count: usize, seed: u64) -> Vec<u64> {
        let mut random = Random::new(seed);
        (0..2 * count).map(|_| 100 + random.below(301) as u64).collect()
    }

    #[test]
    fn a_thousand_vectors_come_within_one_per_cent_of_the_bound() {
        let packing = pack(&instance(1_000, 1), &[1_000, 1_000], 2_000, 1).unwrap();
        assert!(f64::from(packing.count) <= 1.01 * f64::from(packing.lower_bound), "{packing:?}");
    }

    #[test]
    fn nothing_needs_no_bin() {
        assert_eq!(pack(&[], &[5], 10, 0).unwrap().count, 0);
    }

    #[test]
    fn refuses_what_is_no_table() {
        for (sizes, capacity) in [(&[1_u64][..], &[][..]), (&[1], &[0]), (&[1, 2, 3], &[9, 9]), (&[10], &[9])] {
            assert!(matches!(pack(sizes, capacity, 1, 0), Err(PlacementError::VectorInvalid { .. })));
        }
        assert!(matches!(pack(&[1], &[u64::MAX], 1, 0), Err(PlacementError::VectorInvalid { .. })));
    }

    #[test]
    fn items_over_half_a_bin_need_one_each() {
        assert_eq!(lower_bound(&[6, 6, 6], &[10]).unwrap(), 3);
    }

    proptest! {
        #[test]
        fn packings_are_sound(
            rows in proptest::collection::vec((0_u64..=50, 0_u64..=70, 0_u64..=9), 0..40),
            seed in any::<u64>(),
        ) {
            let sizes: Vec<u64> = rows.iter().flat_map(|(one, two, three)| [*one, *two, *three]).collect();
            let capacity = [50, 70, 9];
            let packing = pack(&sizes, &capacity, 50, seed).unwrap();
            prop_assert_eq!(&packing, &pack(&sizes, &capacity, 50, seed).unwrap());
            prop_assert!(packing.lower_bound <= packing.count && packing.count as usize <= rows.len());
            for bin in 0..packing.count {
                let mut used = [0; 3];
                for (row, _) in sizes.chunks(3).zip(&packing.bins).filter(|(_, at)| **at == bin) {
                    (0..3).for_each(|at| used[at] += row[at]);
                }
                prop_assert!((0..3).all(|at| used[at] <= capacity[at]));
            }
            prop_assert!(packing.bins.iter().all(|bin| *bin < packing.count));
        }
    }
}
