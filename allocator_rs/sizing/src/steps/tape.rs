//! What a step allocates and frees, in the engine's own order; the peak of what is held at once.

use std::borrow::Cow;
use std::fmt::Write;

use super::copies::{Copier, Product};
use super::packed::Packed;
use crate::{Result, SizingError};

/// A dimension that sizes are products of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    One,
    Sequences,
    Context,
    EvenContext,
    Tokens,
    Hidden,
    Inner,
    Heads,
    KvHeads,
    PerHead,
    EvenHead,
    HalfHead,
    Query,
    Key,
    Vocabulary,
    Experts,
    Pairs,
    PerToken,
    EvenRows,
    QueryBlock,
    KeyBlock,
    EvenKeyBlock,
    E,
}

/// By the dimensions' order.
const NAMES: [&str; 23] = [
    "1",
    "sequences",
    "context",
    "even_context",
    "tokens",
    "hidden",
    "intermediate",
    "heads",
    "kv_heads",
    "head_dim",
    "even_head",
    "half_head",
    "query_width",
    "key_width",
    "vocabulary",
    "experts",
    "token_expert_pairs",
    "experts_per_token",
    "rows_an_expert",
    "query_block",
    "key_block",
    "even_key_block",
    "e",
];

impl Dim {
    fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

/// The dimensions' values.
pub(super) type Values = [u64; NAMES.len()];

/// Bytes as a product: of dimensions, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    times: u64,
    of: [Dim; 4],
    /// Rows, inputs and outputs of the product that the bytes are copies of; none: they are no copies.
    copied: Option<[u64; 3]>,
}

/// `times` times the dimensions.
pub(super) fn size(times: u64, of: &[Dim]) -> Size {
    let mut all = [Dim::One; 4];
    for (slot, dim) in all.iter_mut().zip(of) {
        *slot = *dim;
    }
    Size { times, of: all, copied: None }
}

/// Bytes in the compute dtype.
pub(super) fn elements(of: &[Dim]) -> Size {
    let mut sized = size(1, of);
    sized.of[3] = Dim::E;
    sized
}

impl Size {
    fn text(&self, count: i64) -> String {
        let names: Vec<_> = self.of.iter().filter(|dim| **dim != Dim::One).map(|dim| dim.name()).collect();
        let number = i128::from(count).saturating_mul(i128::from(self.times)).to_string();
        if let Some([rows, input, output]) = self.copied {
            return format!("{number} [copies of {rows}x{input} by {input}x{output}]");
        }
        let product = names.join("*");
        match (product.is_empty(), number.as_str()) {
            (true, _) => number,
            (false, "1") => product,
            (false, _) => format!("{number}*{product}"),
        }
    }
}

/// What is held, and the most that was.
pub(super) struct Tape {
    pub values: Values,
    live: i128,
    peak: i128,
    /// As `peak`, copies being at their upper bounds.
    upper_peak: i128,
    /// What is held and what was at the peak, where it is to be told.
    held: Option<[Vec<(Size, i64)>; 2]>,
    packed: Packed,
    copier: Copier,
}

impl Tape {
    pub fn new(values: Values, told: bool, copier: Copier) -> Self {
        Self {
            values,
            live: 0,
            peak: 0,
            upper_peak: 0,
            held: told.then(|| [Vec::new(), Vec::new()]),
            packed: Packed::default(),
            copier,
        }
    }

    pub fn of(&self, dim: Dim) -> u64 {
        self.values.get(dim as usize).copied().unwrap_or(1)
    }

    fn bytes(&self, size: Size) -> i128 {
        self.small(size).map_or_else(|| self.large(size), i128::from)
    }

    /// Bytes where 64 bits hold every product on the way, as they do for any model there is: many times quicker than 128.
    fn small(&self, size: Size) -> Option<u64> {
        size.of.iter().try_fold(size.times, |acc, dim| acc.checked_mul(self.of(*dim)))
    }

    fn large(&self, size: Size) -> i128 {
        size.of.iter().fold(i128::from(size.times), |acc, dim| acc.saturating_mul(i128::from(self.of(*dim))))
    }

    fn change(&mut self, size: Size, by: i64) {
        let bytes = self.bytes(size);
        self.live = if by > 0 { self.live.saturating_add(bytes) } else { self.live.saturating_sub(bytes) };
        if let Some([now, _]) = &mut self.held {
            match now.iter_mut().find(|(known, _)| *known == size) {
                Some((_, count)) => *count = count.saturating_add(by),
                None => now.push((size, by)),
            }
        }
        self.upper_peak = self.upper_peak.max(self.live);
        if self.live > self.peak {
            self.peak = self.live;
            if let Some([now, then]) = &mut self.held {
                then.clone_from(now);
            }
        }
    }

    /// Take memory.
    pub fn hold(&mut self, size: Size) {
        self.change(size, 1);
    }

    /// Give it back.
    pub fn free(&mut self, size: Size) {
        self.change(size, -1);
    }

    /// Take and give back within one operation.
    pub fn pass(&mut self, size: Size) {
        self.hold(size);
        self.free(size);
    }

    /// A result takes the place of its input, which goes when it is there.
    pub fn replace(&mut self, input: Size, output: Size) {
        self.hold(output);
        self.free(input);
    }

    /// What the matrix library keeps while it multiplies `rows x input` by `input x output`, `batch` times.
    pub fn copy(&mut self, batch: u64, rows: Dim, input: Dim, output: Dim) {
        self.copy_beside(batch, rows, input, (output, 1));
    }

    /// As [`Tape::copy`], of several right matrices side by side.
    pub fn copy_beside(&mut self, batch: u64, rows: Dim, input: Dim, (output, side_by_side): (Dim, u64)) {
        let (rows, input) = (self.of(rows), self.of(input));
        let output = self.of(output).saturating_mul(side_by_side);
        let copies = self.copier.of(Product { batch, rows, input, output });
        if copies.upper_bytes > 0 {
            self.upper_peak = self.upper_peak.max(self.live.saturating_add(i128::from(copies.upper_bytes)));
            self.pass(Size { copied: Some([rows, input, output]), ..size(copies.bytes, &[]) });
        }
    }

    /// As [`Tape::copy_beside`], of as many rows as there are tokens, or of fewer: blocks of rows do not grow with the rows alone.
    pub fn copy_any_rows(&mut self, input: Dim, (output, side_by_side): (Dim, u64)) {
        let (tokens, inputs) = (self.of(Dim::Tokens), self.of(input));
        let outputs = self.of(output).saturating_mul(side_by_side);
        for rows in [256, 1_024].map(|most| tokens.min(most)) {
            let most = self.copier.of(Product { batch: 1, rows, input: inputs, output: outputs }).upper_bytes;
            self.upper_peak = self.upper_peak.max(self.live.saturating_add(i128::from(most)));
        }
        self.copy_beside(1, Dim::Tokens, input, (output, side_by_side));
    }

    /// As [`Tape::pass`], of what only may be taken.
    pub fn may_pass(&mut self, sizes: &[Size]) {
        let bytes = sizes.iter().fold(0_i128, |acc, size| acc.saturating_add(self.bytes(*size)));
        self.upper_peak = self.upper_peak.max(self.live.saturating_add(bytes));
    }

    /// What the matrix library packs an FP32 product's matrices into; it keeps it.
    pub fn pack(&mut self, rows: Dim, input: Dim, output: Dim, side_by_side: u64) {
        self.packed.take(self.of(rows), self.of(input), self.of(output).saturating_mul(side_by_side));
    }

    /// What the matrix library keeps after the step, expected and at most. Bytes.
    pub const fn packed_bytes(&self) -> [u64; 2] {
        [self.packed.kept_bytes, self.packed.upper_bytes().saturating_mul(self.copier.threads)]
    }

    /// The peak, its upper bound, and how the peak is made up.
    pub fn end(self) -> Result<([u64; 2], Cow<'static, str>)> {
        let [bytes, upper_bytes] = [self.peak, self.upper_peak.max(self.peak)].map(|peak| u64::try_from(peak.max(0)));
        let overflow = |_| SizingError::Overflow { what: "the activations" };
        let (bytes, upper_bytes) = (bytes.map_err(overflow)?, upper_bytes.map_err(overflow)?);
        let text = self.formula();
        Ok(([bytes, upper_bytes], Cow::Owned(text)))
    }

    /// How the peak is made up: what is added first, then what is not there, and nothing that has no bytes.
    fn formula(&self) -> String {
        let mut text = String::new();
        let terms = || self.held.iter().flat_map(|[_, then]| then).filter(|(size, _)| self.bytes(*size) != 0);
        for (size, count) in terms().filter(|(_, count)| *count > 0) {
            let _ = write!(text, "{}{}", if text.is_empty() { "" } else { " + " }, size.text(*count));
        }
        for (size, count) in terms().filter(|(_, count)| *count < 0) {
            let _ = write!(text, " - {}", size.text(count.saturating_neg()));
        }
        text
    }

    /// The dimensions that a formula may name; none where it is not told.
    pub fn inputs(&self) -> Vec<(&'static str, u64)> {
        if self.held.is_none() {
            return Vec::new();
        }
        NAMES.into_iter().zip(self.values).skip(1).filter(|(_, value)| *value > 0).collect()
    }
}
