//! All trees of an order, one after the other.

use crate::{MAX_ORDER, Tree, TreeError};

/// The trees of one order, from the path to the star, by the successor of Beyer and Hedetniemi: constant time a tree on
/// average, as a step rewrites only the sequence behind the last node that is below level 2.
#[derive(Debug, Clone)]
pub struct Trees {
    next: Option<Vec<u32>>,
}

impl Iterator for Trees {
    type Item = Tree;

    fn next(&mut self) -> Option<Tree> {
        let current = self.next.take()?;
        let mut following = current.clone();
        if advance(&mut following) {
            self.next = Some(following);
        }
        Some(Tree::from_canonical(current))
    }
}

/// All trees of an order.
///
/// # Errors
/// [`TreeError::Order`].
pub fn all(order: usize) -> Result<Trees, TreeError> {
    if !(1..=MAX_ORDER).contains(&order) {
        return Err(TreeError::Order { order });
    }
    Ok(Trees { next: Some((1..).take(order).collect()) })
}

/// The next smaller canonical sequence in place; false: there is none.
///
/// The last node p below level 2 moves up to its parent's level; from there on the sequence repeats what stands between
/// the parent q and p.
fn advance(levels: &mut [u32]) -> bool {
    let Some(last) = levels.iter().rposition(|&level| level > 2) else { return false };
    let Some(parent) = levels[..last].iter().rposition(|&level| level + 1 == levels[last]) else { return false };
    let period = last - parent;
    for place in last..levels.len() {
        levels[place] = levels[place - period];
    }
    true
}
