//! What the matrix library (MKL) keeps of packed FP32 matrices, outside of torch's own count.
//!
//! Measured, one thread, a CPU with AVX-512: growth of the process after one product of `rows x input` by `input x output`, over inputs
//! from 128 to 5,632 and outputs from 384 to 5,632. Above 256 rows it is `(384 + output)*depth*4` bytes within 3 %; the library keeps
//! every buffer, and takes a further one only for a product that the ones it has are too small for.

/// Rows of the left matrix that are packed at once.
const ROWS: u64 = 384;
/// Largest part of the inner dimension that is packed at once.
const DEPTH: u64 = 384;
/// Up to so many rows, no more than these are packed.
const FEW_ROWS: u64 = 256;

/// Buffers kept so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Packed {
    largest: u64,
    pub kept_bytes: u64,
}

impl Packed {
    /// One product.
    pub fn take(&mut self, rows: u64, input: u64, output: u64) {
        let depth = match input {
            ..=DEPTH => input,
            769.. => DEPTH,
            _ => input.div_ceil(2),
        };
        let wide = if rows > FEW_ROWS { output.saturating_add(ROWS) } else { rows };
        let bytes = wide.saturating_mul(depth).saturating_mul(4);
        if bytes > self.largest {
            self.largest = bytes;
            self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        }
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

    /// Sizes beyond any model's saturate.
    #[test]
    fn huge_products_saturate() {
        let mut packed = Packed::default();
        packed.take(u64::MAX, u64::MAX, u64::MAX);
        packed.take(u64::MAX, 1, u64::MAX);
        assert_eq!(packed.kept_bytes, u64::MAX);
    }
}
