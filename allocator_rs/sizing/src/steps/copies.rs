//! The copies that the matrix library (oneDNN 3.13) makes of a 16-bit product while it runs, in torch's own count.
//!
//! Which kernel runs follows from the instruction set. The one without 16-bit arithmetic keeps the whole result in FP32. The blocked
//! ones keep a block of the right matrix, a block of the result in FP32, and where they widen or stride badly a block of the left one;
//! their sizes are equal with the library's own answer for 12,000 drawn products, and do not depend on the caches' sizes. The ones with
//! tiles choose blocks by the caches' sizes: what stands here for them is a bound over caches of 0.5 to 4 MiB a core (0 of 15,000
//! drawn products above it). So for one thread. Several have blocks of their own, which are cut by their number too: what stands for them is
//! a bound over every height of a block (0 of 28,000 drawn products by 2 to 16 threads above it).

use super::Number;
use crate::CpuIsa;

/// Multiplications up to which torch does not ask the library.
const FEW_PRODUCTS: u64 = 4_096;
/// What the library's table of blocks takes, with the alignment of it and of two blocks.
const TABLE_BYTES: u64 = 1_024;
/// Alignment of one block more.
const ALIGNMENT: u64 = 128;
/// Columns of a block.
const COLUMNS: u64 = 64;
/// Rows of a block, at least and at most.
const ROWS: [u64; 2] = [32, 256];
/// Blocks of columns that one copy of the left matrix serves, at most.
const MAX_CHUNKS: u64 = 16;
/// A matrix of more bytes than this has no kernel for one row.
const MAX_MATRIX: u64 = i32::MAX as u64;
/// Tables, tiles and alignments of the kernels with tiles.
const TILES_BYTES: u64 = 16_384;
/// Twice the second cache of any CPU with tiles: blocks of the right matrix are cut to a part of it.
const TILES_CACHE_BYTES: u64 = 4 << 20;
/// With tiles, inputs up to which the result stays in registers.
const TILES_INPUT: u64 = 512;
/// With tiles, columns or rows of a strip of the result at most.
const TILES_STRIP: u64 = 1_088;

/// A product: `batch` times `rows x input` by `input x output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Product {
    pub batch: u64,
    pub rows: u64,
    pub input: u64,
    pub output: u64,
}

/// What the library keeps while it multiplies. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Copies {
    pub bytes: u64,
    pub upper_bytes: u64,
}

impl Copies {
    const fn exact(bytes: u64) -> Self {
        Self { bytes, upper_bytes: bytes }
    }
}

/// Knows the copies of products on one machine; remembers the blocks of the last number of rows, as most layers have the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copier {
    isa: CpuIsa,
    number: Number,
    /// Of one product; each has blocks of its own.
    pub threads: u64,
    last: (u64, u64),
}

impl Copier {
    pub const fn new(isa: CpuIsa, number: Number, threads: u64) -> Self {
        Self { isa, number, threads, last: (0, 0) }
    }

    /// The copies of one product, by all threads at most.
    pub fn of(&mut self, product: Product) -> Copies {
        let Copies { bytes, upper_bytes } = self.by_one(product);
        if self.threads <= 1 || bytes == 0 && upper_bytes == 0 {
            return Copies { bytes, upper_bytes };
        }
        Copies { bytes, upper_bytes: upper_bytes.max(self.of_any_height(product)).saturating_mul(self.threads) }
    }

    /// What one of several threads keeps at most: the highest block, and as many strips of the result as there can be.
    fn of_any_height(&self, product: Product) -> u64 {
        let bytes = match (self.isa, self.number) {
            (_, Number::Fp32) | (CpuIsa::Avx2 | CpuIsa::Avx512Core, _) | (CpuIsa::Avx512CoreBf16, Number::Fp16) => {
                return 0;
            }
            (_, Number::Bf16) => 2,
            (_, Number::Fp16) => 4,
        };
        let Product { rows, input, output, .. } = product;
        if rows == 1 {
            return TABLE_BYTES.saturating_add(output.min(ROWS[1]).saturating_mul(4));
        }
        let cut = Cut::new(product, bytes, rows.min(ROWS[1]));
        let strips = if cut.depth < input { output.div_ceil(COLUMNS).min(MAX_CHUNKS) } else { 1 };
        let left = if cut.is_copied {
            cut.left().saturating_add(cut.block.saturating_mul(cut.line).saturating_mul(bytes))
        } else {
            0
        };
        TABLE_BYTES.saturating_add(cut.right()).saturating_add(left).saturating_add(cut.result().saturating_mul(strips))
    }

    fn by_one(&mut self, product: Product) -> Copies {
        let Product { batch, rows, input, output } = product;
        let work = rows.saturating_mul(input).saturating_mul(output).saturating_mul(batch);
        if work <= FEW_PRODUCTS {
            return Copies::default();
        }
        match (self.isa, self.number) {
            (CpuIsa::Unknown, number) => {
                let bytes = if number == Number::Bf16 { accumulated(rows, output) } else { 0 };
                Copies { bytes, upper_bytes: whole(product).max(bytes) }
            }
            (_, Number::Fp32) | (CpuIsa::Avx2, _) | (CpuIsa::Avx512Core | CpuIsa::Avx512CoreBf16, Number::Fp16) => {
                Copies::default()
            }
            (CpuIsa::Avx512Core, Number::Bf16) => Copies::exact(accumulated(rows, output)),
            (CpuIsa::Avx512CoreBf16, Number::Bf16) => Copies::exact(self.blocked(product, 2)),
            (CpuIsa::Avx512CoreFp16, number) => {
                let bytes = self.blocked(product, if number == Number::Bf16 { 2 } else { 4 });
                Copies { bytes, upper_bytes: bytes.saturating_add(bytes / 8) }
            }
            (CpuIsa::Amx, number) => {
                let bytes = self.blocked(product, if number == Number::Bf16 { 2 } else { 4 });
                // A small product, or one row, leaves the tiles alone.
                Copies { bytes, upper_bytes: bytes.saturating_add(bytes / 8).max(tiled(product)) }
            }
        }
    }

    /// Blocks of the right matrix and of the result, and of the left one where elements are widened to 4 `bytes`.
    fn blocked(&mut self, product: Product, bytes: u64) -> u64 {
        let Product { rows, input, output, .. } = product;
        if rows == 1 {
            if input.saturating_mul(output).saturating_mul(2) > MAX_MATRIX {
                return accumulated(rows, output);
            }
            // One row: only the result, in blocks of what is otherwise rows.
            return (TABLE_BYTES - ALIGNMENT).saturating_add(self.block(output).saturating_mul(4));
        }
        let cut = Cut::new(product, bytes, self.block(rows));
        if !cut.is_copied {
            return TABLE_BYTES.saturating_add(cut.right()).saturating_add(cut.result());
        }
        let strips = if cut.depth < input { chunks(output.div_ceil(COLUMNS)) } else { 1 };
        TABLE_BYTES
            .saturating_add(cut.right())
            .saturating_add(cut.left())
            .saturating_add(cut.result().saturating_mul(strips))
    }

    fn block(&mut self, rows: u64) -> u64 {
        if self.last.0 != rows {
            self.last = (rows, row_block(rows));
        }
        self.last.1
    }
}

/// How a product is cut into blocks.
struct Cut {
    /// Inputs of a block.
    depth: u64,
    /// Inputs of a block, padded.
    padded: u64,
    /// What inputs are padded to.
    line: u64,
    /// Rows of a block.
    block: u64,
    /// Columns of a block of the result.
    columns: u64,
    /// Bytes of an element.
    bytes: u64,
    /// Whether a block of the left matrix is kept as well.
    is_copied: bool,
}

impl Cut {
    fn new(product: Product, bytes: u64, block: u64) -> Self {
        let Product { rows, input, output, .. } = product;
        let depth = input.min(if input > 1_024 { 1_024 } else { 512 });
        let line = if bytes == 4 { 16 } else { 32 };
        let padded = depth.checked_next_multiple_of(line).unwrap_or(u64::MAX);
        let is_copied = bytes == 4 || (rows >= 1_024 && input >= 4_096 && input.is_power_of_two());
        Self { depth, padded, line, block, columns: output.min(COLUMNS), bytes, is_copied }
    }

    const fn right(&self) -> u64 {
        self.padded.saturating_mul(COLUMNS).saturating_mul(self.bytes)
    }

    /// A line more where rows would otherwise lie a power of two apart.
    const fn left(&self) -> u64 {
        let apart = self.padded >= 512 && self.padded.is_power_of_two();
        let stride = if apart { self.padded.saturating_add(self.line) } else { self.padded };
        self.block.saturating_mul(stride).saturating_mul(self.bytes).saturating_add(ALIGNMENT)
    }

    const fn result(&self) -> u64 {
        self.block.saturating_mul(self.columns).saturating_mul(4)
    }
}

/// The whole result in FP32.
fn accumulated(rows: u64, output: u64) -> u64 {
    let elements = rows.saturating_mul(output);
    elements.checked_next_multiple_of(64).unwrap_or(u64::MAX).saturating_mul(4).saturating_add(ALIGNMENT)
}

/// The height from 256 down to 32 at which blocks overhang the rows least; of equal ones the highest.
fn row_block(rows: u64) -> u64 {
    let [least, most] = ROWS.map(|limit| limit.min(rows));
    let mut best = (u64::MAX, most);
    for block in (least..=most).rev() {
        let overhang = rows.div_ceil(block.max(1)).saturating_mul(block).saturating_sub(rows);
        if overhang < best.0 {
            best = (overhang, block);
        }
        if best.0 == 0 {
            break;
        }
    }
    best.1
}

/// The most blocks of columns that divide all of them.
fn chunks(blocks: u64) -> u64 {
    (1..=MAX_CHUNKS).rev().find(|chunk| blocks.is_multiple_of(*chunk)).unwrap_or(1)
}

fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(64).unwrap_or(u64::MAX)
}

/// With tiles: the right matrix up to the cache's size, and where inputs are many a strip of the result.
fn tiled(product: Product) -> u64 {
    let [rows, input, output] = [product.rows, product.input, product.output].map(padded);
    let column = input.saturating_mul(COLUMNS).saturating_mul(2);
    let right = input.saturating_mul(output).saturating_mul(2);
    let kept = if product.input <= TILES_INPUT {
        right.saturating_add(right / 4).min(TILES_CACHE_BYTES).max(column)
    } else {
        let strip = rows.saturating_mul(output).min(TILES_STRIP.saturating_mul(rows.max(output)));
        right.min(TILES_CACHE_BYTES).max(column).saturating_add(strip.saturating_mul(4))
    };
    kept.saturating_add(TILES_BYTES)
}

/// All three matrices, padded, in FP32: more than any kernel was seen to keep.
fn whole(product: Product) -> u64 {
    let [rows, input, output] = [product.rows, product.input, product.output].map(padded);
    let elements = rows.saturating_mul(input).saturating_add(input.saturating_mul(output));
    elements.saturating_add(rows.saturating_mul(output)).saturating_mul(4).saturating_add(TILES_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copies(isa: CpuIsa, number: Number, rows: u64, input: u64, output: u64) -> Copies {
        Copier::new(isa, number, 1).of(Product { batch: 1, rows, input, output })
    }

    /// What torch counted beside the result, on a machine with tiles and under the library's setting.
    #[test]
    fn products_are_as_measured() {
        let (linear, scores) = ((200, 128, 408), (100, 32, 100));
        for (isa, number, (rows, input, output), measured) in [
            (CpuIsa::Avx2, Number::Bf16, linear, 0),
            (CpuIsa::Avx512Core, Number::Bf16, linear, 489_728 - 163_200),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, linear, 231_808 - 163_200),
            (CpuIsa::Avx512CoreFp16, Number::Fp16, linear, 350_720 - 163_200),
            (CpuIsa::Avx512Core, Number::Bf16, scores, 200_320 - 160_000),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, scores, 190_720 - 160_000),
            (CpuIsa::Avx512CoreFp16, Number::Fp16, scores, 207_744 - 160_000),
            (CpuIsa::Avx512CoreBf16, Number::Fp16, linear, 0),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, (1, 104, 584), 1_480),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, (2_657, 472, 512), 111_104),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, (1_260, 8_192, 13_248), 1_245_056),
            (CpuIsa::Avx512CoreFp16, Number::Fp16, (8_171, 10_048, 728), 1_904_960),
            (CpuIsa::Avx512CoreFp16, Number::Fp16, (1_024, 2_560, 82_908), 2_376_832),
        ] {
            let found = copies(isa, number, rows, input, output);
            assert_eq!(found.bytes, measured, "{isa:?} {number:?} {rows} {input} {output}");
            assert!(found.upper_bytes >= measured);
        }
    }

    /// What was counted with tiles is within the bound: for caches of 1, 2 and 4 MiB.
    #[test]
    fn tiles_stay_within_their_bound() {
        for (rows, input, output, measured) in [
            (200, 128, 408, 176_512 - 163_200),
            (100, 32, 100, 173_312 - 160_000),
            (55, 710, 128, 234_752),
            (37, 888, 168, 395_776),
            (684, 312, 104, 107_520),
            (8_171, 10_048, 728, 25_300_096),
            (8_192, 2_944, 109_304, 21_134_464),
            (8_777, 5_376, 24_768, 36_378_752),
            (2, 48, 25_216, 3_233_792),
        ] {
            for isa in [CpuIsa::Amx, CpuIsa::Unknown] {
                let found = copies(isa, Number::Bf16, rows, input, output);
                assert!(found.upper_bytes >= measured, "{isa:?} {rows} {input} {output}: {found:?}");
            }
        }
    }

    /// Each thread may keep blocks of its own; what is expected stays that of one.
    #[test]
    fn several_threads_have_blocks_of_their_own() {
        let product = Product { batch: 1, rows: 200, input: 128, output: 408 };
        let [one, eight] = [1, 8].map(|threads| Copier::new(CpuIsa::Avx512CoreBf16, Number::Bf16, threads).of(product));
        assert_eq!(eight.bytes, one.bytes);
        assert!(eight.upper_bytes >= 8 * one.upper_bytes);
    }

    /// What several threads were seen to keep, whose blocks are higher than one's, is within their bound.
    #[test]
    fn several_threads_stay_within_their_bound() {
        for (isa, number, threads, (rows, input, output), measured) in [
            (CpuIsa::Amx, Number::Fp16, 2, (495, 48, 424), 248_576),
            (CpuIsa::Amx, Number::Fp16, 2, (495, 424, 48), 1_175_296),
            (CpuIsa::Amx, Number::Fp16, 6, (703, 19, 66), 594_944),
            (CpuIsa::Amx, Number::Fp16, 6, (547, 1_343, 87), 6_425_984),
            (CpuIsa::Avx512CoreFp16, Number::Bf16, 4, (511, 25, 590), 281_472),
            (CpuIsa::Avx512CoreFp16, Number::Fp16, 3, (40, 610, 2_125), 1_017_728),
            (CpuIsa::Avx512CoreFp16, Number::Fp16, 16, (1_363, 11, 1_098), 951_808),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, 8, (335, 25, 203), 382_336),
            (CpuIsa::Avx512CoreBf16, Number::Bf16, 16, (893, 49, 1_532), 752_000),
        ] {
            let product = Product { batch: 1, rows, input, output };
            for isa in [isa, CpuIsa::Unknown] {
                let found = Copier::new(isa, number, threads).of(product);
                assert!(found.upper_bytes >= measured, "{isa:?} {threads} {product:?}: {found:?}");
            }
        }
    }

    proptest! {
        /// No kind keeps more than what stands for a kind that is not known.
        #[test]
        fn an_unknown_machine_gets_the_largest_bound(rows in 1_u64..9_000, input in 1_u64..9_000, output in 1_u64..140_000) {
            for number in [Number::Fp32, Number::Fp16, Number::Bf16] {
                for threads in [1, 4] {
                    let product = Product { batch: 1, rows, input, output };
                    let unknown = Copier::new(CpuIsa::Unknown, number, threads).of(product);
                    for (_, isa) in CpuIsa::ALL {
                        let found = Copier::new(isa, number, threads).of(product);
                        prop_assert!(found.bytes <= found.upper_bytes);
                        prop_assert!(found.upper_bytes <= unknown.upper_bytes, "{:?} {:?} {}", isa, number, threads);
                    }
                }
            }
        }

        /// Blocks cover the rows, and none is cut smaller than need be.
        #[test]
        fn blocks_are_within_their_limits(rows in 1_u64..100_000) {
            let block = row_block(rows);
            prop_assert!(block <= 256 && block >= rows.min(32));
        }
    }

    /// Sizes beyond any model's saturate.
    #[test]
    fn huge_products_saturate() {
        for (_, isa) in CpuIsa::ALL {
            for number in [Number::Fp32, Number::Fp16, Number::Bf16] {
                let found = copies(isa, number, u64::MAX, u64::MAX, u64::MAX);
                assert!(found.bytes <= found.upper_bytes);
            }
        }
    }
}
