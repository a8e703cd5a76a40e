//! Which of a model's layers.

use std::sync::Arc;

/// Which layers have a parameter or a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layers {
    /// All.
    All,
    /// Those that are marked.
    Marked(Arc<[bool]>),
}

impl Layers {
    /// How many of the layers from `begin` to before `end` are meant.
    #[must_use]
    pub fn count(&self, begin: u64, end: u64) -> u64 {
        match self {
            Self::All => end.saturating_sub(begin),
            Self::Marked(marks) => {
                let [begin, end] = [begin, end].map(|at| usize::try_from(at).unwrap_or(usize::MAX).min(marks.len()));
                let found = marks.get(begin..end).map_or(0, |part| part.iter().filter(|mark| **mark).count());
                u64::try_from(found).unwrap_or(u64::MAX)
            }
        }
    }

    /// Whether a layer is meant.
    #[must_use]
    pub fn holds(&self, layer: u64) -> bool {
        self.count(layer, layer.saturating_add(1)) > 0
    }
}
