//! All trees up to the largest order, numbered, with what every method needs of them.

use std::collections::HashMap;
use std::sync::OnceLock;

use trees::{Tree, all};

use crate::SeriesError;
use crate::limits::{MAX_ORDER, TREE_COUNTS};

/// A tree as the Butcher product of two smaller ones: `right`'s root becomes a child of `left`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// The tree without its last subtree.
    pub left: usize,
    /// The last subtree.
    pub right: usize,
}

/// The trees of orders 1 to [`MAX_ORDER`], numbered order by order as the generation gives them, so that the trees up to
/// an order are the first ones.
#[derive(Debug)]
pub struct Forest {
    trees: Vec<Tree>,
    products: Vec<Option<Product>>,
    symmetries: Vec<u64>,
    densities: Vec<u64>,
    numbers: HashMap<Tree, usize>,
}

/// The forest, made at its first use.
#[must_use]
pub fn forest() -> &'static Forest {
    static FOREST: OnceLock<Forest> = OnceLock::new();
    FOREST.get_or_init(Forest::new)
}

impl Forest {
    fn new() -> Self {
        let trees: Vec<Tree> = (1..=MAX_ORDER).filter_map(|order| all(order).ok()).flatten().collect();
        let numbers: HashMap<_, _> = trees.iter().cloned().zip(0..).collect();
        let product = |tree: &Tree| {
            let mut parts = tree.subtrees();
            let right = numbers.get(&parts.pop()?).copied()?;
            let left = numbers.get(&Tree::join(&parts)).copied()?;
            Some(Product { left, right })
        };
        let products = trees.iter().map(product).collect();
        // Up to 10 nodes both are at most 10!.
        let small = |value: Result<u128, _>| value.ok().and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        let symmetries = trees.iter().map(|tree| small(tree.symmetry())).collect();
        let densities = trees.iter().map(|tree| small(tree.density())).collect();
        Self { trees, products, symmetries, densities, numbers }
    }

    /// How many trees there are up to an order.
    ///
    /// # Errors
    /// [`SeriesError::Order`], with the count of trees.
    pub fn count(order: usize) -> Result<usize, SeriesError> {
        if !(1..=MAX_ORDER).contains(&order) {
            return Err(SeriesError::Order { order, limit: MAX_ORDER });
        }
        Ok(TREE_COUNTS[..order].iter().sum())
    }

    /// The trees.
    #[must_use]
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// How each tree but the first is made.
    #[must_use]
    pub fn products(&self) -> &[Option<Product>] {
        &self.products
    }

    /// sigma of each tree.
    #[must_use]
    pub fn symmetries(&self) -> &[u64] {
        &self.symmetries
    }

    /// gamma of each tree.
    #[must_use]
    pub fn densities(&self) -> &[u64] {
        &self.densities
    }

    /// The number of a tree; None above the largest order.
    #[must_use]
    pub fn number(&self, tree: &Tree) -> Option<usize> {
        self.numbers.get(tree).copied()
    }
}
