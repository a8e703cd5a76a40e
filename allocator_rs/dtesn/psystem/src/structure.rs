//! Dissolution and division: the end of a step.

use crate::configuration::{Configuration, MAX_CELLS, MAX_MEMBRANES, Node};
use crate::error::SystemError;
use crate::model::{Charge, Multiset};

/// What happens to a membrane.
#[derive(Debug, Clone)]
pub enum Change {
    /// Its objects and inner membranes go to the membrane around it.
    Dissolve,
    /// It becomes two, each with all that was in it.
    Divide {
        /// Charge and new objects of the first.
        first: (Charge, Multiset),
        /// And of the second.
        second: (Charge, Multiset),
    },
}

/// A membrane that is still to be placed.
#[derive(Clone, Copy)]
struct Pending<'a> {
    old: usize,
    parent: usize,
    /// Whether it lies in a division's second copy, and so is a new membrane.
    copied: bool,
    /// Which half of a division it is.
    part: Option<&'a (Charge, Multiset)>,
}

impl Configuration {
    /// Build the membranes anew, in preorder, with all changes at once. A membrane that dissolves and divides dissolves.
    pub(crate) fn restructure(&mut self, changes: &[(usize, Change)]) -> Result<(), SystemError> {
        let mut by_node: Vec<Option<&Change>> = vec![None; self.nodes.len()];
        for (node, change) in changes {
            if !matches!(by_node[*node], Some(Change::Dissolve)) {
                by_node[*node] = Some(change);
            }
        }
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        (1..self.nodes.len()).for_each(|node| children[self.nodes[node].parent].push(node));
        let old = std::mem::take(&mut self.nodes);
        let counts = std::mem::take(&mut self.counts);
        let mut open = vec![Pending { old: 0, parent: 0, copied: false, part: None }];
        while let Some(pending) = open.pop() {
            let row = &counts[pending.old * self.width()..(pending.old + 1) * self.width()];
            let parent = match (by_node[pending.old], pending.part) {
                (Some(Change::Divide { first, second }), None) => {
                    open.push(Pending { copied: true, part: Some(second), ..pending });
                    open.push(Pending { part: Some(first), ..pending });
                    continue;
                }
                (Some(Change::Dissolve), _) => {
                    let contents: Vec<_> = row.iter().copied().enumerate().collect();
                    self.add(Some(pending.parent), &contents, 1)?;
                    pending.parent
                }
                _ => self.place(old[pending.old], &pending, row)?,
            };
            let inner = children[pending.old].iter().rev();
            open.extend(inner.map(|&old| Pending { old, parent, copied: pending.copied, part: None }));
        }
        Ok(())
    }

    /// Append a membrane with its objects.
    fn place(&mut self, node: Node, pending: &Pending<'_>, row: &[u64]) -> Result<usize, SystemError> {
        let number = self.nodes.len();
        if number >= MAX_MEMBRANES {
            return Err(SystemError::TooManyMembranes { limit: MAX_MEMBRANES });
        }
        if (number + 1) * self.width() > MAX_CELLS {
            return Err(SystemError::TooManyMembranes { limit: MAX_CELLS });
        }
        let id = if pending.copied { self.next_id } else { node.id };
        self.next_id += u64::from(pending.copied);
        let charge = pending.part.map_or(node.charge, |part| part.0);
        self.nodes.push(Node { id, charge, parent: pending.parent, label: node.label });
        self.counts.extend_from_slice(row);
        if let Some((_, objects)) = pending.part {
            self.add(Some(number), objects, 1)?;
        }
        Ok(number)
    }
}
