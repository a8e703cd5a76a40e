//! Rooted trees, the frame of the reservoir's membranes and the index set of B-series.
//!
//! A tree is its canonical level sequence: the levels of its nodes in preorder, the root on level 1, and of all orders of
//! the children the one that gives the largest sequence (Beyer and Hedetniemi, "Constant time generation of rooted trees",
//! SIAM J. Comput. 9, 1980). Trees are counted by nodes: sequence A000081.

mod count;
mod default;
mod generate;
mod rank;
mod tree;

pub use count::{MAX_ORDER, count};
pub use default::default_tree;
pub use generate::{Trees, all};
pub use rank::{from_rank, random, rank};
pub use tree::{MAX_NODES, Tree};

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
