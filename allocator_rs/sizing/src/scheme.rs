//! Bytes of a quantised matrix, as each format writes it: what is known where there is a config and no file.

use crate::Result;
use crate::math::{product, sum};

const WHAT: &str = "the stored bytes";

/// A format's parameters: values, and what is kept for each group, row, input, block and matrix beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheme {
    /// Bits of one value.
    pub bits: u64,
    /// Bits of a word that a whole number of values of one row are packed into; 0: values lie side by side.
    pub word_bits: u64,
    /// Inputs that share a scale; 0: no groups.
    pub group: u64,
    /// Bits for each group of each output: scale, zero.
    pub group_bits: u64,
    /// Bytes for each output.
    pub row_bytes: u64,
    /// Bytes for each input (the order of activations).
    pub input_bytes: u64,
    /// Outputs and inputs of a block.
    pub block: Option<(u64, u64)>,
    /// Bytes for each block.
    pub block_bytes: u64,
    /// Values that share a scale, over the whole matrix and whatever its rows; 0: none.
    pub run: u64,
    /// Bytes for each of these.
    pub run_bytes: u64,
    /// Runs that share a second scale of 4 bytes; 0: none.
    pub runs_shared: u64,
    /// Bytes for each matrix.
    pub matrix_bytes: u64,
    /// Whether embeddings are packed as well (MLX).
    pub embeddings: bool,
    /// Whether the experts alone are (MXFP4).
    pub experts_only: bool,
}

impl Scheme {
    /// Values of so many bits, nothing beside them.
    #[must_use]
    pub fn plain(bits: u64) -> Self {
        Self { bits, ..Self::default() }
    }

    /// Values in groups of inputs.
    #[must_use]
    pub fn grouped(bits: u64, group: u64, group_bits: u64) -> Self {
        Self { bits, group, group_bits, ..Self::default() }
    }

    /// Bytes of one matrix of so many outputs and inputs with all that belongs to it.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn bytes(&self, outputs: u64, inputs: u64) -> Result<u64> {
        let elements = product(WHAT, &[outputs, inputs])?;
        let values = match self.word_bits.checked_div(self.bits) {
            Some(in_word) if in_word > 0 => product(WHAT, &[outputs, inputs.div_ceil(in_word), self.word_bits / 8])?,
            _ => product(WHAT, &[elements, self.bits])?.div_ceil(8),
        };
        let groups =
            if self.group > 0 { product(WHAT, &[outputs, inputs.div_ceil(self.group), self.group_bits])? } else { 0 };
        let blocks = match self.block {
            Some((rows, columns)) => {
                let count = [outputs.div_ceil(rows.max(1)), inputs.div_ceil(columns.max(1)), self.block_bytes];
                product(WHAT, &count)?
            }
            None => 0,
        };
        let runs = if self.run > 0 { elements.div_ceil(self.run) } else { 0 };
        let shared = if self.runs_shared > 0 { runs.div_ceil(self.runs_shared).saturating_mul(4) } else { 0 };
        let rows = product(WHAT, &[outputs, self.row_bytes])?;
        let columns = product(WHAT, &[inputs, self.input_bytes])?;
        let runs = product(WHAT, &[runs, self.run_bytes])?;
        sum(WHAT, &[values, groups.div_ceil(8), blocks, runs, shared, rows, columns, self.matrix_bytes])
    }
}
