//! A tensor's sizes, kept in place: a header of many thousand tensors needs no allocation for each.

use std::fmt;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// Most axes of a tensor that is read.
pub const MAX_AXES: usize = 8;

/// Sizes, outermost first. Only the first [`MAX_AXES`] of more are kept; [`Sizes::is_whole`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    kept: [u64; MAX_AXES],
    count: usize,
}

impl Sizes {
    /// Whether no axis had to be left out.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.count <= MAX_AXES
    }

    fn push(&mut self, size: u64) {
        if let Some(place) = self.kept.get_mut(self.count) {
            *place = size;
        }
        self.count = self.count.saturating_add(1);
    }
}

impl Deref for Sizes {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        self.kept.get(..self.count).unwrap_or(&self.kept)
    }
}

impl fmt::Debug for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<u64> for Sizes {
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Self {
        let mut found = Self::default();
        sizes.into_iter().for_each(|size| found.push(size));
        found
    }
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizesVisitor;
        impl<'de> Visitor<'de> for SizesVisitor {
            type Value = Sizes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of sizes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Sizes, A::Error> {
                let mut found = Sizes::default();
                while let Some(size) = sequence.next_element()? {
                    found.push(size);
                }
                Ok(found)
            }
        }
        deserializer.deserialize_seq(SizesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_last_axis_is_noticed() {
        let most: Sizes = (1..=8).collect();
        assert!(most.is_whole());
        assert_eq!(&most[..], &[1, 2, 3, 4, 5, 6, 7, 8]);
        let more: Sizes = (1..=9).collect();
        assert!(!more.is_whole());
        assert_eq!(more.len(), MAX_AXES);
        assert_eq!(Sizes::default().len(), 0);
    }
}
