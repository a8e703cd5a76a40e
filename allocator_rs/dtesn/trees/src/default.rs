//! The membrane tree of a class, unless its owner gives another.

/// A node while the tree grows; `children` in order of their making.
struct Node {
    level: u32,
    children: Vec<Node>,
}

impl Node {
    const fn leaf(level: u32) -> Self {
        Self { level, children: Vec::new() }
    }

    /// A path from `level` down to `depth`.
    fn spine(level: u32, depth: u32) -> Self {
        let children = if level < depth { vec![Self::spine(level.saturating_add(1), depth)] } else { Vec::new() };
        Self { level, children }
    }

    /// The node that gets the next child: fewest children, then shallowest, then leftmost, of those above `depth`.
    fn next_parent(&mut self, depth: u32) -> Option<&mut Self> {
        let key = self.best_key(depth)?;
        self.find(key, depth)
    }

    fn best_key(&self, depth: u32) -> Option<(usize, u32)> {
        let own = (self.level < depth).then_some((self.children.len(), self.level));
        self.children.iter().filter_map(|child| child.best_key(depth)).chain(own).min()
    }

    /// The first node in preorder with this key.
    fn find(&mut self, key: (usize, u32), depth: u32) -> Option<&mut Self> {
        if self.level < depth && (self.children.len(), self.level) == key {
            return Some(self);
        }
        self.children.iter_mut().find_map(|child| child.find(key, depth))
    }

    /// The largest level sequence over all orders of the children.
    fn canonical(&self) -> Vec<u32> {
        let mut parts: Vec<_> = self.children.iter().map(Self::canonical).collect();
        parts.sort_unstable_by(|one, other| other.cmp(one));
        std::iter::once(self.level).chain(parts.into_iter().flatten()).collect()
    }
}

/// A spine of `depth` nodes, then up to `nodes` one at a time, each a child of the node with the fewest children (ties:
/// the shallowest, then the leftmost) that keeps the depth; as its canonical level sequence, the root on level 1.
#[must_use]
pub fn default_tree(nodes: u64, depth: u32) -> Vec<u32> {
    let mut root = Node::spine(1, depth.max(1));
    for _ in u64::from(depth.max(1))..nodes {
        let Some(parent) = root.next_parent(depth) else { break };
        let level = parent.level.saturating_add(1);
        parent.children.push(Node::leaf(level));
    }
    root.canonical()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::default_tree;
    /// Nodes and levels of the size classes.
    const CLASSES: [(u64, u32); 3] = [(8, 4), (16, 6), (32, 8)];

    const GOLDEN_MEDIUM: [u32; 16] = [1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 2, 3, 4, 5, 6, 3];
    const GOLDEN_LARGE: [u32; 32] =
        [1, 2, 3, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8, 2, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8];

    #[test]
    fn golden_level_sequences() {
        let small = vec![1, 2, 3, 4, 3, 2, 3, 4];
        assert_eq!(default_tree(8, 4), small);
        let medium = default_tree(16, 6);
        let large = default_tree(32, 8);
        assert_eq!(medium, GOLDEN_MEDIUM);
        assert_eq!(large, GOLDEN_LARGE);
    }

    #[test]
    fn every_class_has_its_depth_and_nodes() {
        for (nodes, depth) in CLASSES {
            let tree = default_tree(nodes, depth);
            assert_eq!(tree.len() as u64, nodes);
            assert_eq!(tree.iter().copied().max(), Some(depth));
        }
    }

    proptest! {
        #[test]
        fn is_a_rooted_tree(depth in 1_u32..8, extra in 0_u64..40) {
            let nodes = u64::from(depth) + extra;
            let tree = default_tree(nodes, depth);
            prop_assert_eq!(tree[0], 1);
            prop_assert!(tree.windows(2).all(|pair| (2..=pair[0] + 1).contains(&pair[1])));
            prop_assert_eq!(tree.iter().copied().max(), Some(depth));
            prop_assert!(depth == 1 || tree.len() as u64 == nodes);
        }
    }
}
