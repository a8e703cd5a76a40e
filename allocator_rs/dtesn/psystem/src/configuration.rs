//! Membranes and objects at a time.

use std::sync::Arc;

use crate::error::SystemError;
use crate::index::Index;
use crate::model::{Charge, Membrane, System};

/// Division ends here.
pub const MAX_MEMBRANES: usize = 1 << 16;
/// Membranes times objects.
pub const MAX_CELLS: usize = 1 << 25;

/// A membrane of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Stays the same while the membrane lives; a division's second copy gets new ones.
    pub id: u64,
    /// Index into the labels.
    pub label: usize,
    /// Its charge.
    pub charge: Charge,
    /// Index of the membrane around it; the skin's is its own.
    pub parent: usize,
}

/// Membranes and objects at a time.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub(crate) system: Arc<System>,
    pub(crate) index: Arc<Index>,
    /// In preorder.
    pub(crate) nodes: Vec<Node>,
    /// Row by row of a membrane.
    pub(crate) counts: Vec<u64>,
    pub(crate) environment: Vec<u64>,
    pub(crate) next_id: u64,
}

impl Configuration {
    /// The system's start.
    #[must_use]
    pub fn new(system: Arc<System>) -> Self {
        let width = system.symbols.len();
        let mut counts = vec![0; width * system.membranes.len()];
        for (membrane, row) in system.membranes.iter().zip(counts.chunks_exact_mut(width.max(1))) {
            membrane.contents.iter().for_each(|(symbol, times)| row[*symbol] = *times);
        }
        let node = |(number, membrane): (usize, &Membrane)| Node {
            id: number as u64,
            label: membrane.label,
            charge: membrane.charge,
            parent: membrane.parent.unwrap_or(0),
        };
        let nodes: Vec<_> = system.membranes.iter().enumerate().map(node).collect();
        let index = Arc::new(Index::new(&system));
        let next_id = nodes.len() as u64;
        Self { system, index, nodes, counts, environment: vec![0; width], next_id }
    }

    /// The system.
    #[must_use]
    pub const fn system(&self) -> &Arc<System> {
        &self.system
    }

    /// The membranes, in preorder.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Copies of each object in a membrane, by its index among the nodes.
    #[must_use]
    pub fn contents(&self, node: usize) -> &[u64] {
        let width = self.width();
        self.counts.get(node * width..(node + 1) * width).unwrap_or(&[])
    }

    /// Copies of each object that left the skin.
    #[must_use]
    pub fn environment(&self) -> &[u64] {
        &self.environment
    }

    /// What the computation gives: copies of each object in the output membrane, or in the environment where the system names
    /// none. Division may have made several output membranes, which count together. None where all have dissolved: then the
    /// computation has no result.
    ///
    /// # Errors
    /// [`SystemError::Running`] while a rule can be applied, and [`SystemError::Overflow`].
    pub fn result(&self) -> Result<Option<Vec<u64>>, SystemError> {
        if !self.halted() {
            return Err(SystemError::Running);
        }
        let Some(output) = self.system.output else { return Ok(Some(self.environment.clone())) };
        let mut found: Option<Vec<u64>> = None;
        for place in (0..self.nodes.len()).filter(|&place| self.nodes[place].label == output) {
            let sum = found.get_or_insert_with(|| vec![0; self.width()]);
            for (symbol, (total, times)) in sum.iter_mut().zip(self.contents(place)).enumerate() {
                let more = total.checked_add(*times);
                *total = more.ok_or_else(|| SystemError::Overflow { symbol: self.system.symbols[symbol].clone() })?;
            }
        }
        Ok(found)
    }

    /// Put objects into a membrane.
    ///
    /// # Errors
    /// [`SystemError::Unknown`] and [`SystemError::Overflow`].
    pub fn insert(&mut self, id: u64, symbol: usize, times: u64) -> Result<(), SystemError> {
        let node = self.nodes.iter().position(|node| node.id == id);
        let node = node.ok_or_else(|| SystemError::Unknown { what: "membrane", value: id.to_string() })?;
        if symbol >= self.width() {
            return Err(SystemError::Unknown { what: "object", value: symbol.to_string() });
        }
        self.add(Some(node), &[(symbol, times)], 1)
    }

    pub(crate) fn width(&self) -> usize {
        self.system.symbols.len()
    }

    /// The membranes directly inside one.
    pub(crate) fn children(&self, region: usize) -> impl Iterator<Item = usize> {
        (region + 1..self.nodes.len()).filter(move |&node| self.nodes[node].parent == region)
    }

    /// The membrane around one; None around the skin.
    pub(crate) fn around(&self, node: usize) -> Option<usize> {
        (node > 0).then(|| self.nodes[node].parent)
    }

    /// Add products to a node, or to the environment.
    pub(crate) fn add(
        &mut self,
        node: Option<usize>,
        products: &[(usize, u64)],
        times: u64,
    ) -> Result<(), SystemError> {
        let width = self.width();
        for &(symbol, each) in products {
            let count = match node {
                Some(node) => &mut self.counts[node * width + symbol],
                None => &mut self.environment[symbol],
            };
            let more = each.checked_mul(times).and_then(|more| count.checked_add(more));
            let Some(more) = more else {
                return Err(SystemError::Overflow { symbol: self.system.symbols[symbol].clone() });
            };
            *count = more;
        }
        Ok(())
    }
}
