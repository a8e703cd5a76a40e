//! How many trees and forests there are.

use crate::TreeError;
use crate::limits::MAX_ORDER;

/// The number of rooted trees of an order (A000081): 1, 1, 2, 4, 9, 20, 48, 115, …
///
/// # Errors
/// [`TreeError::Order`].
pub fn count(order: usize) -> Result<u128, TreeError> {
    if !(1..=MAX_ORDER).contains(&order) {
        return Err(TreeError::Order { order });
    }
    Ok(Counts::up_to(order).trees[order])
}

/// Multisets of size `picks` out of `kinds`; 128 bits hold whatever an order up to [`MAX_ORDER`] asks for.
pub fn multisets(kinds: u128, picks: u128) -> u128 {
    // Each division is exact: after it the value is a multiset count itself.
    (0..picks).fold(1, |value, pick| value * (kinds + pick) / (pick + 1))
}

/// Trees by order, and forests by nodes and largest tree.
pub struct Counts {
    /// Trees of each order; 0 of order 0.
    pub trees: Vec<u128>,
    /// `forests[largest][nodes]`: forests of so many nodes whose trees have at most `largest` nodes.
    pub forests: Vec<Vec<u128>>,
}

impl Counts {
    /// Count up to an order: a tree of n nodes is a root over a forest of n - 1.
    pub fn up_to(order: usize) -> Self {
        let mut trees = vec![0_u128, 1];
        let mut smaller = vec![0_u128; order + 1];
        smaller[0] = 1;
        let mut forests = vec![smaller];
        for largest in 1..=order {
            if largest > 1 {
                trees.push(forests[largest - 1][largest - 1]);
            }
            let row = (0..=order).map(|nodes| with_largest(&forests[largest - 1], trees[largest], largest, nodes));
            let row = row.collect();
            forests.push(row);
        }
        Self { trees, forests }
    }
}

/// Forests of `nodes` nodes with any number of trees of `size` nodes out of the first `kinds`, the others smaller.
pub fn with_largest(smaller: &[u128], kinds: u128, size: usize, nodes: usize) -> u128 {
    (0..=nodes / size).map(|copies| multisets(kinds, copies as u128) * smaller[nodes - copies * size]).sum()
}
