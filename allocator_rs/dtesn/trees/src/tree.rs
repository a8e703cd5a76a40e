//! One rooted tree.

use crate::TreeError;
use crate::limits::MAX_NODES;

/// A rooted tree as its canonical level sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tree(Vec<u32>);

impl Tree {
    /// The tree of any level sequence; the order of children is made canonical.
    ///
    /// # Errors
    /// [`TreeError`] where it is no level sequence of one tree.
    pub fn new(levels: &[u32]) -> Result<Self, TreeError> {
        let first = *levels.first().ok_or(TreeError::Empty)?;
        if levels.len() > MAX_NODES {
            return Err(TreeError::TooLarge { nodes: levels.len() });
        }
        if first != 1 {
            return Err(TreeError::Root { found: first });
        }
        for (position, pair) in levels.windows(2).enumerate() {
            if pair[1] < 2 || pair[1] - 1 > pair[0] {
                return Err(TreeError::Level { position: position + 1, found: pair[1], before: pair[0] });
            }
        }
        Ok(Self(canonical(levels)))
    }

    /// A sequence that is known to be canonical.
    pub(crate) const fn from_canonical(levels: Vec<u32>) -> Self {
        Self(levels)
    }

    /// A root with these subtrees.
    #[must_use]
    pub fn join(subtrees: &[Self]) -> Self {
        let mut sorted: Vec<_> = subtrees.iter().collect();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        let below = sorted.iter().flat_map(|tree| tree.0.iter().map(|level| level + 1));
        Self(std::iter::once(1).chain(below).collect())
    }

    /// The level sequence.
    #[must_use]
    pub fn levels(&self) -> &[u32] {
        &self.0
    }

    /// The number of nodes.
    #[must_use]
    pub fn order(&self) -> usize {
        self.0.len()
    }

    /// The number of levels.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// The parent of each node, in preorder; None for the root.
    #[must_use]
    pub fn parents(&self) -> Vec<Option<usize>> {
        let mut open: Vec<usize> = Vec::new();
        let mut found = Vec::with_capacity(self.0.len());
        for (node, &level) in self.0.iter().enumerate() {
            open.truncate(level as usize - 1);
            found.push(open.last().copied());
            open.push(node);
        }
        found
    }

    /// The subtrees at the root, the largest sequence first.
    #[must_use]
    pub fn subtrees(&self) -> Vec<Self> {
        split(&self.0).map(|part| Self(part.iter().map(|level| level - 1).collect())).collect()
    }

    /// The order of the group of automorphisms: over all nodes the product of m! for each m equal subtrees.
    ///
    /// # Errors
    /// [`TreeError::Overflow`].
    pub fn symmetry(&self) -> Result<u128, TreeError> {
        let mut product = 1_u128;
        let mut previous: Option<Self> = None;
        let mut equal = 0_u128;
        for subtree in self.subtrees() {
            equal = if previous.as_ref() == Some(&subtree) { equal + 1 } else { 1 };
            let factor = subtree.symmetry()?.checked_mul(equal).ok_or(TreeError::Overflow)?;
            product = product.checked_mul(factor).ok_or(TreeError::Overflow)?;
            previous = Some(subtree);
        }
        Ok(product)
    }

    /// The density: over all nodes the product of the number of nodes at and below it.
    ///
    /// # Errors
    /// [`TreeError::Overflow`].
    pub fn density(&self) -> Result<u128, TreeError> {
        let sizes = (0..self.0.len()).map(|node| {
            let level = self.0[node];
            1 + self.0[node + 1..].iter().take_while(|&&below| below > level).count() as u128
        });
        sizes.into_iter().try_fold(1_u128, |product, size| product.checked_mul(size).ok_or(TreeError::Overflow))
    }
}

/// The root's subtrees as slices of the sequence.
fn split(levels: &[u32]) -> impl Iterator<Item = &[u32]> {
    let root = levels.first().copied().unwrap_or(0);
    let rest = levels.get(1..).unwrap_or(&[]);
    let mut starts: Vec<_> = (0..rest.len()).filter(|&place| rest[place] == root + 1).collect();
    starts.push(rest.len());
    (1..starts.len()).map(move |place| &rest[starts[place - 1]..starts[place]])
}

/// The largest sequence over all orders of children: from the last node to the first, each takes its finished subtrees.
fn canonical(levels: &[u32]) -> Vec<u32> {
    // Finished subtrees, the rightmost first, each with its own root's level in front.
    let mut finished: Vec<Vec<u32>> = Vec::new();
    for &level in levels.iter().rev() {
        let mut own = Vec::new();
        while finished.last().is_some_and(|subtree| subtree[0] > level) {
            own.extend(finished.pop());
        }
        own.sort_unstable_by(|one, other| other.cmp(one));
        let mut whole = vec![level];
        whole.extend(own.into_iter().flatten());
        finished.push(whole);
    }
    finished.pop().unwrap_or_default()
}
