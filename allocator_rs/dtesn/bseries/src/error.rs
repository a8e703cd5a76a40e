//! What can be wrong with a request.

use crate::{MAX_ORDER, MAX_STAGES, TREE_COUNTS};

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// A number that is not read.
    #[error("{text:?} is no number of the form p/q or p/q+p/q*sqrt(d)")]
    Number {
        /// What was given, cut to 60 characters.
        text: String,
    },
    /// Numbers with two different roots.
    #[error("sqrt({one}) and sqrt({other}) in one tableau; one root is possible")]
    Roots {
        /// A radicand.
        one: u32,
        /// Another.
        other: u32,
    },
    /// A tableau without stages or with too many.
    #[error("{stages} stages; 1 to {MAX_STAGES} are possible")]
    Stages {
        /// How many.
        stages: usize,
    },
    /// A row or column of another length.
    #[error("{name} has {found} entries for {stages} stages")]
    Shape {
        /// Which part.
        name: String,
        /// Entries found.
        found: usize,
        /// Stages.
        stages: usize,
    },
    /// The row sums differ from c, or the weights do not add up to 1.
    #[error("the tableau is not consistent: {what} is {found}, not {expected}")]
    Inconsistent {
        /// Which sum.
        what: String,
        /// The sum.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// An order for which there are too many trees.
    #[error("order {order} has {}; orders 1 to {limit} are computed", trees(*order))]
    Order {
        /// The order.
        order: usize,
        /// The largest possible.
        limit: usize,
    },
    /// Coefficients of another number of trees.
    #[error("{found} coefficients; order {order} has {expected} trees")]
    Coefficients {
        /// Coefficients given.
        found: usize,
        /// Trees.
        expected: usize,
        /// The order.
        order: usize,
    },
    /// No method has this name.
    #[error("no method is called {name:?}")]
    Unknown {
        /// The name, cut to 60 characters.
        name: String,
    },
    /// The cache's directory does not take a file.
    #[error("the cache cannot be written: {0}")]
    Cache(String),
}

/// How many trees an order has, in words.
fn trees(order: usize) -> String {
    match order {
        0 => "no trees".to_owned(),
        1..=MAX_ORDER => format!("{} trees", TREE_COUNTS[order - 1]),
        _ => ::trees::count(order)
            .map_or_else(|_| "more trees than fit into 128 bits".to_owned(), |count| format!("{count} trees")),
    }
}
