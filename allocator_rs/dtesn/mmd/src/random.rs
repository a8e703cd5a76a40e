//! Random numbers that depend on the seed and on the permutation alone.

/// `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub struct Random(u64);

impl Random {
    /// A generator for one permutation: whichever thread draws it, it is the same.
    pub const fn new(seed: u64, permutation: u64) -> Self {
        let mut mixer = Self(seed);
        let start = mixer.bits();
        let mut own = Self(start ^ permutation.wrapping_mul(0xd134_2543_de82_ef95));
        Self(own.bits())
    }

    const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Below `count`, which is far below 2^32: the bias is below 2^-32.
    #[allow(clippy::cast_possible_truncation, reason = "the result is below count")]
    pub const fn below(&mut self, count: usize) -> usize {
        ((self.bits() as u128 * count as u128) >> 64) as usize
    }
}
