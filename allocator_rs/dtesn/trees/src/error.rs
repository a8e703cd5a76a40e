//! What can be wrong with a request.

use crate::limits::{MAX_NODES, MAX_ORDER};

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The sequence has no nodes.
    #[error("a rooted tree has at least one node")]
    Empty,
    /// More nodes than are taken.
    #[error("{nodes} nodes; at most {MAX_NODES} are taken")]
    TooLarge {
        /// The number of nodes.
        nodes: usize,
    },
    /// The first level is not 1.
    #[error("the first level is {found}; the root is on level 1")]
    Root {
        /// The level found.
        found: u32,
    },
    /// A level that no node can have at its place.
    #[error("level {found} at position {position}; after level {before} it must be from 2 to {}", before.saturating_add(1))]
    Level {
        /// Position, from 0.
        position: usize,
        /// The level found.
        found: u32,
        /// The level before it.
        before: u32,
    },
    /// Fewer nodes than 1 or more than what is counted in 128 bits.
    #[error("order {order} is outside 1 to {MAX_ORDER}")]
    Order {
        /// The number of nodes.
        order: usize,
    },
    /// No tree has this rank.
    #[error("rank {rank}; there are {count} trees of order {order}")]
    Rank {
        /// The rank asked for.
        rank: u128,
        /// The number of nodes.
        order: usize,
        /// How many trees there are.
        count: u128,
    },
    /// Symmetry or density is over 128 bits.
    #[error("the value is over 128 bits")]
    Overflow,
}
