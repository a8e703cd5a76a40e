//! Rooted trees, the frame of the reservoir's membranes and the index set of B-series.
//!
//! A tree is its canonical level sequence: the levels of its nodes in preorder, the root on level 1, and of all orders of
//! the children the one that gives the largest sequence (Beyer and Hedetniemi, "Constant time generation of rooted trees",
//! SIAM J. Comput. 9, 1980). Trees are counted by nodes: sequence A000081.

mod count;
mod default;
mod error;
mod generate;
mod limits;
mod rank;
mod tree;

pub use count::count;
pub use default::default_tree;
pub use error::TreeError;
pub use generate::{Trees, all};
pub use limits::{MAX_NODES, MAX_ORDER};
pub use rank::{from_rank, random, rank};
pub use tree::Tree;
