//! Which free GPU capacity is of no use to what is likely to arrive.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "weights add up to a million, a node has at most 32,000 thousandths of GPUs"
)]

use std::collections::BTreeMap;

use crate::node::Node;
use crate::spec::Shape;

/// Weights are parts of this.
const PARTS: u64 = 1_000_000;
/// No workload has more shapes; the rarest are left out.
const MAX_SHAPES: usize = 64;

/// What is expected to arrive: shapes with their shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload(Vec<(Shape, u64)>);

impl Workload {
    /// The most frequent shapes that together make up `share_percent` of what was seen, by decreasing count. Host memory is
    /// left out of the shapes, as FGD does: it seldom decides, and it would split the counts.
    #[must_use]
    pub fn learn(seen: &[Shape], share_percent: u64) -> Self {
        let mut counts: BTreeMap<Shape, u64> = BTreeMap::new();
        for shape in seen {
            *counts.entry(Shape { host_bytes: 0, ..*shape }).or_default() += 1;
        }
        let mut sorted: Vec<_> = counts.into_iter().collect();
        sorted.sort_by_key(|(shape, count)| std::cmp::Reverse((*count, *shape)));
        let wanted = seen.len() as u64 * share_percent.min(100);
        let mut total = 0;
        let mut kept = Vec::new();
        for (shape, count) in sorted.into_iter().take(MAX_SHAPES) {
            if total * 100 >= wanted {
                break;
            }
            total += count;
            kept.push((shape, count));
        }
        Self(kept.into_iter().map(|(shape, count)| (shape, count * PARTS / total.max(1))).collect())
    }

    /// The shapes and their shares in parts of a million.
    #[must_use]
    pub fn shapes(&self) -> &[(Shape, u64)] {
        &self.0
    }

    /// Free GPU thousandths of a node that an arrival is expected not to be able to use.
    pub(crate) fn fragmented_milli(&self, node: &Node) -> u64 {
        if node.room_milli() == 0 {
            return 0;
        }
        let sum: u64 = self.0.iter().map(|(shape, parts)| parts * node.unusable_milli(shape)).sum();
        sum / PARTS
    }
}
