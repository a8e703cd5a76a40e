//! Seeded pseudo-random numbers, so that whatever is drawn is the same on every platform and in every version.

/// `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from the seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers that follow from the seed and a number of their own, whoever draws others meanwhile.
    #[must_use]
    pub const fn stream(seed: u64, number: u64) -> Self {
        let start = Self(seed).bits();
        Self(Self(start ^ number.wrapping_mul(0xd134_2543_de82_ef95)).bits())
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `end`; 0 where `end` is 0. The bias is below `end` by 2^64.
    #[allow(clippy::cast_possible_truncation, reason = "the result is below end")]
    pub const fn below(&mut self, end: usize) -> usize {
        (self.bits() as u128).wrapping_mul(end as u128).wrapping_shr(64) as usize
    }

    /// A number of at most `most`.
    #[allow(clippy::cast_possible_truncation, reason = "the result is at most `most`")]
    pub const fn up_to(&mut self, most: u64) -> u64 {
        (self.bits() as u128).wrapping_mul((most as u128).wrapping_add(1)).wrapping_shr(64) as u64
    }

    /// A number in `[0, 1)`, a multiple of 2^-53.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in `[-1, 1)`, a multiple of 2^-52.
    pub fn signed(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }

    /// A coin.
    pub const fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// Put a slice into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, slice: &mut [T]) {
        for end in (1..slice.len()).rev() {
            let other = self.below(end.saturating_add(1));
            slice.swap(end, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for seed 0, as the authors' `splitmix64.c` has them.
    #[test]
    fn bits_are_those_of_the_authors() {
        let mut random = Random::new(0);
        let drawn: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(drawn, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    /// Numbers stay within what was asked for, at the ends as well.
    #[test]
    fn numbers_stay_within() {
        let mut random = Random::stream(1, 2);
        for _ in 0..1_000 {
            assert!(random.below(3) < 3 && random.up_to(3) <= 3);
            assert!((0.0..1.0).contains(&random.unit()) && (-1.0..1.0).contains(&random.signed()));
        }
        assert_eq!((random.below(0), random.up_to(0)), (0, 0));
        let first = Random::new(7).bits();
        assert_eq!(Random::new(7).up_to(u64::MAX), first);
    }

    /// A slice keeps its elements, and streams of one seed differ.
    #[test]
    fn an_order_is_a_permutation() {
        let mut slice: Vec<usize> = (0..20).collect();
        Random::new(3).shuffle(&mut slice);
        let mut sorted = slice.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        assert_ne!(Random::stream(3, 0).bits(), Random::stream(3, 1).bits());
    }
}
