//! Ranks: a bijection between the trees of an order and the numbers below their count.
//!
//! Trees are ordered by size and then by rank; a tree of n nodes by its subtrees, the largest first, compared one by one.
//! So the rank of a tree is the number of forests of n - 1 nodes that come before its own, which the forest counts give
//! without listing any. (This is another order than the generation's, where the size of a subtree says nothing.)

use random::Random;

use crate::count::{Counts, with_largest};
use crate::{MAX_ORDER, Tree, TreeError};

/// The rank of a tree among those of its order, from 0.
///
/// # Errors
/// [`TreeError::Order`] over [`MAX_ORDER`] nodes.
pub fn rank(tree: &Tree) -> Result<u128, TreeError> {
    let order = checked(tree.order())?;
    Ok(rank_with(&Counts::up_to(order), tree))
}

/// The tree of an order that has this rank.
///
/// # Errors
/// [`TreeError::Order`] and [`TreeError::Rank`].
pub fn from_rank(order: usize, rank: u128) -> Result<Tree, TreeError> {
    let counts = Counts::up_to(checked(order)?);
    let count = counts.trees[order];
    if rank >= count {
        return Err(TreeError::Rank { rank, order, count });
    }
    Ok(tree_with(&counts, order, rank))
}

/// A tree drawn uniformly from all of an order; the same seed gives the same tree on every machine.
///
/// # Errors
/// [`TreeError::Order`].
pub fn random(order: usize, seed: u64) -> Result<Tree, TreeError> {
    let counts = Counts::up_to(checked(order)?);
    let drawn = below(counts.trees[order], seed);
    Ok(tree_with(&counts, order, drawn))
}

const fn checked(order: usize) -> Result<usize, TreeError> {
    if order >= 1 && order <= MAX_ORDER { Ok(order) } else { Err(TreeError::Order { order }) }
}

/// Forests of `nodes` nodes whose trees all come before tree `rank` of `size`.
fn before(counts: &Counts, nodes: usize, size: usize, rank: u128) -> u128 {
    with_largest(&counts.forests[size - 1], rank, size, nodes)
}

fn rank_with(counts: &Counts, tree: &Tree) -> u128 {
    let mut parts: Vec<_> = tree.subtrees().iter().map(|part| (part.order(), rank_with(counts, part))).collect();
    parts.sort_unstable_by(|one, other| other.cmp(one));
    let mut left = tree.order() - 1;
    let mut total = 0;
    for (size, rank) in parts {
        total += before(counts, left, size, rank);
        left -= size;
    }
    total
}

fn tree_with(counts: &Counts, order: usize, mut rank: u128) -> Tree {
    let mut left = order - 1;
    let mut parts = Vec::new();
    while left > 0 {
        let size = (1..=left).find(|&size| counts.forests[size][left] > rank).unwrap_or(left);
        let index = last_before(counts.trees[size], |index| before(counts, left, size, index) <= rank);
        rank -= before(counts, left, size, index);
        parts.push(tree_with(counts, size, index));
        left -= size;
    }
    Tree::join(&parts)
}

/// The last index below `count` that passes, where all before it pass too.
fn last_before(count: u128, passes: impl Fn(u128) -> bool) -> u128 {
    let (mut low, mut high) = (0, count);
    while high - low > 1 {
        let middle = u128::midpoint(low, high);
        if passes(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// A number below `count`, without bias: bits drawn again where they are too large.
fn below(count: u128, seed: u64) -> u128 {
    let mask = u128::MAX >> (count - 1).leading_zeros().min(127);
    let mut random = Random::new(seed);
    loop {
        let drawn = ((u128::from(random.bits()) << 64) | u128::from(random.bits())) & mask;
        if drawn < count {
            return drawn;
        }
    }
}
