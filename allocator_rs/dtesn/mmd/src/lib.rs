//! The maximum mean discrepancy of two samples: how far apart their distributions are, in the eyes of a kernel.
//!
//! The statistic is the unbiased one of Gretton, Borgwardt, Rasch, Schölkopf, Smola ("A kernel two-sample test", JMLR 13,
//! 2012, lemma 6) for the mean of three RBF kernels, whose widths are the median distance times 0.5, 1 and 2. Its p-value
//! comes from permutations of the labels within strata, and stops early once enough of them reach what was observed.

mod error;
mod kernel;
mod permutations;

pub use error::MmdError;
pub use kernel::BANDWIDTHS;
pub use permutations::EXCEEDANCES;

use kernel::Kernel;

/// Rows of both samples together at most: the kernel matrix takes 8 bytes a pair, 128 MiB.
pub const MAX_ROWS: usize = 4096;

/// Rows that each sample needs: with one there is no pair within it.
pub const MIN_ROWS: usize = 2;

/// Two samples of rows of `width` values each, one row after the other.
///
/// `strata`: of the first sample's rows, then of the second's; labels are exchanged within a stratum only. Empty: one for all.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// The first sample.
    pub first: &'a [f64],
    /// The second sample.
    pub second: &'a [f64],
    /// Values of a row.
    pub width: usize,
    /// A stratum for each row, or none.
    pub strata: &'a [u32],
}

/// How the null is drawn. The result depends on the seed, and not on the number of threads.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Permutations at most; 0: the statistic alone, with a p-value of 1.
    pub permutations: u32,
    /// Makes the permutations repeatable.
    pub seed: u64,
    /// Threads that work at once; 0: as many as the machine has.
    pub threads: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { permutations: 9_999, seed: 0, threads: 0 }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discrepancy {
    /// Unbiased MMD squared: about 0 for equal distributions, and then often below it; at most 2.
    pub statistic: f64,
    /// Probability of a statistic as large if labels could be exchanged within strata.
    pub p_value: f64,
    /// Permutations that were tried.
    pub permutations: u32,
    /// The median distance of two different rows; 0 where all rows are equal.
    pub median: f64,
}

/// Compare two samples.
///
/// # Errors
///
/// [`MmdError`] says which array is empty, ragged, too long, or not finite, or that the rows are too far apart.
pub fn compare(samples: &Samples<'_>, plan: &Plan) -> Result<Discrepancy, MmdError> {
    let (first, second) = checked(samples)?;
    check_range(samples)?;
    let threads = threads(plan.threads);
    let pooled = [samples.first, samples.second].concat();
    let kernel = Kernel::new(&pooled, samples.width, threads);
    let members: Vec<usize> = (0..first).collect();
    let observed = kernel.statistic(&members);
    let found =
        |p_value, permutations| Discrepancy { statistic: observed, p_value, permutations, median: kernel.median() };
    if plan.permutations == 0 || kernel.median() == 0.0 {
        return Ok(found(1.0, 0));
    }
    let groups = permutations::groups(samples.strata, first, second);
    let null = permutations::Null { kernel: &kernel, groups: &groups, observed, seed: plan.seed };
    let (p_value, tried) = null.p_value(plan.permutations, threads);
    Ok(found(p_value, tried))
}

/// Threads at most: each is a thread of the system, which has only so many.
const MAX_THREADS: usize = 64;
/// Squares of distances up to this, times twice the square of the largest bandwidth, are numbers for every width below 2^60.
const MAX_DIFFERENCE: f64 = 1e140;

fn threads(asked: usize) -> usize {
    let count = if asked > 0 { asked } else { std::thread::available_parallelism().map_or(1, usize::from) };
    count.min(MAX_THREADS)
}

/// A sum of squares that overflows makes NaN of the statistic, which no permutation reaches: the least p-value there is.
fn check_range(samples: &Samples<'_>) -> Result<(), MmdError> {
    let values = || samples.first.iter().chain(samples.second).copied();
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // Halves first: the difference itself may be over the range.
    let half = most / 2.0 - least / 2.0;
    if half <= MAX_DIFFERENCE / 2.0 {
        return Ok(());
    }
    Err(MmdError::Overflow { largest: 2.0 * half, most: MAX_DIFFERENCE })
}

/// Rows of both samples.
fn checked(samples: &Samples<'_>) -> Result<(usize, usize), MmdError> {
    let first = rows("first", samples.first, samples.width)?;
    let second = rows("second", samples.second, samples.width)?;
    if first + second > MAX_ROWS {
        return Err(MmdError::TooManyRows { rows: first + second, most: MAX_ROWS });
    }
    if !samples.strata.is_empty() && samples.strata.len() != first + second {
        return Err(MmdError::Strata { found: samples.strata.len(), expected: first + second });
    }
    Ok((first, second))
}

fn rows(name: &'static str, values: &[f64], width: usize) -> Result<usize, MmdError> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(MmdError::Width { name, found: values.len(), width });
    }
    let count = values.len() / width;
    if count < MIN_ROWS {
        return Err(MmdError::TooFewRows { name, rows: count, needed: MIN_ROWS });
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(count),
        Some(at) => Err(MmdError::NotFinite { name, row: at / width, column: at % width, value: values[at] }),
    }
}
