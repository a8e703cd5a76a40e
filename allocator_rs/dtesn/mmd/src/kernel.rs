//! The kernel matrix of all rows, and the statistic of any division of them in two.

use std::thread;

/// Widths of the kernels, in median distances.
pub const BANDWIDTHS: [f64; 3] = [0.5, 1.0, 2.0];

/// `entries`: row by row; `sums`: of each row without its diagonal; `total`: of all of them.
pub struct Kernel {
    entries: Vec<f64>,
    sums: Vec<f64>,
    total: f64,
    median: f64,
}

impl Kernel {
    /// Compare every two rows.
    pub fn new(pooled: &[f64], width: usize, threads: usize) -> Self {
        let count = pooled.len() / width;
        let mut entries = vec![0.0; count * count];
        by_rows(&mut entries, count, threads, |row, to| {
            let own = &pooled[row * width..(row + 1) * width];
            for (other, value) in pooled.chunks_exact(width).zip(to) {
                *value = own.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            }
        });
        let median = median_distance(&entries, count);
        by_rows(&mut entries, count, threads, |_, to| {
            for square in to {
                *square = mean_of_kernels(*square, median);
            }
        });
        let sums: Vec<f64> =
            entries.chunks_exact(count).enumerate().map(|(at, row)| row.iter().sum::<f64>() - row[at]).collect();
        let total = sums.iter().sum();
        Self { entries, sums, total, median }
    }

    /// The median distance of two different rows; 0 where all are equal.
    pub const fn median(&self) -> f64 {
        self.median
    }

    /// Rows of both samples.
    pub const fn count(&self) -> usize {
        self.sums.len()
    }

    /// The unbiased statistic where the first sample has these rows, in rising order.
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    pub fn statistic(&self, members: &[usize]) -> f64 {
        let count = self.count();
        let mut half = 0.0;
        for (at, &member) in members.iter().enumerate() {
            let row = &self.entries[member * count..(member + 1) * count];
            half += members[at + 1..].iter().map(|&other| row[other]).sum::<f64>();
        }
        let within = 2.0 * half;
        let across = members.iter().map(|&member| self.sums[member]).sum::<f64>() - within;
        let others = self.total - within - 2.0 * across;
        let (m, n) = (members.len() as f64, (count - members.len()) as f64);
        within / (m * (m - 1.0)) + others / (n * (n - 1.0)) - 2.0 * across / (m * n)
    }
}

/// Fill a matrix, each thread some rows of it.
fn by_rows(entries: &mut [f64], count: usize, threads: usize, fill: impl Fn(usize, &mut [f64]) + Sync) {
    let share = count.div_ceil(threads.max(1));
    thread::scope(|scope| {
        for (part, block) in entries.chunks_mut(share * count).enumerate() {
            let fill = &fill;
            let mut work = move || {
                for (at, row) in block.chunks_exact_mut(count).enumerate() {
                    fill(part * share + at, row);
                }
            };
            if threads <= 1 {
                work();
            } else {
                scope.spawn(work);
            }
        }
    });
}

/// The median over pairs of rows that differ: many equal rows must not make it 0.
fn median_distance(squares: &[f64], count: usize) -> f64 {
    let mut told: Vec<f64> = squares
        .chunks_exact(count)
        .enumerate()
        .flat_map(|(at, row)| row[at + 1..].iter().copied())
        .filter(|&square| square > 0.0)
        .collect();
    if told.is_empty() {
        return 0.0;
    }
    let (middle, even) = (told.len() / 2, told.len().is_multiple_of(2));
    let (below, &mut upper, _) = told.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = if even { below.iter().copied().fold(0.0, f64::max) } else { upper };
    f64::midpoint(lower.sqrt(), upper.sqrt())
}

/// The mean of the three kernels at a squared distance.
#[allow(clippy::cast_precision_loss, reason = "there are three")]
fn mean_of_kernels(square: f64, median: f64) -> f64 {
    if median == 0.0 {
        return 1.0;
    }
    // The distance is divided before it is squared: the square of a tiny median is 0, and 0 / 0 no number.
    let of = |width: f64| (-0.5 * (square.sqrt() / (width * median)).powi(2)).exp();
    BANDWIDTHS.iter().map(|&width| of(width)).sum::<f64>() / BANDWIDTHS.len() as f64
}
