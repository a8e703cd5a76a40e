//! Random numbers that depend on the seed alone.

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// At most `most`.
    #[allow(clippy::cast_possible_truncation, reason = "the result is at most `most`")]
    pub const fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        ((value as u128 * (most as u128 + 1)) >> 64) as u64
    }

    /// A random order.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for place in (1..values.len()).rev() {
            let other = usize::try_from(self.up_to(place as u64)).unwrap_or(0);
            values.swap(place, other);
        }
    }
}
