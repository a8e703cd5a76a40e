//! What the matrix library (MKL) keeps of packed FP32 matrices, outside of torch's own count.
//!
//! Measured, one thread: growth of the process after one product of `rows x input` by `input x output`, over inputs from 128 to 5,632 and
//! outputs from 384 to 5,632. The library asks the CPU itself what it is, whatever is set for oneDNN. With Intel's AVX-512 it is, above
//! 256 rows, `(384 + output)*depth*4` bytes within 3 %, and this is what is expected. With AVX2, which it also takes on AMD's CPUs,
//! depths are half of that and both matrices are packed whatever the rows: equal to the page. The upper bound is the larger of the two.
//! The library keeps every buffer, and takes a further one only for a product that the ones it has are too small for.

/// Rows of the left matrix that are packed at once.
const ROWS: u64 = 384;
/// Largest part of the inner dimension that is packed at once.
const DEPTH: u64 = 384;
/// Up to so many rows, no more than these are packed.
const FEW_ROWS: u64 = 256;

/// With AVX2: the same depth, the columns packed at once, and what is beside both matrices.
const SHALLOW_DEPTH: u64 = 192;
const SHALLOW_COLUMNS: u64 = 6_400;
const SHALLOW_BYTES: u64 = 20_480;

/// Buffers kept so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Packed {
    largest: u64,
    pub kept_bytes: u64,
    /// The same with AVX2.
    shallow: [u64; 2],
}

impl Packed {
    /// One product.
    pub fn take(&mut self, rows: u64, input: u64, output: u64) {
        let depth = depth(input, DEPTH);
        let wide = if rows > FEW_ROWS { output.saturating_add(ROWS) } else { rows };
        let bytes = wide.saturating_mul(depth).saturating_mul(4);
        if bytes > self.largest {
            self.largest = bytes;
            self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        }
        if rows > 1 {
            self.take_shallow(rows, input, output);
        }
    }

    fn take_shallow(&mut self, rows: u64, input: u64, output: u64) {
        let wide = output.min(SHALLOW_COLUMNS).saturating_add(rows.min(ROWS));
        let bytes = wide.saturating_mul(depth(input, SHALLOW_DEPTH)).saturating_mul(4).saturating_add(SHALLOW_BYTES);
        let [largest, kept] = &mut self.shallow;
        if bytes > *largest {
            *largest = bytes;
            *kept = kept.saturating_add(bytes);
        }
    }

    /// What is kept on whichever CPU keeps more.
    pub const fn upper_bytes(&self) -> u64 {
        let [_, shallow] = self.shallow;
        if shallow > self.kept_bytes { shallow } else { self.kept_bytes }
    }
}

/// The inner dimension is packed in parts of `most`, two equal ones where that suffices.
fn depth(input: u64, most: u64) -> u64 {
    if input <= most {
        input
    } else if input > most.saturating_mul(2) {
        most
    } else {
        input.div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process grew by at each of three products, in 10 KB as it was measured.
    #[test]
    fn buffers_grow_as_measured() {
        for (products, measured) in [
            (vec![(512, 1024, 5632), (512, 1024, 2048)], 9_260_000),
            (vec![(512, 1024, 2048), (512, 1024, 5632)], 13_000_000),
            (vec![(512, 1024, 768), (512, 1024, 3072), (512, 1024, 2304)], 7_110_000),
            (vec![(512, 512, 2048)], 2_510_000),
            (vec![(512, 640, 2048)], 3_140_000),
            (vec![(256, 1024, 2048)], 490_000),
        ] {
            let mut packed = Packed::default();
            for (rows, input, output) in products {
                packed.take(rows, input, output);
            }
            let off = packed.kept_bytes.abs_diff(measured);
            assert!(off < 150_000, "{} beside {measured}", packed.kept_bytes);
        }
    }

    /// What a process grew by with AVX2, on an AMD CPU; pages of 4,096 bytes.
    #[test]
    fn shallow_buffers_are_within_the_bound() {
        for (products, measured) in [
            (vec![(512, 1024, 5632)], 4_636_672),
            (vec![(512, 1024, 768), (512, 1024, 3072), (512, 1024, 2304)], 3_559_424),
            (vec![(512, 1024, 2048), (512, 1024, 5632)], 6_508_544),
            (vec![(100, 768, 3072), (100, 3072, 768), (100, 768, 768)], 2_453_504),
            (vec![(1000, 768, 768), (1000, 768, 3072), (1000, 3072, 768), (8, 768, 50000)], 8_486_912),
            (vec![(20, 768, 768)], 622_592),
            (vec![(64, 128, 512)], 311_296),
            (vec![(300, 200, 300)], 262_144),
        ] {
            let mut packed = Packed::default();
            for (rows, input, output) in products {
                packed.take(rows, input, output);
            }
            assert!(packed.upper_bytes() >= measured, "{} beside {measured}", packed.upper_bytes());
            assert!(packed.shallow[1] <= measured + measured / 10, "{} beside {measured}", packed.shallow[1]);
        }
    }

    /// Sizes beyond any model's saturate.
    #[test]
    fn huge_products_saturate() {
        let mut packed = Packed::default();
        packed.take(u64::MAX, u64::MAX, u64::MAX);
        packed.take(u64::MAX, 1, u64::MAX);
        assert_eq!(packed.kept_bytes, u64::MAX);
    }
}
