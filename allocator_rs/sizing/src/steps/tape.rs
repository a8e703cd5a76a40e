//! What a step allocates and frees, in the engine's own order; the peak of what is held at once.

use std::borrow::Cow;
use std::fmt::Write;

use super::packed::Packed;
use crate::{Result, SizingError};

/// A dimension that sizes are products of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    One,
    Sequences,
    Context,
    Tokens,
    Hidden,
    Inner,
    Heads,
    KvHeads,
    PerHead,
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
    E,
}

/// By the dimensions' order.
const NAMES: [&str; 20] = [
    "1",
    "sequences",
    "context",
    "tokens",
    "hidden",
    "intermediate",
    "heads",
    "kv_heads",
    "head_dim",
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
    scratch: bool,
}

/// `times` times the dimensions.
pub(super) fn size(times: u64, of: &[Dim]) -> Size {
    let mut all = [Dim::One; 4];
    for (slot, dim) in all.iter_mut().zip(of) {
        *slot = *dim;
    }
    Size { times, of: all, scratch: false }
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
        let mut number = i128::from(count).saturating_mul(i128::from(self.times)).to_string();
        let mut product = names.join("*");
        if self.scratch {
            number = count.to_string();
            product = format!("(4*ceil64({}*{product}) + 128)", self.times);
        }
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
    /// What is held and what was at the peak, where it is to be told.
    held: Option<[Vec<(Size, i64)>; 2]>,
    packed: Packed,
}

impl Tape {
    pub fn new(values: Values, told: bool) -> Self {
        Self { values, live: 0, peak: 0, held: told.then(|| [Vec::new(), Vec::new()]), packed: Packed::default() }
    }

    pub fn of(&self, dim: Dim) -> u64 {
        self.values.get(dim as usize).copied().unwrap_or(1)
    }

    fn bytes(&self, size: Size) -> i128 {
        self.small(size).map_or_else(|| self.large(size), i128::from)
    }

    /// Bytes where 64 bits hold every product on the way, as they do for any model there is: many times quicker than 128.
    fn small(&self, size: Size) -> Option<u64> {
        let elements = size.of.iter().try_fold(size.times, |acc, dim| acc.checked_mul(self.of(*dim)))?;
        if size.scratch {
            elements.checked_next_multiple_of(64)?.checked_mul(4)?.checked_add(128)
        } else {
            Some(elements)
        }
    }

    fn large(&self, size: Size) -> i128 {
        let elements =
            size.of.iter().fold(i128::from(size.times), |acc, dim| acc.saturating_mul(i128::from(self.of(*dim))));
        if size.scratch {
            return elements.saturating_add(63).saturating_div(64).saturating_mul(256).saturating_add(128);
        }
        elements
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

    /// What the matrix library keeps while it multiplies `rows` by an `input` times `output` matrix in BF16.
    pub fn scratch(&mut self, rows: &[Dim], input: Dim, output: Dim) {
        self.scratch_beside(rows, input, output, 1);
    }

    /// As [`Tape::scratch`], of several matrices side by side.
    pub fn scratch_beside(&mut self, rows: &[Dim], input: Dim, output: Dim, side_by_side: u64) {
        let many = rows.iter().fold(1, |acc: u64, dim| acc.saturating_mul(self.of(*dim)));
        let work = many.saturating_mul(self.of(input)).saturating_mul(self.of(output)).saturating_mul(side_by_side);
        if many > 1 && work > 4_096 {
            let mut found = size(1, rows);
            found.of[3] = output;
            found.scratch = true;
            found.times = side_by_side;
            self.pass(found);
        }
    }

    /// What the matrix library packs an FP32 product's matrices into; it keeps it.
    pub fn pack(&mut self, rows: Dim, input: Dim, output: Dim, side_by_side: u64) {
        self.packed.take(self.of(rows), self.of(input), self.of(output).saturating_mul(side_by_side));
    }

    /// What the matrix library keeps after the step. Bytes.
    pub const fn packed_bytes(&self) -> u64 {
        self.packed.kept_bytes
    }

    /// The peak, and how it is made up.
    pub fn end(self) -> Result<(u64, Cow<'static, str>)> {
        let bytes = u64::try_from(self.peak.max(0)).map_err(|_| SizingError::Overflow { what: "the activations" })?;
        let mut text = String::new();
        for (at, (size, count)) in
            self.held.iter().flat_map(|[_, then]| then).filter(|(_, count)| *count != 0).enumerate()
        {
            let _ = write!(text, "{}{}", if at > 0 { " + " } else { "" }, size.text(*count));
        }
        Ok((bytes, Cow::Owned(text)))
    }

    /// The dimensions that a formula may name; none where it is not told.
    pub fn inputs(&self) -> Vec<(&'static str, u64)> {
        if self.held.is_none() {
            return Vec::new();
        }
        NAMES.into_iter().zip(self.values).skip(1).filter(|(_, value)| *value > 0).collect()
    }
}
